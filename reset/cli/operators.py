"""Who may use the help desk: `flask reset operators`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from reset.cli.output import echo_json, json_option, told_when_down
from reset.cli.root import commands
from reset.errors import OperatorRefused
from reset.help_desk.operators import PROFILE
from reset.policy import LONGEST
from reset.service import service

_WHY = {
    "bad_name": "a name has 2 to 64 of the signs a-z, 0-9 and . _ @ - (and is not: console)",
    "taken": "is an operator already; for a new password: disable, then add again",
    "unknown": "there is no active operator of that name",
    "too_short": f"the password must have at least {PROFILE.min_length} characters",
    "too_long": f"the password must have at most {LONGEST} characters",
    "bad_character": "the password has a sign that browsers cannot send",
    "personal": "the password must not contain the name",
    "common": "the password is easy to guess: join some words that do not belong together",
}


@commands.group()
def operators() -> None:
    """Look after who may use the help desk; while there is nobody, there is no help desk."""


@operators.command("add")
@click.argument("name")
@click.option("--no-password", is_flag=True, help="The proxy of RESET_HELP_DESK_USER_HEADER knows.")
def add_operator(name: str, no_password: bool) -> None:
    """Let NAME in, or in again after `disable`.

    Asks for the password; without a terminal it is the first line of standard input.
    """
    parts = service()
    if no_password and not parts.user_header:
        raise click.ClickException("--no-password needs RESET_HELP_DESK_USER_HEADER")
    with _told():
        password = None if no_password else _password()
        added = parts.operators.add(name, password, now=parts.clock())
    click.echo(f"{added} may use the help desk: {parts.public_url}/ayuda/")


@operators.command("list")
@json_option
def list_operators(as_json: bool) -> None:
    """Who there is, and since when; the disabled ones, too."""
    with _told():
        found = service().operators.all()
    rows = [
        {
            "name": one.name,
            "active": one.disabled_at is None,
            "password": one.has_password,
            "created_at": one.created_at.isoformat(),
            "disabled_at": one.disabled_at and one.disabled_at.isoformat(),
        }
        for one in found
    ]
    if as_json:
        echo_json(rows)
        return
    zone = service().timezone
    for one in found:
        ended = one.disabled_at
        state = f"disabled {ended.astimezone(zone):%Y-%m-%d %H:%M}" if ended else "active"
        kind = "" if one.has_password else ", no password"
        click.echo(
            f"{one.name:<24} since {one.created_at.astimezone(zone):%Y-%m-%d}, {state}{kind}"
        )


@operators.command("disable")
@click.argument("name")
def disable_operator(name: str) -> None:
    """Let NAME in no more; open sessions end at once."""
    with _told():
        disabled = service().operators.disable(name, now=service().clock())
    click.echo(f"{disabled} may no longer use the help desk")


@contextmanager
def _told() -> Iterator[None]:
    try:
        with told_when_down():
            yield
    except OperatorRefused as refused:
        raise click.ClickException("; ".join(_WHY[code] for code in refused.codes)) from refused


def _password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt="Once more"))
    return sys.stdin.readline().rstrip("\r\n")
