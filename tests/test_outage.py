"""A mail server that is down: few knocks, one alarm, and everything out soon after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from config import Settings
from reset.db import moment, stamp
from reset.errors import MailDeferred
from tests.conftest import Clock, Portal, Visitor, links_in

DOWN = MailDeferred("ConnectionRefusedError", server_down=True)
WRONG_PASSWORD = MailDeferred("535 5.7.8 no", server_down=True, refuses_us=True)
ENOUGH = 10_000
PEOPLE = [f"p{number}@example.com" for number in range(5)]


@pytest.fixture
def people(portal: Portal) -> list[str]:
    """Five people with accounts."""
    for person in PEOPLE:
        portal.add(person, person)
    return PEOPLE


def knocks_in(visitor: Visitor, clock: Clock, error: MailDeferred, **span: float) -> int:
    """How often the worker asked a server that says *error*, looking whenever a mail is due."""
    visitor.sender.failures = [error] * ENOUGH
    until = clock.now + timedelta(**span)
    while clock.now < until:
        visitor.run_worker()
        clock.now = min(until, next_due(visitor))
    knocks = ENOUGH - len(visitor.sender.failures)
    visitor.sender.failures = []
    return knocks


def next_due(visitor: Visitor) -> datetime:
    """When the next mail is to be tried."""
    with visitor.parts.database.read() as tx:
        found = tx.exec_driver_sql("SELECT MIN(due_at) FROM outbox WHERE state = 'queued'")
        return moment(found.scalar() or stamp(datetime.max.replace(tzinfo=UTC)))


def test_all_leave_in_order_when_the_server_is_back(
    visitor: Visitor, clock: Clock, people: list[str]
) -> None:
    """However long it was away, ten minutes later nobody waits."""
    for person in people:
        visitor.ask(person)
        knocks_in(visitor, clock, DOWN, hours=1)
    for _ in range(10):
        clock.advance(minutes=1)
        visitor.run_worker()
    assert [mail.recipients[0] for mail in visitor.sender.sent] == people


def test_server_is_asked_again_within_two_minutes(
    visitor: Visitor, clock: Clock, people: list[str]
) -> None:
    """A server that restarts delays mails by as long as it takes, not by half an hour."""
    visitor.ask(people[0])
    assert knocks_in(visitor, clock, DOWN, seconds=30) == 1
    clock.advance(seconds=90)
    visitor.run_worker()
    assert len(visitor.sender.sent) == 1


def test_server_that_is_down_is_not_hammered(
    visitor: Visitor, clock: Clock, people: list[str]
) -> None:
    """Who comes later waits for the next knock; a day has fewer than two hundred."""
    visitor.ask(people[0])
    assert 6 / 24 * 100 <= knocks_in(visitor, clock, DOWN, hours=6) <= 6 / 24 * 200
    for person in people[1:]:
        visitor.ask(person)
    assert knocks_in(visitor, clock, DOWN, minutes=1) == 0


def test_wrong_password_is_tried_seldom(
    visitor: Visitor, clock: Clock, people: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """An account that is asked too often is locked; the operator is told once, nothing is lost."""
    for person in people:
        visitor.ask(person)
    assert knocks_in(visitor, clock, WRONG_PASSWORD, hours=6) <= 25
    alarms = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [(alarm.getMessage(), vars(alarm)["reason"]) for alarm in alarms] == [
        ("mail server unavailable", "535")
    ]
    clock.advance(minutes=30)
    visitor.run_worker()
    assert len(visitor.sender.sent) == len(people)


def test_each_outage_is_told(
    visitor: Visitor, clock: Clock, people: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """One line at its beginning, one at its end, and again the next time."""
    for person in people[:2]:
        visitor.ask(person)
        knocks_in(visitor, clock, DOWN, hours=1)
        clock.advance(minutes=10)
        visitor.run_worker()
    told = [record.getMessage() for record in caplog.records if "mail server" in record.msg]
    assert told == ["mail server unavailable", "mail server answers again"] * 2


def test_outage_is_one_line_of_the_trace(visitor: Visitor, clock: Clock, people: list[str]) -> None:
    """The help desk reads that it was deferred and why, not two hundred times."""
    visitor.ask(people[0])
    knocks_in(visitor, clock, DOWN, hours=2)
    assert visitor.trace(people[0]) == ["requested", "account_found", "mail_deferred"]


def test_outage_longer_than_the_patience_gives_up(
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    settings: Settings,
    clock: Clock,
    people: list[str],
) -> None:
    """RESET_MAIL_GIVE_UP_AFTER holds for it, too; the trace has the reason."""
    short = replace(settings.mail, give_up_after=timedelta(hours=1))
    visitor = make_visitor(make_app(mail=short))
    visitor.ask(people[0])
    knocks_in(visitor, clock, DOWN, minutes=50)
    assert visitor.trace(people[0])[-1] == "mail_deferred"
    knocks_in(visitor, clock, DOWN, minutes=20)
    event = visitor.parts.flow.trace(people[0])[0].events[-1]
    assert (event.name, event.details["answer"]) == ("mail_abandoned", DOWN.answer)


def test_answer_to_one_mail_is_no_outage(visitor: Visitor, clock: Clock, people: list[str]) -> None:
    """Who is greylisted waits alone, and as long as before."""
    for person in people:
        visitor.ask(person)
    visitor.sender.failures = [MailDeferred("451 greylisted")]
    visitor.run_worker()
    assert [mail.recipients[0] for mail in visitor.sender.sent] == people[1:]


def test_mail_that_cannot_be_built_prolongs_no_outage(
    visitor: Visitor, clock: Clock, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest is the one that knocks; if it cannot, the next one does."""
    for person in people:
        visitor.ask(person)
    knocks_in(visitor, clock, DOWN, hours=1)
    compose = visitor.worker._compose
    failing = lambda letter: compose(letter) if letter.to != people[0] else 1 / 0  # noqa: E731
    monkeypatch.setattr(visitor.worker._handover, "_compose", failing)
    clock.advance(minutes=9)
    visitor.run_worker()
    assert [mail.recipients[0] for mail in visitor.sender.sent] == people[1:]


def test_links_live_from_the_hand_over(visitor: Visitor, clock: Clock, people: list[str]) -> None:
    """A mail that waited for hours brings a link with its whole life before it."""
    visitor.ask(people[0])
    knocks_in(visitor, clock, DOWN, hours=2)
    clock.advance(minutes=9)
    visitor.run_worker()
    clock.advance(hours=12)
    (mail,) = visitor.sender.sent
    assert visitor.client.get(links_in(mail)[0]).status_code == 200
    clock.advance(seconds=1)
    assert visitor.client.get(links_in(mail)[0]).status_code == 410
