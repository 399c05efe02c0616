"""What is wrong, why it matters, and what to do: `flask reset doctor`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict, replace

import click
from flask import current_app

from reset.cli.output import echo_json, json_option, recipient, told
from reset.cli.root import REFUSED, commands
from reset.doctor import (
    Case,
    Told,
    accounts,
    clock,
    desk,
    examine,
    limiter,
    mail,
    public,
    settings,
    state,
    worker,
)
from reset.service import service

_CHECKS = {
    "settings": settings.check,
    "database": state.check,
    "accounts": accounts.check,
    "mail": mail.check,
    "worker": worker.check,
    "limits": limiter.check,
    "clock": clock.check,
    "help desk": desk.check,
}
_WORTH_TELLING = ("fault", "warning")


@commands.command()
@click.option("--mail-to", metavar="ADDRESS", default="", help="Ask the mail server about ADDRESS.")
@click.option("--from-outside", is_flag=True, help="Visit RESET_PUBLIC_URL as its visitors do.")
@click.option("--verbose", is_flag=True, help="Show what is well, too, and notes.")
@json_option
def doctor(mail_to: str, from_outside: bool, verbose: bool, as_json: bool) -> None:
    """Look the whole installation over: what is wrong, why it matters, what to do.

    A healthy one is one line. Nothing is changed or sent: the mail server is asked whether it would
    take a mail (for ADDRESS, or for RESET_SUPPORT_EMAIL), a change of a password is undone. A visit
    from outside counts towards the limits of this host's address.

    \b
    Ends with status
      0  all is well, or there are warnings and notes only
      1  there is a fault: something does not work, or is not safe
    """
    mail_to = mail_to and recipient(mail_to)
    shown = []
    for one in _examined(mail_to, from_outside):
        shown.append(one)
        if not as_json and (verbose or one.finding.level in _WORTH_TELLING):
            text = f"{one.subject}: {one.finding.text}"
            click.echo(told(replace(one.finding, text=text)))
    if as_json:
        echo_json([{"subject": one.subject, **asdict(one.finding)} for one in shown])
    else:
        click.echo(_summary(shown))
    if any(one.finding.level == "fault" for one in shown):
        sys.exit(1)


def _examined(mail_to: str, from_outside: bool) -> Iterable[Told]:
    refused = current_app.extensions.get(REFUSED)
    if refused:
        return [Told("settings", finding) for finding in settings.refused(refused)]
    checks = _CHECKS | ({"public address": public.check} if from_outside else {})
    return examine(checks, Case(current_app._get_current_object(), service(), mail_to))  # type: ignore[attr-defined]


def _summary(shown: list[Told]) -> str:
    def count(level: str) -> int:
        return sum(one.finding.level == level for one in shown)

    faults, warnings, notes = count("fault"), count("warning"), count("note")
    also = f", {notes} notes (--verbose)" if notes else ""
    if not faults and not warnings:
        return f"all is well: {len(shown)} checks{also}"
    return f"faults: {faults}, warnings: {warnings}, of {len(shown)} checks{also}"
