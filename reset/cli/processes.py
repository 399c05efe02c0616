"""Commands that set up the service's own database, or work for as long as they run."""

from __future__ import annotations

import signal
import threading

import click

from reset.cli.output import echo_json, json_option, progress, told_when_down
from reset.cli.root import commands
from reset.errors import AccountsUnavailable
from reset.service import service
from reset.worker import PURGE_MOST


@commands.command()
def migrate() -> None:
    """Bring the service's database up to date, and see whether the accounts can be read."""
    with told_when_down():
        version = service().database.migrate()
    click.echo(f"the service's own database is at version {version}")
    try:
        service().accounts.check()
    except AccountsUnavailable as error:
        raise click.ClickException(f"RESET_ACCOUNTS_...: cannot be read: {error}") from error


@commands.command()
def worker() -> None:
    """Send mails until stopped (SIGTERM or Ctrl-C); several may run at once."""
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    service().make_worker().run(stop)


@commands.command()
@json_option
def purge(as_json: bool) -> None:
    """Delete now what is older than RESET_RETENTION_DAYS; the worker does so every hour.

    In small steps: what visitors send meanwhile does not wait for it.
    """
    parts, purged = service(), 0
    with told_when_down():
        while parts.flow.forget(now=parts.clock()):
            pass
        while step := parts.flow.purge(now=parts.clock(), most=PURGE_MOST):
            purged += step
            progress(f"{purged} requests")
    progress(f"{purged} requests", done=True)
    if as_json:
        echo_json({"requests": purged})
    else:
        click.echo(f"requests deleted: {purged}")


@commands.command()
def restored() -> None:
    """After the service's database was put back from a backup, and before the start.

    Old mails are not sent again and old links stay dead; who asked before the backup asks again.
    """
    with told_when_down():
        count = service().flow.restored(now=service().clock())
    click.echo(f"requests that were pending in the backup and are void now: {count}")
