"""The outbox and its worker: nothing lost, nothing sent twice, the bad never block the good."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_mail import Message

from config import Settings
from reset.accounts import Account
from reset.db import Transaction
from reset.errors import AccountsUnavailable, MailDeferred, MailRefused, StoreUnavailable
from reset.mail.leases import LEASE
from reset.mail.outbox import Retry
from tests.conftest import ADDRESS, Clock, Portal, RecordingSender, Visitor, links_in, prepared

DOWN = MailDeferred("ConnectionRefusedError", server_down=True)
GREYLISTED = MailDeferred("451 try again later")


def test_deferred_mail_is_tried_again_within_two_minutes(
    visitor: Visitor, clock: Clock, ana: int
) -> None:
    """The same message, with the same Message-ID and a link that works."""
    visitor.sender.failures = [GREYLISTED]
    visitor.ask()
    visitor.run_worker()
    assert visitor.mails() == []
    clock.advance(minutes=2)
    visitor.run_worker()
    (mail,) = visitor.mails()
    assert visitor.client.get(links_in(mail)[0]).status_code == 200


def test_both_copies_of_a_doubtful_mail_work(visitor: Visitor, clock: Clock, ana: int) -> None:
    """If the server took the first one after all, its link is as good as the second's."""
    sent = visitor.sender.sent
    take = visitor.sender.send

    def take_but_lose_the_answer(message: object) -> None:
        take(message)  # type: ignore[arg-type]
        if len(sent) == 1:
            raise MailDeferred("SMTPServerDisconnected")

    visitor.sender.send = take_but_lose_the_answer  # type: ignore[method-assign]
    visitor.ask()
    visitor.run_worker()
    clock.advance(minutes=2)
    visitor.run_worker()
    links = [links_in(mail)[0] for mail in sent]
    assert len(links) == 2
    assert sent[0].msgId == sent[1].msgId
    assert links[0].partition(".")[0] == links[1].partition(".")[0]
    assert [visitor.client.get(link).status_code for link in links] == [200, 200]


def test_link_of_an_earlier_attempt_dies_with_a_change(
    visitor: Visitor, portal: Portal, clock: Clock, ana: int
) -> None:
    """A retry after a change by the portal does not revive the link of the first attempt."""
    taken = visitor.sender.send

    def take_and_fail(message: object) -> None:
        taken(message)  # type: ignore[arg-type]
        raise GREYLISTED

    visitor.sender.send = take_and_fail  # type: ignore[method-assign]
    visitor.ask()
    visitor.run_worker()
    portal.set(ana, clave=portal.stored(ana)[:-1] + "x")
    visitor.sender.send = taken  # type: ignore[method-assign]
    clock.advance(minutes=2)
    visitor.run_worker()
    first, second = (links_in(mail)[0] for mail in visitor.sender.sent)
    assert visitor.client.get(first).status_code == 410
    assert visitor.client.get(second).status_code == 200


def test_refused_mail_is_not_tried_again(visitor: Visitor, clock: Clock, ana: int) -> None:
    """A 5xx ends the matter; the trace has the server's words."""
    visitor.sender.failures = [MailRefused("550 no such user")]
    visitor.ask()
    visitor.run_worker()
    clock.advance(days=1)
    visitor.run_worker()
    event = visitor.parts.flow.trace(ADDRESS)[0].events[-1]
    assert visitor.sender.sent == []
    assert (event.name, event.details["answer"]) == ("mail_refused", "550 no such user")


