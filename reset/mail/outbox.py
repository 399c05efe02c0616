"""The queue of mails: a message stays until the mail server took it or it was given up.

States: queued -> sending (under a lease) -> sent; sending -> queued again after a failure;
sending -> abandoned (refused, or too old), sending -> dropped (nothing to send). An operator may
put an abandoned one back, and drop one that waits.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import make_msgid

import sqlalchemy as sa

from reset import logs
from reset.db import Transaction, moment, new_key, stamp

UNATTENDED = timedelta(minutes=5)  # Workers look several times a second.
OVERDUE = timedelta(hours=12)  # Source: the portal's manual; then the help desk follows up.
_ENQUEUE = sa.text(
    "INSERT INTO outbox (id, request, kind, message_id, content, state, attempts,"
    " due_at, created_at)"
    " VALUES (:id, :request, :kind, :message_id, :content, 'queued', 0, :now, :now)"
)


@dataclass(frozen=True)
class Message:
    """One queued mail; ``attempts`` counts the present one, ``lease`` names its holder."""

    id: str
    request: str
    kind: str
    message_id: str
    stored: str
    attempts: int
    lease: str
    created_at: datetime

    @property
    def content(self) -> Mapping[str, str]:
        """Read when it is needed: a damaged row must not keep others from being claimed."""
        content: Mapping[str, str] = json.loads(self.stored)
        return content

    @property
    def log_id(self) -> str:
        """The id of the visitor's request that queued it; nothing if it cannot be read."""
        try:
            return self.content.get("id", "")
        except (ValueError, AttributeError):
            return ""


@dataclass(frozen=True)
class Depth:
    """How many mails wait in each state, and for how long the worst of them is left alone."""

    states: Mapping[str, int]
    unattended: timedelta


@dataclass(frozen=True)
class Waiting:
    """How far a mail got, and when it is, or was, due."""

    state: str
    due_at: datetime


@dataclass(frozen=True)
class Retry:
    """When to try again: first after ``first``, then twice as long, at most ``most`` apart."""

    first: timedelta
    most: timedelta
    give_up_after: timedelta

    def delay(self, attempts: int) -> timedelta:
        """The pause after attempt number *attempts*, with jitter so that queues spread out."""
        jitter = random.uniform(0.75, 1.0)  # noqa: S311 - no secret
        return self.longest(attempts) * jitter

    def longest(self, attempts: int) -> timedelta:
        """That pause without jitter."""
        return min(self.first * (1 << min(attempts - 1, 20)), self.most)


def enqueue(
    tx: Transaction,
    request: str,
    kind: str,
    *,
    host: str,
    now: datetime,
    content: Mapping[str, str] | None = None,
) -> None:
    """Queue a mail; its Message-ID (at *host*) is made here, so that a retry is the same mail.

    The id of the visitor's request goes with it, so that the worker's log lines can name it, too.
    """
    tx.execute(
        _ENQUEUE,
        {
            "id": new_key(now),
            "request": request,
            "kind": kind,
            "message_id": make_msgid(domain=host),
            "content": json.dumps({**(content or {}), **logs.of_request()}, ensure_ascii=False),
            "now": stamp(now),
        },
    )


def last_of(tx: Transaction, request: str, kind: str) -> Waiting | None:
    """The last mail of *kind* that was queued for *request*."""
    row = tx.execute(
        sa.text(
            "SELECT state, due_at FROM outbox WHERE request = :request AND kind = :kind"
            " ORDER BY id DESC LIMIT 1"
        ),
        {"request": request, "kind": kind},
    ).one_or_none()
    return Waiting(row.state, moment(row.due_at)) if row else None


def hasten(tx: Transaction, request: str, kind: str, *, now: datetime) -> bool:
    """Make a mail that waits for its next attempt due; False if none waits for one."""
    hastened = tx.execute(
        sa.text(
            "UPDATE outbox SET due_at = :now WHERE request = :request AND kind = :kind"
            " AND state = 'queued'"
        ),
        {"now": stamp(now), "request": request, "kind": kind},
    )
    return hastened.rowcount > 0


# The mails of a row of `requests` that may still leave.
WAITING_MAILS = (
    "SELECT 1 FROM outbox"
    " WHERE outbox.request = requests.number AND outbox.state IN ('queued', 'sending')"
)


def is_due(tx: Transaction, *, now: datetime) -> bool:
    """Whether there is anything to claim; only reads."""
    return any(at <= stamp(now) for at in _due_since(tx))


def depth(tx: Transaction, *, now: datetime) -> Depth:
    """What waits, and for how long what is due is left alone, if for longer than `UNATTENDED`.

    Less is not told: a worker may be busy with the mail of somebody who is registered.
    """
    states = {"queued": 0, "sending": 0}
    for row in tx.execute(
        sa.text(
            "SELECT state, COUNT(*) AS many FROM outbox WHERE state IN ('queued', 'sending')"
            " GROUP BY state"
        )
    ):
        states[row.state] = row.many
    waited = max((now - moment(at) for at in _due_since(tx)), default=timedelta(0))
    return Depth(states, waited if waited > UNATTENDED else timedelta(0))


def drop_waiting(tx: Transaction) -> list[str]:
    """Drop all mails that wait; returns the requests they belonged to."""
    waiting = "state IN ('queued', 'sending')"
    rows = tx.execute(sa.text(f"SELECT request FROM outbox WHERE {waiting}")).all()
    tx.execute(sa.text(f"UPDATE outbox SET state = 'dropped', content = '{{}}' WHERE {waiting}"))
    return [str(row.request) for row in rows]


def newly_overdue(tx: Transaction, *, now: datetime) -> list[tuple[str, str]]:
    """(id, request) of messages that wait for twelve hours and are not marked yet."""
    rows = tx.execute(
        sa.text(
            "SELECT id, request FROM outbox WHERE state IN ('queued', 'sending')"
            " AND overdue_at IS NULL AND created_at <= :limit LIMIT 100"
        ),
        {"limit": stamp(now - OVERDUE)},
    )
    # In one order, else two workers that mark them wait for each other.
    return sorted((row.id, row.request) for row in rows)


def mark_overdue(tx: Transaction, message_id: str, *, now: datetime) -> bool:
    """Mark a waiting message for the help desk's attention; True for the one who did."""
    return changed(
        tx,
        "UPDATE outbox SET overdue_at = :now WHERE id = :id AND overdue_at IS NULL",
        id=message_id,
        now=stamp(now),
    )


def _due_since(tx: Transaction) -> list[str]:
    """When the first mail is due and the first lease is over, past or not; none if none waits.

    Asked for the least, PostgreSQL takes it from the index; asked whether one is due it may read
    the whole table, where it expects many.
    """
    least = tx.execute(
        sa.text(
            "SELECT (SELECT MIN(due_at) FROM outbox WHERE state = 'queued') AS due,"
            " (SELECT MIN(leased_until) FROM outbox WHERE state = 'sending') AS lapsed"
        )
    ).one()
    return [at for at in least if at]


def changed(tx: Transaction, statement: str, **values: str) -> bool:
    """Run an UPDATE of one message; whether it was in the state that the statement names."""
    return tx.execute(sa.text(statement), values).rowcount == 1
