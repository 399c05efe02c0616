"""Large tables in seconds: SQLite writes the rows itself, in the shape that the service gives them.

A third of the old requests is of somebody unknown, a third left the link alone, and a third changed
the password and got a confirmation.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from demo.accounts import CREATED, DEMO_PASSWORD, HASHERS

_AGE = timedelta(days=80)  # Within the retention: a purge leaves all of it.
_QUEUED_FROM = 10_000_000  # Numbers that no old request has.
_RECENT = 10_000  # Spent captchas and counters go after an hour, however many requests are kept.
_COUNTED = "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last)"
_TIME = "strftime('%Y-%m-%dT%H:%M:%f', {} / 1e6, 'unixepoch') || '000Z'"
_KEY = "printf('%014x%04x', {}, i % 65536) || lower(hex(randomblob(3)))"
_ACCOUNTS = (
    f"{_COUNTED} INSERT INTO usuarios (usuario, correo, clave, nombre, telefono, documento,"
    " nacimiento, activo, creado)"
    " SELECT printf('persona%07d', i), printf('persona%07d@example.com', i), :hash,"
    " 'Ana María Pérez', printf('300%07d', i), 10000000 + i, '1957-08-21', 1, :created FROM n"
)
# Numbers that repeat nowhere and come in no order, as the random ones of the service.
_REQUESTS = (
    f"CREATE TEMP TABLE made AS {_COUNTED},"
    " timed AS (SELECT i, :start + i * :step AS micros FROM n)"
    f" SELECT i, micros, {_TIME.format('micros')} AS at,"
    " printf('%012d', i * 618033988749 % 1000000000000) AS number,"
    " CASE i % 3 WHEN 0 THEN 'nobody' WHEN 1 THEN 'unused' ELSE 'used' END AS kind,"
    " printf('persona%07d@example.com', i % :people + 1) AS address FROM timed"
)
_STORE = "INSERT INTO requests (number, address, created_at) SELECT number, address, at FROM made"
_LINES = """
CREATE TEMP TABLE line AS
SELECT column1 AS kind, column2 AS seconds, column3 AS event, column4 AS details FROM (VALUES
    ('nobody', 0, 'requested', '{"origin": "Chrome en Android, red 190.25.x.x"}'),
    ('nobody', 1, 'no_account', '{}'),
    ('unused', 0, 'requested', '{"origin": "Chrome en Android, red 190.25.x.x"}'),
    ('unused', 1, 'account_found', '{"accounts": 1}'),
    ('unused', 2, 'mail_sent', '{"mail": "reset_link", "attempt": 1}'),
    ('used', 0, 'requested', '{"origin": "Chrome en Android, red 190.25.x.x"}'),
    ('used', 1, 'account_found', '{"accounts": 1}'),
    ('used', 2, 'mail_sent', '{"mail": "reset_link", "attempt": 1}'),
    ('used', 60, 'link_opened', '{"login": "ana.perez"}'),
    ('used', 90, 'password_changed', '{"login": "ana.perez", "origin": "Chrome en Android"}'),
    ('used', 91, 'mail_sent', '{"mail": "password_changed", "attempt": 1}'))
