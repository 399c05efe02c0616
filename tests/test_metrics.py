"""Figures for Prometheus: who may read them, what they count, and what they must not tell."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from config import Settings
from reset.captcha import proof
from reset.errors import ChangeUncertain, MailDeferred, MailRefused
from reset.limits import FIXED, NOT_BY_CLIENT
from reset.mail.leases import LEASE
from reset.mail.mime import MimeMessage
from tests.conftest import ADDRESS, KEY, NEW_PASSWORD, Clock, Portal, Visitor

MakeVisitor = Callable[..., Visitor]
HERE = ipaddress.ip_network("127.0.0.1/32")
OFTEN = "1000 per hour"


@pytest.fixture
def visitor_of(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor]
) -> MakeVisitor:
    """The service with figures for this machine; keywords change single settings."""

    def make(**changes: object) -> Visitor:
        wanted = {"metrics_allow": (HERE,), "limit_per_ip": OFTEN, "limit_per_address": OFTEN}
        return make_visitor(make_app(**{**wanted, **changes}))

    return make


@pytest.fixture
def visitor(visitor_of: MakeVisitor) -> Visitor:
    return visitor_of()


def figures(visitor: Visitor) -> dict[str, float]:
    """What a scrape shows, of workers after their next beat; without zeroes."""
    visitor.worker.beat()
    text = visitor.client.get("/metrics").text.replace(f'worker="{visitor.worker.name}"', "")
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {re.sub(r",?}$", "}", name): float(value) for name, _, value in lines if float(value)}


@pytest.mark.parametrize(
    ("allow", "address", "status"),
    [
        ("", "127.0.0.1", 404),
        ("127.0.0.1/32", "127.0.0.1", 200),
        ("127.0.0.1/32", "127.0.0.2", 404),
        ("192.0.2.0/24,10.0.0.0/8", "10.255.255.255", 200),
        ("192.0.2.0/24,10.0.0.0/8", "11.0.0.0", 404),
        ("10.0.0.0/8", "::ffff:10.0.0.1", 200),
        ("2001:db8::/32", "2001:db8:ffff::1", 200),
        ("0.0.0.0/0,::/0", "", 404),
    ],
)
def test_figures_are_for_named_networks(
    visitor_of: MakeVisitor, allow: str, address: str, status: int
) -> None:
    """For everybody else, and by any method, there is no such page."""
    networks = tuple(map(ipaddress.ip_network, filter(None, allow.split(","))))
    client = visitor_of(metrics_allow=networks).client
    there, elsewhere = (
        [
            client.open(path, method=method, environ_base={"REMOTE_ADDR": address})
            for method in ("GET", "HEAD", "POST", "OPTIONS", "DELETE")
        ]
        for path in ("/metrics", "/metricz")
    )
    assert there[0].status_code == status
    if status == 404:
        assert [(a.text, a.headers) for a in there] == [(a.text, a.headers) for a in elsewhere]


def test_forwarded_address_counts_behind_a_proxy_alone(visitor_of: MakeVisitor) -> None:
    """As for the limits: what a client says of itself is believed by nobody."""
    forged = {"X-Forwarded-For": "127.0.0.1"}
    for proxies, status in ((0, 404), (1, 200)):
        client = visitor_of(trusted_proxies=proxies).client
        answer = client.get("/metrics", headers=forged, environ_base={"REMOTE_ADDR": "10.0.0.9"})
        assert answer.status_code == status


def test_figures_are_kept_by_nobody_and_never_limited(visitor_of: MakeVisitor) -> None:
    """No cookie, no cache, and a scrape each second is no attempt at anything."""
    visitor = visitor_of(limit_per_ip="1 per hour")
    for _ in range(20):
        answer = visitor.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "Set-Cookie" not in answer.headers
    assert visitor.client.post("/metrics").status_code == 405


def test_requests_are_counted_by_outcome(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the web process knows of a form; the rest of the way is the same for everybody."""
    visitor.ask()
    visitor.ask(captcha="AAAAaaaa")
    visitor.ask("no address")
    visitor.ask(refresh="1")
    visitor.client.post("/", data={"email": "x"})
    visitor.client.post("/", headers={"Sec-Fetch-Site": "cross-site"})
    with monkeypatch.context() as patch:
        patch.setattr(visitor.parts.flow, "request", _fail)
        visitor.ask()
    seen = figures(visitor)
    outcomes = [*("accepted", "captcha_refused", "address_invalid"), "refreshed"]
    for outcome in [*outcomes, "malformed", "foreign", "failed"]:
        assert seen[f'reset_requests_total{{outcome="{outcome}"}}'] == 1
    assert seen['reset_pages_total{page="request",status="4xx"}'] == 2


