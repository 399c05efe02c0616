"""The operator's commands over a state in PostgreSQL and MariaDB."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from flask import Flask

from reset.errors import MailRefused
from tests.conftest import ADDRESS, Visitor

MakeApp = Callable[..., Flask]
MakeVisitor = Callable[[Flask], Visitor]


@pytest.fixture(params=["postgresql", "mysql"])
def state_url(request: pytest.FixtureRequest, state_servers: Callable[[str], str]) -> str:
    return state_servers(request.param)


def run(visitor: Visitor, *args: str) -> Any:
    """What `flask reset ... --json` prints."""
    told = visitor.app.test_cli_runner().invoke(args=["reset", *args, "--json"])
    assert told.exit_code == 0, told.output
    return json.loads(told.stdout)


def test_queue_can_be_looked_after(visitor: Visitor, ana: int) -> None:
    """A refused mail is seen, tried again, and another one dropped."""
    visitor.sender.failures = [MailRefused("550 no such user")]
    visitor.ask()
    visitor.run_worker()
    assert run(visitor, "outbox", "list")["mails"][0]["answer"] == "550 no such user"
    assert run(visitor, "outbox", "retry", "--all") == {"retried": 1, "left_alone": 0}
    visitor.run_worker()
    assert len(visitor.mails()) == 1
    visitor.ask()
    assert run(visitor, "outbox", "drop", "--all", "--yes") == {"dropped": 1, "left_alone": 0}
    assert run(visitor, "outbox", "list") == {"total": 0, "mails": []}


def test_person_can_be_shown_and_erased(visitor: Visitor, ana: int) -> None:
    """With all that hangs on their requests."""
    visitor.set_password(visitor.link())
    shown = visitor.app.test_cli_runner().invoke(args=["reset", "person", "export", ADDRESS])
    assert json.loads(shown.stdout)["requests"][0]["links"][0]["state"] == "used"
    erased = run(visitor, "person", "erase", ADDRESS, "--yes")["erased"]
    assert erased == {"requests": 1, "acts": 1, "counters": 1}
    with visitor.parts.database.read() as tx:
        for table in ("requests", "events", "links", "outbox"):
            assert tx.exec_driver_sql(f"SELECT COUNT(*) FROM {table}").scalar() == 0


def test_trail_and_retention(visitor: Visitor, ana: int) -> None:
    """The export has each event; after the retention a purge leaves nothing."""
    visitor.link()
    exported = visitor.app.test_cli_runner().invoke(args=["reset", "audit", "export", "--jsonl"])
    events = [json.loads(line)["event"] for line in exported.stdout.splitlines()]
    assert events == ["requested", "account_found", "mail_sent"]
    visitor.clock.advance(days=91)
    assert run(visitor, "purge") == {"requests": 1}
    assert run(visitor, "limits", "list")["counters"] == 0


def test_many_hosts_send_one_digest(make_app: MakeApp, make_visitor: MakeVisitor, ana: int) -> None:
    """However close together they look."""
    visitor = make_visitor(make_app(help_desk_digest_to="mesa@example.com"))
    visitor.ask()
    visitor.clock.advance(hours=22)
    hosts, start = 6, Barrier(6)

    def claim(_: int) -> bool:
        start.wait(60)
        return visitor.worker._digest.claim("2026-11-23", now=visitor.clock()) is not None

    with ThreadPoolExecutor(hosts) as pool:
        assert sum(pool.map(claim, range(hosts))) == 1
