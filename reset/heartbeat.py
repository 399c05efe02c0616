"""Signs of life: each worker writes its row at a fixed beat, with its figures since its start."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from reset.db import Transaction, moment, stamp

BEAT = timedelta(seconds=10)
ALIVE = 3 * BEAT  # One beat may be lost to a database that was away for a moment.
FORGOTTEN = timedelta(days=1)  # Who was killed could not take its row away.
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Sign:
    """One worker as it was when it last wrote; times are in UTC."""

    name: str
    started_at: datetime
    beat_at: datetime
    figures: Mapping[str, float]

    def is_alive(self, *, now: datetime) -> bool:
        """Whether the worker has shown itself lately."""
        return now - self.beat_at <= ALIVE


def beat(
    tx: Transaction,
    name: str,
    figures: Mapping[str, float],
    *,
    started_at: datetime,
    now: datetime,
) -> None:
    """Write that worker *name* lives, and forget those that have not for a day."""
    values = {
        "name": name[:_LONGEST_NAME],
        "started": stamp(started_at),
        "now": stamp(now),
        "figures": json.dumps(dict(figures)),
    }
    known = tx.execute(
        sa.text(
            "UPDATE workers SET started_at = :started, beat_at = :now, figures = :figures"
            " WHERE name = :name"
        ),
        values,
    )
    if known.rowcount == 0:
        tx.execute(
            sa.text(
                "INSERT INTO workers (name, started_at, beat_at, figures)"
                " VALUES (:name, :started, :now, :figures)"
            ),
            values,
        )
    # By their names: deleting by age would wait for the rows of others that write right now.
    forgotten = tx.execute(
        sa.text("SELECT name FROM workers WHERE beat_at < :before"),
        {"before": stamp(now - FORGOTTEN)},
    )
    for row in forgotten.all():
        leave(tx, row.name)


def leave(tx: Transaction, name: str) -> None:
    """Worker *name* ends, as it was told to."""
    tx.execute(sa.text("DELETE FROM workers WHERE name = :name"), {"name": name[:_LONGEST_NAME]})


def signs(tx: Transaction) -> list[Sign]:
    """All workers that have shown themselves within a day, by name; may be empty."""
    rows = tx.execute(
        sa.text("SELECT name, started_at, beat_at, figures FROM workers ORDER BY name")
    )
    return [
        Sign(row.name, moment(row.started_at), moment(row.beat_at), json.loads(row.figures))
        for row in rows
    ]
