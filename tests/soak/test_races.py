"""A link that is used while something else happens to it: one after the other, nothing lost."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Barrier
from typing import Any

import pytest

from app import create_app
from demo import accounts as demo_accounts
from reset import audit
from tests.conftest import NEW_PASSWORD, hash_bcrypt
from tests.servers.service import Answer, Host, settings
from tests.servers.smtp import link_in
from tests.soak.conftest import Note, Person, Rounds, Site

Mailed = Callable[[int], list[Person]]
Race = Callable[[str, Callable[[], Any]], tuple[Answer, Any]]
THEIRS = hash_bcrypt("Propia-Del-Portal-1")


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)]
)
def site_state_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('state')}/state.sqlite"
    return str(request.getfixturevalue("state_servers")(request.param))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Host]:
    """Four web processes and a worker."""
    with Host(tmp_path_factory.mktemp("host"), site.environ, web_workers=4) as host:
        host.start_web()
        host.start_worker()
        yield host


@pytest.fixture
def mailed(host: Host, site: Site) -> Mailed:
    """``mailed(n)``: new people who asked twice and have both mails."""

    def ask(count: int) -> list[Person]:
        people = site.newcomers(count)
        client = host.client()
        for person in people * 2:
            assert client.ask(person.address).status == 303
        client.close()
        site.all_sent()
        return people

    return ask


@pytest.fixture
def race(host: Host, site: Site, mailed: Mailed) -> Race:
    """``race(link, rival)``: set a password; *rival* comes at any moment of it."""
    (somebody,) = mailed(1)
    started = time.monotonic()
    assert _use(host, site.link(somebody)).location == "/lista"
    usual = time.monotonic() - started

    def run(link: str, rival: Callable[[], Any]) -> tuple[Answer, Any]:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(_use, host, link)
            time.sleep(secrets.randbelow(1000) / 1000 * usual)
            met = rival()
            return answer.result(), met

    return run


@pytest.mark.parametrize("links", [1, 2])
def test_one_of_a_hundred_uses_wins(
    host: Host, site: Site, mailed: Mailed, rounds: Rounds, figure: Note, links: int
) -> None:
    """One password is set and confirmed once, however many come through all links at once."""
    asked, uses = mailed(rounds(2, 50)), rounds(20, 100)
    passwords = [f"{NEW_PASSWORD}-{n}" for n in range(uses)]
    for person in asked:
        theirs = [link_in(mail) for mail in site.mails(person)[:links]] * uses
        with ThreadPoolExecutor(uses) as pool:
            use = partial(_use, host, start=Barrier(uses))
            answers = list(pool.map(use, theirs[:uses], passwords))
        won = [word for word, got in zip(passwords, answers, strict=True) if got.status == 303]
        assert len(won) == 1
        assert {got.status for got in answers} <= {303, 410, 503}
        assert [word for word in passwords if site.portal.lets_in(person.id, word)] == won
    site.all_sent()
    assert [site.confirmations(person) for person in asked] == [1] * len(asked)
    assert "store unavailable" not in host.log
    what = f"{uses} uses at once through {links} link(s): rounds with one success"
    figure("4 works once", what, len(asked), str(len(asked)))


@pytest.mark.parametrize("change", ["clave = :theirs", "activo = 0"])
def test_portal_changes_the_account_meanwhile(
    site: Site, race: Race, mailed: Mailed, rounds: Rounds, figure: Note, change: str
) -> None:
    """It meets our password and we told of success, or we told of none; it is never undone."""
    asked, ours = mailed(rounds(3, 50)), []
    for person in asked:
        answer, met = race(site.link(person), partial(_as_the_portal, site, person, change))
        ours.append(demo_accounts.check(NEW_PASSWORD, met))
        assert (answer.location == "/lista") == ours[-1]
        assert answer.status in (303, 410, 503)
        assert site.portal.stored(person.id) == (THEIRS if "clave" in change else met)
    site.all_sent()
    assert [site.confirmations(person) for person in asked] == ours
    figure(
        "4 works once",
        f"portal sets {change} meanwhile: it came second",
        sum(ours),
        f"of {len(ours)}",
    )


def test_denial_meanwhile(
    host: Host, site: Site, race: Race, mailed: Mailed, rounds: Rounds, figure: Note
) -> None:
    """The person's "no fui yo" closes the link before it is used, or hears that it is too late."""
    asked, changed = mailed(rounds(3, 50)), []
    for person in asked:
        link, denial = site.link(person), link_in(site.mails(person)[0], "no-fui-yo")
        answer, denied = race(link, partial(_deny, host, denial))
        changed.append(site.portal.lets_in(person.id, NEW_PASSWORD))
        assert (answer.location == "/lista") == changed[-1]
        assert (denied.status == 200) != changed[-1]
        assert {answer.status, denied.status} <= {200, 303, 410, 503}
    site.all_sent()
    assert [site.confirmations(person) for person in asked] == changed
    figure(
        "4 works once", "'no fui yo' meanwhile: it came second", sum(changed), f"of {len(changed)}"
    )


def test_purge_meanwhile(
    site: Site, race: Race, mailed: Mailed, rounds: Rounds, figure: Note
) -> None:
    """Old requests are deleted while links are used: both succeed."""
    asked = mailed(rounds(3, 50))
    parts = create_app(settings(site.environ)).extensions["reset"]
    days = [datetime.now(UTC) - timedelta(days=200 - day) for day in range(len(asked))]
    with parts.database.begin() as tx:
        for day in days:
            audit.open_request(tx, audit.new_number(), "nadie@example.com", "es", now=day)
    for person, day in zip(asked, days, strict=True):
        purge = partial(parts.flow.purge, now=day + timedelta(days=90, hours=12))
        answer, _ = race(site.link(person), purge)
        assert answer.location == "/lista"
    assert parts.flow.trace("nadie@example.com") == []
    parts.database.close()
    site.all_sent()
    assert [site.confirmations(person) for person in asked] == [1] * len(asked)
    figure("4 works once", "purge meanwhile: changed and confirmed", len(asked), str(len(asked)))


def _use(
    host: Host, link: str, password: str = NEW_PASSWORD, start: Barrier | None = None
) -> Answer:
    """Send a password through *link* on a new connection."""
    with host.client() as visitor:
        if start:
            start.wait()
        return visitor.set_password(link, password)


def _deny(host: Host, link: str) -> Answer:
    with host.client() as visitor:
        return visitor.post("/no-fui-yo", token=link.rpartition("/")[2])


def _as_the_portal(site: Site, person: Person, change: str) -> str:
    """Change the row as its owner would; the hash that stood there before."""
    with closing(sqlite3.connect(site.portal.path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        query = "SELECT clave FROM usuarios WHERE id = ?"
        (met,) = db.execute(query, [person.id]).fetchone()
        statement = f"UPDATE usuarios SET {change} WHERE id = :id"
        db.execute(statement, {"theirs": THEIRS, "id": person.id})
        db.execute("COMMIT")
    return str(met)
