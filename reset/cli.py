"""The commands of the operator: `flask reset ...`."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from flask import current_app
from flask.cli import AppGroup

from reset import audit
from reset.accounts.survey import dry_run, findings
from reset.address import normalise
from reset.audit import ResetRequest
from reset.errors import AccountsUnavailable, InvalidAddress, StoreUnavailable, Unmeasurable
from reset.language import configured
from reset.mail.samples import letters
from reset.measurement import measure
from reset.service import service
from reset.uniformity import KNOWN, UNKNOWN, Report, judge

commands = AppGroup("reset", help="Operate the password reset service.")


@commands.command()
def migrate() -> None:
    """Bring the service's database up to date, and see whether the accounts can be read."""
    with _told_when_down():
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
def restored() -> None:
    """After the service's database was put back from a backup, and before the start.

    Old mails are not sent again and old links stay dead; who asked before the backup asks again.
    """
    with _told_when_down():
        count = service().flow.restored(now=service().clock())
    click.echo(f"requests that were pending in the backup and are void now: {count}")


@commands.command()
@click.argument("number_or_address", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def trace(number_or_address: tuple[str, ...], as_json: bool) -> None:
    """Tell what happened to a request (by its number) or to the latest of an address."""
    with _told_when_down():
        found = service().flow.trace(" ".join(number_or_address))
    if as_json:
        click.echo(json.dumps([_plain(one) for one in found], ensure_ascii=False, indent=2))
    elif found:
        click.echo("\n\n".join(_told(one, service().timezone) for one in found))
    if not found:
        click.echo("nothing found; give a request number or an e-mail address", err=True)
        sys.exit(1)


@commands.group()
def accounts() -> None:
    """Look after the portal's accounts."""


@accounts.command("check")
@click.argument("address", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
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
            click.echo(f"{finding.level:<8} {finding.text}")
            if finding.remedy:
                click.echo(f"{'':<8} -> {finding.remedy}")
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in shown], indent=2))
    if any(finding.level == "fault" for finding in shown):
        sys.exit(1)


@commands.group()
def mail() -> None:
    """Look after the mails."""


@mail.command("preview")
@click.argument("folder", required=False, metavar="[DIR]")
def preview_mails(folder: str | None) -> None:
    """Write each mail, in each language, as .html, .txt and .eml files with sample facts.

    DIR is made if need be (default: instance/mail-preview); files of an earlier preview are
    replaced. Nothing is sent.
    """
    parts = service()
    target = Path(folder or Path(current_app.instance_path) / "mail-preview")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for language in configured():
            sample = letters(parts.public_url, parts.link_lifetime, language, now=datetime.now(UTC))
            for name, letter in sample.items():
                message = parts.compose(letter)
                _write(target / f"{language}-{name}.html", str(message.html).encode())
                _write(target / f"{language}-{name}.txt", str(message.body).encode())
                _write(target / f"{language}-{name}.eml", message.as_bytes())
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written ({error.strerror})") from error


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    click.echo(path)


@commands.command("prove-uniform")
@click.argument("url")
@click.option("--known", required=True, help="A registered address, of the operator's own.")
@click.option("--unknown", required=True, help="One that is not registered, best of equal length.")
@click.option("--n", type=click.IntRange(10), default=5000, help="Requests for each address.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def prove_uniform(url: str, known: str, unknown: str, n: int, as_json: bool) -> None:
    """See from outside whether the service at URL tells two addresses apart.

    URL is its base address: that of RESET_PUBLIC_URL, or http://127.0.0.1:5000 with the same path.
    The captchas are solved with the secret key in the settings here. Requests for both addresses
    are sent in random order. Answers are compared byte by byte, the times of POST and of another
    visitor's next request by AUC (0.5 is chance) and 10th percentile. A planted delay of 300
    microseconds must be found, else the run was blind. Far fewer than 5000 requests settle nothing.

    For the time of the proof the service needs RESET_LIMIT_PER_IP='1000000 per hour'; else it
    answers 429. The known address gets as many mails as RESET_LIMIT_PER_ADDRESS allows (5 per
    hour); all requests stay in the trace for RESET_RETENTION_DAYS.

    \b
    Ends with status
      0  the accounts cannot be told apart: every 95 % interval lies within its bar
      1  they can: an answer differs, or an interval lies beyond its bar
      2  no verdict
    """
    try:
        _insist_on_accounts(known, unknown)
        report = judge(measure(url, known, unknown, n, service().captcha.solve))
    except Unmeasurable as error:
        report = Report("none", f"No verdict: {error}.")
    click.echo(json.dumps(asdict(report), indent=2) if as_json else _verdict(report))
    sys.exit({"alike": 0, "different": 1}.get(report.verdict, 2))


def _insist_on_accounts(known: str, unknown: str) -> None:
    """Two addresses of one kind would be alike in any case."""
    try:
        is_registered = [
            bool(service().accounts.find_by_address(normalise(a))) for a in (known, unknown)
        ]
    except (AccountsUnavailable, InvalidAddress) as error:
        raise Unmeasurable(f"the accounts cannot be asked ({type(error).__name__})") from error
    if is_registered != [True, False]:
        raise Unmeasurable("--known must be registered, and --unknown must not")


def _verdict(report: Report) -> str:
    rows = [("", "seen", "95 % interval", "bar", "planted")]
    for one in report.figures:
        value, low, high = (f"{number:.4g}" for number in one.value)
        bar = f"{one.bar[0]:g} to {one.bar[1]:g}"
        rows.append((one.what, value, f"{low} to {high}", bar, f"{one.planted[0]:.4g}"))
    table = [f"{a:<34}{b:>8}  {c:<20}  {d:<12}{e:>8}" for a, b, c, d, e in rows]
    compared = [
        f"{what + ', answers compared':<34}{counts[KNOWN]:>8}  + {counts[UNKNOWN]}"
        for what, counts in report.compared.items()
    ]
    return "\n".join([*(table if report.figures else []), *compared, report.sentence])


@contextmanager
def _told_when_down() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as error:
        raise click.ClickException(f"the service's database does not answer ({error})") from error


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
