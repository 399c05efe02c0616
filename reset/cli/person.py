"""What is kept about a person, shown or erased: `flask reset person`."""

from __future__ import annotations

from datetime import timedelta

import click

from reset import person as records
from reset import trail
from reset.cli.output import address_in, echo_json, json_option, told_when_down
from reset.cli.root import commands
from reset.errors import AccountsUnavailable, LinkBusy
from reset.service import service

NOT_KEPT = [
    "passwords, old or new, in any form: what the portal stores is the portal's",
    "links of mails: only their state, under ids that open nothing without the secret key",
    "captcha answers, cookies, whole IP addresses of a request (only its network and browser)",
    "what the account itself holds: it is read when it is needed; ask the portal",
]
ELSEWHERE = [
    "backups of this database, until they are rotated",
    "mails that were sent, and the logs of the mail server and of the web server",
    "the account in the portal, which this service does not own",
]


@commands.group()
def person() -> None:
    """Answer a request about a person's data (docs/data.md)."""


@person.command("export")
@click.argument("address")
def export_person(address: str) -> None:
    """Print all that is kept about ADDRESS as JSON, with what is not kept, in words.

    Times are in UTC. Hand it over only to who has shown that the address is theirs.
    """
    parts, wanted = service(), address_in(address)
    now, logins = parts.clock(), _logins(wanted)
    with told_when_down():
        told = records.told(parts.database, wanted, logins)
        counted = parts.limits.counted(wanted)
        with parts.database.begin() as tx:
            trail.note(tx, trail.CONSOLE, "person_exported", wanted, now=now)
    echo_json(
        {
            "address": wanted,
            "made_at": now.isoformat(),
            **told,
            "requests_counted_for_the_limit": counted,
            "not_kept": NOT_KEPT,
            "not_here": ELSEWHERE,
        }
    )


@person.command("erase")
@click.argument("address")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def erase_person(address: str, yes: bool, as_json: bool) -> None:
    """Delete all that is kept about ADDRESS: requests, traces, links, mails, acts, counters.

    Links of theirs that work and mails that wait are void then. The trail keeps one line that
    somebody was erased, without the address. May be repeated.
    """
    parts, wanted = service(), address_in(address)
    logins = _logins(wanted)
    with told_when_down():
        # Another host's clock may be behind.
        since = parts.clock() - parts.link_lifetime - timedelta(minutes=2)
        kept = records.kept(parts.database, wanted, logins, live_since=since)
        if not yes:
            click.echo(_what(kept), err=True)
            click.confirm("Delete all of it?", abort=True, err=True)
        try:
            requests, acts = records.erase(parts.database, wanted, logins, now=parts.clock())
        except LinkBusy:
            message = "a password is being set with one of the links right now: try again in 2 min"
            raise click.ClickException(message) from None
        counters = parts.limits.clear_address(wanted)
    if as_json:
        erased = {"requests": requests, "acts": acts, "counters": counters}
        echo_json({"erased": erased, "not_here": ELSEWHERE})
        return
    click.echo(f"deleted: requests {requests}, acts on them {acts}, counters {counters}")
    click.echo("What this command does not reach:")
    for one in ELSEWHERE:
        click.echo(f"  - {one}")


def _what(kept: records.Kept) -> str:
    told = f"requests {kept.requests}, acts of operators {kept.acts}"
    if kept.waiting:
        told += f"\n{kept.waiting} of their mails wait and will not leave"
    if kept.live:
        told += f"\n{kept.live} of their links work now and will not any more"
    return told


def _logins(address: str) -> list[str]:
    """By what else operators may have looked for the person."""
    try:
        accounts = service().accounts.find_by_address(address)
    except AccountsUnavailable:
        message = "warning: the accounts do not answer; acts noted under a name to sign in with"
        click.echo(f"{message} may be missing here: run this again later", err=True)
        return []
    return [account.login for account in accounts if account.login]
