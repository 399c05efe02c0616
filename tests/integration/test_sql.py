"""Accounts in SQLite, PostgreSQL and MariaDB, reached with the manual's rights and no others."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from reset.accounts import Account, hashes
from reset.accounts.sql import Table, engine
from reset.errors import (
    AccountChanged,
    AccountsUnavailable,
    ChangeUncertain,
    PasswordRefused,
)
from tests.conftest import ADDRESS, NEW_PASSWORD, OLD_PASSWORD, hash_bcrypt
from tests.servers.sql import SqlServer
from tests.stores import Store, create_tables, database

KEYS = [
    *("007", uuid.UUID(int=7), 2**63 - 1, b"\x00\xff" * 8),
    *(Decimal("1.50"), datetime(2026, 11, 22, 15, 0, 0, 7)),
]
SERVERS = pytest.mark.parametrize("store", ["postgresql", "mysql"], indirect=True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time-outs as short as the databases allow."""
    monkeypatch.setattr(engine, "TIMEOUT_SECONDS", 2)
    monkeypatch.setattr(engine, "_SERVER_SECONDS", 1)


def the_account(store: Store, address: str = ADDRESS) -> Account:
    (account,) = store.accounts().find_by_address(address)
    return account


def test_password_is_changed_and_what_belongs_to_it(store: Store) -> None:
    """One row: hash, further columns, and the sessions of this person, ended; nothing else."""
    ana, beto = store.add(), store.add(usuario="beto", correo="beto@example.com")
    store.run("INSERT INTO sesiones VALUES (1, :ana), (2, :ana), (3, :beto)", ana=ana, beto=beto)
    before = store.row(beto)
    store.accounts().set_password(the_account(store), NEW_PASSWORD)
    changed = store.row(ana)
    assert hashes.verify(NEW_PASSWORD, changed.clave)
    assert (changed.fallos, bool(changed.debe_cambiar)) == (0, False)
    assert changed.actualizado is not None
    assert store.row(beto) == before
    assert store.run("SELECT id FROM sesiones") == [(3,)]


@pytest.mark.parametrize(
    "meanwhile",
    [
        {"clave": hash_bcrypt("Otra-Clave-2026")},
        {"correo": "otra@example.com"},
        {"activo": False},
        {"rol": "administrador"},
    ],
    ids=["password", "address", "disabled", "promoted"],
)
def test_change_meanwhile_is_never_overwritten(store: Store, meanwhile: dict[str, Any]) -> None:
    """The row must be as it was read; then nothing is written at all."""
    ana = store.add()
    store.run("INSERT INTO sesiones VALUES (1, :ana)", ana=ana)
    account = the_account(store)
    store.set(ana, **meanwhile)
    before = store.rows()
    with pytest.raises(AccountChanged):
        store.accounts().set_password(account, NEW_PASSWORD)
    assert store.rows() == before
    assert store.run("SELECT id FROM sesiones") == [(1,)]


@SERVERS
@pytest.mark.parametrize("column", ["clave", "activo"])
def test_change_that_is_not_committed_yet_wins(store: Store, column: str) -> None:
    """The portal holds the row: we wait for its change, see it, and write nothing."""
    ana = store.add()
    account, accounts = the_account(store), store.accounts()
    value = {"clave": hash_bcrypt("Otra-Clave-2026"), "activo": False}[column]
    with sa.create_engine(store.admin.url, poolclass=sa.NullPool).connect() as portal:
        portal.execute(
            sa.text(f"UPDATE usuarios SET {column} = :v WHERE id = :i"), {"v": value, "i": ana}
        )
        ours = Attempt(lambda: accounts.set_password(account, NEW_PASSWORD))
        _until_somebody_waits(store)
        portal.commit()
        ours.join()
    assert isinstance(ours.raised, AccountChanged)
    assert getattr(store.row(ana), column) == value
    assert store.row(ana).fallos == 3


