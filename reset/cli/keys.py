"""Secret keys: `flask reset keys`."""

from __future__ import annotations

import secrets

import click

from reset.cli.output import echo_json, json_option
from reset.cli.root import commands

_ROTATION = """\
To put it behind the present one:
  1. RESET_SECRET_KEYS=PRESENT,NEW  (the last one signs, all of them verify)
  2. Restart web, then worker. All that is open stays good.
  3. A day later take PRESENT out and restart both again.
With several hosts: docs/several-hosts.md. A key that was stolen is taken out at once: all that was
signed with it dies."""


@commands.group()
def keys() -> None:
    """Look after the secret keys."""


@keys.command("new")
@click.option("--rotate", is_flag=True, help="Also tell how to change to it (on standard error).")
@json_option
def new_key(rotate: bool, as_json: bool) -> None:
    """Print one new strong key for RESET_SECRET_KEYS; changes nothing."""
    key = secrets.token_urlsafe(48)
    if as_json:
        echo_json({"key": key})
    else:
        click.echo(key)
    if rotate:
        click.echo(_ROTATION, err=True)
