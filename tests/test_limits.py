"""Limits that cannot be walked around and cannot hurt the innocent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from config import Settings
from reset.counters import DatabaseStorage
from reset.db import Database
from reset.errors import MailDeferred
from reset.limits import network_of
from tests.conftest import KEY, Clock, Portal, Visitor, hash_bcrypt, links_in


def post_from(visitor: Visitor, address: str, **headers: str) -> TestResponse:
    """An (empty) form from a client address."""
    return visitor.client.post("/", environ_base={"REMOTE_ADDR": address}, headers=headers)


def test_client_is_stopped_with_the_time_to_wait(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor], clock: Clock
) -> None:
    """The last good attempt passes, the next is told how long to wait; then it works again."""
    visitor = make_visitor(make_app(limit_per_ip="3 per minute"))
    assert [visitor.ask().status_code for _ in range(4)] == [303, 303, 303, 429]
    stopped = visitor.ask()
    assert stopped.headers["Retry-After"] == "60"
    assert "Demasiados intentos" in stopped.text
    assert "1 minuto" in stopped.text
    clock.advance(seconds=60)
    assert visitor.ask().status_code == 303


def test_edge_of_a_window_lets_twice_the_number_through_at_most(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor], clock: Clock
) -> None:
    """Late in one window and early in the next: as many as the manual says, and no more."""
    visitor = make_visitor(make_app(limit_per_ip="3 per minute"))
    post_from(visitor, "192.0.2.1")
    clock.advance(seconds=59)
    late = [post_from(visitor, "192.0.2.1").status_code for _ in range(3)]
    clock.advance(seconds=2)
    early = [post_from(visitor, "192.0.2.1").status_code for _ in range(4)]
    clock.advance(seconds=58)
    assert late + early == [400, 400, 429, 400, 400, 400, 429]
    assert post_from(visitor, "192.0.2.1").status_code == 429


def test_rotation_of_the_key_is_no_new_quota(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor], ana: int
) -> None:
    """What an address asked for before a key was added counts after it."""
    before = make_visitor(make_app(limit_per_address="2 per hour"))
    after = make_visitor(make_app(limit_per_address="2 per hour", secret_keys=(KEY, KEY[::-1])))
    before.ask()
    before.ask()
    after.ask(challenge=before.challenge())
    after.run_worker()
    assert len(after.mails()) == 2


def test_address_over_its_limit_is_answered_as_always(
    visitor: Visitor, clock: Clock, ana: int
) -> None:
    """Same answer, nothing more mailed, and the links already mailed stay good."""
    answers = set()
    for _ in range(9):
        clock.advance(seconds=1)
        answers.add(visitor.ask().status_code)
    visitor.run_worker()
    assert answers == {303}
    assert len(visitor.mails()) == 5
    assert visitor.trace() == ["requested", "limited"]
    assert visitor.set_password(links_in(visitor.mails()[0])[0]).status_code == 303


@pytest.mark.parametrize("ended", ["denied", "changed by the portal"])
def test_stranger_cannot_lock_the_owner_out(
    visitor: Visitor, portal: Portal, clock: Clock, ana: int, ended: str
) -> None:
    """With the quota used up by others and no live link left, the owner still gets one."""
    for _ in range(7):
        clock.advance(seconds=1)
        visitor.ask()
    visitor.run_worker()
    if ended == "denied":
        token = links_in(visitor.mails()[0], "no-fui-yo")[0].rpartition("/")[2]
        assert visitor.client.post("/no-fui-yo", data={"token": token}).status_code == 200
    else:
        portal.set(ana, clave=hash_bcrypt("Portal-Hizo-Esta-9"))
    clock.advance(seconds=1)
    link = visitor.link()
    assert len(visitor.mails()) == 6
    assert visitor.set_password(link).status_code == 303


def test_mail_over_the_limit_survives_a_retry(
    visitor: Visitor, clock: Clock, portal: Portal, ana: int
) -> None:
    """The link that a first attempt made is no reason to drop the second."""
    for _ in range(5):
        visitor.ask()
    visitor.run_worker()
    portal.set(ana, clave=hash_bcrypt("Portal-Hizo-Esta-9"))
    clock.advance(seconds=1)
    visitor.ask()
    visitor.sender.failures = [MailDeferred("451 later")]
    visitor.run_worker()
    clock.advance(minutes=2)
    visitor.run_worker()
    assert len(visitor.mails()) == 6


def test_unknown_address_over_the_limit_is_told_as_unknown(visitor: Visitor, clock: Clock) -> None:
    """The help desk hears why nothing was mailed."""
    for _ in range(7):
        clock.advance(seconds=1)
        visitor.ask("nadie@example.com")
    visitor.run_worker()
    assert visitor.trace("nadie@example.com") == ["requested", "no_account"]


def test_short_lives_lock_nobody_out(
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    clock: Clock,
    ana: int,
) -> None:
    """Where links live shorter than the limit's window, the next one comes when they died."""
    visitor = make_visitor(make_app(link_lifetime=timedelta(minutes=15)))
    for _ in range(7):
        visitor.ask()
    visitor.run_worker()
    assert len(visitor.mails()) == 5
    clock.advance(minutes=15, seconds=1)
    assert visitor.client.get(visitor.link()).status_code == 200