@SERVERS
def test_address_in_another_table_that_moves_meanwhile(store: Store) -> None:
    """What is read after the change is what others have committed, not what we saw before."""
    ana = store.add(correo=None)
    store.run("CREATE TABLE correos (u BIGINT, c VARCHAR(80), p INTEGER)")
    store.run("INSERT INTO correos VALUES (:u, 'ana@example.com', 1)", u=ana)
    accounts = store.accounts(spread(store))
    (account,) = accounts.find_by_address(ADDRESS)
    with held(store, ana) as portal:
        ours = Attempt(lambda: accounts.set_password(account, NEW_PASSWORD))
        _until_somebody_waits(store)
        portal.execute(sa.text("UPDATE correos SET c = 'otra@example.com'"))
        portal.commit()
        ours.join()
    assert isinstance(ours.raised, AccountChanged)
    assert hashes.verify(OLD_PASSWORD, store.row(ana).clave)


class Attempt(threading.Thread):
    """Something that is tried beside the test; ``raised`` is what came of it."""

    def __init__(self, what: Callable[[], None]) -> None:
        super().__init__()
        self.raised: BaseException | None = None
        self._what = what
        self.start()

    def run(self) -> None:
        try:
            self._what()
        except BaseException as error:
            self.raised = error


def _until_somebody_waits(store: Store) -> None:
    waiting = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
        "mysql": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
    }[store.admin.dialect.name]
    deadline = time.monotonic() + 10
    while not store.run(waiting)[0][0]:
        assert time.monotonic() < deadline
        time.sleep(0.12)  # MariaDB looks anew after a tenth of a second only.


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ("Ana.Perez@Example.COM", "ana.perez@example.com"),
        (" ana@example.com", "ana@example.com"),
        ("ana@example.com ", "ana@example.com"),
        ("ana@CAÑÓN.example", "ana@xn--can-8mak.example"),
        ("ana@ЯНДЕКС.example", "ana@xn--d1acpjx3f.example"),
        ("ana@xn--CAN-8MAK.example", "ana@xn--can-8mak.example"),
    ],
)
def test_address_is_found_however_it_is_written(store: Store, stored: str, typed: str) -> None:
    """Upper and lower case of any script, a blank at an end, a domain in letters or as in DNS."""
    store.add(correo=stored)
    assert the_account(store, typed).address == stored.strip()


@pytest.mark.parametrize("typed", ["an_@example.com", "%@example.com", "ana@example.co"])
def test_wildcards_are_letters(store: Store, typed: str) -> None:
    """An address that is a pattern finds nobody."""
    store.add()
    assert store.accounts().find_by_address(typed) == []


@pytest.mark.parametrize("stored", [None, "", "ana", "Ana <ana@example.com>", "aná@example.com"])
def test_what_is_no_address_is_nobodys(store: Store, stored: str | None) -> None:
    """NULL, rubbish, or letters that only a generous collation takes for others."""
    store.add(correo=stored)
    assert store.accounts().find_by_address(ADDRESS) == []
    assert [account.address for account in store.accounts().all()] == [stored or ""]


def test_every_account_of_an_address_is_found(store: Store) -> None:
    """Two rows of one mailbox are two accounts: the caller has the rule for them."""
    store.add()
    store.add(usuario="ana.trabajo", correo="ANA@example.com")
    found = store.accounts().find_by_address(ADDRESS)
    assert sorted(account.login for account in found) == ["ana.perez", "ana.trabajo"]


def test_excluded_accounts_say_by_which_rule(store: Store) -> None:
    """Administrators and service accounts, by value and by pattern."""
    store.add(rol="Administrador")
    store.add(usuario="svc_respaldo", correo="svc@example.com")
    reasons = [
        (the_account(store, address).obstacle, the_account(store, address).reason)
        for address in (ADDRESS, "svc@example.com")
    ]
    assert reasons == [
        ("account_excluded", "rol=administrador"),
        ("account_excluded", "usuario~^svc_"),
    ]


