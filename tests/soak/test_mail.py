"""The outbox on bad days of the mail server: nothing lost, nothing twice, nobody hammered."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from time import monotonic, sleep
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from flask import Flask

from config import Settings
from reset.audit import spoken
from reset.handover import BATCH
from reset.mail import leases
from tests.conftest import Clock, Portal, Visitor, hash_bcrypt
from tests.servers.smtp import Sink, serving, text_of
from tests.servers.wire import Listener
from tests.soak.conftest import Note, Rounds
from tests.test_outage import next_due

REFUSED = "SELECT attempts FROM outbox JOIN requests ON number = request WHERE address LIKE 'gone%'"
DAY, TEN_MINUTES = timedelta(days=1), timedelta(minutes=10)


class Knocks(Listener):
    """A server that is there and takes nothing; notes when somebody comes."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.at: list[datetime] = []
        self._clock = clock

    def serve(self, client: socket.socket) -> None:
        self.at.append(self._clock())
        client.sendall(b"421 4.3.2 not now\r\n")
        client.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def make_visitor_of(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor], settings: Settings
) -> Callable[[int], Visitor]:
    """The service and a worker over real SMTP to *port*."""

    def make(port: int) -> Visitor:
        mail = replace(settings.mail, server="127.0.0.1", port=port)
        visitor = make_visitor(make_app(mail=mail, limit_per_ip="100000 per minute"))
        visitor.worker = visitor.parts.make_worker()
        return visitor

    return make


@contextmanager
def recovered(visitor: Visitor, port: int) -> Iterator[Sink]:
    """The mail server is back."""
    sink = Sink()
    with serving(sink, port):
        yield sink
        visitor.worker._sender.close()


def work(visitor: Visitor, clock: Clock, span: timedelta) -> None:
    """Time goes by; the worker does its rounds whenever a mail is due."""
    until = clock.now + span
    while clock.now < until:
        visitor.run_worker()
        clock.now = min(until, next_due(visitor))
    visitor.run_worker()


def rows(visitor: Visitor, what: str) -> list[Any]:
    with visitor.parts.database.read() as tx:
        return list(tx.exec_driver_sql(what).all())


def addresses(portal: Portal, count: int) -> list[str]:
    """So many people."""
    clave = hash_bcrypt("x")
    people = [f"p{number}@example.com" for number in range(count)]
    for person in people:
        portal.add(person, person, clave=clave)
    return people


def test_day_without_a_mail_server(
    make_visitor_of: Callable[[int], Visitor],
    portal: Portal,
    clock: Clock,
    rounds: Rounds,
    figure: Note,
) -> None:
    """Nothing lost or twice, few knocks, one flag, all out ten minutes later with fresh links."""
    people = addresses(portal, rounds(24, 500))
    with Knocks(clock) as knocks:
        visitor = make_visitor_of(knocks.port)
        for person in people:
            assert visitor.ask(person).status_code == 303
            work(visitor, clock, DAY / len(people))
    with recovered(visitor, knocks.port) as sink:
        back = clock.now
        while len(sink.envelopes) < len(people) and clock.now < back + TEN_MINUTES:
            work(visitor, clock, timedelta(seconds=30))
        delay = clock.now - back
        work(visitor, clock, timedelta(hours=1))
    pauses = [later - earlier for earlier, later in zip(knocks.at, knocks.at[1:], strict=False)]
    attempts = [row.attempts for row in rows(visitor, "SELECT attempts FROM outbox")]
    flagged = [
        [e.at - found.created_at for e in found.events if e.name == "overdue"]
        for person in people
        for found in visitor.parts.flow.trace(person)
    ]
    clock.now = back + visitor.parts.link_lifetime * 0.95
    alive = [
        visitor.client.get(re.findall(r"/nueva/\S+", text_of(mail))[0]).status_code == 200
        for mail in sink.mails()
    ]
    figure(
        "2 nothing lost",
        "requests of a day, mails ten minutes after",
        f"{len(people)}, {len(alive)}",
        "=",
    )
    figure(
        "2 nothing lost",
        "first retry, longest pause",
        f"{pauses[0]}, {max(pauses)}",
        "2 min, 30 min",
    )
    figure("2 nothing lost", "attempts at a message at most", max(attempts), "50 to 200")
    figure("2 nothing lost", "knocks in the day", len(knocks.at), "one at once")
    figure("2 nothing lost", "delay of the last after the recovery", delay, "10 min")
    figure("2 nothing lost", "links with 95 % of their life left", sum(alive), "all")
    assert sorted(envelope.rcpt_tos[0] for envelope in sink.envelopes) == sorted(people)
    assert len({mail["Message-ID"] for mail in sink.mails()}) == len(people)
    assert pauses[0] <= timedelta(minutes=2)
    assert max(pauses) <= timedelta(minutes=30)
    assert 50 <= max(attempts) <= 200
    assert all(alive)
    assert [len(flags) for flags in flagged].count(1) >= len(people) // 2
    # The clock of the test moves by up to nine minutes.
    assert all(DAY / 2 <= at <= DAY / 2 + TEN_MINUTES for flags in flagged for at in flags)
    assert max(map(len, flagged)) == 1


