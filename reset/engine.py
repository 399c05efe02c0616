"""Connections to databases, the portal's and our own: no call without a time-out."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import quote

import psycopg
import sqlalchemy as sa

from reset.loopback import is_loopback

TIMEOUT_SECONDS = 5
# The server gives up before the client does: a statement that it goes on with is a lost answer.
_SERVER_SECONDS = 4
_PATIENCE_SECONDS = 600
_DRIVERS = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
}
# Errors whose text names tables, columns and rights, never a row. Of MySQL and MariaDB, by their
# reference: 1044, 1142 and 1143 are rights, 1054 a column, 1146 a table.
_HARMLESS = re.compile(
    r"InsufficientPrivilege|UndefinedColumn|UndefinedTable|\w+Error (1044|1054|1142|1143|1146)"
)


def parse(url: str) -> sa.URL:
    """*url* with the driver that we use.

    Raises:
        ValueError: it is no address of a SQLite file, PostgreSQL, MySQL or MariaDB database.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise ValueError("not an address") from error
    driver = _DRIVERS.get(parsed.drivername.partition("+")[0])
    if driver is None or parsed.database in (None, "", ":memory:"):
        raise ValueError("not a database that we know")
    if driver != "sqlite" and re.search(r"@.*@|%(?![0-9A-Fa-f]{2})", url):
        raise ValueError("a sign in the password that has to be escaped")
    return parsed.set(drivername=driver)


def open_engine(url: str) -> sa.Engine:
    """An engine for *url*; it connects when first used."""
    parsed = parse(url)
    return {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql}[
        parsed.get_backend_name()
    ](parsed)


def is_local(engine: sa.Engine) -> bool:
    """Whether what is said to the database stays on this machine."""
    url = engine.url
    host = str(url.host or url.query.get("host") or "")
    # Without a host, or with a folder in its place, it is a socket.
    return url.get_backend_name() == "sqlite" or host[:1] in ("", "/") or is_loopback(host)


def is_encrypted(connection: sa.Connection) -> bool:
    """Whether *connection* to a server uses TLS."""
    if connection.dialect.name == "postgresql":
        return connection.connection.dbapi_connection.pgconn.ssl_in_use  # type: ignore[union-attr, no-any-return]
    status = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Ssl_cipher'").one_or_none()
    return bool(status and status[1])


def _sqlite(url: sa.URL) -> sa.Engine:
    path = quote(url.database or "")
    engine = sa.create_engine(
        # Opened in a way that never creates the portal's file where it is missing.
        url.set(database=f"file:{path}").update_query_dict({"mode": "rw", "uri": "true"}),
        hide_parameters=True,
        connect_args={"timeout": TIMEOUT_SECONDS},
        # A kept connection would go on reading a file that the portal has replaced.
        poolclass=sa.NullPool,
    )

    @sa.event.listens_for(engine, "connect")
    def _add_function(connection: Any, _: object) -> None:
        # SQLite's own lower() knows the English alphabet only.
        connection.create_function("unicode_lower", 1, _unicode_lower, deterministic=True)

    return engine


def _unicode_lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _postgresql(url: sa.URL) -> sa.Engine:
    milliseconds = _SERVER_SECONDS * 1000
    options = f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
    if "options" in url.query:  # The last one counts: what the operator sets stays set.
        options = f"{options} {url.query['options']}"
    # Without an encoding of its own a database (SQL_ASCII) would answer in bytes.
    defaults = {"connect_timeout": str(TIMEOUT_SECONDS), "client_encoding": "utf8"}
    wanted = {**defaults, **url.query, "options": options}
    # A statement that the server has prepared fails when the portal has altered its table.
    engine = _pooled(url.update_query_dict(wanted), {"prepare_threshold": None})

    @sa.event.listens_for(engine, "do_connect")
    def _connect(_: object, __: object, arguments: Any, parameters: Any) -> psycopg.Connection:
        return _Impatient.connect(*arguments, **parameters)

    return engine