def test_inactive_account_has_an_obstacle(store: Store) -> None:
    """A column of the database's own truth values."""
    store.add(activo=False)
    assert the_account(store).obstacle == "account_inactive"


@pytest.mark.parametrize("store", ["mysql"], indirect=True)
def test_bit_is_a_truth_value(store: Store) -> None:
    """MySQL's BIT(1), which arrives as a byte."""
    store.run("ALTER TABLE usuarios MODIFY activo BIT(1)")
    ana = store.add()
    assert the_account(store).obstacle is None
    store.set(ana, activo=False)
    assert the_account(store).obstacle == "account_inactive"


def test_every_kind_of_value_may_be_set(store: Store) -> None:
    """Numbers, texts with commas and quotes, truth values and NULL, each as its column has it."""
    ana = store.add()
    changes = "fallos=-1, debe_cambiar=false, rol='a, ''b'' :c %', telefono=null, documento='007'"
    table = replace(store.table, url=store.admin_url, assignments=changes)
    store.accounts(table).set_password(the_account(store), NEW_PASSWORD)
    row = store.row(ana)
    assert (row.fallos, bool(row.debe_cambiar), row.rol) == (-1, False, "a, 'b' :c %")
    assert (row.telefono, row.documento) == (None, "007")


@SERVERS
def test_rights_are_no_more_than_needed(store: Store) -> None:
    """With the manual's rights nothing else can be read or written."""
    store.add()
    service = sa.create_engine(
        sa.make_url(store.table.url).set(drivername=store.admin.url.drivername)
    )
    for forbidden in (
        "SELECT * FROM usuarios",
        "SELECT fallos FROM usuarios",
        "UPDATE usuarios SET correo = 'eva@example.com'",
        "UPDATE usuarios SET rol = 'administrador'",
        "DELETE FROM usuarios",
        "INSERT INTO usuarios (usuario) VALUES ('eva')",
        "SELECT * FROM sesiones",
        "DROP TABLE usuarios",
    ):
        with service.connect() as connection, pytest.raises(sa.exc.DBAPIError):
            connection.exec_driver_sql(forbidden)
    service.dispose()


def test_portals_own_refusal_is_told_in_words(store: Store) -> None:
    """A trigger of the portal refuses the password: that is no fault of the database."""
    store.add()
    raising = {
        "sqlite": "CREATE TRIGGER historia BEFORE UPDATE OF clave ON usuarios"
        " BEGIN SELECT RAISE(ABORT, 'usada antes'); END",
        "mysql": "CREATE TRIGGER historia BEFORE UPDATE ON usuarios FOR EACH ROW"
        " SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'usada antes'",
        "postgresql": "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'usada antes'; END $$;"
        "CREATE TRIGGER historia BEFORE UPDATE ON usuarios FOR EACH ROW EXECUTE FUNCTION f()",
    }[store.admin.dialect.name]
    with store.admin.begin() as portal:
        portal.exec_driver_sql(raising)
    with pytest.raises(PasswordRefused):
        store.accounts().set_password(the_account(store), NEW_PASSWORD)


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_policy_that_hides_the_row_from_a_change_is_a_fault(store: Store) -> None:
    """No row was met, and yet nobody changed it: the link must not be taken for replaced."""
    store.add()
    store.run("ALTER TABLE usuarios ENABLE ROW LEVEL SECURITY")
    store.run("CREATE POLICY lectura ON usuarios FOR SELECT USING (true)")
    with pytest.raises(AccountsUnavailable, match="policy"):
        store.accounts().set_password(the_account(store), NEW_PASSWORD)


def test_statement_of_the_operator_that_fails_is_no_refusal(store: Store) -> None:
    """A duplicate in a log of the portal says nothing about the password."""
    ana = store.add()
    store.run("CREATE TABLE bitacora (u BIGINT PRIMARY KEY)")
    store.run("INSERT INTO bitacora VALUES (:u)", u=ana)
    sql = "INSERT INTO bitacora VALUES (:id)"
    accounts = store.accounts(replace(store.table, url=store.admin_url, after_change_sql=sql))
    with pytest.raises(AccountsUnavailable):
        accounts.set_password(the_account(store), NEW_PASSWORD)


