"""`flask reset outbox`: the mails that have not left, and what an operator does with them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result
from flask import Flask

from reset import queue
from reset.errors import MailDeferred, MailRefused
from reset.mail.leases import LEASE
from tests.conftest import ADDRESS, Clock, Portal, Visitor, links_in, prepared
from tests.desk import acts_in

BUSY = MailDeferred("451 try again later")
GONE = MailRefused("550 no such user")


@pytest.fixture
def run(app: Flask) -> Callable[..., Result]:
    """`flask reset outbox ...`"""
    runner = app.test_cli_runner()
    return lambda *args, **options: runner.invoke(args=["reset", "outbox", *args], **options)


def ask(visitor: Visitor, email: str = ADDRESS) -> str:
    """The number of a new request."""
    return visitor.ask(email).location.rpartition("/")[2]


def test_list_shows_what_has_not_left(
    visitor: Visitor, clock: Clock, run: Callable[..., Result], ana: int
) -> None:
    """Oldest first, what was refused, too, with ages and answers; no address, and no sent mail."""
    visitor.link()
    visitor.sender.failures = [GONE, BUSY]
    refused = ask(visitor)
    visitor.run_worker()
    clock.advance(hours=1)
    waiting = ask(visitor)
    visitor.run_worker()
    told = run("list")
    _, first, second, total = told.output.splitlines()
    assert first.split() == [*f"{refused} link given up 1 60 min 550 no such user".split()]
    assert second.startswith(f"{waiting}  link          waiting            1      0 s")
    assert second.endswith("451 try again later")
    assert total == "mails that have not left: 2"
    assert "@" not in told.output


def test_list_as_json(visitor: Visitor, run: Callable[..., Result], ana: int) -> None:
    """The same for programs, cut where it is told to be, with the whole number."""
    numbers = [ask(visitor) for _ in range(3)]
    told = json.loads(run("list", "--limit", "2", "--json").output)
    assert told["total"] == 3
    assert [mail["number"] for mail in told["mails"]] == numbers[:2]
    assert told["mails"][0] == {
        "number": numbers[0],
        "mail": "reset_link",
        "state": "queued",
        "attempts": 0,
        "created_at": "2026-11-22T15:00:00+00:00",
        "due_at": "2026-11-22T15:00:00+00:00",
        "answer": "",
    }


def test_nothing_waits(visitor: Visitor, clock: Clock, run: Callable[..., Result]) -> None:
    """A mail to nobody is no mail that has not left, and what was refused is forgotten."""
    ask(visitor, "nadie@example.com")
    visitor.run_worker()
    assert run("list").output == "no mail waits\n"


def test_refused_mail_leaves_the_list_after_a_week(
    visitor: Visitor, clock: Clock, run: Callable[..., Result], ana: int
) -> None:
    """Nobody waits for it any more, and `--all` mails nobody who has long forgotten."""
    visitor.sender.failures = [GONE]
    ask(visitor)
    visitor.run_worker()
    clock.advance(days=7)
    assert run("list").output == "no mail waits\n"
    assert run("retry", "--all").output == "mails retried: 0\n"


def test_waiting_mail_is_tried_at_once(
    visitor: Visitor, run: Callable[..., Result], portal: Portal, ana: int
) -> None:
    """That of the number given, as it was spoken; the others wait for their turn."""
    portal.add("beto", "beto@example.com")
    visitor.sender.failures = [BUSY, BUSY]
    number = ask(visitor)
    ask(visitor, "beto@example.com")
    visitor.run_worker()
    assert run("retry", number.replace("-", " ")).output == "mails retried: 1\n"
    visitor.run_worker()
    assert [mail.recipients for mail in visitor.sender.sent] == [[ADDRESS]]
    assert visitor.trace()[-2:] == ["mail_retried", "mail_sent"]


def test_refused_mail_is_tried_again(
    visitor: Visitor, clock: Clock, run: Callable[..., Result], ana: int
) -> None:
    """With the same Message-ID, and a link that works."""
    visitor.sender.failures = [GONE]
    number = ask(visitor)
    visitor.run_worker()
    clock.advance(days=6)
    assert json.loads(run("retry", number, "--json").output) == {"retried": 1, "left_alone": 0}
    visitor.run_worker()
    (mail,) = visitor.mails()
    assert visitor.client.get(links_in(mail)[0]).status_code == 200


def test_refused_mail_of_a_settled_matter_does_not_leave(
    visitor: Visitor, clock: Clock, run: Callable[..., Result], ana: int
) -> None:
    """Who has set a password meanwhile gets no link for the request before."""
    visitor.sender.failures = [GONE]
    number = ask(visitor)
    visitor.run_worker()
    clock.advance(minutes=1)
    visitor.set_password(visitor.link())
    visitor.run_worker()
    run("retry", number)
    visitor.run_worker()
    assert len(visitor.mails()) == 2
    assert visitor.parts.flow.trace(number)[0].events[-1].name == "request_closed"


def test_refused_confirmation_is_left_alone(
    visitor: Visitor, run: Callable[..., Result], ana: int
) -> None:
    """What it said is not kept; the operator is told so."""
    link = visitor.link()
    visitor.sender.failures = [GONE]
    visitor.set_password(link)
    visitor.run_worker()
    told = run("retry", "--all").output
    assert told.startswith("mails retried: 0\nleft alone, being handed over or without a text: 1\n")


def test_dropped_mail_never_leaves(
    visitor: Visitor, clock: Clock, run: Callable[..., Result], portal: Portal, ana: int
) -> None:
    """The others do; the trace says who dropped it, and so does the trail."""
    portal.add("beto", "beto@example.com")
    number = ask(visitor)
    ask(visitor, "beto@example.com")
    assert run("drop", number, "--yes").output == "mails dropped: 1\n"
    visitor.run_worker()
    assert [mail.recipients for mail in visitor.sender.sent] == [["beto@example.com"]]
    event = visitor.parts.flow.trace(number)[0].events[-1]
    assert (event.name, event.details["operator"]) == ("mail_dropped", "console")
    (act,) = acts_in(visitor.parts.database)
    assert act.subject == number.replace("-", "")
    assert (act.operator, act.act, act.details) == ("console", "mail_dropped", {"mails": 1})


@pytest.mark.parametrize("typed", ["n\n", "\n", ""])
def test_dropping_is_asked_for(
    visitor: Visitor, run: Callable[..., Result], ana: int, typed: str
) -> None:
    """Anything but yes leaves every mail where it is."""
    ask(visitor)
    told = run("drop", "--all", input=typed)
    assert told.exit_code == 1
    assert "Drop the mails of everybody that wait?" in told.output
    visitor.run_worker()
    assert len(visitor.mails()) == 1


def test_drop_spares_what_was_given_up(
    visitor: Visitor, run: Callable[..., Result], ana: int
) -> None:
    """It does not wait, and may still be tried again."""
    visitor.sender.failures = [GONE]
    number = ask(visitor)
    visitor.run_worker()
    assert run("drop", number, "--yes").output == "mails dropped: 0\n"
    assert run("retry", number).output == "mails retried: 1\n"


@pytest.mark.parametrize("act", [("drop", "--yes"), ("retry",)])
def test_mail_that_is_being_handed_over_is_left_alone(
    visitor: Visitor, clock: Clock, run: Callable[..., Result], ana: int, act: tuple[str, ...]
) -> None:
    """A worker has it: it is sent once, and the command says that it did nothing."""
    number = ask(visitor)
    send = visitor.sender.send
    told = []

    def send_while_told(message: object) -> None:
        told.append(run(*act, number).output.splitlines())
        send(message)  # type: ignore[arg-type]

    visitor.sender.send = send_while_told  # type: ignore[method-assign]
    visitor.run_worker()
    clock.advance(minutes=10)
    visitor.run_worker()
    assert told[0][1] == "left alone, being handed over or without a text: 1"
    assert len(told) == len(visitor.mails()) == 1
    assert visitor.trace()[-1] == "mail_sent"


def test_mail_of_a_dead_worker_may_be_dropped(
    visitor: Visitor, clock: Clock, run: Callable[..., Result], ana: int
) -> None:
    """When its lease has run out; should that worker wake up, it sends nothing."""
    number = ask(visitor)
    (message,) = visitor.parts.delivery.claim(limit=1, now=clock())
    clock.advance(seconds=LEASE.total_seconds())
    assert run("drop", number, "--yes").output == "mails dropped: 1\n"
    assert prepared(visitor.parts, message, now=clock()) is None


@pytest.mark.parametrize("act", ["drop", "retry"])
def test_all_means_all_of_many(
    visitor: Visitor,
    run: Callable[..., Result],
    ana: int,
    monkeypatch: pytest.MonkeyPatch,
    act: str,
) -> None:
    """More than go into one step, each once."""
    monkeypatch.setattr(queue, "STEP", 2)
    for _ in range(5):
        ask(visitor)
    assert run(act, "--all", *(["--yes"] if act == "drop" else [])).output.split()[-1] == "5"
    events = [visitor.parts.flow.trace(ADDRESS)[i].events[-1].name for i in range(5)]
    assert len(set(events)) == 1
    assert events[0] in ("mail_dropped", "mail_retried")


@pytest.mark.parametrize("args", [(), ("4821-0937-5562", "--all"), ("ana@example.com",)])
def test_one_request_or_all_is_said(run: Callable[..., Result], args: tuple[str, ...]) -> None:
    """Neither by a slip: nothing is touched, and what is to be given is told."""
    for act in ("retry", "drop"):
        told = run(act, *args)
        assert told.exit_code == 2
        assert "number" in told.output
