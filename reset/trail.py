"""What operators saw and did: rows are added, never changed, and go when the retention is over."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from reset.db import Transaction, moment, new_key, stamp

LONGEST_SUBJECT = 254
CONSOLE = "console"  # The operator of who acts by a command.
LIMIT_CLEARED = "limit_cleared"  # Its subject is the address.
_COLUMNS = "at, operator, act, subject, details"
# Their subject is an operator or a list, not a person, whom the portal may know by the same word.
_OF_THE_DESK = (
    *("operator_added", "operator_disabled", "signed_in", "signed_out", "sign_in_failed"),
    "listed",
)
_ABOUT = "FROM acts WHERE subject IN :subjects AND act NOT IN :others"


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


def of_subjects(tx: Transaction, subjects: Sequence[str]) -> list[Act]:
    """All acts on any of *subjects*, who are persons or their requests, oldest first."""
    query = sa.text(f"SELECT {_COLUMNS} {_ABOUT}")
    found = (tx.execute(query.bindparams(*_among(some))) for some in _parts(subjects))
    return sorted((act for rows in found for act in _acts(rows)), key=lambda act: act.at)


def erase(tx: Transaction, subjects: Sequence[str]) -> int:
    """Delete all acts on any of *subjects*, as above; returns how many."""
    query = sa.text(f"DELETE {_ABOUT}")
    return sum(tx.execute(query.bindparams(*_among(some))).rowcount for some in _parts(subjects))


def last_time(tx: Transaction, act: str, subject: str) -> datetime | None:
    """When *act* was last done with *subject*."""
    found = tx.execute(
        sa.text("SELECT MAX(at) FROM acts WHERE subject = :subject AND act = :act"),
        {"subject": subject, "act": act},
    ).scalar()
    return moment(found) if found else None


def purge(tx: Transaction, *, before: datetime) -> None:
    """Delete the acts older than *before*."""
    tx.execute(sa.text("DELETE FROM acts WHERE at < :before"), {"before": stamp(before)})


def _among(subjects: Sequence[str]) -> Iterator[sa.BindParameter[Sequence[str]]]:
    for name, words in (("subjects", subjects), ("others", _OF_THE_DESK)):
        yield sa.bindparam(name, words, expanding=True)


def _parts(subjects: Sequence[str]) -> Iterator[Sequence[str]]:
    """Few enough for one statement of any database."""
    return (subjects[at : at + 500] for at in range(0, len(subjects), 500))


def _acts(rows: Iterable[sa.Row[tuple[str, ...]]]) -> list[Act]:
    return [Act(moment(r.at), r.operator, r.act, r.subject, json.loads(r.details)) for r in rows]
