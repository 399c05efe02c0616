"""What a change of a password does in SQLite, PostgreSQL and MariaDB, and what undoes it."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from reset.accounts import hashes
from reset.accounts.sql import Table
from reset.errors import (
    AccountChanged,
    AccountsUnavailable,
    PasswordRefused,
)
from tests.conftest import ADDRESS, NEW_PASSWORD, OLD_PASSWORD, hash_bcrypt
from tests.stores import Store, held, spread, the_account

KEYS = [
    *("007", uuid.UUID(int=7), 2**63 - 1, b"\x00\xff" * 8),
    *(Decimal("1.50"), datetime(2026, 11, 22, 15, 0, 0, 7)),
]
SERVERS = pytest.mark.parametrize("store", ["postgresql", "mysql"], indirect=True)


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


@pytest.mark.parametrize(
    "own",
    ["", "UPDATE usuarios SET clave = :password WHERE id = :id AND clave = :present"],
    ids=["table", "own SQL"],
)
def test_hash_that_stays_the_same_is_set_all_the_same(store: Store, own: str) -> None:
    """The present password, without salt and further columns: MariaDB changes no row by it."""
    ana = store.add(clave=hashes.renew(NEW_PASSWORD, "", "hex_md5"))
    store.run("INSERT INTO sesiones VALUES (1, :ana)", ana=ana)
    table = replace(store.table, assignments="", update_sql=own)
    store.accounts(table).set_password(the_account(store), NEW_PASSWORD)
    assert store.run("SELECT id FROM sesiones") == []


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


@pytest.mark.parametrize("store", ["mysql"], indirect=True)
def test_hash_that_is_too_long_is_never_cut(store: Store) -> None:
    """Not even where nothing can be undone, in a server that is not strict by itself."""
    store.run("ALTER TABLE usuarios ENGINE=MyISAM, MODIFY clave VARCHAR(40)")
    ana = store.add(clave="5f4dcc3b5aa765d61d8327deb882cf99")
    accounts = store.accounts(replace(store.table, scheme="bcrypt", upgrade=True))
    (account,) = accounts.find_by_address(ADDRESS)
    with pytest.raises(AccountsUnavailable):
        accounts.set_password(account, NEW_PASSWORD)
    assert store.row(ana).clave == "5f4dcc3b5aa765d61d8327deb882cf99"


@pytest.mark.parametrize("store", ["mysql"], indirect=True)
def test_rehearsal_that_was_not_undone_is_a_fault(store: Store) -> None:
    """A procedure of the portal that ends the transaction: somebody has to know at once."""
    store.add()
    store.run(
        "CREATE PROCEDURE cambiar(i BIGINT, nueva VARCHAR(120), antes VARCHAR(120)) BEGIN"
        " UPDATE usuarios SET clave = nueva WHERE id = i AND clave = antes; COMMIT; END"
    )
    call = "CALL cambiar(:id, :password, :present)"
    table = replace(store.table, url=store.admin_url, update_sql=call, assignments="")
    (account,) = store.accounts(table).find_by_address(ADDRESS)
    assert store.accounts(table).rehearse(account).level == "fault"


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
