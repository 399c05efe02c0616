"""Signs of life: every worker shows itself at a fixed beat, and takes its leave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from reset import heartbeat
from reset.errors import StoreUnavailable
from reset.heartbeat import Sign
from tests.conftest import START, Clock, Visitor
from tests.servers.service import until


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    """Tells a worker to stop; after a minute whatever happens."""
    event = threading.Event()
    timer = threading.Timer(60, event.set)
    timer.start()
    yield event
    timer.cancel()


def signs(visitor: Visitor) -> list[Sign]:
    """What any host sees of all workers."""
    with visitor.parts.database.read() as tx:
        return heartbeat.signs(tx)


def beat(visitor: Visitor, name: str, figures: dict[str, float] | None = None) -> None:
    """A worker on some host shows itself."""
    now = visitor.clock()
    with visitor.parts.database.begin() as tx:
        heartbeat.beat(tx, name, figures or {}, started_at=START, now=now)


def test_sign_tells_who_since_when_and_how_much(visitor: Visitor, clock: Clock) -> None:
    """The last beat of each worker counts; they do not overwrite one another."""
    beat(visitor, "b:1", {"done": 1})
    beat(visitor, "a:1")
    clock.advance(seconds=10)
    beat(visitor, "b:1", {"done": 3})
    assert signs(visitor) == [
        Sign("a:1", START, START, {}),
        Sign("b:1", START, START + timedelta(seconds=10), {"done": 3}),
    ]


def test_worker_counts_as_alive_for_three_beats(visitor: Visitor, clock: Clock) -> None:
    """One that is lost is no alarm."""
    beat(visitor, "a:1")
    clock.advance(seconds=30)
    assert signs(visitor)[0].is_alive(now=clock())
    clock.advance(seconds=1)
    assert not signs(visitor)[0].is_alive(now=clock())


def test_dead_worker_is_forgotten_after_a_day(visitor: Visitor, clock: Clock) -> None:
    """Until then it can be seen that one was killed."""
    beat(visitor, "dead:1")
    clock.advance(days=1)
    beat(visitor, "a:1")
    assert [sign.name for sign in signs(visitor)] == ["a:1", "dead:1"]
    clock.advance(seconds=1)
    beat(visitor, "a:1")
    assert [sign.name for sign in signs(visitor)] == ["a:1"]


def test_worker_shows_itself_while_a_mail_is_handed_over(
    visitor: Visitor, ana: int, monkeypatch: pytest.MonkeyPatch, stop: threading.Event
) -> None:
    """A mail server that takes its time neither delays the beat nor looks like a dead worker."""
    monkeypatch.setattr("reset.worker.BEAT", timedelta(milliseconds=20))
    seen: list[datetime] = []

    def wait(_: object) -> None:
        visitor.clock.advance(seconds=1)
        until(lambda: signs(visitor)[0].beat_at == visitor.clock() or stop.is_set())
        seen.extend(sign.beat_at for sign in signs(visitor))
        stop.set()

    visitor.ask()
    monkeypatch.setattr(visitor.sender, "send", wait)
    visitor.worker.beat()
    with visitor.app.app_context():
        visitor.worker.run(stop)
    assert seen == [visitor.clock()]


def test_worker_takes_its_leave(visitor: Visitor, stop: threading.Event) -> None:
    """One that was told to stop is not missed."""
    visitor.worker.beat()
    assert [sign.name for sign in signs(visitor)] == [visitor.worker.name]
    stop.set()
    visitor.worker.run(stop)
    assert signs(visitor) == []


@pytest.mark.parametrize("error", [StoreUnavailable, ZeroDivisionError])
def test_worker_goes_on_where_it_cannot_show_itself(
    visitor: Visitor,
    monkeypatch: pytest.MonkeyPatch,
    stop: threading.Event,
    error: type[Exception],
) -> None:
    """The database may be away for one beat and there for the next, or for none."""
    monkeypatch.setattr("reset.worker.BEAT", timedelta(milliseconds=20))
    tried: list[int] = []

    def fail(*_: object, **__: object) -> None:
        tried.append(1)
        if len(tried) > 1:
            stop.set()
        raise error

    monkeypatch.setattr(heartbeat, "beat", fail)
    visitor.worker.run(stop)
    assert len(tried) > 1


def test_worker_that_is_stuck_shows_nothing(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, stop: threading.Event
) -> None:
    """No hand-over takes as long as a lease: then something hangs, and somebody must hear of it."""
    monkeypatch.setattr("reset.worker.BEAT", timedelta(milliseconds=20))
    monkeypatch.setattr("reset.worker.LEASE", timedelta(0))
    turns: list[int] = []

    def turn() -> int:
        turns.append(1)
        if len(turns) > 2:
            stop.set()
        return 0

    monkeypatch.setattr(visitor.worker, "run_once", turn)
    monkeypatch.setattr(visitor.parts.delivery, "show_end", lambda _: None)
    visitor.worker.run(stop)
    assert signs(visitor) == []
