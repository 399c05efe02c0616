"""The help desk's daily mail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from flask_mail import Message

from reset import digest
from reset.errors import MailDeferred, MailRefused, StoreUnavailable
from reset.mail.leases import LEASE
from tests.conftest import ADDRESS, Clock, Portal, RecordingSender, Visitor

DESK = "mesa@example.com"
DOWN = MailDeferred("ConnectionRefusedError", server_down=True)
BUSY = MailDeferred("451 try again later")
MakeApp = Callable[..., Flask]
MakeVisitor = Callable[[Flask], Visitor]


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """At 7:30 in Colombia, 12:30 UTC, one goes to the help desk."""
    return make_app(help_desk_digest_to=DESK)


@pytest.fixture
def pending(visitor: Visitor, portal: Portal, ana: int) -> list[str]:
    """Numbers of a request whose mail was refused, and of one that was mailed; then it is 7:30."""
    portal.add("beto", "beto@example.com")
    visitor.sender.failures = [MailRefused("550 <ana@example.com>: no such user")]
    numbers = []
    for email in (ADDRESS, "beto@example.com"):
        numbers.append(visitor.ask(email).location.rpartition("/")[2])
        visitor.run_worker()
    visitor.clock.advance(hours=21, minutes=30)
    return numbers


def test_digest_lists_numbers_and_ages(visitor: Visitor, pending: list[str]) -> None:
    """Both lists, with counts and the page to open."""
    visitor.run_worker()
    (mail,) = visitor.mails(DESK)
    refused, mailed = pending
    assert mail.subject == "Solicitudes por revisar: 2"
    assert f"El correo no ha salido: 1\n- {refused} (pedida hace 21 horas)\n" in str(mail.body)
    assert f"usado el enlace: 1\n- {mailed} (correo enviado hace 21 horas)\n" in str(mail.body)
    assert "http://localhost:5000/ayuda" in str(mail.body)
    for number in pending:
        assert number in str(mail.html)


def test_digest_names_nobody(visitor: Visitor, pending: list[str]) -> None:
    """No address, name or login, not even in what a mail server said; and no link to reset."""
    visitor.run_worker()
    (mail,) = visitor.mails(DESK)
    for text in (str(mail.body), str(mail.html), str(mail.subject)):
        for secret in (ADDRESS, "beto", "ana.perez", "Ana", "nueva/", "550"):
            assert secret not in text.replace("Hanna", "")


def test_digest_waits_for_its_time(visitor: Visitor, clock: Clock, pending: list[str]) -> None:
    """Not a second before, by the clock of the zone; then once a day."""
    clock.advance(seconds=-1)
    visitor.run_worker()
    assert visitor.mails(DESK) == []
    for _ in range(3):
        clock.advance(hours=8)
        visitor.run_worker()
        visitor.run_worker()
    assert len(visitor.mails(DESK)) == 1
    clock.advance(seconds=1)
    visitor.run_worker()
    assert len(visitor.mails(DESK)) == 2
    assert len({mail.msgId for mail in visitor.mails(DESK)}) == 2


def test_no_digest_when_there_is_nothing(visitor: Visitor, clock: Clock, ana: int) -> None:
    """Not at 7:30, nor later on that day, when something has come to wait; but on the next."""
    clock.advance(hours=21, minutes=30)
    visitor.run_worker()
    visitor.link()
    clock.advance(hours=15)
    visitor.run_worker()
    assert visitor.mails(DESK) == []
    clock.advance(hours=9)
    visitor.run_worker()
    assert len(visitor.mails(DESK)) == 1


def test_nobody_is_told_unless_it_is_set(
    make_app: MakeApp, make_visitor: MakeVisitor, clock: Clock, ana: int
) -> None:
    """Without RESET_HELP_DESK_DIGEST_TO there is no digest."""
    visitor = make_visitor(make_app())
    visitor.link()
    clock.advance(hours=23)
    visitor.run_worker()
    assert visitor.sender.sent == visitor.mails()


def test_many_workers_send_one(visitor: Visitor, clock: Clock, pending: list[str]) -> None:
    """Also when a second one looks while the first talks to the mail server."""
    other = Visitor(visitor.app, RecordingSender(visitor.app), clock)
    send = visitor.sender.send

    def send_meanwhile(message: Message) -> None:
        other.run_worker()
        send(message)

    visitor.sender.send = send_meanwhile  # type: ignore[method-assign]
    visitor.run_worker()
    other.run_worker()
    assert (len(visitor.mails(DESK)), len(other.mails(DESK))) == (1, 0)


def test_digest_of_a_dead_worker_is_sent_by_another(
    visitor: Visitor, clock: Clock, pending: list[str]
) -> None:
    """When the lease has run out, as the same mail: the first may have left all the same."""
    claimed = visitor.worker._digest.claim("2026-11-23", now=clock())
    assert claimed
    visitor.run_worker()
    assert visitor.mails(DESK) == []
    clock.advance(seconds=LEASE.total_seconds())
    visitor.run_worker()
    assert [mail.msgId for mail in visitor.mails(DESK)] == [claimed.message_id]


def test_digest_is_noted_when_the_store_is_back(
    visitor: Visitor, clock: Clock, pending: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second copy, if the store was away at that moment, has the same Message-ID."""

    def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(digest, "_mark_done", fail)
        with pytest.raises(StoreUnavailable):
            visitor.run_worker()
    clock.advance(seconds=LEASE.total_seconds())
    visitor.run_worker()
    visitor.run_worker()
    first, second = visitor.mails(DESK)
    assert first.msgId == second.msgId


