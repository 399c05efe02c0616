"""The help desk's daily mail: the two lists of the twelve hours, without anybody's address.

One a day, over any number of workers: the row of the day says who sends it and whether it was sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from reset import audit, pending
from reset.db import Database, Transaction, stamp
from reset.mail import Letter
from reset.mail.leases import LEASE
from reset.pending import Pending

SHOWN = 50  # Of each list; the pages of the help desk have all.
_IGNORE = {"mysql": ("INSERT IGNORE INTO", "")}


@dataclass(frozen=True)
class Schedule:
    """To whom, when (by the clock of ``zone``) and in which language; to nobody if ``to`` is ""."""

    to: str
    at: time
    zone: ZoneInfo
    language: str


class Digest:
    """The mails of one service; ``day`` names one: the date in the schedule's zone."""

    def __init__(
        self, database: Database, schedule: Schedule, *, public_url: str, mail_host: str
    ) -> None:
        self._db = database
        self._schedule = schedule
        self._public_url = public_url
        self._mail_host = mail_host

    def day(self, *, now: datetime) -> str | None:
        """The day whose mail is due and not dealt with: later is better than never."""
        local = now.astimezone(self._schedule.zone)
        # By the clock on the wall: where it skips an hour, what was due in it is due after it.
        if not self._schedule.to or local.time() < self._schedule.at:
            return None
        day = local.date().isoformat()
        with self._db.read() as tx:
            return day if _is_free(tx, day, now=now) else None

    def claim(self, day: str, *, now: datetime) -> Letter | None:
        """Take the mail of *day*; None when another worker has it, or the lists are empty.

        After ``LEASE`` another worker, or this one, may send it again: at least once, with the same
        Message-ID.
        """
        with self._db.begin() as tx:
            _begin(tx, day, now=now)
        # Not in one transaction: in MySQL two hosts would each hold what the other waits for.
        with self._db.begin() as tx:
            if not _claim(tx, day, now=now):
                return None
            counts = pending.counts(tx, now=now)
            if not any(counts):
                _mark_done(tx, day, now=now)
                return None
            return self._letter(
                day,
                counts,
                pending.not_accepted(tx, now=now, limit=SHOWN),
                pending.unused(tx, now=now, limit=SHOWN),
                now=now,
            )

    def note_done(self, day: str, *, now: datetime) -> None:
        """It was sent, or will never be taken: that is all for *day*."""
        with self._db.begin() as tx:
            _mark_done(tx, day, now=now)

    def _letter(
        self,
        day: str,
        counts: tuple[int, int],
        not_accepted: Sequence[Pending],
        unused: Sequence[Pending],
        *,
        now: datetime,
    ) -> Letter:
        return Letter(
            kind="digest",
            to=self._schedule.to,
            name="",
            language=self._schedule.language,
            message_id=f"<digest.{day}.{_mark(self._public_url)}@{self._mail_host}>",
            facts={
                "not_accepted": [_line(one, one.created_at, now=now) for one in not_accepted],
                "unused": [_line(one, one.mailed_at or now, now=now) for one in unused],
                "not_accepted_count": counts[0],
                "unused_count": counts[1],
                "url": f"{self._public_url}/ayuda",
            },
        )


def purge(tx: Transaction, *, before: datetime) -> None:
    """Forget the days before *before*."""
    day = before.date().isoformat()
    tx.execute(sa.text("DELETE FROM digests WHERE day < :day"), {"day": day})


def _line(one: Pending, since: datetime, *, now: datetime) -> dict[str, object]:
    """Whole hours, from two days on whole days; and nothing that tells whose it is."""
    hours = (now - since) // timedelta(hours=1)
    age = timedelta(hours=hours) if hours < 48 else timedelta(days=hours // 24)
    return {"number": audit.spoken(one.number), "age": age}


def _mark(public_url: str) -> str:
    """Tells the services of one office apart."""
    return hashlib.sha256(public_url.encode()).hexdigest()[:12]


def _is_free(tx: Transaction, day: str, *, now: datetime) -> bool:
    row = tx.execute(
        sa.text("SELECT claimed_until, sent_at FROM digests WHERE day = :day"), {"day": day}
    ).one_or_none()
    return row is None or (row.sent_at is None and row.claimed_until <= stamp(now))


def _begin(tx: Transaction, day: str, *, now: datetime) -> None:
    """The row of *day*, free, unless there is one."""
    insert, ignore = _IGNORE.get(tx.dialect.name, ("INSERT INTO", "ON CONFLICT (day) DO NOTHING"))
    statement = f"{insert} digests (day, claimed_until) VALUES (:day, :now) {ignore}"
    tx.execute(sa.text(statement), {"day": day, "now": stamp(now)})


def _claim(tx: Transaction, day: str, *, now: datetime) -> bool:
    claimed = tx.execute(
        sa.text(
            "UPDATE digests SET claimed_until = :until"
            " WHERE day = :day AND sent_at IS NULL AND claimed_until <= :now"
        ),
        {"day": day, "now": stamp(now), "until": stamp(now + LEASE)},
    )
    return claimed.rowcount == 1


def _mark_done(tx: Transaction, day: str, *, now: datetime) -> None:
    tx.execute(
        sa.text("UPDATE digests SET sent_at = :now WHERE day = :day AND sent_at IS NULL"),
        {"day": day, "now": stamp(now)},
    )
