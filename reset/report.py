"""What happened, for auditors: events of requests and acts of operators in one order of time."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from reset import audit
from reset.db import Database, key_of, moment

PAGE = 1000  # Rows that are in memory at once.
_EVENTS = (
    "SELECT events.id, at, number, address, '' AS operator, event, details"
    " FROM events JOIN requests ON number = request"
    " WHERE events.id > :after AND events.id < :until ORDER BY events.id LIMIT :page"
)
_ACTS = (
    "SELECT id, at, '' AS number, subject AS address, operator, act AS event, details"
    " FROM acts WHERE id > :after AND id < :until ORDER BY id LIMIT :page"
)


@dataclass(frozen=True)
class Entry:
    """One line: what happened to a request, or what an ``operator`` did with a subject.

    ``number`` is as it is spoken; an act has one if its subject is a request, else ``subject`` is
    an address or login. ``at`` is in UTC.
    """

    at: datetime
    number: str
    subject: str
    operator: str
    event: str
    details: dict[str, str | int]


def entries(database: Database, *, since: datetime, until: datetime) -> Iterator[Entry]:
    """All from *since* on and before *until*, oldest first, a page at a time."""
    bounds = key_of(since), key_of(until)
    pages = (_rows(database, query, *bounds) for query in (_EVENTS, _ACTS))
    for row in heapq.merge(*pages, key=lambda row: str(row.id)):
        yield _entry(row)


def _rows(database: Database, query: str, after: str, until: str) -> Iterator[sa.Row[Any]]:
    while True:
        # A transaction for each page: an export that is read slowly keeps nothing from being freed.
        with database.read() as tx:
            values = {"after": after, "until": until, "page": PAGE}
            rows = tx.execute(sa.text(query), values).all()
        yield from rows
        if len(rows) < PAGE:
            return
        after = rows[-1].id


def _entry(row: sa.Row[Any]) -> Entry:
    number, subject = row.number, row.address
    if not number and audit.unspoken(subject):
        number, subject = subject, ""
    return Entry(
        moment(row.at),
        number and audit.spoken(number),
        subject,
        row.operator,
        row.event,
        json.loads(row.details),
    )