def test_spellings_of_an_address_share_one_limit(visitor: Visitor, ana: int) -> None:
    """Capitals and spaces make no new quota."""
    for typed in (
        "aNa@example.com",
        "ANA@EXAMPLE.COM",
        " ana@Example.com",
        "Ana@example.com\u200b",
    ):
        visitor.ask(typed)
        visitor.ask(typed)
    visitor.run_worker()
    assert len(visitor.mails()) == 5


def test_replayed_captcha_uses_up_no_address(visitor: Visitor, ana: int) -> None:
    """Who solved one captcha cannot spend the quota of others with it."""
    challenge = visitor.challenge()
    for _ in range(9):
        visitor.ask(challenge=challenge)
    visitor.ask()
    visitor.run_worker()
    assert len(visitor.mails()) == 2


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP"],
)
def test_forged_headers_do_not_help(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor], header: str
) -> None:
    """Without a proxy configured, the client address is the connection's."""
    visitor = make_visitor(make_app(limit_per_ip="2 per minute"))
    answers = [post_from(visitor, "192.0.2.1", **{header: f"10.0.0.{i}"}) for i in range(3)]
    assert answers[-1].status_code == 429


def test_one_proxy_is_believed_once(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor]
) -> None:
    """Behind one proxy only its own, last entry counts; what the client wrote does not."""
    visitor = make_visitor(make_app(limit_per_ip="2 per minute", trusted_proxies=1))
    forged = [
        post_from(visitor, "127.0.0.1", **{"X-Forwarded-For": f"10.0.0.{i}, 192.0.2.1"})
        for i in range(3)
    ]
    other = post_from(visitor, "127.0.0.1", **{"X-Forwarded-For": "192.0.2.2"})
    assert [answer.status_code for answer in forged] == [400, 400, 429]
    assert other.status_code == 400


def test_ipv6_counts_by_network(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor]
) -> None:
    """The addresses of one /64 are one client, the next /64 is another."""
    visitor = make_visitor(make_app(limit_per_ip="2 per minute"))
    same = [post_from(visitor, f"2001:db8:0:1::{i}").status_code for i in range(1, 4)]
    assert same == [400, 400, 429]
    assert post_from(visitor, "2001:db8:0:2::1").status_code == 400
    mapped = [post_from(visitor, a).status_code for a in ("::ffff:192.0.2.9", "192.0.2.9") * 2]
    assert mapped[2:] == [429, 429]


@pytest.mark.parametrize("remote", ["", "unix:"])
def test_unknown_client_address_is_a_fault_of_the_set_up(visitor: Visitor, remote: str) -> None:
    """Behind a socket without proxies configured, all would share one limit: told, not borne."""
    assert post_from(visitor, remote).status_code == 503


def test_office_behind_one_address_is_let_through(visitor: Visitor, clock: Clock) -> None:
    """Forty people of one office within ten minutes, some with a slip of the pen."""
    answers = []
    for person in range(40):
        if person % 3 == 0:
            visitor.ask(f"p{person}@example.com", captcha="xxxxxxxx")
        answers.append(visitor.ask(f"p{person}@example.com").status_code)
        clock.advance(seconds=15)
    assert set(answers) == {303}


def test_pictures_are_limited(visitor: Visitor) -> None:
    """Drawing costs: one client gets 120 a minute."""
    challenge = visitor.challenge()
    answers = [visitor.client.get(f"/captcha/{challenge}.png").status_code for _ in range(121)]
    assert answers == [200] * 120 + [429]


