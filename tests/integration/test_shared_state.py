"""Several hosts over one state in PostgreSQL or MariaDB: who comes second waits, and sees it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import TypeVar

import pytest
import sqlalchemy as sa
from flask import Flask

from config import Settings
from reset import audit, links, migrations
from reset.accounts import Account
from reset.accounts.memory import MemoryAccounts
from reset.db import Database, hold
from reset.errors import ActRefused, LinkBusy, StoreUnavailable
from reset.help_desk.desk import Asked
from reset.links import Link
from reset.mail import outbox
from tests.conftest import ADDRESS, START, Visitor, links_in, prepared
from tests.servers.sql import SqlServer
from tests.servers.state import NAME, TABLES, drop_tables, locked_out

LATEST = migrations.steps()[-1][0]
SOON = START + timedelta(minutes=2)
MakeApp = Callable[..., Flask]
MakeVisitor = Callable[[Flask], Visitor]
T = TypeVar("T")


@pytest.fixture(params=["postgresql", "mysql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def state_url(kind: str, state_servers: Callable[[str], str]) -> str:
    return state_servers(kind)


@pytest.fixture
def server(kind: str, sql_server: Callable[[str], SqlServer]) -> SqlServer:
    return sql_server(kind)


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    """Other hosts."""
    with ThreadPoolExecutor(8) as hosts:
        yield hosts


def waits(act: Future[T]) -> Future[T]:
    """Fails if *act* does not wait for us."""
    wait([act], timeout=0.5)
    assert not act.done()
    return act


def two_links(visitor: Visitor) -> list[Link]:
    """Two live links of Ana's account, from two mails."""
    visitor.link()
    visitor.link()
    with visitor.parts.database.read() as tx:
        return [
            link
            for request in visitor.parts.flow.trace(ADDRESS)
            for link in links.of_request(tx, request.number)
        ]


def claim(database: Database, link: Link) -> bool:
    with database.begin() as tx:
        return links.claim(tx, link, until=SOON, origin="")


def test_two_links_of_one_account_are_not_claimed_at_once(
    visitor: Visitor, ana: int, elsewhere: ThreadPoolExecutor
) -> None:
    """The second host waits for the first, and then finds the account busy."""
    first, second = two_links(visitor)
    database = visitor.parts.database
    with database.begin() as tx:
        assert links.claim(tx, first, until=SOON, origin="")
        late = waits(elsewhere.submit(claim, database, second))
    assert late.result() is False


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)  # MariaDB's order is not by id.
def test_change_is_noted_while_another_link_is_tried(
    visitor: Visitor, ana: int, elsewhere: ThreadPoolExecutor
) -> None:
    """All take the links of an account in one order: the database need not throw anybody out."""
    low, high = sorted(two_links(visitor), key=lambda link: link.id)
    parts, one = visitor.parts, "SELECT id FROM links WHERE id = :id"
    account = parts.accounts.get(high.account)
    assert account
    assert claim(parts.database, high)
    with parts.database.begin() as tx:
        hold(tx, one, id=low.id)
        noted = waits(elsewhere.submit(parts.settlement.finish, high, account, "", now=START))
        hold(tx, one, id=high.id)
    noted.result()
    assert "password_changed" in [
        event.name for request in parts.flow.trace(ADDRESS) for event in request.events
    ]


def test_denial_waits_for_a_claim(
    visitor: Visitor, ana: int, elsewhere: ThreadPoolExecutor
) -> None:
    """ "No fui yo" is not said while a password is being set: it would come to nothing."""
    first, _ = two_links(visitor)
    token = links_in(visitor.mails()[0], "no-fui-yo")[0].rpartition("/")[2]
    with visitor.parts.database.begin() as tx:
        assert links.claim(tx, first, until=SOON, origin="")
        late = waits(elsewhere.submit(visitor.parts.bearer.deny, token, now=START))
    assert isinstance(late.exception(), LinkBusy)


def test_mail_waits_for_a_denial(visitor: Visitor, ana: int, elsewhere: ThreadPoolExecutor) -> None:
    """A worker that prepares another mail meanwhile sees that it is not wanted any more."""
    visitor.link()
    visitor.ask()
    parts = visitor.parts
    (message,) = parts.delivery.claim(limit=1, now=START)
    mailed = parts.flow.trace(ADDRESS)
    (denied,) = [r.number for r in mailed if r.number != message.request]
    with parts.database.begin() as tx:
        audit.note(tx, denied, "denied", now=START)
        audit.close_alike(tx, denied, now=START)
        late = waits(elsewhere.submit(prepared, parts, message, now=START))
    assert late.result() is None


