"""`flask reset limits|purge|keys`: what an operator looks after now and then."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

import config
from reset import flow, trail, worker
from reset.db import stamp
from tests.conftest import ADDRESS, ENVIRON, START, Clock, Visitor
from tests.desk import acts_in
from tests.test_limits import post_from

MakeApp = Callable[..., Flask]
MakeVisitor = Callable[[Flask], Visitor]


def run(visitor: Visitor, *args: str) -> str:
    """What `flask reset ...` prints."""
    told = visitor.app.test_cli_runner().invoke(args=["reset", *args])
    assert told.exit_code == 0, told.output
    return told.stdout


@pytest.fixture
def stopped(make_app: MakeApp, make_visitor: MakeVisitor) -> Visitor:
    """Two clients were stopped, one of them of a network, and one was not."""
    visitor = make_visitor(make_app(limit_per_ip="2 per minute"))
    for client in ("192.0.2.1", "2001:db8::7", "2001:db8::8", "192.0.2.1", "192.0.2.9"):
        post_from(visitor, client)
    return visitor


def test_limits_show_who_is_stopped(stopped: Visitor) -> None:
    """By network, what for, and until when."""
    stopped.parts.limits.allows_address(ADDRESS)
    told = run(stopped, "limits", "list")
    assert "counters that run: 4\n" in told
    assert "clients at their limit: 2\n  192.0.2.1 " in told
    assert "2001:db8::/64               request     2 of 2  until 10:01:00\n" in told
    assert "192.0.2.9" not in told


def test_limits_as_json(stopped: Visitor) -> None:
    """An address at its limit is counted, and told by no name."""
    while stopped.parts.limits.allows_address(ADDRESS):
        pass
    told = json.loads(run(stopped, "limits", "list", "--json"))
    assert (told["counters"], told["addresses_at_limit"]) == (4, 1)
    assert [one["client"] for one in told["clients"]] == ["192.0.2.1", "2001:db8::/64"]


@pytest.mark.parametrize("typed", ["192.0.2.1", "2001:db8::99", "2001:db8::/64"])
def test_client_is_let_in_again(stopped: Visitor, typed: str) -> None:
    """By its address, any of its network's, or as the list shows it."""
    client = typed.removesuffix("/64")
    assert post_from(stopped, client).status_code == 429
    assert run(stopped, "limits", "clear", typed) == "counters cleared: 1\n"
    assert post_from(stopped, client).status_code == 400


def test_address_may_ask_again(visitor: Visitor) -> None:
    """As it is typed; the trail tells who cleared it."""
    while visitor.parts.limits.allows_address(ADDRESS):
        pass
    assert json.loads(run(visitor, "limits", "clear", "ANA@example.com", "--json"))["cleared"] == 1
    assert visitor.parts.limits.allows_address(ADDRESS)
    (act,) = acts_in(visitor.parts.database)
    assert (act.operator, act.act) == ("console", "limit_cleared")


def test_nonsense_clears_nothing(app: Flask) -> None:
    """It is told what to give."""
    told = app.test_cli_runner().invoke(args=["reset", "limits", "clear", "ana"])
    assert told.exit_code == 2
    assert "give an e-mail address or an IP address" in told.output


def old_requests(visitor: Visitor, count: int) -> None:
    """So many requests whose retention is over."""
    for _ in range(count):
        visitor.parts.flow.request(
            ADDRESS, allowed=True, origin="", language="es", now=visitor.clock()
        )
    with visitor.parts.database.begin() as tx:
        tx.exec_driver_sql("UPDATE outbox SET state = 'dropped'")
    visitor.clock.advance(days=90, seconds=1)


def test_purge_deletes_what_is_old_at_once(visitor: Visitor, clock: Clock) -> None:
    """Without waiting for the worker; how many is told."""
    old_requests(visitor, 3)
    visitor.ask()
    assert run(visitor, "purge") == "requests deleted: 3\n"
    assert json.loads(run(visitor, "purge", "--json")) == {"requests": 0}
    assert len(visitor.parts.flow.trace(ADDRESS)) == 1


