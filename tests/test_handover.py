"""Rounds of the worker: many mails at a time, each once, at any speed of the mail server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from flask import Flask
from flask_mail import Message

from reset.db import Transaction
from reset.errors import MailDeferred, StoreUnavailable
from reset.handover import BATCH
from reset.mail.couriers import FRESH
from reset.mail.leases import LEASE
from tests.conftest import ADDRESS, Clock, Portal, RecordingSender, Visitor, links_in


@pytest.fixture
def people(portal: Portal) -> list[str]:
    """A batch of people with accounts."""
    return [register(portal, f"p{number}") for number in range(BATCH)]


def register(portal: Portal, login: str) -> str:
    address = f"{login}@example.com"
    portal.add(login, address)
    return address


def ask(visitor: Visitor, *addresses: str) -> None:
    """As the form does, without it."""
    for address in addresses:
        visitor.parts.flow.request(
            address, allowed=True, origin="", language="es", now=visitor.clock()
        )


def test_slow_server_gets_each_mail_once(
    visitor: Visitor, clock: Clock, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits behind others for longer than a lease is not sent by another worker, too."""
    other = Visitor(visitor.app, RecordingSender(visitor.app), clock)
    take = visitor.sender.send

    def take_long(message: Message) -> None:
        clock.advance(seconds=LEASE.total_seconds() / 4)
        other.run_worker()
        take(message)

    monkeypatch.setattr(visitor.sender, "send", take_long)
    ask(visitor, *people)
    visitor.run_worker()
    sent = [mail.recipients[0] for mail in visitor.sender.sent + other.sender.sent]
    assert sorted(map(str, sent)) == sorted(people)
    assert [mail.recipients[0] for mail in visitor.sender.sent] == people


