"""Accounts of the portal: found by address, written only when nothing changed meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import argon2
import pytest
from passlib.hash import django_pbkdf2_sha256
from werkzeug.security import generate_password_hash

from demo import accounts as portal_code
from reset.accounts import Account, AccountBackend, hashes
from reset.accounts.fields import as_text, rules
from reset.accounts.memory import MemoryAccounts
from reset.accounts.sql import Table
from reset.accounts.sql.backend import SqlAccounts
from reset.errors import AccountChanged, AccountsUnavailable
from tests.conftest import ADDRESS, NEW_PASSWORD, OLD_PASSWORD, Portal, hash_bcrypt

HASHES = [
    hash_bcrypt(OLD_PASSWORD),
    argon2.PasswordHasher(1, 64, 1).hash(OLD_PASSWORD),
    generate_password_hash(OLD_PASSWORD, "scrypt:2048:8:1"),
    django_pbkdf2_sha256.using(rounds=10).hash(OLD_PASSWORD),
]


@pytest.fixture
def accounts(portal: Portal) -> SqlAccounts:
    return SqlAccounts(portal.table)


@pytest.mark.parametrize("stored", ["", "plain", "$2y$", "!", "$1$salt$hash"])
def test_unknown_hash_gets_no_link(accounts: SqlAccounts, portal: Portal, stored: str) -> None:
    """What we cannot write in the portal's way is told in the trace instead."""
    portal.add(clave=stored)
    (account,) = accounts.find_by_address(ADDRESS)
    assert account.obstacle == "hash_unknown"
    assert not accounts.has_password(account, stored)


def test_named_scheme_serves_rows_without_a_hash(portal: Portal) -> None:
    """RESET_ACCOUNTS_HASH says what to write where there is nothing to follow."""
    portal.add(clave="")
    accounts = SqlAccounts(replace(portal.table, scheme="argon2"))
    (account,) = accounts.find_by_address(ADDRESS)
    assert account.obstacle is None
    accounts.set_password(account, NEW_PASSWORD)
    assert portal.lets_in(1, NEW_PASSWORD)


@pytest.mark.parametrize(("upgrade", "scheme"), [(True, "argon2"), (False, "hex_md5")])
def test_weak_hash_is_followed_unless_told_otherwise(
    portal: Portal, upgrade: bool, scheme: str
) -> None:
    """RESET_ACCOUNTS_HASH_UPGRADE replaces what the portal would still write itself."""
    portal.add(clave="5f4dcc3b5aa765d61d8327deb882cf99")
    accounts = SqlAccounts(replace(portal.table, scheme="argon2", upgrade=upgrade))
    (account,) = accounts.find_by_address(ADDRESS)
    accounts.set_password(account, NEW_PASSWORD)
    (changed,) = accounts.find_by_address(ADDRESS)
    assert changed.scheme == scheme


def test_account_that_is_gone_is_not_written(accounts: SqlAccounts, portal: Portal) -> None:
    """Deleted and made anew under another id is another account."""
    portal.add()
    (account,) = accounts.find_by_address(ADDRESS)
    portal.set(1, id=2)
    with pytest.raises(AccountChanged):
        accounts.set_password(account, NEW_PASSWORD)
    assert accounts.get(account.id) is None


@pytest.mark.parametrize(
    ("value", "active"),
    [
        *((yes, True) for yes in (1, "1", "true", "Activo", "S")),
        *((no, False) for no in (0, "0", "no", "", "bloqueado")),
    ],
)
def test_what_counts_as_active(
    accounts: SqlAccounts, portal: Portal, value: object, active: bool
) -> None:
    """Only a clear yes; whatever else is there gets no link."""
    portal.add(activo=value)
    (account,) = accounts.find_by_address(ADDRESS)
    assert (account.obstacle is None) is active


def test_personal_data_is_read_for_the_rules(accounts: SqlAccounts, portal: Portal) -> None:
    """Name, login, address and the configured columns, none of which shows in a repr."""
    portal.add(nombre="")
    (account,) = accounts.find_by_address(ADDRESS)
    assert account.name == ""
    assert "52418637" in account.personal
    assert "52418637" not in repr(account)
    assert account.credential not in repr(account)