def test_greylisting_costs_minutes(
    make_visitor_of: Callable[[int], Visitor], clock: Clock, ana: int, figure: Note
) -> None:
    """Twice not now: the third attempt is within ten minutes of the first."""
    sink, start = Sink(), clock.now
    sink.answers = ["451 4.7.1 greylisted"] * 2
    with serving(sink) as port:
        visitor = make_visitor_of(port)
        visitor.ask()
        while not sink.envelopes and clock.now < start + TEN_MINUTES:
            work(visitor, clock, timedelta(seconds=10))
        visitor.worker._sender.close()
    figure("2 nothing lost", "delay by 451 twice", clock.now - start, "10 min")
    assert len(sink.envelopes) == 1


class Picky(Sink):
    """Refuses some people for good, and some for now."""

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any
    ) -> str:
        if address.startswith("gone"):
            return "550 5.1.1 unknown"
        if address.startswith("never"):
            return "451 4.2.0 broken mailbox"
        return str(await super().handle_RCPT(server, session, envelope, address, options))


def test_poison_holds_nobody_up(
    make_visitor_of: Callable[[int], Visitor],
    portal: Portal,
    clock: Clock,
    rounds: Rounds,
    figure: Note,
) -> None:
    """What cannot be read, addressed or taken is flagged; all others leave in the same round."""
    many, bad = rounds(40, 1000), rounds(4, 12)
    people = addresses(portal, many - bad)
    kinds = ["gone", "never", "header", "row"]
    poison = [f"{kinds[number % 4]}{number}@example.com" for number in range(bad)]
    for person in poison:
        portal.add(person, person)
    mixed = [*people]
    for number, person in enumerate(poison):
        mixed.insert(number * many // bad, person)
    sink = Picky()
    with serving(sink) as port:
        visitor = make_visitor_of(port)
        ask = partial(
            visitor.parts.flow.request, allowed=True, origin="", language="es", now=clock()
        )
        numbers = {person: ask(person) for person in mixed}
        with visitor.parts.database.begin() as tx:
            of = "WHERE request IN (SELECT number FROM requests WHERE address LIKE ?)"
            tx.exec_driver_sql(f"UPDATE outbox SET content = '[' {of}", ("row%",))
            tx.exec_driver_sql(f"UPDATE outbox SET message_id = 'a\nBcc: b' {of}", ("header%",))
        visitor.run_worker()
        got = [envelope.rcpt_tos[0] for envelope in sink.envelopes]
        work(visitor, clock, timedelta(hours=13))
        visitor.worker._sender.close()
    refused = {row.attempts for row in rows(visitor, REFUSED)}
    flagged = [
        person
        for person, number in numbers.items()
        for found in visitor.parts.flow.trace(number)
        if {event.name for event in found.events} & {"mail_refused", "overdue"}
    ]
    figure("2 nothing lost", f"delivered of {many} with {bad} poison", len(got), f"{many - bad}")
    figure("2 nothing lost", "flagged for the help desk", len(flagged), f"{bad}")
    figure("2 nothing lost", "attempts at a mail refused with 550", refused, "1")
    figure("2 nothing lost", "delay of the others", "none (the same round)", "1 retry tick")
    assert got == people
    assert refused == {1}
    assert sorted(flagged) == sorted(poison)
    assert len(sink.envelopes) == len(people)


def test_backlog_leaves_in_order_of_age(
    make_visitor_of: Callable[[int], Visitor],
    portal: Portal,
    clock: Clock,
    rounds: Rounds,
    figure: Note,
) -> None:
    """Each once, the oldest first; who asked again gets a newest link that works."""
    people = addresses(portal, rounds(30, 5000))
    with Knocks(clock) as knocks:
        visitor = make_visitor_of(knocks.port)
        numbers = []
        for person in [*people, *people]:
            clock.advance(seconds=1)
            numbers.append(
                visitor.parts.flow.request(
                    person, allowed=True, origin="", language="es", now=clock()
                )
            )
        empty = seconds_to_claim(visitor, clock.now - DAY)
        full = seconds_to_claim(visitor, clock.now)
        visitor.run_worker()
    assert len(knocks.at) == 1
    clock.advance(minutes=6)
    with recovered(visitor, knocks.port) as sink:
        begun = monotonic()
        visitor.run_worker()
        rate = len(sink.envelopes) / (monotonic() - begun)
    # Searched, not parsed: there are thousands.
    numbers_in, ids = seen(sink, rb"\d{4}-\d{4}-\d{4}"), seen(sink, rb"Message-ID:\s+\S+")
    newest = re.findall(r"/nueva/\S+", text_of(sink.mail()))[0]
    figure("2 nothing lost", "mails a second over loopback", round(rate), "-")
    claims = f"{1000 * empty:.1f} ms, {1000 * full:.1f} ms"
    figure("2 nothing lost", f"a claim, nothing due and {len(numbers)} waiting", claims, "-")
    assert numbers_in == [spoken(number).encode() for number in numbers]
    assert len(set(ids)) == len(numbers)
    assert visitor.client.get(newest).status_code == 200


def seconds_to_claim(visitor: Visitor, now: datetime) -> float:
    """How long a claim takes that is then given up."""
    begun = monotonic()
    with suppress(ZeroDivisionError), visitor.parts.database.begin() as tx:
        leases.claim(tx, limit=BATCH, now=now)
        raise ZeroDivisionError
    return monotonic() - begun


def seen(sink: Sink, pattern: bytes) -> list[bytes]:
    """The first place of *pattern* in each mail."""
    contents = (envelope.content for envelope in sink.envelopes)
    found = (re.search(pattern, content) for content in contents if isinstance(content, bytes))
    return [place[0] for place in found if place]


def test_slow_server_slows_no_other_worker(
    make_visitor_of: Callable[[int], Visitor],
    portal: Portal,
    clock: Clock,
    rounds: Rounds,
    figure: Note,
) -> None:
    """One worker hangs on a server that never ends its answer; another's mails go as before."""
    people = addresses(portal, 2 * rounds(5, 300))
    half = len(people) // 2
    sink = Sink()
    with serving(sink) as port, Endless() as endless:
        quick, held = make_visitor_of(port), make_visitor_of(endless.port)
        alone = seconds_to_mail(quick, clock, people[:half])
        held.parts.flow.request(
            "nadie@example.com", allowed=True, origin="", language="es", now=clock()
        )
        portal.add("nadie", "nadie@example.com")
        hanging = threading.Thread(target=held.run_worker, daemon=True)
        hanging.start()
        assert endless.met.wait(30)
        beside = seconds_to_mail(quick, clock, people[half:])
        quick.worker._sender.close()
    hanging.join(60)
    assert not hanging.is_alive()
    assert len(sink.envelopes) == len(people)
    figure(
        "2 nothing lost",
        "seconds a mail alone, beside a tarpit",
        f"{alone:.4f}, {beside:.4f}",
        "+10 %",
    )


def seconds_to_mail(visitor: Visitor, clock: Clock, people: list[str]) -> float:
    """What one mail takes, from claim to note."""
    for person in people:
        visitor.parts.flow.request(person, allowed=True, origin="", language="es", now=clock())
    begun = monotonic()
    visitor.run_worker()
    return (monotonic() - begun) / len(people)


class Endless(Listener):
    """Answers with a line that never is the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.met = threading.Event()

    def serve(self, client: socket.socket) -> None:
        self.met.set()
        while True:
            client.sendall(b"220-slow\r\n")
            sleep(0.02)
