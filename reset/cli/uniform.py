"""The proof that accounts cannot be told apart: `flask reset prove-uniform`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from reset.address import normalise
from reset.cli.output import json_option
from reset.cli.root import commands
from reset.errors import AccountsUnavailable, InvalidAddress, Unmeasurable
from reset.measurement import measure
from reset.service import service
from reset.uniformity import KNOWN, UNKNOWN, Report, judge


@commands.command("prove-uniform")
@click.argument("url")
@click.option("--known", required=True, help="A registered address, of the operator's own.")
@click.option("--unknown", required=True, help="One that is not registered, best of equal length.")
@click.option("--n", type=click.IntRange(10), default=5000, help="Requests for each address.")
@json_option
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