def test_every_form_and_link_is_limited(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor]
) -> None:
    """Guessing tokens is stopped like guessing letters, each on its own account."""
    visitor = make_visitor(make_app(limit_per_ip="2 per minute"))
    for method, path in (
        ("POST", "/"),
        ("GET", "/nueva/x"),
        ("POST", "/nueva"),
        ("POST", "/no-fui-yo"),
    ):
        answers = [visitor.client.open(path, method=method).status_code for _ in range(3)]
        assert answers[-1] == 429
        assert 429 not in answers[:-1]


def test_counters_are_shared_and_exact(
    settings: Settings, make_app: Callable[..., Flask], clock: Clock
) -> None:
    """Four threads over two databases handles count to the limit and not beyond."""
    make_app()
    databases = [Database(settings.database_url) for _ in range(2)]
    stores = [DatabaseStorage(database=database, clock=clock) for database in databases]
    hits: list[int] = []

    def hit(store: DatabaseStorage) -> None:
        hits.extend(store.incr("k", 60) for _ in range(25))

    threads = [threading.Thread(target=hit, args=[store]) for store in stores * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for database in databases:
        database.close()
    assert sorted(hits) == list(range(1, 101))


def test_window_that_is_over_stops_although_another_is_not(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor], clock: Clock
) -> None:
    """Of two windows each counts every attempt; who is stopped by both waits for the later end."""
    visitor = make_visitor(make_app(limit_per_ip="2 per minute; 4 per hour"))
    answers = []
    for _ in range(3):
        answers += [post_from(visitor, "192.0.2.1").status_code for _ in range(2)]
        clock.advance(minutes=1)
    assert answers == [400, 400, 400, 400, 429, 429]
    assert post_from(visitor, "192.0.2.1").headers["Retry-After"] == str(57 * 60)


def test_counters_hold_no_address_in_clear(visitor: Visitor) -> None:
    """The table of counters does not tell who asked for what."""
    visitor.ask("nadie.de.aqui@example.com")
    with visitor.parts.database.read() as tx:
        buckets = [row[0] for row in tx.exec_driver_sql("SELECT bucket FROM limits")]
    assert buckets
    assert not any("nadie" in bucket for bucket in buckets)


def test_old_counters_are_purged(visitor: Visitor, clock: Clock) -> None:
    """The table does not grow for ever."""
    visitor.ask()
    clock.advance(hours=2)
    visitor.run_worker()
    with visitor.parts.database.read() as tx:
        assert tx.exec_driver_sql("SELECT COUNT(*) FROM limits").scalar() == 0


def test_cleared_address_may_ask_again(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor]
) -> None:
    """All its counters go, and nobody else's."""
    visitor = make_visitor(make_app(limit_per_address="1 per hour; 2 per day"))
    limits = visitor.parts.limits
    for address in ("ana@example.com", "beto@example.com"):
        assert [limits.allows_address(address) for _ in range(2)] == [True, False]
    assert limits.clear_address("ana@example.com") == 2
    assert limits.clear_address("ana@example.com") == 0
    assert limits.allows_address("ana@example.com")
    assert not limits.allows_address("beto@example.com")


def test_cleared_client_may_try_again(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor]
) -> None:
    """At every form and link, as one network; the next network stays where it was."""
    visitor = make_visitor(make_app(limit_per_ip="1 per minute; 2 per hour"))
    clients = ("2001:db8:0:1::7", "2001:db8:0:2::7")
    for client in clients * 2:
        post_from(visitor, client)
        visitor.client.get("/nueva/x", environ_base={"REMOTE_ADDR": client})
    assert visitor.parts.limits.clear_client(network_of("2001:db8:0:1::9")) == 4
    assert [post_from(visitor, client).status_code for client in clients] == [400, 429]
    link = visitor.client.get("/nueva/x", environ_base={"REMOTE_ADDR": clients[0]})
    assert link.status_code == 410


def test_counters_tell_who_is_at_the_limit(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor], clock: Clock
) -> None:
    """Client, purpose, hits and the end; none whose window is over."""
    visitor = make_visitor(make_app(limit_per_ip="2 per minute"))
    for client in ("192.0.2.1", "192.0.2.1", "2001:db8::1"):
        post_from(visitor, client)
    found = visitor.parts.limits.counters()
    assert [(c.purpose, c.who, c.hits, c.most, c.is_full) for c in found] == [
        ("request", "192.0.2.1", 2, 2, True),
        ("request", "2001:db8::/64", 1, 2, False),
    ]
    assert {c.until for c in found} == {clock() + timedelta(minutes=1)}
    clock.advance(minutes=1)
    assert visitor.parts.limits.counters() == []
