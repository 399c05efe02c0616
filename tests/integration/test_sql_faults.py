"""Databases that are slow, locked, gone or set up wrongly: nothing waits for ever or is guessed."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from reset import engine
from reset.accounts import hashes, silence
from reset.accounts.sql import Table
from reset.errors import (
    AccountsUnavailable,
    ChangeUncertain,
)
from tests.conftest import ADDRESS, NEW_PASSWORD, OLD_PASSWORD
from tests.servers.certificates import Authority
from tests.servers.sql import SqlServer, paused
from tests.stores import Store, create_tables, database, held, the_account

KEYS = [
    *("007", uuid.UUID(int=7), 2**63 - 1, b"\x00\xff" * 8),
    *(Decimal("1.50"), datetime(2026, 11, 22, 15, 0, 0, 7)),
]
SERVERS = pytest.mark.parametrize("store", ["postgresql", "mysql"], indirect=True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time-outs as short as the databases allow."""
    monkeypatch.setattr(engine, "TIMEOUT_SECONDS", 3)
    monkeypatch.setattr(engine, "_SERVER_SECONDS", 2)
    monkeypatch.setattr(silence, "PAUSE_SECONDS", 0)


@pytest.mark.usefixtures("impatient")
def test_locked_row_is_a_short_wait(store: Store) -> None:
    """The portal holds the row for ever: we give up in seconds, and say that nothing changed."""
    ana = store.add()
    account, accounts = the_account(store), store.accounts()
    with held(store, ana), pytest.raises(AccountsUnavailable) as raised:
        accounts.set_password(account, NEW_PASSWORD)
    assert not isinstance(raised.value, ChangeUncertain)
    assert hashes.verify(OLD_PASSWORD, store.row(ana).clave)
    accounts.set_password(account, NEW_PASSWORD)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("store", ["mysql"], indirect=True)
def test_locked_table_is_given_up_by_the_server(store: Store) -> None:
    """A backup holds the table: what we gave up is not done behind our back when it is over."""
    store.add()
    account, accounts = the_account(store), store.accounts()
    with store.admin.connect() as backup:
        backup.exec_driver_sql("LOCK TABLES usuarios READ")
        with pytest.raises(AccountsUnavailable, match="1205"):
            accounts.set_password(account, NEW_PASSWORD)


@SERVERS
@pytest.mark.usefixtures("impatient")
def test_server_that_stops_answering_is_a_short_wait(
    store: Store, sql_server: Callable[[str], SqlServer]
) -> None:
    """Nothing waits for ever, and afterwards all is well without a restart."""
    store.add()
    accounts = store.accounts()
    accounts.check()
    server = sql_server("mysql" if store.admin.dialect.name == "mysql" else "postgresql")
    with paused(server), pytest.raises(AccountsUnavailable):
        accounts.find_by_address(ADDRESS)
    assert accounts.find_by_address(ADDRESS)


