"""Who may ask how often: Flask-Limiter, with counters in our own database by default.

Counters are keyed on what was typed and where it came from, never on what was found.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

import sqlalchemy as sa
from flask import Flask, request
from flask_limiter import Limiter
from limits import RateLimitItem, parse_many
from limits.storage import Storage

from reset.db import Database, Transaction, moment, stamp
from reset.errors import ClientUnknown, RateLimited, StoreUnavailable
from reset.tokens import keyed_hash

PICTURES = "120 per minute"  # Per client; drawing one costs more than a page.


class DatabaseStorage(Storage):
    """Counters of fixed windows in our table `limits`; shared by all workers and hosts.

    A window starts with its first hit, so that a limit of N lets at most 2 N through within the
    length of one window, wherever that is laid.
    """

    STORAGE_SCHEME: ClassVar[list[str] | None] = ["reset-database"]  # type: ignore[misc]

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


class Limits:
    """The limits of one application."""

    def __init__(
        self,
        app: Flask,
        database: Database,
        *,
        per_ip: str,
        per_address: str,
        keys: Sequence[str],
        clock: Callable[[], datetime],
    ) -> None:
        limiter = Limiter(
            client_network,
            app=app,
            strategy="fixed-window",
            storage_uri="reset-database://",
            storage_options={"database": database, "clock": clock},  # type: ignore[dict-item]
        )
        self._strategy = limiter.limiter
        self._per_ip = parse_many(per_ip)
        self._per_address = parse_many(per_address)
        self._pictures = parse_many(PICTURES)
        self._keys = keys
        self._clock = clock

    def count_client(self, purpose: str) -> None:
        """Count one attempt of this client at *purpose*.

        Raises:
            RateLimited: there were too many.
        """
        self._hit_or_raise(self._per_ip, purpose, client_network())

    def count_picture(self) -> None:
        """Count one picture drawn for this client; raises RateLimited."""
        self._hit_or_raise(self._pictures, "picture", client_network())

    def allows_address(self, address: str) -> bool:
        """Count one request for the normalised *address*; False when there were too many."""
        bucket = keyed_hash(self._keys[0], "limit", address)
        return not self._exhausted(self._per_address, "address", bucket)

    def _hit_or_raise(self, items: Sequence[RateLimitItem], *bucket: str) -> None:
        over = self._exhausted(items, *bucket)
        if over:
            until = max(self._strategy.get_window_stats(item, *bucket).reset_time for item in over)
            raise RateLimited(max(1, int(until - self._clock().timestamp()) + 1))

    def _exhausted(self, items: Sequence[RateLimitItem], *bucket: str) -> list[RateLimitItem]:
        """Count one hit on each of *items* and return those that are over."""
        return [item for item in items if not self._strategy.hit(item, *bucket)]


def client_network() -> str:
    """The client's address; for IPv6 its /64, which one household has to itself.

    Raises:
        ClientUnknown: behind a UNIX socket with `RESET_TRUSTED_PROXIES` left at 0.
    """
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError as error:
        raise ClientUnknown from error
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
