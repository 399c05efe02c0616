"""How an address or a login is looked up: by equality, without regard to case.

In a way that an index can serve.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


class Lookup:
    """The condition that finds a text in one column of *selectable*."""

    def __init__(self, selectable: sa.FromClause, column: str) -> None:
        self._selectable = selectable
        self._column = selectable.c[column]
        self._ignores_case: bool | None = None

    def condition(self, connection: sa.Connection, words: Sequence[str]) -> sa.ColumnElement[bool]:
        """Where the column holds one of *words* (in lower case); finds a little more at times.

        Never LIKE: `_` and `%` are letters of valid addresses.
        """
        folded = self._folded(connection, plain=all(map(str.isascii, words)))
        # A blank before or behind comes from imports. trim() would keep an index from being used.
        stored = [form for word in words for form in (word, f"{word} ", f" {word}")]
        return folded.in_(sa.bindparam(None, stored, type_=sa.types.NULLTYPE, expanding=True))

    def _folded(self, connection: sa.Connection, *, plain: bool) -> sa.ColumnElement[Any]:
        """The column in lower case; with *plain* only the English alphabet matters."""
        column, dialect = self._column, connection.dialect.name
        if self._ignores_case is None:
            self._ignores_case = self._compares_without_case(connection)
        if self._ignores_case and (plain or dialect != "mysql"):
            return column
        if dialect == "mysql":
            # The character set of the column may lack letters that we ask for.
            return sa.func.lower(sa.cast(column, sa.CHAR))
        if dialect == "sqlite":
            return sa.func.lower(column) if plain else sa.func.unicode_lower(column)
        if plain:
            # A login may be a number; of a text, an index on lower() serves this, too.
            return sa.func.lower(sa.cast(column, sa.Text))
        # In a database of locale C, lower() knows the English alphabet only.
        return sa.func.lower(sa.collate(sa.cast(column, sa.Text), "und-x-icu"))

    def _compares_without_case(self, connection: sa.Connection) -> bool | None:
        """Whether the column itself does; then its plain index serves. None while it is empty."""
        asked = {"mysql": sa.func.collation, "postgresql": sa.func.pg_typeof}
        if connection.dialect.name not in asked:
            return False
        kind = asked[connection.dialect.name](self._column).cast(sa.CHAR(64))
        answer = connection.execute(sa.select(kind).select_from(self._selectable).limit(1)).scalar()
        return None if answer is None else str(answer).strip().endswith(("_ci", "citext"))
