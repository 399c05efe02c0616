"""Accounts in a table of the portal's own database; nothing is written but the password."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from reset.accounts import Account, hashes
from reset.address import spellings
from reset.errors import AccountChanged, AccountsUnavailable

TIMEOUT_SECONDS = 5
_ACTIVE = {"1", "true", "t", "yes", "y", "si", "sí", "s", "activo", "activa", "active", "a"}


@dataclass(frozen=True)
class Columns:
    """Where the portal keeps what; ``login``, ``name`` and ``active`` may be absent."""

    table: str
    id: str
    email: str
    password: str
    login: str | None = None
    name: str | None = None
    active: str | None = None
    personal: Sequence[str] = ()


class SqlAccounts:
    """The AccountBackend over one SQL table. *scheme* is for rows without a usable hash."""

    def __init__(self, url: str, columns: Columns, scheme: str = "auto") -> None:
        self._engine = sa.create_engine(
            _existing(url),
            hide_parameters=True,
            connect_args={"timeout": TIMEOUT_SECONDS},
            # A kept connection would go on reading a file that the portal has replaced.
            poolclass=sa.NullPool,
        )
        self._columns = columns
        self._scheme = scheme
        self._table = _described(columns)

    def check(self) -> None:
        try:
            with self._engine.begin() as connection:
                connection.execute(sa.select(self._table).limit(1)).all()
        except sa.exc.SQLAlchemyError as error:
            # The database's own words: no value was sent, so they can quote none.
            raise AccountsUnavailable(str(error.__cause__ or error)) from error

    def find_by_address(self, address: str) -> list[Account]:
        stored = self._table.c[self._columns.email]
        # Never LIKE: `_` and `%` are letters of valid addresses.
        same = sa.func.lower(sa.func.trim(stored)).in_(spellings(address))
        return [self._account(row) for row in self._rows(same)]

    def get(self, account_id: str) -> Account | None:
        same = self._table.c[self._columns.id] == json.loads(account_id)
        return next(map(self._account, self._rows(same)), None)

    def has_password(self, account: Account, password: str) -> bool:
        return hashes.verify(password, account.credential)

    def set_password(self, account: Account, new_password: str) -> None:
        column, table = self._columns, self._table
        new_hash = hashes.renew(new_password, account.credential, self._scheme)
        same_id = table.c[column.id] == json.loads(account.id)
        statement = (
            sa.update(table)
            .where(same_id)
            # Compare and set: a change that the portal made meanwhile is never overwritten.
            .where(sa.func.coalesce(table.c[column.password], "") == account.credential)
            .where(sa.func.trim(table.c[column.email]) == account.address)
            .values({column.password: new_hash})
        )
        with self._transaction() as connection:
            if connection.execute(statement).rowcount != 1:
                raise AccountChanged
            # Read again under the lock that the update took: it may have been disabled meanwhile.
            row = connection.execute(sa.select(table).where(same_id)).mappings().one()
            if self._account(row).obstacle is not None:
                raise AccountChanged

    def _rows(self, condition: sa.ColumnElement[bool]) -> list[sa.RowMapping]:
        with self._transaction() as connection:
            return list(connection.execute(sa.select(self._table).where(condition)).mappings())

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """One transaction; whatever goes wrong in it becomes AccountsUnavailable."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise AccountsUnavailable(type(error.__cause__ or error).__name__) from error

    def _account(self, row: sa.RowMapping) -> Account:
        column = self._columns
        address = str(row[column.email] or "").strip()
        name = _text(row[column.name]) if column.name else ""
        login = _text(row[column.login]) if column.login else address
        credential = str(row[column.password] or "")
        personal = (name, login, address, *(_text(row[extra]) for extra in column.personal))
        return Account(
            id=json.dumps(row[column.id]),
            login=login,
            address=address,
            name=name,
            credential=credential,
            personal=personal,
            obstacle=self._obstacle(row, credential),
        )

    def _obstacle(self, row: sa.RowMapping, credential: str) -> str | None:
        if self._columns.active and not _is_active(row[self._columns.active]):
            return "account_inactive"
        if self._scheme == "auto" and hashes.scheme_of(credential) is None:
            return "hash_unknown"
        return None


def _existing(url: str) -> sa.URL:
    """*url*, opened in a way that never creates the portal's file where it is missing."""
    parsed = sa.make_url(url)
    path = quote(parsed.database or "")
    return parsed.set(database=f"file:{path}").update_query_dict({"mode": "rw", "uri": "true"})


def _described(columns: Columns) -> sa.TableClause:
    optional = (columns.login, columns.name, columns.active, *columns.personal)
    names = {columns.id, columns.email, columns.password, *filter(None, optional)}
    return sa.table(columns.table, *(sa.column(name) for name in sorted(names)))


def _text(value: Any) -> str:
    """*value* as one line of text; NULL is the empty one."""
    return "" if value is None else " ".join(str(value).split())


def _is_active(value: Any) -> bool:
    return value is True or str(value).strip().lower() in _ACTIVE