def test_column_that_is_too_short_is_a_fault_and_undone(store: Store) -> None:
    """A hash that the database would cut in silence locks its owner out: nothing is changed."""
    if store.admin.dialect.name == "sqlite":
        store.run(
            "CREATE TRIGGER corta AFTER UPDATE OF clave ON usuarios BEGIN"
            " UPDATE usuarios SET clave = substr(clave, 1, 40) WHERE id = new.id; END"
        )
    else:
        store.run(f"ALTER TABLE usuarios {_narrow(store)}")
    store.add(clave="")
    accounts = store.accounts(replace(store.table, scheme="bcrypt"))
    (account,) = accounts.find_by_address(ADDRESS)
    with pytest.raises(AccountsUnavailable):
        accounts.set_password(account, NEW_PASSWORD)
    assert store.rows()[0].clave == ""
    assert store.rows()[0].fallos == 3


def _narrow(store: Store) -> str:
    if store.admin.dialect.name == "mysql":
        return "MODIFY clave VARCHAR(40)"
    return "ALTER COLUMN clave TYPE VARCHAR(40)"


def test_first_password_of_a_row_with_null(store: Store) -> None:
    """NULL is compared in a way of its own; RESET_ACCOUNTS_HASH says what to write."""
    ana = store.add(clave=None)
    accounts = store.accounts(replace(store.table, scheme="hex_sha256"))
    (account,) = accounts.find_by_address(ADDRESS)
    accounts.set_password(account, NEW_PASSWORD)
    assert hashes.verify(NEW_PASSWORD, store.row(ana).clave)


@SERVERS
def test_padded_and_binary_hashes(store: Store) -> None:
    """CHAR(n) gives blanks back, a binary column gives bytes: both are compared and replaced."""
    kind = {"postgresql": "ALTER COLUMN clave TYPE CHAR(90)", "mysql": "MODIFY clave VARBINARY(90)"}
    ana = store.add()
    store.run(f"ALTER TABLE usuarios {kind[store.admin.dialect.name]}")
    accounts = store.accounts()
    (account,) = accounts.find_by_address(ADDRESS)
    assert accounts.has_password(account, OLD_PASSWORD)
    accounts.set_password(account, NEW_PASSWORD)
    changed = the_account(store)
    assert accounts.has_password(changed, NEW_PASSWORD)
    assert store.row(ana).fallos == 0


@pytest.mark.parametrize("key", KEYS, ids=str)
@SERVERS
def test_ids_of_any_kind(store: Store, key: Any) -> None:
    """Text, UUID, a large number, bytes, a fraction, a time: each finds its own row again."""
    kinds = {
        str: ("VARCHAR(40)", "VARCHAR(40)"),
        int: ("BIGINT", "BIGINT"),
        uuid.UUID: ("UUID", "UUID"),
        bytes: ("BYTEA", "BINARY(16)"),
        Decimal: ("NUMERIC(20, 2)", "NUMERIC(20, 2)"),
        datetime: ("TIMESTAMP", "DATETIME(6)"),
    }[type(key)]
    kind = kinds[store.admin.dialect.name == "mysql"]
    if kind == "UUID" and store.admin.dialect.name == "mysql":
        key = str(key)
    store.run(f"CREATE TABLE u (k {kind} PRIMARY KEY, m VARCHAR(80), p VARCHAR(80))")
    store.run("INSERT INTO u VALUES (:k, :m, :p)", k=key, m=ADDRESS, p=hash_bcrypt("x"))
    table = Table(store.admin_url, "k", "m", "p", "u")
    accounts = store.accounts(table)
    (account,) = accounts.find_by_address(ADDRESS)
    accounts.set_password(account, NEW_PASSWORD)
    changed = accounts.get(account.id)
    assert changed is not None
    assert accounts.has_password(changed, NEW_PASSWORD)


