"""Limits in a real Redis, and what holds while it is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from flask import Flask

from reset import counters
from tests.conftest import ADDRESS, Visitor, program
from tests.servers import redis as servers
from tests.servers.redis import RedisServer

MakeApp = Callable[..., Flask]
MakeVisitor = Callable[[Flask], Visitor]


@pytest.fixture
def redis(tmp_path: Path) -> RedisServer:
    return RedisServer(program("the Redis tests", "redis-server", "redis-server"), tmp_path)


@pytest.fixture
def up(redis: RedisServer) -> Iterator[ExitStack]:
    """The server runs; closing this ends it."""
    with ExitStack() as stack:
        stack.enter_context(redis.running())
        yield stack


@pytest.fixture(autouse=True)
def patient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no silent Redis."""
    if "silent" not in request.node.name:
        monkeypatch.setattr(counters, "REDIS_TIMEOUT_SECONDS", 20)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that was away is asked again with the next request."""
    monkeypatch.setattr(counters, "REDIS_AGAIN_SECONDS", 0)


@pytest.fixture
def hosts(redis: RedisServer, make_app: MakeApp, make_visitor: MakeVisitor) -> list[Visitor]:
    """A visitor of each of two hosts that share the Redis."""
    changes = {"ratelimit_storage_uri": redis.url, "limit_per_ip": "3 per minute"}
    return [make_visitor(make_app(**changes)) for _ in range(2)]


def statuses(hosts: list[Visitor]) -> list[int]:
    """What six forms in turn are answered, three at each host."""
    return [visitor.client.post("/").status_code for visitor in hosts * 3]


@pytest.mark.usefixtures("up")
def test_hosts_share_one_count(redis: RedisServer, hosts: list[Visitor]) -> None:
    """Three are let through, wherever they came in, and our own table is spared."""
    assert statuses(hosts) == [400, 400, 400, 429, 429, 429]
    assert redis.admin.dbsize() == 1
    with hosts[0].parts.database.read() as tx:
        assert tx.exec_driver_sql("SELECT COUNT(*) FROM limits").scalar() == 0


def test_redis_that_is_away_leaves_the_limits(hosts: list[Visitor]) -> None:
    """Our own database counts, for all hosts together; nobody sees an error."""
    assert statuses(hosts) == [400, 400, 400, 429, 429, 429]


def test_redis_killed_meanwhile_lets_twice_as_many_through(
    up: ExitStack, hosts: list[Visitor]
) -> None:
    """Not more: the count begins anew, in our own database."""
    assert statuses(hosts) == [400, 400, 400, 429, 429, 429]
    up.close()
    assert statuses(hosts) == [400, 400, 400, 429, 429, 429]


@pytest.mark.usefixtures("at_once")
def test_redis_is_used_again_when_it_is_back(redis: RedisServer, hosts: list[Visitor]) -> None:
    """Without a restart."""
    statuses(hosts)
    with redis.running():
        statuses(hosts)
        assert redis.admin.dbsize() == 1


@pytest.mark.usefixtures("up", "at_once")
@pytest.mark.parametrize("fault", ["flushed", "full", "wrong type", "password"])
def test_no_fault_of_redis_is_an_error_for_the_visitor(
    redis: RedisServer, hosts: list[Visitor], fault: str
) -> None:
    """Flushed, without memory, with foreign keys, without rights: the limit holds."""
    statuses(hosts)
    if fault == "flushed":
        redis.admin.flushall()
    elif fault == "full":
        redis.admin.flushall()
        redis.admin.config_set("maxmemory", "1")
    elif fault == "wrong type":
        (key,) = redis.admin.scan_iter()
        redis.admin.delete(key)
        redis.admin.lpush(key, "x")
    else:
        redis.admin.config_set("requirepass", "other")
        redis.admin.client_kill_filter(_type="normal", skipme=True)
    assert statuses(hosts) == [400, 400, 400, 429, 429, 429]


@pytest.mark.usefixtures("up")
def test_redis_that_falls_silent_is_no_error_for_the_visitor(
    redis: RedisServer, hosts: list[Visitor]
) -> None:
    """At most twice as many are let through."""
    seen = statuses(hosts)
    redis.admin.client_pause(60_000)
    seen += statuses(hosts)
    assert set(seen) == {400, 429}
    assert 3 <= seen.count(400) <= 6


@pytest.mark.usefixtures("up")
def test_mails_stay_few_when_all_counters_are_lost(
    redis: RedisServer, make_app: MakeApp, make_visitor: MakeVisitor, ana: int
) -> None:
    """A limit of mails per address holds by the mails themselves."""
    visitor = make_visitor(make_app(ratelimit_storage_uri=redis.url))
    for _ in range(9):
        assert visitor.ask().status_code == 303
        visitor.run_worker()
        redis.admin.flushall()
        visitor.clock.advance(minutes=1)
    assert len(visitor.mails()) == 5
    assert visitor.trace() == ["requested", "limited"]
    visitor.clock.advance(hours=1)
    visitor.ask()
    visitor.run_worker()
    assert len(visitor.mails(ADDRESS)) == 6


def test_silent_redis_is_waited_for_only_now_and_then(
    make_app: MakeApp, make_visitor: MakeVisitor, caplog: pytest.LogCaptureFixture
) -> None:
    """One request in ten seconds finds out; the others go straight to our own database."""
    with servers.silent() as url:
        visitor = make_visitor(make_app(ratelimit_storage_uri=url))
        assert {visitor.client.post("/").status_code for _ in range(5)} == {400}
    assert [r.message for r in caplog.records].count("redis unavailable") == 1


@pytest.mark.usefixtures("up")
def test_clearing_reaches_redis(hosts: list[Visitor]) -> None:
    """An operator at one host clears what both have counted, for a client and for an address."""
    statuses(hosts)
    limits = hosts[1].parts.limits
    assert [(c.who, c.hits, c.is_full) for c in limits.counters()] == [("127.0.0.1", 6, True)]
    assert limits.clear_client("127.0.0.1") == 1
    assert limits.counters() == []
    assert hosts[0].client.post("/").status_code == 400
    assert all(limits.allows_address(ADDRESS) for _ in range(5))
    assert limits.clear_address(ADDRESS) == 1
    assert limits.allows_address(ADDRESS)


def test_clearing_while_redis_is_away(hosts: list[Visitor]) -> None:
    """What our own table has counted meanwhile is cleared."""
    statuses(hosts)
    assert hosts[0].parts.limits.clear_client("127.0.0.1") == 1
    assert hosts[1].client.post("/").status_code == 400