def test_value_that_does_not_fit_stops_nobody_else(
    make_app: MakeApp, make_visitor: MakeVisitor
) -> None:
    """A portal with endless ids: that mail waits, the next one leaves."""
    accounts = MemoryAccounts(
        Account(id=f'"{one}"', login="x", address=f"{two}@example.com", credential="x")
        for one, two in (("a" * 300, "ana"), ("b", "beto"))
    )
    visitor = make_visitor(make_app(accounts))
    visitor.ask("ana@example.com")
    visitor.ask("beto@example.com")
    visitor.run_worker()
    assert [mail.recipients for mail in visitor.sender.sent] == [["beto@example.com"]]
    assert visitor.trace("ana@example.com")[-1] == "mail_deferred"


def test_account_ids_are_compared_exactly(make_app: MakeApp, make_visitor: MakeVisitor) -> None:
    """`A1` and `a1` are two accounts, whatever the database usually takes for alike."""
    accounts = MemoryAccounts(
        Account(id=f'"{one}"', address=f"{two}@example.com", login="x", credential="x")
        for one, two in (("a1", "ana"), ("A1", "beto"))
    )
    visitor = make_visitor(make_app(accounts))
    ana, beto = visitor.link("ana@example.com"), visitor.link("beto@example.com")
    assert visitor.set_password(ana).status_code == 303
    assert visitor.set_password(beto).status_code == 303


def test_last_mail_of_the_hour_is_sent_by_one_worker(
    make_app: MakeApp, make_visitor: MakeVisitor, elsewhere: ThreadPoolExecutor
) -> None:
    """Workers that prepare mails for one account at once do not each take the last one."""
    start = Barrier(4)

    class Accounts(MemoryAccounts):
        def find_by_address(self, address: str) -> list[Account]:
            start.wait(30)
            return super().find_by_address(address)

    accounts = Accounts([Account(id='"1"', address=ADDRESS, login="x", credential="x")])
    visitor = make_visitor(make_app(accounts, limit_per_address="1 per hour"))
    delivery = visitor.parts.delivery
    for _ in range(4):  # As when the counters were lost: none of them is marked.
        visitor.parts.flow.request(ADDRESS, allowed=True, origin="", language="es", now=START)
    messages = delivery.claim(limit=4, now=START)
    made = list(elsewhere.map(lambda m: prepared(visitor.parts, m, now=START), messages))
    assert len([letter for letter in made if letter]) == 1


def test_second_operator_waits_for_the_first(
    visitor: Visitor, elsewhere: ThreadPoolExecutor
) -> None:
    """One mail is sent again, here to somebody unknown; who comes second hears that it is done."""
    visitor.ask()
    visitor.run_worker()
    parts, number = visitor.parts, visitor.parts.flow.trace(ADDRESS)[0].number
    asked = Asked(number, "marta", "no le llegó", 0, now=START)
    with parts.database.begin() as tx:
        hold(tx, "SELECT number FROM requests WHERE number = :number", number=number)
        audit.note(tx, number, "sent_again", now=START)
        late = waits(elsewhere.submit(parts.desk.send_again, asked))
    refused = late.exception()
    assert isinstance(refused, ActRefused)
    assert refused.code == "done"


def test_cancelling_waits_for_a_claim(
    visitor: Visitor, ana: int, elsewhere: ThreadPoolExecutor
) -> None:
    """The links of an account are not cancelled while a password is being set with one."""
    first, _ = two_links(visitor)
    parts = visitor.parts
    asked = Asked(parts.flow.trace(ADDRESS)[0].number, "marta", "la pidió otro", 0, now=START)
    with parts.database.begin() as tx:
        assert links.claim(tx, first, until=SOON, origin="")
        late = waits(elsewhere.submit(parts.desk.cancel_links, asked))
    refused = late.exception()
    assert isinstance(refused, ActRefused)
    assert refused.code == "busy"


def test_mail_waits_for_a_cancellation(
    visitor: Visitor, ana: int, elsewhere: ThreadPoolExecutor
) -> None:
    """A worker that prepares one meanwhile sees that it is not wanted any more."""
    visitor.ask()
    parts = visitor.parts
    (message,) = parts.delivery.claim(limit=1, now=START)
    asked = Asked(message.request, "marta", "la pidió otro", 0, now=START)
    with parts.database.begin() as tx:
        hold(tx, "SELECT number FROM requests WHERE number = :number", number=message.request)
        cancelled = waits(elsewhere.submit(parts.desk.cancel_links, asked))
    cancelled.result()
    assert prepared(parts, message, now=START) is None


def test_overdue_is_noted_once(visitor: Visitor, ana: int, elsewhere: ThreadPoolExecutor) -> None:
    """A worker that finds it marked by another one gives the help desk no second mark."""
    visitor.ask()
    late = START + timedelta(hours=12)
    with visitor.parts.database.begin() as tx:
        ((message, _),) = outbox.newly_overdue(tx, now=late)
        assert outbox.mark_overdue(tx, message, now=late)
        second = waits(elsewhere.submit(visitor.parts.delivery.mark_overdue, now=late))
    second.result()
    assert visitor.trace() == ["requested"]