@pytest.mark.parametrize("fault", [DOWN, BUSY])
def test_digest_is_sent_when_the_server_is_back(
    visitor: Visitor, clock: Clock, pending: list[str], fault: MailDeferred
) -> None:
    """On the same day, however late; on the next there is that day's own."""
    visitor.sender.failures = [fault] * 9
    for _ in range(9):
        visitor.run_worker()
        clock.advance(minutes=9)
    visitor.sender.failures = []
    visitor.run_worker()
    assert [str(mail.msgId)[:18] for mail in visitor.mails(DESK)] == ["<digest.2026-11-23"]


def test_server_that_is_down_is_not_asked_for_the_digest(
    visitor: Visitor, clock: Clock, pending: list[str]
) -> None:
    """A mail before it found that out; the digest waits for the pause like all others."""
    visitor.ask()
    visitor.sender.failures = [DOWN, MailRefused("must not be asked")]
    visitor.run_worker()
    assert len(visitor.sender.failures) == 1


def test_refused_digest_is_not_tried_all_day(
    visitor: Visitor, clock: Clock, pending: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The operator reads it in the log."""
    visitor.sender.failures = [MailRefused("550 no such user"), MailRefused("must not be asked")]
    for _ in range(3):
        visitor.run_worker()
        clock.advance(hours=1)
    assert len(visitor.sender.failures) == 1
    assert "digest refused" in [record.message for record in caplog.records]


def test_digest_that_cannot_be_made_stops_no_mail(
    visitor: Visitor, clock: Clock, pending: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken template of the operator's, say: links leave, old requests are purged."""
    compose = visitor.worker._compose

    def broken(letter: object) -> object:
        if getattr(letter, "kind", "") == "digest":
            raise ZeroDivisionError
        return compose(letter)  # type: ignore[arg-type]

    monkeypatch.setattr(visitor.worker, "_compose", broken)
    visitor.run_worker()
    assert visitor.link()
    clock.advance(days=91)
    visitor.run_worker()
    assert visitor.parts.flow.trace(ADDRESS) == []


def test_long_lists_are_cut(
    visitor: Visitor, pending: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest are named, of the others how many there are."""
    monkeypatch.setattr(digest, "SHOWN", 1)
    visitor.clock.advance(hours=-20)
    number = visitor.ask().location.rpartition("/")[2]
    visitor.sender.failures = [MailRefused("550")]
    visitor.run_worker()
    visitor.clock.advance(hours=20)
    visitor.run_worker()
    (mail,) = visitor.mails(DESK)
    assert f"El correo no ha salido: 2\n- {number} (pedida hace 20 horas)\ny 1 más\n" in str(
        mail.body
    )
    assert "y 1 más" in str(mail.html)


def test_days_are_forgotten_with_the_retention(visitor: Visitor, pending: list[str]) -> None:
    """Of digests, too, no row stays for ever."""
    visitor.run_worker()
    visitor.clock.advance(days=91)
    visitor.run_worker()
    with visitor.parts.database.read() as tx:
        days = tx.exec_driver_sql("SELECT day FROM digests").scalars().all()
    assert "2026-11-23" not in days


@pytest.mark.parametrize(
    ("zone", "at", "sent_at"),
    [
        ("America/Santiago", time(0, 30), "2026-09-06T04:00"),  # That night begins at 1:00.
        ("America/New_York", time(2, 30), "2026-03-08T07:00"),  # 2:00 to 3:00 is left out.
        ("America/New_York", time(1, 30), "2026-11-01T05:30"),  # 1:30 comes twice.
    ],
)
def test_night_of_a_change_of_the_clock(
    make_app: MakeApp,
    make_visitor: MakeVisitor,
    clock: Clock,
    ana: int,
    zone: str,
    at: time,
    sent_at: str,
) -> None:
    """One mail on that day, at the hour on the wall or right after it."""
    clock.now = datetime.fromisoformat(sent_at).replace(tzinfo=UTC) - timedelta(hours=25)
    app = make_app(help_desk_digest_to=DESK, help_desk_digest_at=at, timezone=ZoneInfo(zone))
    visitor = make_visitor(app)
    visitor.link()
    sent = []
    for _ in range(46 * 4):
        clock.advance(minutes=15)
        visitor.run_worker()
        sent += [f"{clock.now:%Y-%m-%dT%H:%M}"] * len(visitor.mails(DESK))
        visitor.sender.sent.clear()
    assert sent == [sent_at]


def test_clock_that_jumps_back_brings_no_second_one(
    visitor: Visitor, clock: Clock, pending: list[str]
) -> None:
    """Set right by hours: the day has had its mail."""
    visitor.run_worker()
    clock.advance(hours=-3)
    visitor.run_worker()
    clock.advance(hours=4)
    visitor.run_worker()
    assert len(visitor.mails(DESK)) == 1