def test_visitors_need_not_wait_for_a_purge(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of old requests go in steps, and between any two of them others are stored."""
    monkeypatch.setattr(flow, "PURGE_STEP", 2)
    old_requests(visitor, 5)
    statuses = []
    monkeypatch.setattr(flow, "sleep", lambda _: statuses.append(visitor.ask().status_code))
    assert run(visitor, "purge") == "requests deleted: 5\n"
    assert statuses == [303, 303]


def test_mails_wait_for_a_part_of_a_purge_only(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker deletes so many, sends what is due, and goes on."""
    monkeypatch.setattr(flow, "PURGE_STEP", 2)
    monkeypatch.setattr(worker, "PURGE_MOST", 2)
    visitor.run_worker()
    old_requests(visitor, 5)
    left = []
    for _ in range(4):
        visitor.run_worker()
        left.append(len(visitor.parts.flow.trace(ADDRESS)))
    assert left == [3, 1, 0, 0]


def test_purge_forgets_old_acts(visitor: Visitor) -> None:
    """What operators did is kept for as long as what they did it to."""
    with visitor.parts.database.begin() as tx:
        trail.note(tx, "lucia", "viewed", "482109375562", now=START)
    visitor.clock.advance(days=90, seconds=1)
    run(visitor, "purge")
    assert acts_in(visitor.parts.database) == []


def test_new_key_is_strong(visitor: Visitor, tmp_path: Path) -> None:
    """The service starts with it; each is another."""
    keys = {run(visitor, "keys", "new").strip() for _ in range(2)}
    assert len(keys) == 2
    for key in keys:
        accounts = {"RESET_ACCOUNTS_URL": f"sqlite:///{tmp_path}/portal.sqlite"}
        environ = ENVIRON | accounts | {"RESET_SECRET_KEYS": key}
        assert config.load(environ, tmp_path).secret_keys == (key,)
    assert list(json.loads(run(visitor, "keys", "new", "--json"))) == ["key"]


def test_rotation_is_told_in_words(app: Flask) -> None:
    """Behind the old one, on standard error, so that the key alone can be piped."""
    told = app.test_cli_runner().invoke(args=["reset", "keys", "new", "--rotate"])
    assert "RESET_SECRET_KEYS=PRESENT,NEW" in told.stderr
    assert len(told.stdout.split()) == 1


def test_first_key_needs_no_settings() -> None:
    """Who has none yet asks here for it."""
    command = [sys.executable, "-m", "flask", "--app", "app", "reset", "keys", "new"]
    root = Path(__file__).parents[1]
    environ = {"FLASK_SKIP_DOTENV": "1", "PATH": ""}
    done = subprocess.run(
        command, cwd=root, env=environ, capture_output=True, text=True, check=True, timeout=120
    )
    assert len(done.stdout.strip()) == 64


def test_what_is_kept_keeps_nothing_else(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail that waits for longer than the retention stays; younger requests go."""
    monkeypatch.setattr(flow, "PURGE_STEP", 1)
    number = visitor.ask().location.rpartition("/")[2].replace("-", "")
    visitor.clock.advance(minutes=1)
    old_requests(visitor, 3)
    with visitor.parts.database.begin() as tx:
        tx.exec_driver_sql(f"UPDATE outbox SET state = 'queued' WHERE request = '{number}'")
    assert run(visitor, "purge") == "requests deleted: 3\n"
    assert [request.number for request in visitor.parts.flow.trace(ADDRESS)] == [number]


def spend(visitor: Visitor, count: int) -> None:
    """So many captchas that were answered, too long ago to matter."""
    with visitor.parts.database.begin() as tx:
        for number in range(count):
            row = {"nonce": f"{number}", "at": stamp(START + timedelta(seconds=number))}
            tx.execute(sa.text("INSERT INTO captcha_spent VALUES (:nonce, :at)"), row)
    visitor.clock.advance(hours=2)


def spent(visitor: Visitor) -> int:
    """How many captchas are known as answered."""
    with visitor.parts.database.read() as tx:
        return int(tx.execute(sa.text("SELECT COUNT(*) FROM captcha_spent")).scalar_one())


def test_captchas_of_a_rush_are_forgotten_in_parts(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits while hundreds of thousands are deleted; the worker goes on where it was."""
    monkeypatch.setattr(flow, "FORGET_STEP", 2)
    visitor.run_worker()
    spend(visitor, 5)
    left = []
    for _ in range(4):
        visitor.run_worker()
        left.append(spent(visitor))
    assert left == [3, 1, 0, 0]


def test_purge_forgets_all_captchas(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Part by part, until none is left."""
    monkeypatch.setattr(flow, "FORGET_STEP", 2)
    spend(visitor, 5)
    run(visitor, "purge")
    assert spent(visitor) == 0