class _Impatient(psycopg.Connection[Any]):
    """A connection on which nothing waits for ever, not even for a server that has stopped."""

    patience: float = TIMEOUT_SECONDS

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, timeout or self.patience)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                self.pgconn.finish()  # Else the pool would wait for the same answer once more.
            raise


@contextmanager
def patience(connection: sa.Connection) -> Iterator[None]:
    """Let statements take minutes until the transaction ends: an index over a million rows.

    MySQL and MariaDB need no more time than any: they finish an index whose client has left.
    """
    if connection.dialect.name != "postgresql":
        yield
        return
    connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
    patient = cast(_Impatient, connection.connection.dbapi_connection)
    patient.patience = _PATIENCE_SECONDS
    try:
        yield
    finally:
        patient.patience = TIMEOUT_SECONDS


def _mysql(url: sa.URL) -> sa.Engine:
    waits = ("innodb_lock_wait_timeout", "lock_wait_timeout")
    engine = _pooled(
        url,
        {
            "connect_timeout": TIMEOUT_SECONDS,
            "read_timeout": TIMEOUT_SECONDS,
            "write_timeout": TIMEOUT_SECONDS,
            "init_command": "SET SESSION "
            + ", ".join(f"{wait}={_SERVER_SECONDS}" for wait in waits)
            # Else a hash that is too long for its column is cut, and MyISAM could not undo that.
            + ", sql_mode=CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')",
        },
    )

    @sa.event.listens_for(engine, "do_connect")
    def _connect(dialect: Any, _: object, arguments: Any, parameters: Any) -> Any:
        try:
            return dialect.loaded_dbapi.connect(*arguments, **parameters)
        except (AttributeError, OSError, TypeError, ValueError) as error:
            # An option of the URL that is not known, or a file of it that cannot be read.
            text = f"{type(error).__name__}: {error}"
            raise dialect.loaded_dbapi.OperationalError(text) from error

    return engine


def _pooled(url: sa.URL, arguments: dict[str, Any]) -> sa.Engine:
    return sa.create_engine(
        url,
        hide_parameters=True,
        connect_args=arguments,
        # What is read after our own change must be what others have committed meanwhile.
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_timeout=TIMEOUT_SECONDS,
        pool_recycle=600,
    )


def is_refusal(error: sa.exc.DBAPIError) -> bool:
    """Whether the portal's own rule (a trigger, a check) does not take what was to be written."""
    if isinstance(error.orig, (psycopg.errors.RaiseException, psycopg.errors.CheckViolation)):
        return True
    if isinstance(error.orig, sqlite3.IntegrityError):
        return error.orig.sqlite_errorname.endswith(("_TRIGGER", "_CHECK"))
    # MySQL and MariaDB: SIGNAL of a trigger, and a CHECK that does not hold.
    return error.orig is not None and error.orig.args[:1] in ((1644,), (3819,), (4025,))


def described(error: sa.exc.SQLAlchemyError) -> str:
    """The kind of *error*, and its text where that names tables and rights, never a row."""
    cause = error.__cause__ or error
    number = cause.args[0] if cause.args and isinstance(cause.args[0], int) else ""
    kind = f"{type(cause).__name__} {number}".strip()
    text = str(cause.args[-1] if cause.args else "").splitlines()
    is_harmless = _HARMLESS.fullmatch(kind) or isinstance(cause, sqlite3.OperationalError)
    return f"{kind}: {text[0]}" if is_harmless and text else kind


def server_time(connection: sa.Connection) -> datetime:
    """The time by the clock of the server; of SQLite that is this host's."""
    clocks = {"postgresql": "SELECT clock_timestamp()", "mysql": "SELECT UTC_TIMESTAMP(6)"}
    if connection.dialect.name not in clocks:
        return datetime.now(UTC)
    told: datetime = connection.exec_driver_sql(clocks[connection.dialect.name]).scalar_one()
    return told if told.tzinfo else told.replace(tzinfo=UTC)
