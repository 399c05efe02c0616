"""Our own database: connections, transactions and the time that all hosts share.

Times are kept as text of fixed width in UTC (`2026-11-22T15:50:00.000000Z`): they sort as text and
read the same in every database and every client.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any, cast

import sqlalchemy as sa

from reset import migrations
from reset.engine import open_engine
from reset.errors import StoreUnavailable

BUSY_TIMEOUT_MS = 5000
_PAUSE_SECONDS = 0.001  # About as long as another process takes to write.
log = logging.getLogger(__name__)

Transaction = sa.Connection


def stamp(moment: datetime) -> str:
    """*moment* (aware) as it is kept in the database."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def moment(stamped: str) -> datetime:
    """The aware UTC time of a kept text."""
    return datetime.fromisoformat(stamped)


_counter = itertools.count()


def new_key(now: datetime) -> str:
    """A primary key of 24 hex digits; keys of later times sort later, and in order within one."""
    serial = next(_counter) % 0x10000
    return f"{key_of(now)}{serial:04x}{secrets.token_hex(3)}"


def key_of(moment: datetime) -> str:
    """What the keys of that *moment* begin with; keys of earlier times sort before it."""
    return f"{int(moment.timestamp() * 1_000_000):014x}"


class Database:
    """Our tables, in SQLite, PostgreSQL, MariaDB or MySQL; connects on first use."""

    def __init__(self, url: str) -> None:
        self._ahead = timedelta(0)
        self._migrated = False
        self._writer = threading.Lock()
        self._is_sqlite = sa.make_url(url).get_backend_name() == "sqlite"
        if self._is_sqlite:
            self._engine = sa.create_engine(url, hide_parameters=True, pool_pre_ping=False)
            _prepare_sqlite(self._engine)
        else:
            self._engine = open_engine(url)
            self._prepare_server()

    def begin(self, *, durable: bool = True) -> AbstractContextManager[Transaction]:
        """One transaction: committed at the end of the block, rolled back by an exception.

        With ``durable=False`` the commit survives the end of our processes, but perhaps not a
        power cut: for counters and spent captchas, which nobody was promised.

        Raises:
            StoreUnavailable: the database did not answer or could not write; nothing was kept.
        """
        self._migrate_once()
        return self._writing(durable=durable)

    def read(self) -> AbstractContextManager[Transaction]:
        """A view for reading; takes no lock that a writer would wait for."""
        self._migrate_once()
        return self._transaction(_look if self._is_sqlite else None)

    def now(self) -> datetime:
        """The time (UTC) by the clock of the database's server, which all hosts share.

        Compared anew with each new connection; before the first one, and for SQLite, it is the
        time of this host.
        """
        return datetime.now(UTC) + self._ahead

    def migrate(self) -> int:
        """Apply the migrations that are missing, each once; returns the version it is at now.

        Safe to run twice and from two processes: they wait for one another.

        Raises:
            StoreUnavailable: the database could not be changed.
        """
        with self._writing(durable=True) as tx:
            version = migrations.apply(tx)
        self._migrated = True
        return version

    def start(self) -> None:
        """Bring the tables up to date; a database that does not answer now may later."""
        try:
            self.migrate()
        except StoreUnavailable as error:
            log.error("store unavailable at start", extra={"error": str(error)})
        self.close()  # A connection must not be shared with the workers that gunicorn forks.

    def close(self) -> None:
        """Give up all connections; the next use opens new ones (needed after a fork)."""
        self._engine.dispose()

    def _migrate_once(self) -> None:
        # Also where the database did not answer when the process was started.
        if not self._migrated:
            self.migrate()

    @contextmanager
    def _writing(self, *, durable: bool) -> Iterator[Transaction]:
        if not self._is_sqlite:
            start = _acknowledge_early if not durable else None
            with self._transaction(start) as tx:
                yield tx
            return
        # SQLite has one writer and no queue. The threads of one process stand in line here.
        until = monotonic() + BUSY_TIMEOUT_MS / 1000
        if not self._writer.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
            raise StoreUnavailable("busy")
        try:
            with self._transaction(lambda tx: _lock(tx, durable=durable, until=until)) as tx:
                yield tx
        finally:
            self._writer.release()

    @contextmanager
    def _transaction(self, start: Callable[[Transaction], object] | None) -> Iterator[Transaction]:
        try:
            with self._engine.begin() as connection:
                if start:
                    start(connection)
                yield connection
        except sa.exc.DataError:
            raise  # A value that does not fit: the database is not away, and no retry would help.
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, sqlite3.Error, OSError) as error:
            raise StoreUnavailable(type(error.__cause__ or error).__name__) from error

    def _prepare_server(self) -> None:
        is_postgresql = self._engine.dialect.name == "postgresql"

        @sa.event.listens_for(self._engine, "connect")
        def _configure(connection: sa.engine.interfaces.DBAPIConnection, _: object) -> None:
            cursor = connection.cursor()
            if is_postgresql:
                # Whatever is usual on that server: what was accepted must be on its disk.
                cursor.execute(_ON_DISK)
            cursor.execute(
                "SELECT clock_timestamp()" if is_postgresql else "SELECT UTC_TIMESTAMP(6)"
            )
            (server,) = cast(tuple[datetime], cursor.fetchone())
            connection.commit()
            aware = server if server.tzinfo else server.replace(tzinfo=UTC)
            self._ahead = aware - datetime.now(UTC)


