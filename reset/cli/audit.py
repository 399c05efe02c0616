"""The trail for auditors: `flask reset audit`."""

from __future__ import annotations

import csv
import json
import re
import sys
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import click

from reset import report, trail
from reset.cli.output import progress, told_when_down
from reset.cli.root import commands
from reset.report import Entry
from reset.service import service

_COLUMNS = ("at", "number", "subject", "operator", "event", "details")
_BLANKS = "[\\s\u00ad\u200b-\u200f\u2060\ufeff]*"
_FORMULA = re.compile(f"{_BLANKS}[=+@-]|[\t\r\n]")
# Where the comma is for decimals, as in Colombia, a semicolon begins the next cell.
_NEXT_FORMULA = re.compile(f"(?<=;)(?={_BLANKS}[=+@\uff1d\uff0b\uff20\uff0d-])")
_DATE = click.DateTime(["%Y-%m-%d"])


@commands.group()
def audit() -> None:
    """Look after the trail of requests and operators."""


@audit.command("export")
@click.option("--jsonl", "form", flag_value="jsonl", help="One JSON object a line.")
@click.option("--csv", "form", flag_value="csv", help="RFC 4180, with a header line.")
@click.option("--since", type=_DATE, help="From the beginning of this day on (YYYY-MM-DD).")
@click.option("--until", type=_DATE, help="To the end of this day.")
def export_audit(form: str | None, since: datetime | None, until: datetime | None) -> None:
    """Write what happened to requests and what operators did, oldest first, to standard output.

    Days are those of RESET_TIMEZONE, times in the output UTC. Holds addresses, and never a link, a
    token or a password. In CSV a cell that a spreadsheet would take for a formula begins with '.
    """
    if form is None:
        raise click.UsageError("give --jsonl or --csv")
    if since and until and since > until:
        raise click.UsageError("--since is later than --until")
    parts, zone, count = service(), service().timezone, 0
    begin = since.replace(tzinfo=zone) if since else datetime.fromtimestamp(0, UTC)
    # By the calendar: a day may have 23 hours.
    last = (until or datetime(2999, 1, 1)) + timedelta(days=1)
    found = report.entries(parts.database, since=begin, until=last.replace(tzinfo=zone))
    write = _jsonl() if form == "jsonl" else _csv()
    with told_when_down():
        for count, entry in enumerate(found, 1):
            write(entry)
            if count % report.PAGE == 0:
                progress(f"{count} lines")
        with parts.database.begin() as tx:
            trail.note(tx, trail.CONSOLE, "audit_exported", "", now=parts.clock(), lines=count)
    progress(f"{count} lines", done=True)


def _jsonl() -> Callable[[Entry], None]:
    def write(entry: Entry) -> None:
        shown = {**entry.__dict__, "at": entry.at.isoformat()}
        _put(json.dumps(shown, ensure_ascii=False) + "\n")

    return write


def _csv() -> Callable[[Entry], None]:
    writer = csv.writer(SimpleNamespace(write=_put))
    writer.writerow(_COLUMNS)

    def write(entry: Entry) -> None:
        details = json.dumps(entry.details, ensure_ascii=False)
        texts = (entry.number, entry.subject, entry.operator, entry.event, details)
        writer.writerow([entry.at.isoformat(), *map(harmless, texts)])

    return write


def harmless(cell: str) -> str:
    """*cell* as a spreadsheet shows it, and never computes it. Source: OWASP, CSV injection."""
    cell = _NEXT_FORMULA.sub("'", cell)
    return f"'{cell}" if _FORMULA.match(unicodedata.normalize("NFKC", cell)) else cell


def _put(text: str) -> None:
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
