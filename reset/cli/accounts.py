"""The portal's accounts, looked at: `flask reset accounts`."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from reset.accounts.survey import dry_run, findings
from reset.cli.output import echo_json, json_option, told
from reset.cli.root import commands
from reset.service import service


@commands.group()
def accounts() -> None:
    """Look after the portal's accounts."""


@accounts.command("check")
@click.argument("address", required=False)
@json_option
def check_accounts(address: str | None, as_json: bool) -> None:
    """See whether accounts can be read and changed; with ADDRESS, a dry run for one person.

    Changes nothing. Ends with status 1 if something keeps the service from working.
    """
    parts = service()
    found = (
        dry_run(parts.accounts, address)
        if address
        else findings(parts.accounts, parts.exclusions, parts.upgrades_to)
    )
    shown = []
    for finding in found:
        shown.append(finding)
        if not as_json:
            click.echo(told(finding))
    if as_json:
        echo_json([asdict(finding) for finding in shown])
    if any(finding.level == "fault" for finding in shown):
        sys.exit(1)
