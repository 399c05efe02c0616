"""Several connections to a real mail server: more where it is slow, fewer where it wants fewer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from flask import Flask

from config import Settings
from reset.handover import BATCH
from reset.mail.couriers import MOST_CONNECTIONS
from tests.conftest import Clock, Portal, Visitor
from tests.servers.smtp import Sink, serving
from tests.test_handover import ask, register

MakeVisitor = Callable[[int], Visitor]


@pytest.fixture
def visitor_of(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor], settings: Settings
) -> MakeVisitor:
    """The service with a worker that speaks SMTP to *port* of this machine."""

    def make(port: int) -> Visitor:
        mail = replace(settings.mail, server="127.0.0.1", port=port)
        visitor = make_visitor(make_app(mail=mail))
        visitor.worker = visitor.parts.make_worker()
        return visitor

    return make


@pytest.fixture
def people(portal: Portal) -> list[str]:
    """A batch of people with accounts."""
    return [register(portal, f"p{number}") for number in range(BATCH)]


class Slow(Sink):
    """Thinks about each mail; takes so many connections, and hangs up in the middle of some."""

    def __init__(self, *, connections: int = 100, drops: int = 0) -> None:
        super().__init__()
        self.open: set[Session] = set()
        self.most = 0
        self._connections, self._drops = connections, drops

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, name: str, answers: list[str]
    ) -> list[str]:
        session.host_name = name
        return answers

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any
    ) -> str:
        if session not in self.open and len(self.open) >= self._connections:
            return "421 4.7.0 too many connections"
        self.open.add(session)
        self.most = max(self.most, len(self.open))
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, *args: Any) -> str:
        if self._drops and self.most > 1:
            self._drops -= 1
            args[0].transport.abort()
        return str(await super().handle_RCPT(*args))

    async def handle_DATA(self, *args: Any) -> str:
        await asyncio.sleep(0.15)
        return str(await super().handle_DATA(*args))


def arrived(sink: Sink) -> list[str]:
    return sorted(envelope.rcpt_tos[0] for envelope in sink.envelopes)


def test_slow_server_is_given_several_mails_at_once(
    visitor_of: MakeVisitor, people: list[str]
) -> None:
    """Each once, and every one is noted."""
    slow = Slow()
    with serving(slow) as port:
        visitor = visitor_of(port)
        ask(visitor, *people)
        visitor.run_worker()
        visitor.worker._handover.end()
    assert arrived(slow) == sorted(people)
    assert slow.most == MOST_CONNECTIONS
    assert {visitor.trace(person)[-1] for person in people} == {"mail_sent"}


def test_refusal_of_a_further_connection_is_no_outage(
    visitor_of: MakeVisitor, people: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A relay that lets us have one connection gets all mails over that one, at once."""
    narrow = Slow(connections=1)
    with serving(narrow) as port:
        visitor = visitor_of(port)
        ask(visitor, *people)
        visitor.run_worker()
        visitor.worker._handover.end()
    assert arrived(narrow) == sorted(people)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
    assert {visitor.trace(person)[-1] for person in people} == {"mail_sent"}


def test_lost_connection_costs_no_mail_and_no_copy(
    visitor_of: MakeVisitor, clock: Clock, people: list[str]
) -> None:
    """One of several breaks before its mail was taken: that one is tried again, no other."""
    rude = Slow(drops=2)
    with serving(rude) as port:
        visitor = visitor_of(port)
        ask(visitor, *people)
        visitor.run_worker()
        clock.advance(minutes=2)
        visitor.run_worker()
        visitor.worker._handover.end()
    assert arrived(rude) == sorted(people)


def test_quick_server_is_given_one_after_the_other(
    visitor_of: MakeVisitor, people: list[str]
) -> None:
    """In the order in which people asked."""
    sink = Sink()
    with serving(sink) as port:
        visitor = visitor_of(port)
        ask(visitor, *people)
        visitor.run_worker()
        visitor.worker._handover.end()
    assert [envelope.rcpt_tos[0] for envelope in sink.envelopes] == people
    assert len(sink.sessions) == 1
