"""The two lists of the twelve hours."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reset import pending
from reset.errors import MailDeferred, MailRefused
from reset.mail import outbox
from reset.pending import Pending
from tests.conftest import ADDRESS, NEW_PASSWORD, START, Clock, Portal, Visitor, links_in

BUSY = MailDeferred("451 try again later")


def not_accepted(visitor: Visitor, limit: int = 9) -> list[Pending]:
    """What the help desk sees now."""
    with visitor.parts.database.read() as tx:
        return pending.not_accepted(tx, now=visitor.clock(), limit=limit)


def unused(visitor: Visitor, limit: int = 9) -> list[Pending]:
    """What the help desk sees now."""
    with visitor.parts.database.read() as tx:
        return pending.unused(tx, now=visitor.clock(), limit=limit)


@pytest.mark.parametrize("fault", [BUSY, MailRefused("550 no such user")])
def test_mail_not_accepted_is_listed_after_twelve_hours(
    visitor: Visitor, clock: Clock, ana: int, fault: Exception
) -> None:
    """Waiting or refused, with the server's last answer; not a second earlier."""
    visitor.sender.failures = [fault] * 99  # type: ignore[list-item]
    number = visitor.ask().location.rpartition("/")[2].replace("-", "")
    visitor.run_worker()
    clock.advance(hours=11, minutes=59, seconds=59)
    assert not_accepted(visitor) == []
    clock.advance(seconds=1)
    assert not_accepted(visitor) == [Pending(number, ADDRESS, START, None, str(fault))]
    assert unused(visitor) == []


def test_last_answer_is_told(visitor: Visitor, clock: Clock, ana: int) -> None:
    """What the server says now, not what it said at first."""
    visitor.sender.failures = [BUSY, MailDeferred("452 disk full")]
    visitor.ask()
    for _ in range(2):
        visitor.run_worker()
        clock.advance(minutes=2)
    clock.advance(hours=12)
    assert [one.reason for one in not_accepted(visitor)] == ["452 disk full"]


def test_mail_that_nobody_tried_is_listed(visitor: Visitor, clock: Clock, ana: int) -> None:
    """Where no worker runs there is no answer to tell."""
    visitor.ask()
    clock.advance(hours=12)
    assert [one.reason for one in not_accepted(visitor)] == [""]


def test_mail_to_nobody_is_not_listed(visitor: Visitor, clock: Clock) -> None:
    """There is nobody to write to, and so nothing to follow up."""
    visitor.ask("nadie@example.com")
    visitor.run_worker()
    clock.advance(hours=12)
    assert (not_accepted(visitor), unused(visitor)) == ([], [])


def test_refused_mail_is_listed_for_a_week(visitor: Visitor, clock: Clock, ana: int) -> None:
    """Then nobody waits for it any more."""
    visitor.sender.failures = [MailRefused("550 no such user")]
    visitor.ask()
    visitor.run_worker()
    clock.advance(days=7, seconds=-1)
    assert len(not_accepted(visitor)) == 1
    clock.advance(seconds=1)
    assert not_accepted(visitor) == []


def test_mail_that_may_still_leave_is_never_out_of_sight(
    visitor: Visitor, clock: Clock, ana: int
) -> None:
    """It is listed for as long as it waits."""
    visitor.ask()
    clock.advance(days=20)
    assert len(not_accepted(visitor)) == 1


def test_mail_that_is_sent_again_is_listed_by_the_new_attempt(
    visitor: Visitor, clock: Clock, ana: int
) -> None:
    """One line for a request, of its last mail."""
    visitor.sender.failures = [MailRefused("550 no such user")]
    number = visitor.ask().location.rpartition("/")[2].replace("-", "")
    visitor.run_worker()
    clock.advance(hours=12)
    with visitor.parts.database.begin() as tx:
        content = {"limited": "no"}
        outbox.enqueue(tx, number, "reset_link", host="x", now=clock(), content=content)
    assert not_accepted(visitor) == []
    visitor.run_worker()
    clock.advance(hours=12)
    assert [one.number for one in unused(visitor)] == [number]
    assert not_accepted(visitor) == []


def test_unused_link_is_listed_twelve_hours_after_its_mail(
    visitor: Visitor, clock: Clock, ana: int
) -> None:
    """Counted from the moment at which the server took it; opened is not used; for a week."""
    visitor.sender.failures = [BUSY]
    visitor.ask()
    visitor.run_worker()
    clock.advance(minutes=2)
    visitor.run_worker()
    visitor.client.get(links_in(visitor.mails()[0])[0])
    mailed = clock()
    clock.advance(hours=12, seconds=-1)
    assert unused(visitor) == []
    clock.advance(seconds=1)
    (line,) = unused(visitor)
    assert (line.address, line.created_at, line.mailed_at) == (ADDRESS, START, mailed)
    assert not_accepted(visitor) == []
    clock.advance(days=6, hours=12)
    assert unused(visitor) == []


@pytest.mark.parametrize("end", ["used", "another used", "denied"])
def test_link_whose_matter_is_settled_is_not_listed(
    visitor: Visitor, clock: Clock, ana: int, end: str
) -> None:
    """With this link or another of the account, or by "no fui yo"."""
    link = visitor.link()
    if end == "denied":
        token = links_in(visitor.mails()[0], "no-fui-yo")[0].rpartition("/")[2]
        visitor.client.post("/no-fui-yo", data={"token": token})
    else:
        link = visitor.link() if end == "another used" else link
        assert visitor.set_password(link, NEW_PASSWORD).status_code == 303
    visitor.run_worker()
    clock.advance(hours=12)
    assert unused(visitor) == []


def test_refused_mail_of_a_settled_matter_is_not_listed(
    visitor: Visitor, clock: Clock, ana: int
) -> None:
    """Who asked again and set a password needs no call."""
    visitor.sender.failures = [MailRefused("550 mailbox full")]
    visitor.ask()
    visitor.run_worker()
    clock.advance(minutes=1)
    visitor.set_password(visitor.link())
    clock.advance(hours=12)
    assert not_accepted(visitor) == []


def test_lists_begin_with_what_is_newest(visitor: Visitor, portal: Portal, clock: Clock) -> None:
    """So that a list which is cut shows today's; the counts tell all."""
    for who in ("ana", "beto", "carla"):
        portal.add(who, f"{who}@example.com")
        visitor.ask(f"{who}@example.com")
        clock.advance(minutes=1)
    visitor.run_worker()
    clock.advance(hours=12)
    assert [one.address[0] for one in unused(visitor, limit=2)] == ["c", "b"]
    for who in ("ana", "beto", "carla"):
        visitor.ask(f"{who}@example.com")
        clock.advance(minutes=1)
    clock.advance(hours=12)
    assert [one.address[0] for one in not_accepted(visitor, limit=2)] == ["c", "b"]
    with visitor.parts.database.read() as tx:
        assert pending.counts(tx, now=clock() - timedelta(seconds=1)) == (3, 3)
