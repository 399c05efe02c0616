"""The operator's look at the queue: what was not sent, tried again or dropped by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from reset.db import Transaction, moment, stamp
from reset.mail.outbox import changed


@dataclass(frozen=True)
class Unsent:
    """A mail that waits, or was given up since `mails` was told to look; times are in UTC."""

    id: str
    request: str
    kind: str
    state: str
    attempts: int
    created_at: datetime
    due_at: datetime


_UNSENT = (
    "FROM outbox WHERE (state IN ('queued', 'sending')"
    " OR (state = 'abandoned' AND created_at > :since)) AND id > :after"
)
# Nobody hands it over: not now, and not with a lease that still runs.
_RESTS = "(state = 'queued' OR (state = 'sending' AND leased_until <= :now))"


def mails(
    tx: Transaction, *, since: datetime, limit: int, after: str = "", request: str = ""
) -> list[Unsent]:
    """Mails that wait, and those made *since* then that were given up, oldest first.

    *after* is the id of the last one of a list before; *request* is the one to look at, if any.
    """
    of_request = " AND request = :request" if request else ""
    rows = tx.execute(
        sa.text(
            "SELECT id, request, kind, state, attempts, created_at, due_at"
            f" {_UNSENT}{of_request} ORDER BY id LIMIT :limit"
        ),
        {"since": stamp(since), "after": after, "request": request, "limit": limit},
    )
    return [
        Unsent(
            row.id,
            row.request,
            row.kind,
            row.state,
            row.attempts,
            moment(row.created_at),
            moment(row.due_at),
        )
        for row in rows
    ]


def count(tx: Transaction, *, since: datetime) -> int:
    """How many `mails` would tell of without a limit."""
    found = tx.execute(sa.text(f"SELECT COUNT(*) {_UNSENT}"), {"since": stamp(since), "after": ""})
    return int(found.scalar_one())


def revive(tx: Transaction, message_id: str, *, now: datetime) -> bool:
    """Put a reset mail that was given up back; the text of a confirmation is gone."""
    return changed(
        tx,
        "UPDATE outbox SET state = 'queued', attempts = 0, due_at = :now, content = :content"
        " WHERE id = :id AND state = 'abandoned' AND kind = 'reset_link'",
        id=message_id,
        now=stamp(now),
        content=json.dumps({"limited": "no"}),
    )


def drop(tx: Transaction, message_id: str, *, now: datetime) -> bool:
    """Drop a mail that waits, unless a worker is handing it over right now."""
    return changed(
        tx,
        f"UPDATE outbox SET state = 'dropped', content = '{{}}' WHERE id = :id AND {_RESTS}",
        id=message_id,
        now=stamp(now),
    )
