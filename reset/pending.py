"""The two lists of the twelve hours: what the mail server did not take, and what nobody used.

Source: the portal's manual; twelve hours after a request the help desk follows up.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from reset.db import Transaction, moment, stamp
from reset.mail.outbox import OVERDUE

# Then nobody waits for it any more; but what still may leave is never out of sight.
LISTED = timedelta(days=7)
ATTENDED = "attended"  # In the trail: somebody was called, or whatever else was to be done.
# The last mail of its request, which nobody attended to since, which was not denied, and no
# password of its account was set, with its own link or with another.
_UNSOLVED = (
    "outbox.kind = 'reset_link' AND NOT EXISTS (SELECT 1 FROM outbox AS later"
    " WHERE later.request = outbox.request AND later.kind = outbox.kind AND later.id > outbox.id)"
    " AND requests.closed_at IS NULL AND NOT EXISTS (SELECT 1 FROM acts"
    f" WHERE acts.subject = outbox.request AND acts.act = '{ATTENDED}'"
    " AND acts.at >= outbox.created_at) AND NOT EXISTS (SELECT 1 FROM links"
    " WHERE links.request = outbox.request AND links.state IN ('used', 'closed'))"
)
_NOT_ACCEPTED = (
    "FROM outbox JOIN requests ON requests.number = outbox.request"
    " WHERE outbox.state IN ('queued', 'sending', 'abandoned') AND outbox.created_at <= :late"
    " AND (outbox.state <> 'abandoned' OR outbox.created_at > :oldest)"
    f" AND {_UNSOLVED}"
)
_UNUSED = (
    "FROM outbox JOIN requests ON requests.number = outbox.request"
    " WHERE outbox.state = 'sent' AND outbox.created_at > :oldest AND outbox.sent_at <= :late"
    f" AND {_UNSOLVED}"
)
_ANSWER = (
    "SELECT details FROM events WHERE request = number"
    " AND event IN ('mail_deferred', 'mail_abandoned', 'mail_refused') ORDER BY id DESC LIMIT 1"
)


@dataclass(frozen=True)
class Pending:
    """One line of a list; ``reason`` is what the mail server said last, "" if nothing."""

    number: str
    address: str
    created_at: datetime
    mailed_at: datetime | None
    reason: str


def not_accepted(tx: Transaction, *, now: datetime, limit: int) -> list[Pending]:
    """Requests whose mail was not accepted twelve hours after they were made, newest first.

    Those refused or given up are listed for ``LISTED``, those that wait for as long as they do.
    """
    return _found(tx, _NOT_ACCEPTED, now=now, limit=limit)


def unused(tx: Transaction, *, now: datetime, limit: int) -> list[Pending]:
    """Requests mailed twelve hours ago or more whose links nobody used, newest first."""
    return _found(tx, _UNUSED, now=now, limit=limit)


def counts(tx: Transaction, *, now: datetime) -> tuple[int, int]:
    """How long the two lists would be without a limit."""
    not_accepted, unused = (
        int(tx.execute(sa.text(f"SELECT COUNT(*) {which}"), _bounds(now)).scalar_one())
        for which in (_NOT_ACCEPTED, _UNUSED)
    )
    return not_accepted, unused


def _found(tx: Transaction, which: str, *, now: datetime, limit: int) -> list[Pending]:
    # The answers are looked up for the lines that are shown, not for all that were sorted.
    rows = tx.execute(
        sa.text(
            f"SELECT number, address, created_at, sent_at, ({_ANSWER}) AS answer FROM ("
            "SELECT requests.number, requests.address, requests.created_at, outbox.sent_at,"
            f" outbox.id AS mail {which} ORDER BY outbox.created_at DESC LIMIT :limit"
            ") AS listed ORDER BY mail DESC"
        ),
        {**_bounds(now), "limit": limit},
    )
    return list(_lines(rows))


def _lines(rows: Iterable[sa.Row[Any]]) -> Iterable[Pending]:
    for row in rows:
        yield Pending(
            row.number,
            row.address,
            moment(row.created_at),
            moment(row.sent_at) if row.sent_at else None,
            json.loads(row.answer)["answer"] if row.answer else "",
        )


def _bounds(now: datetime) -> dict[str, str]:
    return {"late": stamp(now - OVERDUE), "oldest": stamp(now - LISTED)}