def test_ids_that_differ_in_case_are_two(store: Store) -> None:
    """MySQL takes `a7` for `A7`: such a change would meet two rows, and is undone."""
    store.run("CREATE TABLE u (k VARCHAR(9), m VARCHAR(80), p VARCHAR(80))")
    for key, address in (("a7", ADDRESS), ("A7", "beto@example.com")):
        store.run("INSERT INTO u VALUES (:k, :m, :p)", k=key, m=address, p=hash_bcrypt("x"))
    accounts = store.accounts(Table(store.admin_url, "k", "m", "p", "u"))
    (account,) = accounts.find_by_address(ADDRESS)
    (other,) = accounts.find_by_address("beto@example.com")
    assert accounts.get(account.id) == account
    assert accounts.get(other.id) == other


def test_accounts_spread_over_joins(store: Store) -> None:
    """The operator's own SELECT and UPDATE serve every look-up and every check."""
    ana = store.add(correo=None, activo=None)
    store.run("CREATE TABLE correos (u BIGINT, c VARCHAR(80), p INTEGER)")
    store.run("INSERT INTO correos VALUES (:u, 'Ana@Example.com', 1), (:u, 'b@x.co', 0)", u=ana)
    accounts = store.accounts(spread(store))
    (account,) = accounts.find_by_address(ADDRESS)
    assert (account.address, account.login) == ("Ana@Example.com", "ana.perez")
    assert accounts.find_by_address("b@x.co") == []
    accounts.set_password(account, NEW_PASSWORD)
    assert hashes.verify(NEW_PASSWORD, store.row(ana).clave)
    with pytest.raises(AccountChanged):
        accounts.set_password(account, NEW_PASSWORD)


def test_join_that_multiplies_is_told(store: Store) -> None:
    """One account with two addresses at once: which is right, the statement must say."""
    ana = store.add()
    store.run("CREATE TABLE correos (u BIGINT, c VARCHAR(80), p INTEGER)")
    store.run("INSERT INTO correos VALUES (:u, 'ana@example.com', 1), (:u, 'a@x.co', 1)", u=ana)
    accounts = store.accounts(spread(store))
    (account,) = accounts.find_by_address(ADDRESS)
    found = accounts.get(account.id)
    assert found is not None
    assert found.obstacle == "account_ambiguous"


def test_update_that_meets_several_rows_is_undone(store: Store) -> None:
    """The operator's UPDATE forgot the id: everybody would get one password."""
    store.add()
    store.add(usuario="beto", correo="beto@example.com", clave=store.rows()[0].clave)
    store.run("CREATE TABLE correos (u BIGINT, c VARCHAR(80), p INTEGER)")
    store.run("INSERT INTO correos SELECT id, correo, 1 FROM usuarios")
    wrong = "UPDATE usuarios SET clave = :password WHERE clave = :present AND :id > 0"
    accounts = store.accounts(replace(spread(store), update_sql=wrong))
    (account,) = accounts.find_by_address(ADDRESS)
    before = store.rows()
    with pytest.raises(AccountsUnavailable, match="2 rows"):
        accounts.set_password(account, NEW_PASSWORD)
    assert store.rows() == before


def spread(store: Store) -> Table:
    """Accounts whose addresses stand in a table of their own."""
    return Table(
        url=store.admin_url,
        id="id",
        email="correo",
        password="clave",
        login="usuario",
        find_sql="SELECT a.id, a.usuario, a.clave, c.c AS correo FROM usuarios a"
        " JOIN correos c ON c.u = a.id AND c.p = 1 -- the main one\n;",
        update_sql="UPDATE usuarios SET clave = :password WHERE id = :id AND clave = :present",
    )


