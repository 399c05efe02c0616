"""The statements that read and change accounts, out of names of columns or the operator's SQL."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from reset.accounts.sql import Table

# What may be set beside a number or a 'text'; `epoch` is the time as seconds since 1970.
_NOW = sa.func.current_timestamp()
_EPOCH = {
    "sqlite": sa.cast(sa.func.strftime("%s", "now"), sa.Integer),
    "postgresql": sa.cast(sa.func.date_part("epoch", _NOW), sa.BigInteger),
    "mysql": sa.func.unix_timestamp(),
}
_ASSIGNMENT = re.compile(
    r"\s*(\w+)\s*=\s*('(?:[^']|'')*'|-?\d+|now|epoch|null|true|false)\s*", re.IGNORECASE
)
_KEYS: dict[str, Callable[[str], Any]] = {
    "uuid": uuid.UUID,
    "bytes": bytes.fromhex,
    "decimal": Decimal,
}
# Of others many end a transaction, in MySQL at least, and nothing before them could be undone.
_CHANGES = {"CALL", "DELETE", "INSERT", "MERGE", "REPLACE", "SELECT", "UPDATE", "WITH"}


def selectable(table: Table) -> sa.FromClause:
    """What accounts are read from: a table, or the operator's SELECT in its place."""
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in table.columns]
    if table.find_sql:
        # A comment at its end must not swallow what follows.
        select = sa.text(table.find_sql.rstrip("; \n") + "\n")
        return select.columns(*columns).subquery("accounts")
    return _named(table.table, columns)


def by_id(source: sa.FromClause, column: str, kind: sa.types.TypeEngine[Any]) -> sa.Select[Any]:
    """The accounts of *source* whose id, in *column*, is the parameter ``key``, of that *kind*."""
    return sa.select(source).where(source.c[column] == sa.bindparam("key", type_=kind))


def update(table: Table, dialect: str, key: Any, present: Any, new: Any) -> sa.Executable:
    """Set the password of the account *key* if it still is *present*."""
    if table.update_sql:
        return _bound(sa.text(table.update_sql), {"id": key, "present": present, "password": new})
    columns = {table.id, table.password, *_assigned(table.assignments)}
    target = _named(table.table, [sa.column(name) for name in columns])
    stored = target.c[table.password]
    unchanged = stored.is_(None) if present is None else stored == bind(present)
    changes = {n: _value(v, dialect) for n, v in _assigned(table.assignments).items()}
    return (
        sa.update(target)
        .where(target.c[table.id] == bind(key))
        .where(unchanged)
        .values({table.password: bind(new), **changes})
    )


def after_change(table: Table, values: Mapping[str, Any]) -> list[sa.TextClause]:
    """The operator's statements for the end of the transaction, in order; may be empty."""
    return [_bound(sa.text(sql), values) for sql in _split(table.after_change_sql)]


def select_fault(sql: str) -> str | None:
    """What is wrong with a SELECT of accounts, as the end of a sentence; None if nothing is."""
    verbs = [_verb(statement) for statement in _split(sql)]
    if _parameters(sql) or verbs not in (["SELECT"], ["WITH"]):
        return "must be a SELECT of all accounts, without parameters"
    return None


def update_fault(sql: str) -> str | None:
    """What is wrong with the UPDATE of a password; as `select_fault`."""
    wanted = {"id", "password", "present"}
    sentence = _statement_fault(sql, wanted)
    if sentence is None and _parameters(sql) != wanted:
        return "must use :id, :password (the new hash) and :present (the hash it must still have)"
    return sentence


def after_change_fault(sql: str) -> str | None:
    """What is wrong with statements for after a change; as `select_fault`."""
    return _statement_fault(sql, {"id", "login", "email"})


def assignments_fault(text: str) -> str | None:
    """What is wrong with further columns to set; as `select_fault`."""
    try:
        _assigned(text)
    except ValueError as error:
        return f"cannot be read: {error}; write it like failed_logins=0, updated_at=now"
    return None


def bind(value: Any) -> sa.BindParameter[Any]:
    """*value* as a parameter whose type the database infers from what it is compared with.

    With a type of its own a text would not be compared with a uuid or a citext.
    """
    typed = sa.types.NULLTYPE if isinstance(value, str) else None
    return sa.bindparam(None, value, type_=typed)


def encode(key: Any) -> str:
    """An id as JSON text, so that 7, "007" and a UUID stay what they are."""
    if isinstance(key, uuid.UUID):
        return json.dumps({"uuid": str(key)})
    if isinstance(key, bytes):
        return json.dumps({"bytes": key.hex()})
    if isinstance(key, Decimal):
        return json.dumps({"decimal": str(key)})
    return json.dumps(key, ensure_ascii=False, default=str)


def decode(encoded: str) -> Any:
    """The id that `encode` was given."""
    key = json.loads(encoded)
    if not isinstance(key, dict):
        return key
    ((kind, text),) = key.items()
    return _KEYS[kind](text)


def _named(table: str, columns: list[sa.ColumnClause[Any]]) -> sa.TableClause:
    schema, _, name = table.rpartition(".")
    return sa.table(name, *columns, schema=schema or None)


def _bound(statement: sa.TextClause, values: Mapping[str, Any]) -> sa.TextClause:
    used = statement.compile().params
    typed = [
        sa.bindparam(name, value, type_=bind(value).type)
        for name, value in values.items()
        if name in used
    ]
    return statement.bindparams(*typed)


def _parameters(sql: str) -> set[str]:
    return set(sa.text(sql).compile().params)


def _statement_fault(sql: str, known: set[str]) -> str | None:
    verbs = {_verb(statement) for statement in _split(sql)}
    if not verbs or verbs - _CHANGES:
        return f"must be of {', '.join(sorted(_CHANGES))}"
    unknown = _parameters(sql) - known
    return f"has an unknown parameter :{min(unknown)}" if unknown else None


def _split(sql: str) -> list[str]:
    if not sql:
        return []
    import sqlparse  # Here, since few operators write SQL of their own.

    return [str(statement) for statement in sqlparse.split(sql, strip_semicolon=True)]


def _verb(statement: str) -> str:
    """The first word of *statement* that stands in no comment, in capitals."""
    import sqlparse

    parsed: Any = next(iter(sqlparse.parse(statement)), None)
    first = parsed and parsed.token_first(skip_cm=True)
    return str(first.normalized).upper() if first else ""


def _assigned(text: str) -> dict[str, str]:
    """The values as written, by column."""
    assigned: dict[str, str] = {}
    at = 0
    while at < len(text.rstrip()):
        match = _ASSIGNMENT.match(text, at)
        if match is None or (match.end() < len(text) and text[match.end()] != ","):
            raise ValueError(text[at:].strip())
        assigned[match[1]] = match[2]
        at = match.end() + 1
    return assigned


def _value(written: str, dialect: str) -> Any:
    word = written.lower()
    if word == "now":
        return _NOW
    if word == "epoch":
        return _EPOCH[dialect]
    if word == "null":
        return sa.null()
    if written.startswith("'"):
        return bind(written[1:-1].replace("''", "'"))
    if word in ("true", "false"):
        return sa.literal(word == "true")
    # PostgreSQL has no way from a number to a boolean or a text, but one from a literal to each.
    return bind(written) if dialect == "postgresql" else sa.literal(int(written))