def test_life_of_a_link_counts_from_its_hand_over(
    visitor: Visitor, clock: Clock, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of the last one of many that a slow server took one after the other."""
    take = visitor.sender.send
    taken_at = []

    def take_long(message: Message) -> None:
        taken_at.append(clock())
        clock.advance(minutes=1)
        take(message)

    monkeypatch.setattr(visitor.sender, "send", take_long)
    ask(visitor, *people[:4])
    visitor.run_worker()
    links = [links_in(mail)[0] for mail in visitor.sender.sent]
    for link, at in zip(links, taken_at, strict=True):
        clock.now = at + timedelta(hours=12) - FRESH
        assert visitor.client.get(link).status_code == 200


def test_store_that_is_away_stops_the_hand_over(
    visitor: Visitor, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be noted is not added to; afterwards all are noted, and each was sent once."""
    take, raised = visitor.sender.send, threading.Event()

    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable

    def take_one(message: Message) -> None:
        if visitor.sender.sent:
            raised.wait(30)
        take(message)

    monkeypatch.setattr(visitor.sender, "send", take_one)
    ask(visitor, *people)
    with monkeypatch.context() as patch:
        patch.setattr(visitor.parts.delivery, "note_done", fail)
        with pytest.raises(StoreUnavailable):
            visitor.run_worker()
        raised.set()
        with pytest.raises(StoreUnavailable):
            visitor.worker._handover.end()
    assert len(visitor.sender.sent) <= 2
    visitor.run_worker()
    assert sorted(str(mail.recipients[0]) for mail in visitor.sender.sent) == sorted(people)
    assert {visitor.trace(person)[-1] for person in people} == {"mail_sent"}


def test_what_was_taken_is_noted_at_the_end(
    visitor: Visitor, ana: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is told to stop after its store was away leaves no mail to be sent again."""

    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable

    visitor.ask()
    with monkeypatch.context() as patch:
        patch.setattr(visitor.parts.delivery, "note_done", fail)
        with pytest.raises(StoreUnavailable):
            visitor.run_worker()
    stop = threading.Event()
    stop.set()
    visitor.worker.run(stop)
    assert visitor.trace()[-1] == "mail_sent"


def test_mail_that_is_out_is_not_claimed_anew(
    visitor: Visitor, clock: Clock, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is away for longer than a lease, while the server has a mail in its hands."""
    take, let_go = visitor.sender.send, threading.Event()

    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable

    def hold_the_second(message: Message) -> None:
        if visitor.sender.sent:
            let_go.wait(30)
        take(message)

    monkeypatch.setattr(visitor.sender, "send", hold_the_second)
    ask(visitor, *people[:2])
    with monkeypatch.context() as patch:
        patch.setattr(visitor.parts.delivery, "note_done", fail)
        with pytest.raises(StoreUnavailable):
            visitor.run_worker()
    let_go.set()
    clock.advance(seconds=LEASE.total_seconds() + 1)
    visitor.run_worker()
    assert sorted(str(mail.recipients[0]) for mail in visitor.sender.sent) == sorted(people[:2])


def test_connection_without_a_thread_is_done_without(
    visitor: Visitor, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system has no thread left for one more connection: all leaves on the first, once."""
    take, start, tried = visitor.sender.send, threading.Thread.start, threading.Event()
    visitor.sender.took_seconds = 5.0

    def start_one(thread: threading.Thread) -> None:
        if visitor.sender.sent:
            tried.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    def wait_for_the_other(message: Message) -> None:
        if visitor.sender.sent:
            assert tried.wait(30)
        take(message)

    monkeypatch.setattr(visitor.sender, "send", wait_for_the_other)
    ask(visitor, *people[:4])
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_one)
        visitor.run_worker()
    visitor.run_worker()
    assert sorted(str(mail.recipients[0]) for mail in visitor.sender.sent) == sorted(people[:4])


def test_answer_that_could_not_be_noted_costs_no_other_mail(
    visitor: Visitor, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store goes away between two answers: the mail that failed is tried again, no other."""
    visitor.sender.failures = [MailDeferred("451 later")]
    ask(visitor, *people[:3])

    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(visitor.parts.delivery, "note_deferred", fail)
        with pytest.raises(StoreUnavailable):
            visitor.run_worker()
    visitor.run_worker()
    assert sorted(str(mail.recipients[0]) for mail in visitor.sender.sent) == sorted(people[:3])


def test_mails_that_leave_together_are_counted_together(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor], ana: int
) -> None:
    """Two requests in one round are over a limit of one, as in two rounds."""
    visitor = make_visitor(make_app(limit_per_address="1 per hour"))
    ask(visitor, ADDRESS, ADDRESS)
    visitor.run_worker()
    assert len(visitor.mails()) == 1
    assert visitor.trace()[-1] in ("limited", "mail_sent")


def test_many_unknown_cost_as_few_transactions_as_one(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Visitors wait for each: the whole round needs three."""
    visitor.run_worker()  # The first run purges.
    writes: list[int] = []
    database = visitor.parts.database
    begin = database.begin

    def count(*, durable: bool = True) -> AbstractContextManager[Transaction]:
        writes[-1] += 1
        return begin(durable=durable)

    for many in (1, BATCH):
        ask(visitor, *(f"nadie{number}@example.com" for number in range(many)))
        writes.append(0)
        with monkeypatch.context() as patch:
            patch.setattr(database, "begin", count)
            visitor.worker.run_once()
    assert writes == [3, 3]


@pytest.mark.parametrize("email", [ADDRESS, "nadie@example.com"], ids=["registered", "unknown"])
def test_power_cut_undoes_a_claim_at_most(
    visitor: Visitor, ana: int, email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mail whose claim is lost waits again; links and that a mail left are durable."""
    visitor.run_worker()  # The first run purges.
    visitor.ask(email)
    commits: list[bool] = []
    begin = visitor.parts.database.begin

    def note(*, durable: bool = True) -> AbstractContextManager[Transaction]:
        commits.append(durable)
        return begin(durable=durable)

    monkeypatch.setattr(visitor.parts.database, "begin", note)
    visitor.worker.run_once()
    assert commits == [False, True, True]
