"""Our tables, step by step: `NUMBER_NAME.sql`, each applied once and never changed again.

The statements are those that SQLite, PostgreSQL, MariaDB and MySQL have in common.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources

import sqlalchemy as sa

from reset.engine import patience
from reset.errors import StoreUnavailable

_VERSION = "SELECT COALESCE(MAX(version), 0) FROM schema_version"
_VERSIONS = "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY)"
_LOCK_SECONDS = 4
# MySQL cannot undo these, so a step that was cut off finds its first half done. By MySQL's
# reference: table exists, column exists, key exists.
_ALREADY_DONE = (1050, 1060, 1061)
# Its usual comparison takes `jose` for `JOSÉ`, and an account's id for another one.
_MYSQL_TABLE = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"


def apply(tx: sa.Connection) -> int:
    """Apply the steps that are missing; returns the version that the database is at now."""
    with _alone(tx):
        tx.execute(sa.text(_VERSIONS))
        version = current(tx)
        for number, statements in steps():
            if number > version:
                for statement in statements:
                    _execute(tx, statement)
                tx.execute(sa.text("INSERT INTO schema_version VALUES (:v)"), {"v": number})
                version = number
    return version


def current(tx: sa.Connection) -> int:
    """The version that the database is at."""
    return int(tx.execute(sa.text(_VERSION)).scalar_one())


@contextmanager
def _alone(tx: sa.Connection) -> Iterator[None]:
    """No other host migrates meanwhile. On SQLite a writer is alone in any case."""
    if tx.dialect.name == "postgresql":
        tx.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('reset.migrations'))"))
    if tx.dialect.name != "mysql":
        with patience(tx):
            yield
        return
    # Its names are the server's, not the database's; and its transactions end with each CREATE.
    name = {"name": tx.execute(sa.text("SELECT MD5(CONCAT('reset.', DATABASE()))")).scalar_one()}
    got = tx.execute(sa.text(f"SELECT GET_LOCK(:name, {_LOCK_SECONDS})"), name).scalar_one()
    if got != 1:
        raise StoreUnavailable("another host is migrating")
    try:
        yield
    finally:
        tx.execute(sa.text("COMMIT"))  # First: the next host must see what was done.
        tx.execute(sa.text("SELECT RELEASE_LOCK(:name)"), name)


def _execute(tx: sa.Connection, statement: str) -> None:
    if tx.dialect.name != "mysql":
        tx.execute(sa.text(statement))
        return
    if statement.startswith("CREATE TABLE"):
        statement += _MYSQL_TABLE
    try:
        tx.execute(sa.text(statement))
    except sa.exc.DBAPIError as error:
        if error.orig is None or error.orig.args[:1] not in [(code,) for code in _ALREADY_DONE]:
            raise


def steps() -> list[tuple[int, list[str]]]:
    """(number, statements) of each file, in order."""
    files = resources.files(__name__).iterdir()
    steps = [(int(f.name[:4]), f.read_text("utf-8")) for f in files if f.name.endswith(".sql")]
    return sorted((number, _statements(sql)) for number, sql in steps)


def _statements(sql: str) -> list[str]:
    without_comments = re.sub(r"--.*", "", sql)
    return [part.strip() for part in without_comments.split(";") if part.strip()]
