"""The portal's accounts, looked at: `flask reset accounts`."""

from __future__ import annotations

import sys

import click

from reset.accounts.survey import dry_run, findings
from reset.cli.output import json_option, tell
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
    if any(finding.level == "fault" for finding in tell(found, as_json=as_json)):
        sys.exit(1)