def test_statement_after_the_change_belongs_to_it(store: Store) -> None:
    """If it fails nothing is changed; quotes and several statements are understood."""
    ana = store.add()
    log = "INSERT INTO bitacora VALUES (:id, :login, 'cambio; con ''comillas''')"
    accounts = store.accounts(
        replace(
            store.table,
            url=store.admin_url,
            after_change_sql=f"DELETE FROM sesiones WHERE usuario_id = :id; {log}",
        )
    )
    account = the_account(store)
    with pytest.raises(AccountsUnavailable):
        accounts.set_password(account, NEW_PASSWORD)
    assert hashes.verify(OLD_PASSWORD, store.row(ana).clave)
    store.run("CREATE TABLE bitacora (u BIGINT, l VARCHAR(80), que VARCHAR(80))")
    accounts.set_password(account, NEW_PASSWORD)
    assert store.run("SELECT * FROM bitacora") == [(ana, "ana.perez", "cambio; con 'comillas'")]


def test_rehearsal_changes_nothing(store: Store) -> None:
    """All is tried, the statement after the change too, and undone."""
    ana = store.add()
    store.run("INSERT INTO sesiones VALUES (1, :ana)", ana=ana)
    before = store.rows()
    assert store.accounts().rehearse(the_account(store)).level == "ok"
    assert store.rows() == before
    assert store.run("SELECT id FROM sesiones") == [(1,)]


@pytest.mark.parametrize("store", ["mysql"], indirect=True)
@pytest.mark.parametrize("place", ["same database", "other database", "view"])
def test_rehearsal_needs_tables_that_can_undo(store: Store, place: str) -> None:
    """MyISAM would keep the random password, wherever it is; it is not even tried."""
    with store.admin.connect() as portal:
        portal.exec_driver_sql("CREATE DATABASE vieja")
        try:
            _check_rehearsal_of_myisam(store, place)
        finally:
            portal.exec_driver_sql("DROP DATABASE vieja")


def _check_rehearsal_of_myisam(store: Store, place: str) -> None:
    name = "hanna.u" if place == "same database" else "vieja.u"
    store.run(f"CREATE TABLE {name} (k INT, m VARCHAR(80), p VARCHAR(80)) ENGINE=MyISAM")
    store.run(f"INSERT INTO {name} VALUES (1, :m, :p)", m=ADDRESS, p=hash_bcrypt("x"))
    url, table = store.table.url, name
    if place == "view":
        table = "hanna.v"
        store.run(f"CREATE VIEW {table} AS SELECT * FROM {name}")
    store.run(f"GRANT SELECT, UPDATE ON {table} TO 'restablecer'@'localhost'")
    accounts = store.accounts(Table(url, "k", "m", "p", table))
    (account,) = accounts.find_by_address(ADDRESS)
    assert accounts.rehearse(account).level == "warning"
    assert accounts.get(account.id) == account


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


@contextmanager
def held(store: Store, account: int) -> Iterator[sa.Connection]:
    engine = sa.create_engine(store.admin.url, poolclass=sa.NullPool)
    with engine.connect() as portal:
        portal.execute(sa.text("UPDATE usuarios SET fallos = 9 WHERE id = :i"), {"i": account})
        yield portal
        portal.rollback()


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


@contextmanager
def paused(server: SqlServer) -> Iterator[None]:
    """Every process of the server stands still during the block."""
    everyone = [server.pid, *_children(server.pid)]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in everyone:
            os.kill(pid, signal.SIGCONT)