_ON_DISK = (
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') = 'off'"
)


def _acknowledge_early(tx: Transaction) -> None:
    if tx.dialect.name == "postgresql":
        tx.exec_driver_sql("SET LOCAL synchronous_commit = off")


def _look(tx: Transaction) -> None:
    # By the driver: SQLAlchemy would do ten times as much around it.
    tx.connection.execute("BEGIN")


def _lock(tx: Transaction, *, durable: bool, until: float) -> None:
    """Begin to write in SQLite, as soon as no other process does, or fail at *until*.

    SQLite's own way to wait looks again after pauses that grow to 100 ms: there who waits longest
    comes last, and all our threads behind him.
    """
    execute = tx.connection.execute
    # In WAL mode FULL syncs at every commit and NORMAL only at checkpoints.
    execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
    execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                # A transaction that starts by reading and then writes can fail as "locked" at once.
                execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                # The lowest byte is the kind; the rest says why.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > until:
                    raise
            sleep(_PAUSE_SECONDS)
    finally:
        execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")


def must_hold(tx: Transaction) -> bool:
    """Whether others write meanwhile: on SQLite a writer is alone."""
    return tx.dialect.name != "sqlite"


def hold(tx: Transaction, query: str, **values: str) -> None:
    """Lock the rows of *query* until *tx* ends, where that `must_hold`.

    Always in one order, else two wait for each other: links of an account, by account and id, then
    the requests of an address, by number. Both before the first line for a trace, which locks its
    request, too.
    """
    if must_hold(tx):
        # On PostgreSQL less than FOR UPDATE, so that new requests and lines need not wait.
        lock = "FOR NO KEY UPDATE" if tx.dialect.name == "postgresql" else "FOR UPDATE"
        tx.execute(sa.text(f"{query} {lock}"), values).all()


def delete_oldest(tx: Transaction, table: str, column: str, *, until: datetime, limit: int) -> bool:
    """Delete about *limit* rows of *table* whose time in *column* is over; True if more are left.

    By times, not by keys: so the index that finds them serves the deletion, too.
    """
    last = tx.execute(
        sa.text(
            f"SELECT {column} FROM {table} WHERE {column} <= :until"
            f" ORDER BY {column} LIMIT 1 OFFSET :before"
        ),
        {"until": stamp(until), "before": limit - 1},
    ).scalar()
    tx.execute(
        sa.text(f"DELETE FROM {table} WHERE {column} <= :until"), {"until": last or stamp(until)}
    )
    return last is not None


def _prepare_sqlite(engine: sa.Engine) -> None:
    path = engine.url.database or ":memory:"

    @sa.event.listens_for(engine, "do_connect")
    def _create_private_file(*_: object) -> None:
        if path != ":memory:":
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            Path(path).touch(mode=0o600)

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: sa.engine.interfaces.DBAPIConnection, _: object) -> None:
        connection.isolation_level = None  # We begin transactions ourselves, below.
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA foreign_keys=ON")
        # What is erased is not to be read out of free pages. Debian sets it, others do not.
        connection.execute("PRAGMA secure_delete=ON")
        _use_wal(connection)


def _use_wal(connection: Any) -> None:
    """Once in the life of a file. SQLite does not wait when two processes do it at once."""
    deadline = monotonic() + BUSY_TIMEOUT_MS / 1000
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if monotonic() > deadline:
                raise
            sleep(0.02)
