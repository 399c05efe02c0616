"""The AccountBackend over a table, a view or a SELECT of the portal's database."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import sqlalchemy as sa

from reset.accounts import Account, hashes
from reset.accounts.fields import applying, as_text, is_active, same_text
from reset.accounts.silence import Silence
from reset.accounts.sql import Table, statements
from reset.accounts.sql.lookup import Lookup
from reset.accounts.sql.statements import bind, decode, encode
from reset.address import has_address, spellings
from reset.engine import described, is_encrypted, is_local, is_refusal, open_engine
from reset.errors import AccountChanged, AccountsUnavailable, ChangeUncertain, PasswordRefused
from reset.findings import Finding

_FEW = 10_000  # So many are read in some milliseconds.


class SqlAccounts:
    """Reads and changes accounts as *table* says."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._engine = open_engine(table.url)
        self._silence = Silence()
        self._selectable = statements.selectable(table)
        # By the type of the id. To build a statement costs as much as all the rest of a look-up.
        self._by_id = functools.cache(partial(statements.by_id, self._selectable, table.id))
        self._lookup = Lookup(self._selectable, table.email)
        self._login_lookup = Lookup(self._selectable, table.login or table.email)

    def check(self) -> None:
        try:
            with self._engine.connect() as connection:
                connection.execute(sa.select(self._selectable).limit(1)).all()
        except sa.exc.DataError as error:
            raise AccountsUnavailable(described(error)) from error  # It quotes what a row holds.
        except sa.exc.SQLAlchemyError as error:
            # The database's own words: no value was sent, so they can quote none.
            raise AccountsUnavailable(str(error.__cause__ or error)) from error

    def find_by_address(self, address: str) -> list[Account]:
        found = self._found(self._lookup, spellings(address))
        # A column's own comparison may take `josé` for `jose`.
        return _distinct([a for a in found if has_address(a.address, address)])

    def find_by_login(self, login: str) -> list[Account]:
        found = self._found(self._login_lookup, [as_text(login).lower()])
        return _distinct([a for a in found if same_text(a.login, login)])

    def get(self, account_id: str) -> Account | None:
        with self._transaction() as connection:
            return self._read(connection, account_id)[0]

    def has_password(self, account: Account, password: str) -> bool | None:
        return hashes.verify(password, account.credential)

    def set_password(self, account: Account, new_password: str) -> None:
        new_hash = self._hash(account, new_password)
        with self._transaction() as connection:
            self._replace(connection, account, new_hash)

    def all(self) -> Iterator[Account]:
        with self._transaction() as connection:
            rows = connection.execution_options(yield_per=1000).execute(sa.select(self._selectable))
            for row in rows.mappings():
                yield self._account(row)

    def examine(self) -> list[Finding]:
        with self._transaction() as connection:
            return [self._encryption(connection), *self._index(connection)]

    def rehearse(self, account: Account) -> Finding:
        new_hash = self._hash(account, secrets.token_urlsafe(16))
        with self._transaction() as connection:
            if not _can_undo(connection):
                return Finding(
                    "warning",
                    "a change was not rehearsed: a table or view here might not undo one",
                    "see that the tables that hold accounts are of InnoDB",
                )
            self._replace(connection, account, new_hash)
            connection.rollback()
            if self._read(connection, account.id)[0] != account:
                return Finding(
                    "fault",
                    "a rehearsed change was not undone: somebody's password is a random one now",
                    "a trigger or procedure ends the transaction; let it not",
                )
        return Finding("ok", "a change of the password was rehearsed and undone")

    def close(self) -> None:
        """Give up all connections; the next use opens new ones."""
        self._engine.dispose()

    def _found(self, lookup: Lookup, words: Sequence[str]) -> list[Account]:
        with self._transaction() as connection:
            rows = connection.execute(*lookup.query(connection, words)).mappings()
            return [self._account(row) for row in rows]

    def _hash(self, account: Account, password: str) -> str:
        table = self._table
        return hashes.renew(password, account.credential, table.scheme, upgrade=table.upgrade)

    def _replace(self, connection: sa.Connection, account: Account, new_hash: str) -> None:
        """Compare and set: a change that the portal made meanwhile is never overwritten."""
        now, present = self._read(connection, account.id)
        if now is None or now.obstacle or now.identity != account.identity:
            raise AccountChanged
        new = new_hash.encode() if isinstance(present, bytes) else new_hash
        key, dialect = decode(account.id), connection.dialect.name
        change = statements.update(self._table, dialect, key, present, new)
        changed = connection.execute(change).rowcount
        if changed == 0 and self._read(connection, account.id)[0] == now:
            raise AccountsUnavailable("the change met no row: does a policy or rule forbid it?")
        if changed == 0:
            raise AccountChanged
        if changed != 1:
            raise AccountsUnavailable(f"the change met {changed} rows in place of one")
        values = {"id": key, "login": account.login, "email": account.address}
        for statement in statements.after_change(self._table, values):
            connection.execute(statement)
        self._confirm(connection, account, new_hash)

    def _confirm(self, connection: sa.Connection, account: Account, new_hash: str) -> None:
        """Read again under the lock that the update took: all else must be as it was."""
        after, _ = self._read(connection, account.id)
        if after is None or after.obstacle or after.address != account.address:
            raise AccountChanged
        if after.credential.rstrip(" ") != new_hash:
            raise AccountsUnavailable(
                "the new hash was not stored as it is: a column too short, or a trigger at work?"
            )

    def _read(self, connection: sa.Connection, account_id: str) -> tuple[Account | None, Any]:
        """The account of that id, and its stored password as the driver gives it."""
        table = self._table
        key = decode(account_id)
        query = self._by_id(bind(key).type)
        rows = connection.execute(query, {"key": key}).mappings()
        # A column that takes no notice of case finds more than was asked for.
        exact = [row for row in rows if encode(row[table.id]) == account_id]
        found = _distinct([self._account(row) for row in exact])
        return (found[0], exact[0][table.password]) if found else (None, None)

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """One transaction; whatever goes wrong in it becomes an error of ours."""
        if self._silence.lasts():
            raise AccountsUnavailable("the database was silent a moment ago")
        try:
            with self._silence.noticed():
                connected = self._engine.connect()
            with connected as connection:
                yield connection
                _commit(connection)
        except sa.exc.DBAPIError as error:
            if is_refusal(error):
                raise PasswordRefused(["refused_by_portal"]) from error
            raise AccountsUnavailable(described(error)) from error
        except sa.exc.SQLAlchemyError as error:
            raise AccountsUnavailable(described(error)) from error

    def _account(self, row: sa.RowMapping) -> Account:
        table = self._table
        fields = {name: as_text(row[name]) for name in table.columns}
        address = fields[table.email]
        login = fields[table.login] if table.login else address
        name = fields[table.name] if table.name else ""
        credential = _hash_text(row[table.password])
        account = Account(
            id=encode(row[table.id]),
            login=login,
            address=address,
            name=name,
            credential=credential,
            personal=(name, login, address, *(fields[column] for column in table.personal)),
            scheme=hashes.scheme_of(credential) or "",
        )
        obstacle, reason = self._obstacle(account, fields)
        return replace(account, obstacle=obstacle, reason=reason)

    def _obstacle(self, account: Account, fields: dict[str, str]) -> tuple[str | None, str]:
        table = self._table
        if table.active and not is_active(fields[table.active]):
            return "account_inactive", ""
        rule = applying(table.exclude, {name: [text] for name, text in fields.items()})
        if rule is not None:
            return "account_excluded", str(rule)
        if table.scheme == "auto" and not account.scheme:
            return "hash_unknown", ""
        return None, ""

    def _index(self, connection: sa.Connection) -> Iterator[Finding]:
        if self._lookup.is_served(connection):
            yield Finding("ok", "an index serves the look-up of an address")
            return
        some = sa.select(sa.literal(1)).select_from(self._selectable).limit(_FEW + 1).subquery()
        if connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one() > _FEW:
            statement = self._lookup.index(connection.dialect)
            yield Finding(
                "warning",
                "no index serves the look-up of an address: each reads all accounts",
                f"as their owner: {statement};" if statement else "docs/portals.md, Addresses",
                "each mail with a link waits for one, and those behind it",
            )

    def _encryption(self, connection: sa.Connection) -> Finding:
        if is_local(self._engine):
            return Finding("ok", "the database is on this machine")
        if is_encrypted(connection):
            return Finding("ok", "the connection to the database is encrypted")
        return Finding(
            "warning",
            "the connection to the database is not encrypted: hashes travel in clear",
            "add sslmode=verify-full (PostgreSQL) or ssl_ca=FILE (MySQL) to RESET_ACCOUNTS_URL",
        )