def _children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        fields = status.read_text().rpartition(")")[2].split()
        if int(fields[1]) == parent:
            found.append(int(status.parent.name))
    return found


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
@pytest.mark.parametrize("fault", ["password", "host", "database", "column"])
def test_what_is_wrong_is_told(store: Store, fault: str) -> None:
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
    with pytest.raises(AccountsUnavailable) as raised:
        store.accounts(table).check()
    assert "ecret" not in str(raised.value)
    with pytest.raises(AccountsUnavailable):
        store.accounts(table).find_by_address(ADDRESS)


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_certificate_is_verified(store: Store, sql_server: Callable[[str], SqlServer]) -> None:
    """As the URL asks: with the right authority it connects encrypted, else not at all."""
    store.add()
    server = sql_server("postgresql")
    trusted = f"{store.table.url}?sslmode=verify-full&sslrootcert={server.folder / 'server.crt'}"
    accounts = store.accounts(replace(store.table, url=trusted))
    assert accounts.find_by_address(ADDRESS)
    untrusted = f"{store.table.url}?sslmode=verify-full&sslrootcert=/etc/ssl/certs/nobody.pem"
    with pytest.raises(AccountsUnavailable):
        store.accounts(replace(store.table, url=untrusted)).find_by_address(ADDRESS)


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
    monkeypatch.setattr(engine, "LOOPBACK", frozenset())
    accounts = store.accounts(replace(store.table, url=store.table.url + option))
    encryption, _ = accounts.examine()
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


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_citext_is_served_by_its_own_index(store: Store) -> None:
    """A column that takes no notice of case by itself is compared as it is."""
    store.run("CREATE EXTENSION citext")
    store.run("ALTER TABLE usuarios ALTER COLUMN correo TYPE citext")
    store.run("CREATE INDEX por_correo ON usuarios (correo)")
    store.run("ALTER DATABASE hanna SET enable_seqscan = off")
    store.add(correo="Ana@Example.com")
    assert the_account(store).address == "Ana@Example.com"
    assert "por_correo" in explained(store, ADDRESS)


@pytest.mark.parametrize("store", ["mysql"], indirect=True)
def test_letters_that_the_column_cannot_hold(store: Store) -> None:
    """An address in a script that the column's character set lacks is nobody's, and no fault."""
    store.run("ALTER TABLE usuarios MODIFY correo VARCHAR(254) CHARACTER SET latin1")
    store.add()
    assert store.accounts().find_by_address("ana@xn--d1acpjx3f.example") == []


@pytest.mark.parametrize("store", ["mysql"], indirect=True)
@pytest.mark.parametrize("kind", ["CHARACTER SET latin1 COLLATE latin1_bin", "BINARY"])
def test_column_that_minds_case(store: Store, kind: str) -> None:
    """Where the column's own comparison is exact, ours still is not."""
    store.run(f"ALTER TABLE usuarios MODIFY correo VARCHAR(254) {kind}")
    store.add(correo="Ana@CAÑÓN.example")
    assert the_account(store, "ana@xn--can-8mak.example").login == "ana.perez"


@SERVERS
def test_an_index_serves_the_look_up(store: Store) -> None:
    """The statement that the service sends reads one row of many, not all of them."""
    numbers = {
        "postgresql": "generate_series(1, 3000) AS t(n)",
        "mysql": "seq_1_to_3000 AS t",
    }[store.admin.dialect.name]
    column = "n" if store.admin.dialect.name == "postgresql" else "seq"
    store.run(
        "INSERT INTO usuarios (usuario, correo, clave)"
        f" SELECT concat('u', {column}), concat('u', {column}, '@example.com'), '' FROM {numbers}"
    )
    expression = "lower(correo)" if store.admin.dialect.name == "postgresql" else "correo"
    store.run(f"CREATE INDEX por_correo ON usuarios ({expression})")
    store.run("ANALYZE" if expression != "correo" else "ANALYZE TABLE usuarios")
    plan = explained(store, "u77@example.com")
    assert "por_correo" in plan
    assert len(store.accounts().find_by_address("u77@example.com")) == 1


def explained(store: Store, address: str) -> str:
    """What the database would do for a look-up."""
    accounts = store.accounts(replace(store.table, url=store.admin_url))
    with store.admin.connect() as connection:
        condition = accounts._lookup.condition(connection, address)
        query = sa.select(accounts._source).where(condition)
        sent = query.compile(store.admin, compile_kwargs={"render_postcompile": True})
        values = sent.params if sent.positiontup is None else tuple(sent.params.values())
        return str(connection.exec_driver_sql(f"EXPLAIN {sent}", values).all())
