"""The queue of mails: `flask reset outbox`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import click

from reset import audit, queue
from reset.cli.output import age, echo_json, json_option, number_in, progress, told_when_down
from reset.cli.root import commands
from reset.mail.unsent import Unsent
from reset.queue import Done
from reset.service import service

_STATES = {"queued": "waiting", "sending": "at the server", "abandoned": "given up"}


@commands.group()
def outbox() -> None:
    """Look after the mails that have not left."""


@outbox.command("list")
@click.option("--limit", type=click.IntRange(1), default=50, help="Lines at most (default 50).")
@json_option
def list_outbox(limit: int, as_json: bool) -> None:
    """Show the mails that wait, and those given up in the last seven days, oldest first.

    Without addresses; `flask reset trace NUMBER` tells all of a request.
    """
    parts, now = service(), service().clock()
    with told_when_down():
        mails, total = queue.listed(parts.database, limit=limit, now=now)
        answers = [queue.answer(parts.database, mail) for mail in mails]
    if as_json:
        shown = [_plain(mail, said) for mail, said in zip(mails, answers, strict=True)]
        echo_json({"total": total, "mails": shown})
        return
    if mails:
        click.echo(_LINE.format("number", "mail", "state", "tries", "age", "due in", "last answer"))
    for mail, said in zip(mails, answers, strict=True):
        click.echo(_told(mail, said, now).rstrip())
    click.echo(f"mails that have not left: {total}" if total else "no mail waits")


@outbox.command("retry")
@click.argument("number", required=False)
@click.option("--all", "everything", is_flag=True, help="Every mail of the list.")
@json_option
def retry_mails(number: str | None, everything: bool, as_json: bool) -> None:
    """Try the mails of request NUMBER at once, without waiting for their turn.

    A mail with a link that was given up in the last seven days is tried again, too, and leaves if
    it still is wanted. A confirmation that was given up cannot be: its text was deleted.
    """
    which = _which(number, everything)
    done = _run(queue.retry(service().database, which, clock=service().clock))
    _tell(done, "retried", as_json)


@outbox.command("drop")
@click.argument("number", required=False)
@click.option("--all", "everything", is_flag=True, help="Every mail that waits.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def drop_mails(number: str | None, everything: bool, yes: bool, as_json: bool) -> None:
    """Drop the mails that wait of request NUMBER: they never leave.

    Who waits for a link has to ask again; a confirmation that is dropped tells nobody that a
    password was changed. What is being handed over right now is left alone.
    """
    which = _which(number, everything)
    if not yes:
        whose = f"of {audit.spoken(which)}" if which else "of everybody"
        click.confirm(f"Drop the mails {whose} that wait?", abort=True, err=True)
    done = _run(queue.drop(service().database, which, clock=service().clock))
    _tell(done, "dropped", as_json)


def _which(number: str | None, everything: bool) -> str:
    if bool(number) == everything:
        raise click.UsageError("give a request number, or --all")
    return number_in(number) if number else ""


def _run(steps: Iterator[Done]) -> Done:
    done = Done()
    with told_when_down():
        for done in steps:
            progress(f"{done.changed} mails")
    progress(f"{done.changed} mails", done=True)
    return done


def _tell(done: Done, what: str, as_json: bool) -> None:
    if as_json:
        echo_json({what: done.changed, "left_alone": done.left})
        return
    click.echo(f"mails {what}: {done.changed}")
    if done.left:
        click.echo(f"left alone, being handed over or without a text: {done.left}")


_LINE = "{:<16}{:<14}{:<15}{:>5}{:>9}{:>9}  {}"


def _told(mail: Unsent, answer: str, now: datetime) -> str:
    kind = "confirmation" if mail.kind == "password_changed" else "link"
    due = age(mail.due_at - now) if mail.state == "queued" else ""
    state, old = _STATES[mail.state], age(now - mail.created_at)
    return _LINE.format(audit.spoken(mail.request), kind, state, mail.attempts, old, due, answer)


def _plain(mail: Unsent, answer: str) -> dict[str, object]:
    return {
        "number": audit.spoken(mail.request),
        "mail": mail.kind,
        "state": mail.state,
        "attempts": mail.attempts,
        "created_at": mail.created_at.isoformat(),
        "due_at": mail.due_at.isoformat() if mail.state == "queued" else None,
        "answer": answer,
    }
