"""What commands share: the option for programs, progress, and what is said when all is not well."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import click

from reset import audit
from reset.address import normalise, tidy
from reset.errors import InvalidAddress, StoreUnavailable
from reset.findings import Finding

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@contextmanager
def told_when_down() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as error:
        raise click.ClickException(f"the service's database does not answer ({error})") from error


def echo_json(value: object) -> None:
    """Print *value* for programs."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def told(finding: Finding) -> str:
    """*finding* for a person, on up to three lines."""
    lines = [f"{finding.level:<8} {finding.text}"]
    if finding.why:
        lines.append(f"{'':<8} {finding.why}")
    if finding.remedy:
        lines.append(f"{'':<8} -> {finding.remedy}")
    return "\n".join(lines)


def progress(text: str, *, done: bool = False) -> None:
    """Tell a person who waits how far it got; programs and files are spared that."""
    if sys.stderr.isatty():
        click.echo(f"\r{text}" + "\n" * done, nl=False, err=True)


def age(span: timedelta) -> str:
    """*span* in one unit, rounded down: "45 s", "12 min", "36 h", "9 d"."""
    seconds = max(0, int(span.total_seconds()))
    for size, most, unit in ((1, 120, "s"), (60, 120, "min"), (3600, 48, "h")):
        if seconds < size * most:
            return f"{seconds // size} {unit}"
    return f"{seconds // 86400} d"


def recipient(typed: str) -> str:
    """The address *typed*, as mails are sent to it."""
    try:
        normalise(typed)
    except InvalidAddress as error:
        raise click.UsageError(f"{typed!r} is no e-mail address") from error
    return tidy(typed)


def number_in(text: str) -> str:
    """The request number in *text*, in digits."""
    number = audit.unspoken(text)
    if number is None:
        raise click.UsageError(f"{text!r} is no request number such as 4821-0937-5562")
    return number