def _fail(*_: object, **__: object) -> None:
    raise ZeroDivisionError


def test_captchas_are_counted_by_kind_and_result(visitor: Visitor) -> None:
    """The pass rate of letters and of the browser's own work."""
    challenge = visitor.challenge()
    visitor.ask(challenge=challenge, captcha="", proof=proof(challenge, [KEY]))
    visitor.ask(challenge=challenge, captcha="", proof="1")
    visitor.ask(captcha="AAAAaaaa")
    visitor.ask()
    seen = figures(visitor)
    for by in ("letters", "proof"):
        for result in ("right", "wrong"):
            assert seen[f'reset_captcha_checks_total{{by="{by}",result="{result}"}}'] == 1


def test_limits_are_counted_by_purpose(visitor_of: MakeVisitor) -> None:
    """Those of a client, which say so, and those of an address, which do not."""
    visitor = visitor_of(limit_per_ip="2 per hour", limit_per_address="1 per hour")
    for _ in range(3):
        visitor.ask()
    seen = figures(visitor)
    assert seen['reset_requests_total{outcome="accepted"}'] == 2
    assert seen['reset_requests_total{outcome="rate_limited"}'] == 1
    assert seen['reset_limits_hit_total{purpose="request"}'] == 1
    assert seen['reset_limits_hit_total{purpose="address"}'] == 1


def test_every_limit_is_shown_before_it_is_hit(visitor: Visitor) -> None:
    """An alarm compares with the zero before: without one the first attempt beyond is not seen."""
    text = visitor.client.get("/metrics").text
    for purpose in (*FIXED, *NOT_BY_CLIENT, "request", "password", "deny", "link"):
        assert f'reset_limits_hit_total{{purpose="{purpose}"}} 0.0' in text