@pytest.mark.parametrize("key", ["007", "7", 7, 2**63 - 1, "a7'--"])
def test_ids_of_any_kind(tmp_path: Path, key: str | int) -> None:
    """The id is compared as what it is: "007" is not 7."""
    kind = "INTEGER" if isinstance(key, int) else "TEXT"
    with closing(sqlite3.connect(tmp_path / "p.sqlite")) as db:
        db.execute(f"CREATE TABLE u (k {kind} PRIMARY KEY, m TEXT, p TEXT)")
        db.execute("INSERT INTO u VALUES (?, ?, ?)", [key, ADDRESS, hash_bcrypt("x")])
        db.execute("INSERT INTO u VALUES (?, 'b@example.com', '')", ["70"])
        db.commit()
    accounts = SqlAccounts(Table(f"sqlite:///{tmp_path}/p.sqlite", "k", "m", "p", "u"))
    (account,) = accounts.find_by_address(ADDRESS)
    accounts.set_password(account, NEW_PASSWORD)
    changed = accounts.get(account.id)
    assert changed is not None
    assert accounts.has_password(changed, NEW_PASSWORD)


def test_missing_file_is_not_made(accounts: SqlAccounts, portal: Portal) -> None:
    """Where the portal's file is gone nothing is found, and none is put in its place."""
    portal.path.unlink()
    with pytest.raises(AccountsUnavailable):
        accounts.find_by_address(ADDRESS)
    assert not portal.path.exists()


def test_replaced_file_is_read_anew(accounts: SqlAccounts, portal: Portal) -> None:
    """After the portal restored a backup, the old file is not gone on reading."""
    accounts.find_by_address(ADDRESS)
    portal.path.rename(portal.path.with_suffix(".old"))
    Portal(portal.path).add()
    assert len(accounts.find_by_address(ADDRESS)) == 1


def test_index_that_takes_no_notice_of_case_serves(accounts: SqlAccounts, portal: Portal) -> None:
    """Where the portal has one on `COLLATE NOCASE` already, it needs no other."""
    portal.execute("CREATE INDEX por_correo ON usuarios (correo COLLATE NOCASE)")
    portal.add(email="Ana@Example.com")
    portal.add("beto", email=" ANA@example.com")
    found = accounts.find_by_address(ADDRESS)
    assert sorted(account.login for account in found) == ["ana.perez", "beto"]
    assert "an index serves" in str(accounts.examine())


@pytest.mark.parametrize("kind", ["sql", "memory"])
def test_backends_behave_alike(accounts: SqlAccounts, portal: Portal, kind: str) -> None:
    """What the service asks of any source of accounts."""
    portal.add()
    found = accounts.find_by_address(ADDRESS)
    backend: AccountBackend = accounts if kind == "sql" else MemoryAccounts(_plain(found))
    (account,) = backend.find_by_address(ADDRESS)
    backend.set_password(account, NEW_PASSWORD)
    changed = backend.get(account.id)
    assert changed is not None
    assert backend.has_password(changed, NEW_PASSWORD)
    assert changed.credential != account.credential
    assert backend.find_by_address("nadie@example.com") == []
    assert backend.find_by_login(" ANA.perez") == [changed]
    assert backend.find_by_login("ana") == []
    assert backend.get("99") is None
    with pytest.raises(AccountChanged):
        backend.set_password(account, NEW_PASSWORD)


def _plain(found: list[Account]) -> list[Account]:
    return [replace(account, credential=OLD_PASSWORD) for account in found]


def test_demo_portal_reads_what_we_write() -> None:
    """The demo's log-in, which shares no code with the service, accepts every scheme."""
    for sample in HASHES:
        assert portal_code.check(NEW_PASSWORD, hashes.renew(NEW_PASSWORD, sample))


def test_text_commands_no_terminal(accounts: SqlAccounts, portal: Portal) -> None:
    """A login is printed for the operator; what cannot be seen is left out."""
    portal.add("\x1b]0;x\x07\x1b[2Jana\u202e")
    (account,) = accounts.find_by_address(ADDRESS)
    assert account.login == "]0;x[2Jana"


@pytest.mark.parametrize(
    ("rule", "value", "applies"),
    [
        ("deleted=1", Decimal("1.00"), True),
        ("deleted=1", True, True),
        ("deleted=true", 1, True),
        ("deleted=1", b"\x01", True),
        ("nivel=256", b"\x01\x00", True),
        ("deleted=1", 0, False),
        ("deleted=", None, True),
        ("auth!=manual", "LDAP", True),
        ("auth!=manual", " Manual ", False),
        ("auth!=manual", None, True),
        ("login~^svc_", "SVC_respaldo", True),
        ("login~^svc_", "ana_svc_", False),
        ("login ~ admin|root", "superADMIN", True),
        ("deleted=1", 1.0, True),
        ("rol=jose\u0301", "JOSÉ", True),
        ("rol=admin", "ad\u200bmin\x00", True),
    ],
)
def test_rules_compare_what_a_store_gives(rule: str, value: object, applies: bool) -> None:
    """Numbers, truth values and bits of any database, and texts in any case."""
    (read,) = rules(rule)
    assert read.applies([as_text(value)]) is applies
