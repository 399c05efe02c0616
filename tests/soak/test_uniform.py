"""Nobody learns who is registered: every kind of account against an unknown address.

`make test` compares bytes; times are measured in `make soak` alone, by the operator's own command.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from reset import audit
from reset.captcha import answer
from reset.mail import outbox
from reset.measurement import measure
from reset.service import Service
from tests.conftest import ADDRESS, ENVIRON, KEY, Portal
from tests.servers.service import Host
from tests.servers.smtp import Sink, serving
from tests.soak.conftest import Note, Rounds

UNKNOWN = "nix@example.com"
BACKLOG = 10_000
MANY = "1000000 per hour"

pytestmark = pytest.mark.usefixtures("accounts")


@pytest.fixture
def accounts(portal: Portal) -> None:
    """Ana gets a link; the others do not, or get two in one mail."""
    portal.add()
    portal.add("off", "off@example.com", activo=0)
    portal.add("adm", "adm@example.com")
    portal.add("two.a", "two@example.com")
    portal.add("two.b", "two@example.com")


def test_answers_are_the_same_for_everybody(
    tmp_path: Path, portal: Portal, rounds: Rounds, figure: Note
) -> None:
    """Status, headers, their order and pages, from the first request to those over the limit."""
    with _serving(tmp_path, portal, {"RESET_LIMIT_PER_ADDRESS": "5 per hour"}) as host:
        for known in (ADDRESS, "off@example.com", "adm@example.com", "two@example.com"):
            url, pairs = f"http://127.0.0.1:{host.port}", rounds(10, 200)
            samples = measure(url, known, UNKNOWN, pairs, lambda text: answer(text, [KEY]))
            assert samples.difference() is None
            assert samples.answers["page"]["known"].total() >= pairs
            figure("1 nobody learns", f"answers that differ, {known}, {pairs} pairs", 0, "0")


@pytest.mark.times
@pytest.mark.parametrize(
    ("n", "known", "settings"),
    [
        (5000, ADDRESS, {"RESET_LIMIT_PER_ADDRESS": MANY}),
        (5000, "off@example.com", {"RESET_LIMIT_PER_ADDRESS": MANY}),
        (5000, ADDRESS, {"RESET_LIMIT_PER_ADDRESS": "5 per hour"}),
        (5000, ADDRESS, {"RESET_MAIL_PORT": "1", "RESET_LIMIT_PER_ADDRESS": MANY}),
    ],
    ids=["each gets a mail", "disabled", "over the limit", "mail server down"],
)
def test_times_are_the_same_for_everybody(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    portal: Portal,
    rounds: Rounds,
    figure: Note,
    n: int,
    known: str,
    settings: dict[str, str],
) -> None:
    """That of POST and that of the next visitor's request."""
    with _serving(tmp_path, portal, settings) as host:
        _note(figure, request.node.callspec.id, n, _prove(host, n, known))


@pytest.mark.times
def test_times_with_a_long_queue(
    tmp_path: Path, portal: Portal, app: Flask, rounds: Rounds, figure: Note
) -> None:
    """The worker is busy with thousands of mails."""
    parts: Service = app.extensions["reset"]
    now = datetime.now(UTC)
    with parts.database.begin() as tx:
        for _ in range(BACKLOG):
            number = audit.new_number()
            audit.open_request(tx, number, ADDRESS, "es", now=now)
            content = {"limited": "no"}
            outbox.enqueue(tx, number, "reset_link", host="example.com", now=now, content=content)
    with _serving(tmp_path, portal, {"RESET_LIMIT_PER_ADDRESS": MANY}) as host:
        _note(figure, f"{BACKLOG} mails waiting", 5000, _prove(host, 5000))


@pytest.mark.times
def test_times_over_a_directory(
    request: pytest.FixtureRequest, tmp_path: Path, portal: Portal, rounds: Rounds, figure: Note
) -> None:
    """Looking up over LDAP takes longer than in a table; nobody waits for it."""
    slapd = request.getfixturevalue("slapd")
    slapd.person()
    columns = dict.fromkeys((name for name in ENVIRON if "_ACCOUNTS_" in name), "")
    rules = {"RESET_ACCOUNTS_LDAP_EXCLUDE_GROUPS": "", "RESET_ACCOUNTS_EXCLUDE": ""}
    settings = columns | slapd.settings | rules | {"RESET_LIMIT_PER_ADDRESS": MANY}
    with _serving(tmp_path, portal, settings) as host:
        _note(figure, "LDAP", 5000, _prove(host, 5000))


@contextmanager
def _serving(folder: Path, portal: Portal, settings: dict[str, str]) -> Iterator[Host]:
    """Web and worker, with a mail server that takes everything."""
    with serving(Sink()) as smtp:
        environ = {
            "RESET_DATABASE_URL": f"sqlite:///{folder}/reset.sqlite",
            "RESET_ACCOUNTS_URL": f"sqlite:///{portal.path}",
            "RESET_ACCOUNTS_EXCLUDE": "usuario=adm",
            "RESET_LIMIT_PER_IP": MANY,
            "RESET_MAIL_PORT": str(smtp),
        }
        with Host(folder, environ | settings) as host:
            host.start_web()
            host.start_worker()
            yield host


def _prove(host: Host, n: int, known: str = ADDRESS) -> dict[str, Any]:
    """What the command says for machines."""
    command = [sys.executable, "-m", "flask", "--app", "app", "reset", "prove-uniform", "--json"]
    addresses = ["--known", known, "--unknown", UNKNOWN, "--n", str(n)]
    told = host.run(*command, f"http://127.0.0.1:{host.port}", *addresses)
    report: dict[str, Any] = json.loads(told.stdout)
    return report


def _note(figure: Note, scenario: str, n: int, report: dict[str, Any]) -> None:
    """Put it into the table; only what surely lies beyond the bar is a failure."""
    for one in report["figures"]:
        seen = "{:.4g} ({:.4g} to {:.4g})".format(*one["value"])
        figure(
            "1 nobody learns",
            f"{one['what']}, {scenario}, n={n}",
            seen,
            "{:g} to {:g}".format(*one["bar"]),
        )
    figure("1 nobody learns", f"verdict, {scenario}, n={n}", report["sentence"], "alike")
    assert report["verdict"] != "different", report["sentence"]
