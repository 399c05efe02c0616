"""The limits, looked at and lifted: `flask reset limits`."""

from __future__ import annotations

import click

from reset import trail
from reset.address import normalise
from reset.cli.output import echo_json, json_option, told_when_down
from reset.cli.root import commands
from reset.errors import InvalidAddress
from reset.limits import ADDRESS, NOT_BY_CLIENT, Counter, network_of
from reset.service import service


@commands.group()
def limits() -> None:
    """Look after the limits on attempts."""


@limits.command("list")
@json_option
def list_limits(as_json: bool) -> None:
    """Show how many counters run, and which clients are at their limit.

    E-mail addresses are counted under keyed hashes and cannot be listed: who tells you theirs can
    be cleared by it.
    """
    with told_when_down():
        found = service().limits.counters()
    full = [one for one in found if one.is_full]
    clients = [one for one in full if one.purpose not in NOT_BY_CLIENT]
    addresses = sum(one.purpose == ADDRESS for one in full)
    if as_json:
        plain = [_plain(one) for one in clients]
        echo_json({"counters": len(found), "addresses_at_limit": addresses, "clients": plain})
        return
    click.echo(f"counters that run: {len(found)}")
    click.echo(f"addresses at their limit (kept as keyed hashes, not to be listed): {addresses}")
    click.echo(f"clients at their limit: {len({one.who for one in clients})}")
    for one in clients:
        until = one.until.astimezone(service().timezone).strftime("%H:%M:%S")
        click.echo(f"  {one.who:<26}  {one.purpose:<10}  {one.hits} of {one.most}  until {until}")


@limits.command("clear")
@click.argument("address_or_ip")
@json_option
def clear_limit(address_or_ip: str, as_json: bool) -> None:
    """Let an e-mail address, or a client by its IP address, try again at once.

    An IPv6 client is its whole /64. The most mails that an account gets in an hour do not depend on
    counters and stay as they are while a link of them works.
    """
    parts = service()
    with told_when_down():
        try:
            subject = network_of(address_or_ip)
            cleared = parts.limits.clear_client(subject)
        except ValueError:
            subject = _address(address_or_ip)
            cleared = parts.limits.clear_address(subject)
        with parts.database.begin() as tx:
            now = parts.clock()
            trail.note(tx, trail.CONSOLE, trail.LIMIT_CLEARED, subject, now=now, counters=cleared)
    if as_json:
        echo_json({"cleared": cleared})
    else:
        click.echo(f"counters cleared: {cleared}")


def _address(typed: str) -> str:
    try:
        return normalise(typed)
    except InvalidAddress as error:
        raise click.UsageError("give an e-mail address or an IP address") from error


def _plain(one: Counter) -> dict[str, object]:
    return {
        "client": one.who,
        "purpose": one.purpose,
        "hits": one.hits,
        "most": one.most,
        "until": one.until.isoformat(),
    }
