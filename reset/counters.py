"""Counters of the rate limits in our own database: a storage for the `limits` library."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar

import sqlalchemy as sa
from limits.storage import Storage

from reset.db import Database, Transaction, moment, stamp
from reset.errors import StoreUnavailable

SCHEME = "reset-database"


class DatabaseStorage(Storage):
    """Counters of fixed windows in our table `limits`; shared by all workers and hosts.

    A window starts with its first hit, so that a limit of N lets at most 2 N through within the
    length of one window, wherever that is laid.
    """

    STORAGE_SCHEME: ClassVar[list[str] | None] = [SCHEME]  # type: ignore[misc]

    def __init__(
        self, uri: str | None = None, *, database: Database, clock: Callable[[], datetime]
    ) -> None:
        super().__init__(uri)
        self._db = database
        self._clock = clock

    @property
    def base_exceptions(self) -> type[Exception]:
        return StoreUnavailable

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = self._clock()
        with self._db.begin(durable=False) as tx:
            hits = tx.execute(
                sa.text(
                    "INSERT INTO limits (bucket, hits, expires_at) VALUES (:key, :amount, :until)"
                    " ON CONFLICT (bucket) DO UPDATE SET"
                    " hits = CASE WHEN limits.expires_at <= :now THEN 0 ELSE limits.hits END"
                    " + :amount,"
                    " expires_at = CASE WHEN limits.expires_at <= :now THEN excluded.expires_at"
                    " ELSE limits.expires_at END RETURNING hits"
                ),
                {
                    "key": key,
                    "amount": amount,
                    "now": stamp(now),
                    "until": stamp(now + timedelta(seconds=expiry)),
                },
            )
            return int(hits.scalar_one())

    def get(self, key: str) -> int:
        row = self._live(key)
        return int(row.hits) if row else 0

    def get_expiry(self, key: str) -> float:
        row = self._live(key)
        return moment(row.expires_at).timestamp() if row else self._clock().timestamp()

    def check(self) -> bool:
        try:
            self.get("")
        except StoreUnavailable:
            return False
        return True

    def reset(self) -> int | None:
        with self._db.begin(durable=False) as tx:
            return tx.execute(sa.text("DELETE FROM limits")).rowcount

    def clear(self, key: str) -> None:
        with self._db.begin(durable=False) as tx:
            tx.execute(sa.text("DELETE FROM limits WHERE bucket = :key"), {"key": key})

    def _live(self, key: str) -> sa.Row[Any] | None:
        with self._db.read() as tx:
            return tx.execute(
                sa.text(
                    "SELECT hits, expires_at FROM limits WHERE bucket = :key AND expires_at > :now"
                ),
                {"key": key, "now": stamp(self._clock())},
            ).one_or_none()


def purge(tx: Transaction, *, now: datetime) -> None:
    """Forget counters whose window is over."""
    tx.execute(sa.text("DELETE FROM limits WHERE expires_at <= :now"), {"now": stamp(now)})
