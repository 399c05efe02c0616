"""How accounts are found in SQLite, PostgreSQL and MariaDB, and which of them may not reset."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest

from reset.accounts.sql import backend
from tests.conftest import ADDRESS
from tests.stores import Store, spread, the_account

KEYS = [
    *("007", uuid.UUID(int=7), 2**63 - 1, b"\x00\xff" * 8),
    *(Decimal("1.50"), datetime(2026, 11, 22, 15, 0, 0, 7)),
]
SERVERS = pytest.mark.parametrize("store", ["postgresql", "mysql"], indirect=True)


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


@pytest.mark.parametrize("stored", ["Ana.Perez", "ANA.PEREZ ", " ana.perez"])
def test_login_is_found_however_it_is_written(store: Store, stored: str) -> None:
    """In any case, with a blank from an import; another one is nobody's."""
    store.add(usuario=stored)
    store.add(usuario="ana_perez", correo="otra@example.com")
    (account,) = store.accounts().find_by_login(" ana.PEREZ")
    assert (account.login, account.address) == (stored.strip(), ADDRESS)


@pytest.mark.parametrize("typed", ["ana%", "ana_perez", "' OR 1=1 --", "%", "aná.perez"])
def test_login_is_no_pattern(store: Store, typed: str) -> None:
    """What means something to SQL, or to a generous collation, is a letter like any other."""
    store.add()
    assert store.accounts().find_by_login(typed) == []


def test_login_may_be_of_any_script_or_a_number(store: Store) -> None:
    """Accents in any case; a document's number in a column of numbers."""
    store.add(usuario="JOSÉ.ÑÁÑEZ")
    (jose,) = store.accounts().find_by_login("josé.ñáñez")
    store.run("CREATE TABLE personas (id BIGINT, cedula BIGINT, correo VARCHAR(80), clave TEXT)")
    store.run("INSERT INTO personas VALUES (7, 52418637, 'ana@example.com', '')")
    table = replace(store.table, url=store.admin_url, exclude=(), active=None, personal=())
    people = replace(table, table="personas", login="cedula", name=None)
    (ana,) = store.accounts(people).find_by_login("52418637")
    assert (jose.login, ana.address) == ("JOSÉ.ÑÁÑEZ", ADDRESS)


def test_login_is_found_with_own_sql(store: Store) -> None:
    """RESET_ACCOUNTS_FIND_SQL serves it as well; without a login the address is one."""
    ana = store.add()
    store.run("CREATE TABLE correos (u BIGINT, c VARCHAR(80), p INTEGER)")
    store.run("INSERT INTO correos VALUES (:u, 'ana@example.com', 1)", u=ana)
    by_name = store.accounts(spread(store)).find_by_login("Ana.Perez")
    by_address = store.accounts(replace(spread(store), login=None)).find_by_login(ADDRESS)
    assert [account.address for account in (*by_name, *by_address)] == [ADDRESS] * 2


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
    fill(store)
    expression = "lower(correo)" if store.admin.dialect.name == "postgresql" else "correo"
    store.run(f"CREATE INDEX por_correo ON usuarios ({expression})")
    store.run("ANALYZE" if expression != "correo" else "ANALYZE TABLE usuarios")
    plan = explained(store, "u77@example.com")
    assert "por_correo" in plan
    assert len(store.accounts().find_by_address("u77@example.com")) == 1


@SERVERS
def test_missing_index_is_told_with_its_cure(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement that is told mends it, while the portal works on."""
    monkeypatch.setattr(backend, "_FEW", 2999)
    assert "no index" not in str(store.accounts().examine())
    fill(store)
    (told,) = (one for one in store.accounts().examine() if "no index" in one.text)
    store.run(told.remedy.removeprefix("as their owner: "))
    assert "an index serves the look-up" in str(store.accounts().examine())


@pytest.mark.parametrize("store", ["mysql"], indirect=True)
def test_column_that_minds_case_has_no_simple_cure(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain index would not serve: it is the collation that is to be changed."""
    monkeypatch.setattr(backend, "_FEW", 2999)
    store.run("ALTER TABLE usuarios MODIFY correo VARCHAR(254) COLLATE utf8mb4_bin")
    fill(store)
    (told,) = (one for one in store.accounts().examine() if "no index" in one.text)
    assert told.remedy == "docs/portals.md, Addresses"


def fill(store: Store) -> None:
    """3000 accounts."""
    kind = store.admin.dialect.name
    numbers = "generate_series(1, 3000) AS t(n)" if kind == "postgresql" else "seq_1_to_3000 AS t"
    number = "n" if kind == "postgresql" else "seq"
    store.run(
        "INSERT INTO usuarios (usuario, correo, clave)"
        f" SELECT concat('u', {number}), concat('u', {number}, '@example.com'), '' FROM {numbers}"
    )


def explained(store: Store, address: str) -> str:
    """What the database would do for a look-up."""
    accounts = store.accounts(replace(store.table, url=store.admin_url))
    with store.admin.connect() as connection:
        query, _ = accounts._lookup.query(connection, [address])
        sent = query.compile(store.admin, compile_kwargs={"render_postcompile": True})
        values = sent.params if sent.positiontup is None else tuple(sent.params.values())
        return str(connection.exec_driver_sql(f"EXPLAIN {sent}", values).all())
