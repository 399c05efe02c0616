"""Which worker has which mails: leased under a name, and changed only by who holds the lease."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from reset.db import Transaction, moment, stamp
from reset.mail.outbox import Message, changed

LEASE = timedelta(minutes=5)
# Not one condition with OR: no index has both in one order, and all that waits would be sorted.
_LAPSED = "FROM outbox WHERE state = 'sending' AND leased_until <= :now"
_DUE = "FROM outbox WHERE state = 'queued' AND due_at <= :now"


def _of(statement: str) -> sa.TextClause:
    """*statement* about the messages of the list `:ids`."""
    return sa.text(statement).bindparams(sa.bindparam("ids", type_=sa.String, expanding=True))


_LEASED = _of(
    "UPDATE outbox SET state = 'sending', attempts = attempts + 1, lease = :lease,"
    " leased_until = :until WHERE id IN :ids"
)
_HELD = "SELECT id, lease FROM outbox WHERE id IN :ids AND state = 'sending' ORDER BY id"
_STILL = "WHERE id IN :ids AND state = 'sending'"
_RENEWED = _of(f"UPDATE outbox SET leased_until = :until {_STILL}")
_SENT = _of(f"UPDATE outbox SET state = 'sent', content = '{{}}', sent_at = :now {_STILL}")
_DROPPED = _of(f"UPDATE outbox SET state = 'dropped', content = '{{}}' {_STILL}")


def claim(tx: Transaction, *, limit: int, now: datetime) -> list[Message]:
    """Lease up to *limit* due messages to this worker, those due longest first; may be empty.

    Before them those of a worker that never came back: they were due earlier. After ``LEASE``
    another worker may send a message again: delivery is at least once.
    Source: RFC 5321, 4.5.4.1 (sending strategy).
    """
    rows = _locked(tx, _LAPSED, limit=limit, now=now)
    rows += _locked(tx, _DUE, limit=limit - len(rows), now=now)
    lease = secrets.token_hex(16)
    if rows:
        tx.execute(
            _LEASED, {"ids": [r.id for r in rows], "lease": lease, "until": stamp(now + LEASE)}
        )
    return [
        Message(
            *(row.id, row.request, row.kind, row.message_id, row.content),
            *(row.attempts + 1, lease, moment(row.created_at)),
        )
        for row in rows
    ]


def renew(tx: Transaction, messages: Sequence[Message], *, now: datetime) -> set[str]:
    """Start leases anew; returns the ids of those that no other worker has now, as the next two."""
    return _change(tx, messages, _RENEWED, until=stamp(now + LEASE))


def mark_sent(tx: Transaction, messages: Sequence[Message], *, now: datetime) -> set[str]:
    """The mail server took the messages."""
    return _change(tx, messages, _SENT, now=stamp(now))


def mark_dropped(tx: Transaction, messages: Sequence[Message]) -> set[str]:
    """There is nobody to write to."""
    return _change(tx, messages, _DROPPED)


def mark_abandoned(tx: Transaction, message: Message) -> bool:
    """Refused for good, or given up."""
    return _update(tx, message, "state = 'abandoned', content = '{}'")


def put_back(tx: Transaction, message: Message, *, due_at: datetime) -> bool:
    """Try again at *due_at*."""
    return _update(tx, message, "state = 'queued', due_at = :due", due=stamp(due_at))


def _locked(
    tx: Transaction, which: str, *, limit: int, now: datetime
) -> list[sa.Row[tuple[Any, ...]]]:
    lock = "" if tx.dialect.name == "sqlite" else " FOR UPDATE SKIP LOCKED"
    found = tx.execute(
        sa.text(f"SELECT * {which} ORDER BY due_at LIMIT :limit{lock}"),
        {"now": stamp(now), "limit": limit},
    )
    return list(found)


def _change(
    tx: Transaction, messages: Sequence[Message], change: sa.TextClause, **values: str
) -> set[str]:
    """Change those of *messages* whose lease still holds: few statements, however many they are."""
    if not messages:
        return set()
    lock = "" if tx.dialect.name == "sqlite" else " FOR UPDATE"
    rows = tx.execute(_of(_HELD + lock), {"ids": [message.id for message in messages]})
    holders = {row.id: row.lease for row in rows}
    ours = {message.id for message in messages if holders.get(message.id) == message.lease}
    if ours:
        tx.execute(change, {"ids": sorted(ours), **values})
    return ours


def _update(tx: Transaction, message: Message, change: str, **values: str) -> bool:
    statement = (
        f"UPDATE outbox SET {change} WHERE id = :id AND lease = :lease AND state = 'sending'"
    )
    return changed(tx, statement, id=message.id, lease=message.lease, **values)
