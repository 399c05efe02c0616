"""What operators saw and did: rows are added, never changed, and go when the retention is over."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from reset.db import Transaction, moment, new_key, stamp

LONGEST_SUBJECT = 254
_COLUMNS = "at, operator, act, subject, details"


@dataclass(frozen=True)
class Act:
    """One row: who did what with which request (its digits), address or login, and when (UTC)."""

    at: datetime
    operator: str
    act: str
    subject: str
    details: dict[str, str | int]


def note(
    tx: Transaction, operator: str, act: str, subject: str, *, now: datetime, **details: str | int
) -> None:
    """Add a row; *subject* is a request number in digits, a normalised address, or a login."""
    tx.execute(
        sa.text(
            "INSERT INTO acts (id, at, operator, act, subject, details)"
            " VALUES (:id, :at, :operator, :act, :subject, :details)"
        ),
        {
            "id": new_key(now),
            "at": stamp(now),
            "operator": operator,
            "act": act,
            "subject": subject[:LONGEST_SUBJECT],
            "details": json.dumps(details, ensure_ascii=False),
        },
    )


def of_subject(tx: Transaction, subject: str) -> list[Act]:
    """All acts on one subject, oldest first; may be empty."""
    return _acts(
        tx.execute(
            sa.text(f"SELECT {_COLUMNS} FROM acts WHERE subject = :subject ORDER BY id"),
            {"subject": subject},
        )
    )


def latest(tx: Transaction, *, limit: int) -> list[Act]:
    """The last *limit* acts of all operators, newest first."""
    return _acts(
        tx.execute(
            sa.text(f"SELECT {_COLUMNS} FROM acts ORDER BY id DESC LIMIT :limit"), {"limit": limit}
        )
    )


def purge(tx: Transaction, *, before: datetime) -> None:
    """Delete the acts older than *before*."""
    tx.execute(sa.text("DELETE FROM acts WHERE at < :before"), {"before": stamp(before)})


def _acts(rows: Iterable[sa.Row[tuple[str, ...]]]) -> list[Act]:
    return [Act(moment(r.at), r.operator, r.act, r.subject, json.loads(r.details)) for r in rows]