def test_mail_that_was_taken_is_noted_when_the_store_is_back(
    visitor: Visitor, portal: Portal, ana: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that fails after the server took a mail costs no second copy, and no delay."""
    portal.add("beto", "beto@example.com")
    visitor.ask()
    visitor.ask("beto@example.com")

    def fail(*_: object, **__: object) -> bool:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr("reset.mail.leases.mark_sent", fail)
        with pytest.raises(StoreUnavailable):
            visitor.run_worker()
    visitor.run_worker()
    assert len(visitor.mails()) == 1
    assert len(visitor.mails("beto@example.com")) == 1
    assert visitor.trace()[-1] == "mail_sent"


def test_one_knock_shows_that_the_server_is_down(visitor: Visitor, ana: int) -> None:
    """While nothing answers, a batch makes one attempt, not one a message."""
    for _ in range(5):
        visitor.ask()
    visitor.sender.failures = [DOWN, MailRefused("must not be asked")]
    visitor.run_worker()
    assert len(visitor.sender.failures) == 1
    assert visitor.trace()[-1] == "mail_deferred"


def test_one_bad_message_never_blocks_the_rest(visitor: Visitor, portal: Portal, ana: int) -> None:
    """Whatever goes wrong with one, the others leave in the same round."""
    portal.add("beto", "beto@example.com")
    visitor.ask()
    visitor.ask("beto@example.com")
    visitor.sender.failures = [ZeroDivisionError()]  # type: ignore[list-item]
    visitor.run_worker()
    assert len(visitor.mails("beto@example.com")) == 1
    assert visitor.trace()[-1] == "mail_deferred"


def test_accounts_that_are_down_delay_the_mail(
    visitor: Visitor, portal: Portal, clock: Clock, ana: int
) -> None:
    """The request was accepted; the look-up follows when the portal's store answers again."""
    visitor.ask()
    with portal.down():
        visitor.run_worker()
    clock.advance(minutes=2)
    visitor.run_worker()
    assert len(visitor.mails()) == 1


def test_account_that_cannot_be_read_delays_nobody_else(
    visitor: Visitor, portal: Portal, ana: int
) -> None:
    """One damaged row is no outage of the portal's store."""
    portal.add("beto", "beto@example.com")
    portal.execute("UPDATE usuarios SET nombre = CAST(x'ff' AS TEXT) WHERE usuario = 'ana.perez'")
    visitor.ask()
    visitor.ask("beto@example.com")
    visitor.run_worker()
    assert len(visitor.mails("beto@example.com")) == 1
    assert visitor.trace()[-1] == "mail_deferred"


def test_accounts_that_are_down_are_asked_twice_in_a_batch(
    visitor: Visitor, portal: Portal, ana: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look-up may wait for a time-out; a confirmation behind them needs none and leaves."""
    link = visitor.link()
    for _ in range(3):
        visitor.ask()
    visitor.set_password(link)
    asked = []

    def find(address: str) -> list[Account]:
        asked.append(address)
        raise AccountsUnavailable

    monkeypatch.setattr(visitor.parts.accounts, "find_by_address", find)
    visitor.run_worker()
    assert len(asked) == 2
    assert [mail.subject for mail in visitor.mails()][1:] == ["Su contraseña fue actualizada"]


def test_lease_of_a_dead_worker_runs_out(visitor: Visitor, clock: Clock, ana: int) -> None:
    """What a killed worker had claimed is sent by the next one, once."""
    visitor.ask()
    assert len(visitor.parts.delivery.claim(limit=5, now=clock())) == 1
    visitor.run_worker()
    assert visitor.mails() == []
    clock.advance(seconds=LEASE.total_seconds())
    visitor.run_worker()
    assert len(visitor.mails()) == 1


def test_worker_that_wakes_late_sends_nothing(visitor: Visitor, clock: Clock, ana: int) -> None:
    """A worker stopped for long finds its lease gone: no second mail, no note over the other's."""
    visitor.ask()
    delivery = visitor.parts.delivery
    (stale,) = delivery.claim(limit=5, now=clock())
    clock.advance(seconds=LEASE.total_seconds())
    visitor.run_worker()
    assert prepared(visitor.parts, stale, now=clock()) is None
    delivery.note_refused(stale, "550", now=clock())
    assert visitor.trace()[-1] == "mail_sent"


def test_worker_frozen_before_the_hand_over_sends_nothing(
    visitor: Visitor, clock: Clock, ana: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after its claim, it wakes up to find the mail taken over and sent: once is enough."""
    visitor.ask()
    other = Visitor(visitor.app, RecordingSender(visitor.app), clock)
    find = visitor.parts.accounts.find_by_address

    def freeze(address: str) -> list[Account]:
        monkeypatch.setattr(visitor.parts.accounts, "find_by_address", find)
        clock.advance(seconds=LEASE.total_seconds())
        other.run_worker()
        return find(address)

    monkeypatch.setattr(visitor.parts.accounts, "find_by_address", freeze)
    visitor.run_worker()
    assert (len(visitor.mails()), len(other.mails())) == (0, 1)
    assert visitor.trace() == ["requested", "account_found", "mail_sent"]


@pytest.mark.parametrize(
    "outcome", [None, GREYLISTED, DOWN, MailRefused("550"), ZeroDivisionError()], ids=repr
)
def test_worker_frozen_in_the_hand_over_marks_nothing(
    visitor: Visitor, clock: Clock, ana: int, outcome: Exception | None
) -> None:
    """What another took over and sent stays sent, whatever the first one hears when it wakes."""
    visitor.ask()
    other = Visitor(visitor.app, RecordingSender(visitor.app), clock)
    take = visitor.sender.send

    def freeze(message: Message) -> None:
        clock.advance(seconds=LEASE.total_seconds())
        other.run_worker()
        if outcome is not None:
            raise outcome
        take(message)

    visitor.sender.send = freeze  # type: ignore[method-assign]
    visitor.run_worker()
    clock.advance(days=1)
    visitor.run_worker()
    other.run_worker()
    assert len(other.mails()) == 1
    assert {mail.msgId for mail in visitor.mails()} <= {mail.msgId for mail in other.mails()}
    assert visitor.trace() == ["requested", "account_found", "mail_sent"]


def test_damaged_row_never_blocks_the_rest(
    visitor: Visitor, portal: Portal, clock: Clock, ana: int
) -> None:
    """A message whose content cannot be read waits alone, and the help desk hears of it."""
    portal.add("beto", "beto@example.com")
    visitor.ask()
    with visitor.parts.database.begin() as tx:
        tx.exec_driver_sql("UPDATE outbox SET content = '{'")
    visitor.ask("beto@example.com")
    visitor.run_worker()
    assert len(visitor.mails("beto@example.com")) == 1
    clock.advance(hours=12)
    visitor.run_worker()
    assert "overdue" in visitor.trace()


def test_mail_is_given_up_after_some_days(
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    settings: Settings,
    clock: Clock,
    ana: int,
) -> None:
    """Attempts end with RESET_MAIL_GIVE_UP_AFTER, and the trace says so."""
    short = replace(settings.mail, give_up_after=timedelta(hours=1))
    visitor = make_visitor(make_app(mail=short))
    visitor.sender.failures = [GREYLISTED] * 99
    visitor.ask()
    for _ in range(60):
        visitor.run_worker()
        clock.advance(minutes=2)
    assert visitor.trace()[-1] == "mail_abandoned"
    assert len(visitor.sender.failures) > 80


def test_waiting_twelve_hours_is_marked_once(visitor: Visitor, clock: Clock, ana: int) -> None:
    """The help desk follows up after twelve hours, as the manual says."""
    visitor.sender.failures = [GREYLISTED] * 99
    visitor.ask()
    visitor.run_worker()
    clock.advance(hours=11, minutes=59)
    visitor.run_worker()
    assert "overdue" not in visitor.trace()
    clock.advance(minutes=1)
    visitor.run_worker()
    visitor.run_worker()
    assert visitor.trace().count("overdue") == 1


def test_pauses_grow_to_half_an_hour() -> None:
    """First within two minutes, then twice as long, never more than half an hour apart."""
    retry = Retry(timedelta(minutes=1), timedelta(minutes=30), timedelta(days=3))
    delays = [retry.delay(attempt) for attempt in range(1, 40)]
    assert delays[0] <= timedelta(minutes=1)
    assert all(delay <= timedelta(minutes=30) for delay in delays)
    assert min(delays[6:]) >= timedelta(minutes=22)


def test_trace_tells_the_story(visitor: Visitor, ana: int) -> None:
    """What happened to a request, in order."""
    link = visitor.link()
    visitor.client.get(link)
    visitor.client.get(link)
    visitor.set_password(link, "Colombia2026")
    visitor.set_password(link)
    visitor.run_worker()
    assert visitor.trace() == [
        "requested",
        "account_found",
        "mail_sent",
        "link_opened",
        "password_refused",
        "password_changed",
        "mail_sent",
    ]


def test_account_is_noted_when_it_is_found(
    visitor: Visitor, portal: Portal, clock: Clock, ana: int
) -> None:
    """Also if the first attempt could not look anybody up; and only once."""
    visitor.ask()
    with portal.down():
        visitor.run_worker()
    visitor.sender.failures = [GREYLISTED]
    for _ in range(3):
        clock.advance(minutes=4)
        visitor.run_worker()
    assert visitor.trace().count("account_found") == 1


def test_old_requests_are_purged(visitor: Visitor, clock: Clock, ana: int) -> None:
    """After the retention, nothing is left of a request; what still waits is kept."""
    visitor.link()
    waiting = visitor.ask().location.rpartition("/")[2]
    clock.advance(days=90)
    assert visitor.parts.flow.purge(now=clock()) == 0
    clock.advance(seconds=1)
    assert visitor.parts.flow.purge(now=clock()) == 1
    (left,) = visitor.parts.flow.trace(ADDRESS)
    assert left.number == waiting.replace("-", "")


def test_purge_leaves_a_link_that_lives(
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    clock: Clock,
    ana: int,
) -> None:
    """A mail that left late, after an outage, brings a link that is good for its whole life."""
    visitor = make_visitor(make_app(retention=timedelta(days=2)))
    visitor.ask()
    clock.advance(days=2, seconds=1)
    visitor.run_worker()
    clock.advance(hours=11)
    visitor.run_worker()
    assert visitor.client.get(links_in(visitor.mails()[0])[0]).status_code == 200
    clock.advance(days=2, seconds=1)
    visitor.run_worker()
    assert visitor.parts.flow.trace(ADDRESS) == []


def test_purge_forgets_no_captcha_that_can_be_answered(visitor: Visitor, clock: Clock) -> None:
    """What was spent stays spent until its challenge is too old."""
    challenge = visitor.challenge()
    assert visitor.ask(challenge=challenge).status_code == 303
    clock.advance(minutes=29)
    visitor.run_worker()
    assert visitor.ask(challenge=challenge).status_code == 200


def test_nothing_outlives_the_retention(visitor: Visitor, clock: Clock, ana: int) -> None:
    """Of a whole reset, no row is left in any table but the version's."""
    visitor.set_password(visitor.link())
    visitor.run_worker()
    clock.advance(days=90, seconds=1)
    visitor.run_worker()
    with visitor.parts.database.read() as tx:
        names = {*sa.inspect(tx).get_table_names()} - {"schema_version"}
        left = {name: tx.exec_driver_sql(f"SELECT * FROM {name}").all() for name in names}
    assert left == {name: [] for name in names}
    assert len(left) >= 6


def test_database_without_the_key_opens_nothing(visitor: Visitor, ana: int) -> None:
    """Neither the link nor its token stands in the database, even while the mail waits."""
    visitor.sender.failures = [GREYLISTED]
    visitor.ask()
    visitor.run_worker()
    visitor.clock.advance(minutes=2)
    visitor.run_worker()
    token = links_in(visitor.mails()[0])[0].rpartition("/")[2]
    tables = ("requests", "events", "links", "outbox", "captcha_spent", "limits")
    with visitor.parts.database.read() as tx:
        kept = str([tx.exec_driver_sql(f"SELECT * FROM {one}").all() for one in tables])
    assert ADDRESS in kept
    assert token not in kept
    assert token.rpartition(".")[2] not in kept


@pytest.mark.parametrize(
    ("name", "greeted"),
    [
        ("Gane ya: evil.example", False),
        ("http://evil", False),
        ("x@evil", False),
        ("Ma. del Pilar Díaz-Ruiz", True),
    ],
)
def test_name_that_looks_like_a_link_is_left_out(
    visitor: Visitor, portal: Portal, name: str, greeted: bool
) -> None:
    """Mail programs would make it one, and it would seem to come from us."""
    portal.add(nombre=name)
    visitor.set_password(visitor.link())
    visitor.run_worker()
    assert len(visitor.mails()) == 2
    for mail in visitor.mails():
        assert (name in str(mail.body)) == (name in str(mail.html)) == greeted


def test_name_is_no_markup_of_the_mail(visitor: Visitor, portal: Portal) -> None:
    """It is escaped in the page within a sentence, too, and stands as it is in the text."""
    portal.add(nombre="Ana <b>María & Cía")
    visitor.ask()
    visitor.run_worker()
    (mail,) = visitor.mails()
    assert "Estimado(a) Ana <b>María & Cía:" in str(mail.body)
    assert "Estimado(a) Ana &lt;b&gt;María &amp; Cía:" in str(mail.html)


def test_readiness_asks_for_an_attended_queue(visitor: Visitor, clock: Clock, ana: int) -> None:
    """/readyz turns when a due mail is left alone, for known and unknown alike."""
    visitor.ask("nadie@example.com")
    assert visitor.client.get("/readyz").status_code == 200
    clock.advance(minutes=5)
    assert visitor.client.get("/readyz").status_code == 503
    visitor.run_worker()
    assert visitor.client.get("/readyz").status_code == 200
    visitor.ask()
    visitor.parts.delivery.claim(limit=5, now=clock())
    clock.advance(minutes=11)
    assert visitor.client.get("/readyz").status_code == 503


def test_worker_writes_as_often_for_everybody(
    visitor: Visitor, ana: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite has one writer: by waiting for it, other requests could count its transactions."""
    visitor.run_worker()  # The first run purges.
    writes: list[str] = []
    begin = visitor.parts.database.begin

    def count(*, durable: bool = True) -> AbstractContextManager[Transaction]:
        writes.append(email)
        return begin(durable=durable)

    monkeypatch.setattr(visitor.parts.database, "begin", count)
    for email in (ADDRESS, "nadie@example.com"):
        visitor.ask(email)
        visitor.run_worker()
    assert len(visitor.sender.sent) == 1
    assert writes.count(ADDRESS) == writes.count("nadie@example.com") > 0


def test_readiness_does_not_tell_that_a_mail_waits(
    visitor: Visitor, clock: Clock, ana: int
) -> None:
    """With the mail server down only a registered person's mail waits; /readyz stays as it is."""
    visitor.sender.failures = [DOWN] * 100
    visitor.ask()
    for _ in range(60):
        visitor.run_worker()
        clock.advance(minutes=1)
        visitor.run_worker()
        assert visitor.client.get("/readyz").status_code == 200
    assert visitor.trace()[-1] == "mail_deferred"


def test_mails_due_longest_leave_first(visitor: Visitor, clock: Clock) -> None:
    """Before new ones those that were put off and are due; first of all what a crash left."""
    numbers = []
    for _ in range(4):
        visitor.ask()
        numbers.append(visitor.parts.flow.trace(ADDRESS)[0].number)
        clock.advance(minutes=1)
    claim = visitor.parts.delivery.claim
    left, put_off = claim(limit=2, now=clock())
    visitor.parts.delivery.note_deferred(put_off, "451", now=clock())
    clock.advance(minutes=6)
    visitor.ask()
    numbers.append(visitor.parts.flow.trace(ADDRESS)[0].number)
    order = [claim(limit=1, now=clock())[0].request for _ in range(5)]
    assert order == [left.request, numbers[2], numbers[3], put_off.request, numbers[4]]