@SERVERS
@pytest.mark.usefixtures("impatient")
def test_silent_server_is_not_waited_for_by_everybody(
    store: Store, sql_server: Callable[[str], SqlServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes next is told at once: waiting threads are missed elsewhere."""
    monkeypatch.setattr(silence, "PAUSE_SECONDS", 3600)
    accounts = store.accounts()
    accounts.check()
    server = sql_server("mysql" if store.admin.dialect.name == "mysql" else "postgresql")
    with paused(server), pytest.raises(AccountsUnavailable):
        accounts.find_by_address(ADDRESS)
    with pytest.raises(AccountsUnavailable, match="silent a moment ago"):
        accounts.find_by_address(ADDRESS)


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
@pytest.mark.usefixtures("impatient")
def test_options_of_the_operator_leave_the_time_outs(store: Store) -> None:
    """The server itself ends what takes too long, whatever else is set for the connection."""
    url = f"{store.admin_url}?options=-csearch_path%3Dpg_temp"
    sql = "SELECT id, correo, clave, pg_sleep(9) FROM public.usuarios"
    store.add()
    accounts = store.accounts(Table(url, "id", "correo", "clave", find_sql=sql))
    with pytest.raises(AccountsUnavailable, match="QueryCanceled"):
        accounts.get("1")
    unqualified = store.accounts(Table(url, "id", "correo", "clave", "usuarios"))
    with pytest.raises(AccountsUnavailable, match="usuarios"):
        unqualified.get("1")


@SERVERS
@pytest.mark.usefixtures("impatient")
def test_lost_answer_to_a_commit_is_uncertain(
    store: Store, sql_server: Callable[[str], SqlServer]
) -> None:
    """All was sent, and the server stopped before it said yes: nobody may take that for a no."""
    store.add()
    account, accounts = the_account(store), store.accounts()
    server = sql_server("mysql" if store.admin.dialect.name == "mysql" else "postgresql")
    with ExitStack() as stack:
        sa.event.listen(
            accounts._engine, "commit", lambda _: stack.enter_context(paused(server)), once=True
        )
        with pytest.raises(ChangeUncertain):
            accounts.set_password(account, NEW_PASSWORD)
    assert accounts.find_by_address(ADDRESS)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_commit_behind_a_reader_is_no_change(store: Store) -> None:
    """SQLite asks for the file at the commit; while somebody reads it nothing is written."""
    ana = store.add()
    account, accounts = the_account(store), store.accounts()
    with store.admin.connect() as portal:
        portal.exec_driver_sql("BEGIN")
        portal.exec_driver_sql("SELECT * FROM usuarios").fetchone()
        with pytest.raises(AccountsUnavailable) as raised:
            accounts.set_password(account, NEW_PASSWORD)
    assert not isinstance(raised.value, ChangeUncertain)
    assert hashes.verify(OLD_PASSWORD, store.row(ana).clave)


@SERVERS
def test_connections_that_were_cut_are_replaced(store: Store) -> None:
    """After a restart of the server the next look-up works."""
    store.add()
    accounts = store.accounts()
    accounts.find_by_address(ADDRESS)
    if store.admin.dialect.name == "postgresql":
        store.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'restablecer'"
        )
    else:
        store.run("KILL USER restablecer@localhost")
    assert accounts.find_by_address(ADDRESS)


@SERVERS
def test_connections_that_are_used_up(store: Store) -> None:
    """The server takes no more of us: told at once, and well again without a restart."""
    store.add()
    one = {
        "postgresql": "ALTER ROLE restablecer CONNECTION LIMIT 1",
        "mysql": "ALTER USER restablecer@localhost WITH MAX_USER_CONNECTIONS 1",
    }[store.admin.dialect.name]
    store.run(one)
    accounts = store.accounts()
    with engine.open_engine(store.table.url).connect() as taken:
        with pytest.raises(AccountsUnavailable):
            accounts.find_by_address(ADDRESS)
        taken.detach()
    taken.close()
    assert accounts.find_by_address(ADDRESS)


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_store_that_may_only_be_read(store: Store) -> None:
    """A replica, or maintenance: links go out, and no password is said to be changed."""
    ana = store.add()
    store.run("ALTER ROLE restablecer SET default_transaction_read_only = on")
    with pytest.raises(AccountsUnavailable) as raised:
        store.accounts().set_password(the_account(store), NEW_PASSWORD)
    assert not isinstance(raised.value, ChangeUncertain)
    assert hashes.verify(OLD_PASSWORD, store.row(ana).clave)


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_table_that_the_portal_alters(store: Store) -> None:
    """A connection that has asked often before asks on as if nothing had happened."""
    store.add()
    accounts = store.accounts()
    for _ in range(8):
        accounts.find_by_address(ADDRESS)
    store.run("ALTER TABLE usuarios ALTER COLUMN clave TYPE TEXT")
    assert accounts.find_by_address(ADDRESS)


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_check_quotes_no_row(store: Store) -> None:
    """The words of a database about a value that does not fit its type have the value in them."""
    store.add(documento="52418637x")
    sql = "SELECT id, correo, clave, CAST(documento AS INTEGER) AS documento FROM usuarios"
    table = Table(store.admin_url, "id", "correo", "clave", find_sql=sql, personal=["documento"])
    with pytest.raises(AccountsUnavailable) as raised:
        store.accounts(table).check()
    assert "52418637" not in str(raised.value)


@pytest.mark.parametrize("store", ["mysql"], indirect=True)
@pytest.mark.parametrize("option", ["ssl_ca=/nowhere/ca.pem", "sslmode=require", "charset=x"])
def test_option_of_the_url_that_cannot_be_used(store: Store, option: str) -> None:
    """A file that is gone or a word of another database: told as any other fault."""
    accounts = store.accounts(replace(store.table, url=f"{store.table.url}?{option}"))
    with pytest.raises(AccountsUnavailable):
        accounts.check()
    with pytest.raises(AccountsUnavailable):
        accounts.find_by_address(ADDRESS)


@SERVERS
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("password", "password"),
        ("host", "refused"),
        ("database", "nadie"),
        ("column", "apellido"),
    ],
)
def test_what_is_wrong_is_told(store: Store, fault: str, said: str) -> None:
    """Credentials, address, names: an error for the operator, without the password in it."""
    url = sa.make_url(store.table.url)
    changes: dict[str, Any] = {
        "password": {"password": "wrong-Secret-1"},
        "host": {"port": 1},
        "database": {"database": "nadie"},
    }
    table = replace(
        store.table, url=url.set(**changes.get(fault, {})).render_as_string(hide_password=False)
    )
    if fault == "column":
        table = replace(table, name="apellido")
    with pytest.raises(AccountsUnavailable, match=said) as raised:
        store.accounts(table).check()
    assert "ecret" not in str(raised.value)
    with pytest.raises(AccountsUnavailable):
        store.accounts(table).find_by_address(ADDRESS)


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_certificate_is_verified(
    store: Store, sql_server: Callable[[str], SqlServer], authority: Authority
) -> None:
    """As the URL asks: with the right authority it connects encrypted, else not at all."""
    store.add()
    server = sql_server("postgresql")
    trusted = f"{store.table.url}?sslmode=verify-full&sslrootcert={server.folder / 'server.crt'}"
    accounts = store.accounts(replace(store.table, url=trusted))
    assert accounts.find_by_address(ADDRESS)
    untrusted = f"{store.table.url}?sslmode=verify-full&sslrootcert={authority.cert}"
    with pytest.raises(AccountsUnavailable, match="certificate verify failed"):
        store.accounts(replace(store.table, url=untrusted)).check()


@pytest.mark.parametrize(
    ("store", "option", "level"),
    [
        ("postgresql", "?sslmode=require", "ok"),
        ("postgresql", "?sslmode=disable", "warning"),
        ("mysql", "", "warning"),
    ],
    indirect=["store"],
)
def test_clear_connection_to_another_machine_is_told(
    store: Store, option: str, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever listens there would read hashes; the MariaDB of these tests has no certificate."""
    monkeypatch.setattr(engine, "is_loopback", lambda _: False)
    accounts = store.accounts(replace(store.table, url=store.table.url + option))
    (encryption,) = accounts.examine()
    assert encryption.level == level
    assert "encrypted" in encryption.text


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("mysql://localhost/hanna", True),
        ("mysql:///hanna?unix_socket=/run/mysqld/mysqld.sock", True),
        ("postgresql://127.0.0.1/hanna", True),
        ("postgresql:///hanna?host=/run/postgresql", True),
        ("postgresql:///hanna?host=db.example", False),
        ("postgres://db.example/hanna", False),
        ("mariadb://10.0.0.7/hanna", False),
    ],
)
def test_what_is_on_this_machine(url: str, local: bool) -> None:
    """A connection that leaves it should be encrypted."""
    assert engine.is_local(engine.open_engine(url)) is local


def test_database_without_an_encoding(sql_server: Callable[[str], SqlServer]) -> None:
    """SQL_ASCII, as old portals have it: text is text all the same."""
    server = sql_server("postgresql")
    with database(server, "vieja", "ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"):
        url = server.root.set(database="vieja").update_query_dict({"client_encoding": "utf8"})
        store = Store(sa.create_engine(url, poolclass=sa.NullPool), {})
        create_tables(store.admin)
        ana = store.add()
        url = url.difference_update_query(["client_encoding"])
        table = Table(url.render_as_string(), "id", "correo", "clave", "usuarios")
        accounts = store.accounts(table)
        (account,) = accounts.find_by_address(ADDRESS)
        accounts.set_password(account, NEW_PASSWORD)
        assert hashes.verify(NEW_PASSWORD, store.row(ana).clave)
        store.close()