def test_links_and_changes_are_shown_in_tens(
    visitor: Visitor, portal: Portal, ana: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one person, or her mail scanner, opened a link would tell that she is registered."""
    link = visitor.link()
    before = visitor.client.get("/metrics").text
    for count in (4, 6):
        assert visitor.client.get("/metrics").text == before
        for _ in range(count):
            visitor.client.get(link)
            visitor.set_password(link, "corta")
    for _ in range(10):
        with monkeypatch.context() as patch:
            patch.setattr(visitor.parts.bearer, "set_password", _lose)
            assert visitor.set_password(link).status_code == 503
    for _ in range(11):
        visitor.set_password(link)
    seen = figures(visitor)
    assert seen['reset_links_opened_total{result="good"}'] == 10
    assert seen['reset_password_changes_total{result="refused"}'] == 10
    assert seen['reset_password_changes_total{result="uncertain"}'] == 10
    assert seen['reset_password_changes_total{result="dead_link"}'] == 10
    assert 'reset_password_changes_total{result="done"}' not in seen
    assert portal.lets_in(ana, NEW_PASSWORD)


def _lose(*_: object, **__: object) -> None:
    raise ChangeUncertain


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        (None, "done"),
        (MailDeferred("451 later"), "deferred"),
        (MailRefused("550 no"), "refused"),
    ],
    ids=["taken", "deferred", "refused"],
)
def test_mails_are_counted_by_result(
    visitor: Visitor, ana: int, fault: MailDeferred | MailRefused | None, result: str
) -> None:
    """In tens, once for each mail, by the worker that sent them."""
    visitor.sender.failures = [fault] * 12 if fault else []
    for count in (9, 1):
        assert f'reset_mails_total{{kind="reset_link",result="{result}"}}' not in figures(visitor)
        for _ in range(count):
            visitor.ask()
        visitor.run_worker()
    assert figures(visitor)[f'reset_mails_total{{kind="reset_link",result="{result}"}}'] == 10


def test_mail_that_is_given_up_is_counted(
    visitor_of: MakeVisitor, settings: Settings, clock: Clock, ana: int
) -> None:
    """Deferred once, however often it was tried, and abandoned once."""
    short = replace(settings.mail, give_up_after=timedelta(minutes=5))
    visitor = visitor_of(mail=short)
    visitor.sender.failures = [MailDeferred("451 later")] * 999
    for _ in range(10):
        visitor.ask()
    for _ in range(4):
        visitor.run_worker()
        clock.advance(minutes=2)
    seen = figures(visitor)
    assert seen['reset_mails_total{kind="reset_link",result="deferred"}'] == 10
    assert seen['reset_mails_total{kind="reset_link",result="abandoned"}'] == 10


def test_hand_over_is_measured_from_the_request(visitor: Visitor, clock: Clock, ana: int) -> None:
    """How long people wait for their mail, outages included."""
    for minutes in (0, 2):
        for _ in range(10):
            visitor.ask()
        clock.advance(minutes=minutes)
        visitor.run_worker()
    seen = figures(visitor)
    bounds = {"60": 10, "300": 20, "86400": 20, "+Inf": 20}
    assert {le: seen[f'reset_handover_seconds_bucket{{le="{le}"}}'] for le in bounds} == bounds


def test_queue_is_shown_in_tens(visitor: Visitor, ana: int) -> None:
    """What waits for a mail server that is down, and what a worker has in its hands."""
    for _ in range(19):
        visitor.ask()
    assert figures(visitor)['reset_outbox_mails{state="queued"}'] == 10
    visitor.parts.delivery.claim(limit=12, now=visitor.clock())
    seen = figures(visitor)
    assert seen['reset_outbox_mails{state="sending"}'] == 10
    assert 'reset_outbox_mails{state="queued"}' not in seen


@pytest.mark.parametrize("claimed", [False, True])
def test_mail_that_is_left_alone_shows_its_age(
    visitor: Visitor, clock: Clock, claimed: bool
) -> None:
    """From five minutes on, as for /readyz: less may mean that a worker is busy."""
    visitor.ask()
    if claimed:
        visitor.parts.delivery.claim(limit=1, now=clock())
        clock.advance(seconds=LEASE.total_seconds())
    clock.advance(minutes=5)
    assert "reset_outbox_oldest_due_seconds" not in figures(visitor)
    clock.advance(seconds=1)
    assert figures(visitor)["reset_outbox_oldest_due_seconds"] == 301


def test_worker_that_is_silent_shows(visitor: Visitor, clock: Clock) -> None:
    """Of each its last sign of life, and how many there are."""
    assert figures(visitor)["reset_workers"] == 1
    clock.advance(seconds=31)
    text = visitor.client.get("/metrics").text
    assert "reset_workers 0.0" in text
    age = f'reset_worker_heartbeat_age_seconds{{worker="{visitor.worker.name}"}} 31.0'
    assert age in text


def test_figures_survive_the_database(visitor: Visitor, tmp_path: Path) -> None:
    """Without it, what the web processes counted is still told."""
    visitor.ask()
    (tmp_path / "reset.sqlite").unlink()
    (tmp_path / "reset.sqlite").mkdir()
    visitor.parts.database.close()
    text = visitor.client.get("/metrics").text
    assert "reset_database_up 0.0" in text
    assert 'reset_requests_total{outcome="accepted"} 1.0' in text


def test_process_without_the_common_folder_counts_alone(
    visitor_of: MakeVisitor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is gone or full costs figures, not visitors."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/dev/null/figures")
    visitor = visitor_of()
    visitor.ask()
    assert figures(visitor)['reset_requests_total{outcome="accepted"}'] == 1
    assert "figures of this process alone" in capsys.readouterr().err


def scrapes(visitor: Visitor, email: str, fault: Exception | None) -> Iterator[str]:
    """What is shown while *email* asks again and again: before and after the worker has it."""
    send = visitor.sender.send

    def scrape() -> str:
        visitor.worker.beat()
        return visitor.client.get("/metrics").text

    def busy(message: MimeMessage) -> None:
        visitor.clock.advance(seconds=40)  # A server that takes its time.
        during.append(scrape())
        if fault:
            raise fault
        send(message)

    visitor.sender.send = busy  # type: ignore[assignment, method-assign]
    began = visitor.clock.now
    for number in range(11 if fault is None else 3):
        visitor.clock.now = began + number * timedelta(minutes=2)
        during: list[str] = []
        visitor.ask(email)
        waiting = scrape()
        yield waiting
        visitor.run_worker()
        after = scrape()
        assert {*during} <= {waiting, after}
        yield after


@pytest.mark.parametrize(
    "fault",
    [None, MailDeferred("452 full"), MailRefused("550"), MailDeferred("down", server_down=True)],
    ids=["taken", "full", "refused", "down"],
)
def test_figures_tell_no_accounts_apart(
    visitor_of: MakeVisitor, tmp_path: Path, ana: int, fault: Exception | None
) -> None:
    """Scrape by scrape they are the same for both, while the mail is under way and afterwards.

    Also where the mail cannot be handed over; in tens that would show, as the manual says.
    """
    known = visitor_of()
    unknown = visitor_of(database_url=f"sqlite:///{tmp_path}/other.sqlite")
    unknown.clock = known.clock
    began = known.clock.now
    seen = [*scrapes(known, ADDRESS, fault)]
    known.clock.now = began
    assert [*scrapes(unknown, "nadie@example.com", fault)] == seen
    assert 'outcome="accepted"} 3.0' in "".join(seen)
