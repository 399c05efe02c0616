"""How an address or a login is looked up: by equality, without regard to case.

In a way that an index can serve.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

_NOBODY = ["nobody@absent.invalid"]


class Lookup:
    """The condition that finds a text in one column of *selectable*."""

    def __init__(self, selectable: sa.FromClause, column: str) -> None:
        self._selectable = selectable
        self._column = selectable.c[column]
        self._ignores_case: bool | None = None
        self._built: dict[tuple[bool | None, bool], sa.Select[Any]] = {}

    def query(
        self, connection: sa.Connection, words: Sequence[str]
    ) -> tuple[sa.Select[Any], dict[str, list[str]]]:
        """What finds *words* (in lower case) in the column, and a little more at times.

        Never LIKE: `_` and `%` are letters of valid addresses.
        """
        plain = all(map(str.isascii, words))
        if self._ignores_case is None:
            self._ignores_case = self._compares_without_case(connection)
        form = (self._ignores_case, plain)
        if form not in self._built:
            folded = self._folded(connection, plain=plain)
            wanted = sa.bindparam("words", _NOBODY, type_=sa.types.NULLTYPE, expanding=True)
            self._built[form] = sa.select(self._selectable).where(folded.in_(wanted))
        # A blank before or behind comes from imports. trim() would keep an index from being used.
        stored = [form for word in words for form in (word, f"{word} ", f" {word}")]
        return self._built[form], {"words": stored}

    def is_served(self, connection: sa.Connection) -> bool:
        """Whether an index serves it, else it reads all accounts."""
        query, _ = self.query(connection, _NOBODY)
        return _is_served(connection, query)

    def index(self, dialect: sa.Dialect) -> str:
        """The statement that makes an index for it; "" where there is no simple one."""
        table = self._selectable
        if not isinstance(table, sa.TableClause) or (
            dialect.name == "mysql" and not self._ignores_case
        ):
            return ""
        quoted = dialect.identifier_preparer
        column = quoted.quote(self._column.name)
        # On PostgreSQL as the portal works on.
        create = "CREATE INDEX" + (" CONCURRENTLY" if dialect.name == "postgresql" else "")
        name = quoted.quote(f"{table.name}_{self._column.name}_lookup")
        what = column if dialect.name == "mysql" else f"lower({column})"
        return f"{create} {name} ON {quoted.format_table(table)} ({what})"

    def _folded(self, connection: sa.Connection, *, plain: bool) -> sa.ColumnElement[Any]:
        """The column in lower case; with *plain* only the English alphabet matters."""
        column, dialect = self._column, connection.dialect.name
        if dialect == "sqlite":
            if not plain:
                return sa.func.unicode_lower(column)
            return sa.collate(column, "NOCASE") if self._ignores_case else sa.func.lower(column)
        if self._ignores_case and (plain or dialect != "mysql"):
            return column
        if dialect == "mysql":
            # The character set of the column may lack letters that we ask for.
            return sa.func.lower(sa.cast(column, sa.CHAR))
        if plain:
            # A login may be a number; of a text, an index on lower() serves this, too.
            return sa.func.lower(sa.cast(column, sa.Text))
        # In a database of locale C, lower() knows the English alphabet only.
        return sa.func.lower(sa.collate(sa.cast(column, sa.Text), "und-x-icu"))

    def _compares_without_case(self, connection: sa.Connection) -> bool | None:
        """Whether the column, or an index on it, does; then that serves. None while it is empty."""
        if connection.dialect.name == "sqlite":
            same = sa.collate(self._column, "NOCASE") == ""
            return _is_served(connection, sa.select(self._selectable).where(same))
        asked = {"mysql": sa.func.collation, "postgresql": sa.func.pg_typeof}
        kind = asked[connection.dialect.name](self._column).cast(sa.CHAR(64))
        answer = connection.execute(sa.select(kind).select_from(self._selectable).limit(1)).scalar()
        return None if answer is None else str(answer).strip().endswith(("_ci", "citext"))


def _is_served(connection: sa.Connection, query: sa.Select[Any]) -> bool:
    """Whether the database answers *query* without reading a table from end to end."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        # A small table it reads all the same: what counts is what it can do once it has grown.
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
    sent = query.compile(connection, compile_kwargs={"render_postcompile": True})
    explain = "EXPLAIN QUERY PLAN" if dialect == "sqlite" else "EXPLAIN"
    values = sent.params if sent.positiontup is None else tuple(sent.params.values())
    plan = connection.exec_driver_sql(f"{explain} {sent}", values).mappings().all()
    if dialect == "mysql":
        return all(row["possible_keys"] or row["type"] not in ("ALL", "index") for row in plan)
    return not any(word in str(row) for row in plan for word in ("SCAN ", "Seq Scan"))