"""
_NOTES = (
    f"INSERT INTO events (id, request, at, event, details) SELECT {_KEY.format('later')}, number,"
    f" {_TIME.format('later')}, event, details FROM"
    " (SELECT *, micros + seconds * 1000000 AS later"
    " FROM made CROSS JOIN line ON line.kind = made.kind)"
)
_LINKS = (
    "INSERT INTO links (id, request, account, fingerprint, state, created_at, opened_at, used_at)"
    " SELECT lower(hex(randomblob(16))), number, i % :people + 1, lower(hex(randomblob(32))),"
    " iif(kind = 'used', 'used', 'open'), at, iif(kind = 'used', at, NULL),"
    " iif(kind = 'used', at, NULL) FROM made WHERE kind <> 'nobody'"
)
_MAILS = (
    "INSERT INTO outbox (id, request, kind, message_id, content, state, attempts, due_at, lease,"
    " leased_until, created_at, sent_at)"
    f" SELECT {_KEY.format('micros + seconds * 1000000')}, number, mail,"
    " '<' || number || '.14634.51803355@example.com>', '{}',"
    " iif(made.kind = 'nobody', 'dropped', 'sent'), 1, at, lower(hex(randomblob(16))), at, at,"
    " iif(made.kind = 'nobody', NULL, at) FROM made CROSS JOIN"
    " (SELECT 'reset_link' AS mail, 0 AS seconds UNION ALL SELECT 'password_changed', 90)"
    " WHERE seconds = 0 OR made.kind = 'used'"
)
_CAPTCHAS = (
    f"{_COUNTED} INSERT INTO captcha_spent (nonce, spent_at)"
    f" SELECT '0814' || lower(hex(randomblob(15))), {_TIME.format(':start')} FROM n"
)
_COUNTERS = (
    f"{_COUNTED} INSERT INTO limits (bucket, hits, expires_at)"
    " SELECT 'LIMITER/address/' || lower(hex(randomblob(32))) || '/5/1/hour', 1,"
    f" {_TIME.format('(:start + 3600000000)')} FROM n"
)
_FIRST_NOTE = (
    f"INSERT INTO events (id, request, at, event, details) SELECT {_KEY.format('micros')}, number,"
    """ at, 'requested', '{"origin": "Chrome en Android, red 190.25.x.x"}' FROM made"""
)
_ENQUEUE = (
    "INSERT INTO outbox (id, request, kind, message_id, content, state, attempts, due_at,"
    f" created_at) SELECT {_KEY.format('micros')}, number, 'reset_link',"
    """ '<' || number || '.14634.51803355@example.com>', '{"limited": "no"}', 'queued', 0,"""
    " at, at FROM made"
)


def address(number: int) -> str:
    """That of account *number*; the first one is 1."""
    return f"persona{number:07}@example.com"


def accounts(portal: Path, many: int) -> None:
    """*many* more accounts in the demo portal's table, and the index that the manual asks for."""
    with _quickly(portal) as connection:
        values = {"hash": HASHERS["bcrypt"](DEMO_PASSWORD), "created": CREATED}
        connection.execute(_ACCOUNTS, {"first": 1, "last": many, **values})
        connection.execute("CREATE INDEX usuarios_por_correo ON usuarios (lower(correo))")


def old_requests(state: Path, many: int, *, now: datetime) -> None:
    """*many* requests of the last months, all that hangs on them, and what an hour leaves.

    Nobody else may have *state* open.
    """
    people = {"people": many // 2}
    with _quickly(state) as connection, _without_indexes(connection):
        _make(connection, many, people["people"], start=now - _AGE, step=_AGE / (many + 1))
        for statement in (_STORE, _LINES, _NOTES, _MAILS):
            connection.execute(statement)
        connection.execute(_LINKS, people)
        recent = {"first": 1, "last": _RECENT, "start": _micros(now)}
        connection.execute(_CAPTCHAS, recent)
        connection.execute(_COUNTERS, recent)


def queue(state: Path, many: int, *, people: int, now: datetime, after: int = 0) -> None:
    """*many* requests as `Flow.request` stores them, all at once: their mails are due.

    They are of the first *people* accounts; *after* is how many were queued before.
    """
    with closing(sqlite3.connect(state, timeout=60)) as connection, connection:
        step = timedelta(microseconds=1)
        _make(connection, many, people, start=now, step=step, first=_QUEUED_FROM + after)
        for statement in (_STORE, _FIRST_NOTE, _ENQUEUE):
            connection.execute(statement)


def _make(
    connection: sqlite3.Connection,
    many: int,
    people: int,
    *,
    start: datetime,
    step: timedelta,
    first: int = 1,
) -> None:
    """A table `made` with a row for each request."""
    micros = step // timedelta(microseconds=1)
    values = {"first": first, "last": first + many - 1, "step": micros, "people": people}
    connection.execute(_REQUESTS, {**values, "start": _micros(start) - first * micros})


@contextmanager
def _quickly(path: Path) -> Iterator[sqlite3.Connection]:
    """One transaction that no power cut may meet."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-400000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")
    with path.open("rb+") as file:
        os.fsync(file)  # Else it is written while others are measured.


@contextmanager
def _without_indexes(connection: sqlite3.Connection) -> Iterator[None]:
    """To sort once is quicker than to keep in order."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    indexes = connection.execute(query).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    yield
    for _, statement in indexes:
        connection.execute(statement)


def _micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