def test_workers_of_all_hosts_show_themselves(
    visitor: Visitor, elsewhere: ThreadPoolExecutor
) -> None:
    """At the same moment, again and again, while all forget one that is long dead."""
    show, end = visitor.parts.delivery.show_life, visitor.parts.delivery.show_end
    show("dead:1", started_at=START, now=START - timedelta(days=2))

    def work(host: str) -> None:
        for _ in range(5):
            show(host, started_at=START, now=START)

    hosts = [f"host{number}:1" for number in range(8)]
    for done in [elsewhere.submit(work, host) for host in hosts]:
        done.result()
    visitor.ask()
    visitor.clock.advance(seconds=301)
    text = visitor.parts.metrics.text().decode()
    assert re.findall('age_seconds{worker="(.+?)"}', text) == hosts
    assert "reset_outbox_oldest_due_seconds 301.0" in text
    for host in hosts:
        end(host)
    assert "reset_workers 0.0" in visitor.parts.metrics.text().decode()


def test_purge_takes_all_that_hangs_on_a_request(visitor: Visitor, ana: int) -> None:
    """Trace, link and mail go with it."""
    visitor.link()
    visitor.clock.advance(days=100)
    visitor.run_worker()
    with visitor.parts.database.read() as tx:
        left = [
            tx.exec_driver_sql(f"SELECT COUNT(*) FROM {table}").scalar()
            for table in ("requests", "events", "links", "outbox")
        ]
    assert left == [0, 0, 0, 0]


def test_hosts_tell_the_time_by_the_database(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host whose clock is wrong by two minutes agrees with the others all the same."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Ahead:
            return cls.fromtimestamp(datetime.now(UTC).timestamp() + 120, UTC)

    database = Database(settings.database_url)
    monkeypatch.setattr("reset.db.datetime", Ahead)
    with database.read():
        pass
    database.close()
    assert abs(database.now() - datetime.now(UTC)) < timedelta(seconds=60)


def test_hosts_that_start_together_migrate_once(
    server: SqlServer, settings: Settings, elsewhere: ThreadPoolExecutor
) -> None:
    """They wait for one another; every table is there afterwards."""
    drop_tables(server)
    databases = [Database(settings.database_url) for _ in range(6)]
    start = Barrier(len(databases))

    def migrate(database: Database) -> int:
        start.wait(30)
        version = database.migrate()
        database.close()
        return version

    assert list(elsewhere.map(migrate, databases)) == [LATEST] * 6


@pytest.mark.parametrize("done", [0, 1, 3, 8])
def test_migration_cut_off_goes_on(
    server: SqlServer, settings: Settings, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    """Killed after any statement; the next start does the rest."""
    drop_tables(server)
    database, steps = Database(settings.database_url), migrations.steps()
    (number, statements), *_ = steps
    broken = [*statements[:done], "CREATE NONSENSE"]
    monkeypatch.setattr(migrations, "steps", lambda: [(number, broken)])
    with pytest.raises(StoreUnavailable):
        database.migrate()
    monkeypatch.setattr(migrations, "steps", lambda: steps)
    assert database.migrate() == LATEST
    with database.read() as tx:
        assert set(sa.inspect(tx).get_table_names()) == set(TABLES)
    database.close()


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_migration_of_a_large_table_takes_its_time(
    server: SqlServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would begin anew for ever; whatever is asked after it has its deadline again."""
    database = Database(settings.database_url)
    monkeypatch.setattr(migrations, "steps", lambda: [(LATEST + 1, ["SELECT pg_sleep(5.5)"])])
    assert database.migrate() == LATEST + 1
    with pytest.raises(StoreUnavailable), database.begin() as tx:
        tx.exec_driver_sql("SELECT pg_sleep(5.5)")
    drop_tables(server)
    database.close()


def test_database_that_comes_late_is_migrated_then(
    server: SqlServer, make_app: MakeApp, make_visitor: MakeVisitor
) -> None:
    """Down when the service starts; no restart is needed."""
    drop_tables(server)
    with locked_out(server):
        visitor = make_visitor(make_app())
        assert visitor.client.get("/readyz").status_code == 503
    assert visitor.ask().status_code == 303


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_accepted_is_on_disk_whatever_is_usual_there(server: SqlServer, settings: Settings) -> None:
    """A server that acknowledges before it writes is told not to, but for what can be lost."""
    with server.admin(NAME).connect() as root:
        root.exec_driver_sql(f"ALTER DATABASE {NAME} SET synchronous_commit = off")
    database, levels = Database(settings.database_url), []
    for durable in (True, False, True):
        with database.begin(durable=durable) as tx:
            levels.append(tx.exec_driver_sql("SHOW synchronous_commit").scalar())
    database.close()
    with server.admin(NAME).connect() as root:
        root.exec_driver_sql(f"ALTER DATABASE {NAME} RESET synchronous_commit")
    assert levels == ["on", "off", "on"]
