"""The group that every command belongs to, and what each of them needs."""

from __future__ import annotations

import sys

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from reset.service import service

CANNOT_START = 3  # Told apart from other failures in gunicorn.conf.py.
REFUSED = "reset_refused"


@click.pass_context
@with_appcontext
def _prepare(context: click.Context) -> None:
    # The doctor looks at everything as it is, settings that allow no start included; and who asks
    # for a first key has none of them yet.
    if context.invoked_subcommand not in ("doctor", "keys"):
        refuse_to_start(current_app.extensions.get(REFUSED, []))
        service().database.start()


def refuse_to_start(faults: list[str]) -> None:
    """Tell the *faults* of the settings and end; without any do nothing."""
    if faults:
        print("The settings do not allow a start:", *faults, sep="\n", file=sys.stderr)
        raise SystemExit(CANNOT_START)


commands = AppGroup("reset", callback=_prepare, help="Operate the password reset service.")