def _hash_text(stored: Any) -> str:
    """A stored hash as it is, blanks at its end included: it is compared before it is replaced."""
    return stored.decode("utf-8", "replace") if isinstance(stored, bytes) else str(stored or "")


def _distinct(found: Sequence[Account]) -> list[Account]:
    """One account for each id; where a join gives several that differ, none may be used."""
    by_id: dict[str, Account] = {}
    for account in found:
        if by_id.setdefault(account.id, account) != account:
            by_id[account.id] = replace(account, obstacle="account_ambiguous")
    return list(by_id.values())


def _can_undo(connection: sa.Connection) -> bool:
    """Whether a change can be rolled back; the older engines of MySQL cannot.

    A view has no engine: what is behind it may be out of sight.
    """
    if connection.dialect.name != "mysql":
        return True
    query = (
        "SELECT DISTINCT engine FROM information_schema.tables WHERE table_schema"
        " NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')"
    )
    return {row[0] for row in connection.exec_driver_sql(query)} <= {"InnoDB"}


def _commit(connection: sa.Connection) -> None:
    try:
        connection.commit()
    except sa.exc.OperationalError as error:
        if "locked" in str(error.orig):
            raise  # SQLite's way to say that nothing was written.
        raise ChangeUncertain(described(error)) from error
