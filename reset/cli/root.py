"""The group that every command belongs to, and what each of them needs."""

from __future__ import annotations

import sys
from importlib import import_module

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from reset.service import service

CANNOT_START = 3  # Told apart from other failures in gunicorn.conf.py.
REFUSED = "reset_refused"
_MODULES = {
    "accounts": "accounts",
    "audit": "audit",
    "doctor": "doctor",
    "keys": "keys",
    "limits": "limits",
    "mail": "mail",
    "migrate": "processes",
    "operators": "operators",
    "outbox": "outbox",
    "person": "person",
    "prove-uniform": "uniform",
    "purge": "processes",
    "restored": "processes",
    "trace": "trace",
    "worker": "processes",
}


class _Commands(AppGroup):
    """Reads the module of a command when it is asked for: the mail worker needs no doctor."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _MODULES:
            import_module(f"reset.cli.{_MODULES[cmd_name]}")
        return super().get_command(ctx, cmd_name)


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


commands = _Commands("reset", callback=_prepare, help="Operate the password reset service.")
