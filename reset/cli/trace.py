"""What happened to a request, for who is called: `flask reset trace`."""

from __future__ import annotations

import sys
from zoneinfo import ZoneInfo

import click

from reset import audit
from reset.audit import ResetRequest
from reset.cli.output import echo_json, json_option, told_when_down
from reset.cli.root import commands
from reset.service import service


@commands.command()
@click.argument("number_or_address", nargs=-1, required=True)
@json_option
def trace(number_or_address: tuple[str, ...], as_json: bool) -> None:
    """Tell what happened to a request (by its number) or to the latest of an address."""
    with told_when_down():
        found = service().flow.trace(" ".join(number_or_address))
    if as_json:
        echo_json([_plain(one) for one in found])
    elif found:
        click.echo("\n\n".join(_told(one, service().timezone) for one in found))
    if not found:
        click.echo("nothing found; give a request number or an e-mail address", err=True)
        sys.exit(1)


def _plain(request: ResetRequest) -> dict[str, object]:
    return {
        "number": audit.spoken(request.number),
        "address": request.address,
        "created_at": request.created_at.isoformat(),
        "events": [
            {"at": event.at.isoformat(), "event": event.name, **event.details}
            for event in request.events
        ],
    }


def _told(request: ResetRequest, zone: ZoneInfo) -> str:
    lines = [f"{audit.spoken(request.number)}  {request.address}"]
    for event in request.events:
        time = event.at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
        lines.append(
            f"  {time}  {event.name.replace('_', ' '):<18} {_details(event.details)}".rstrip()
        )
    return "\n".join(lines)


def _details(details: dict[str, str | int]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in details.items())
