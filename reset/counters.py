"""Counters of the rate limits: storages for the `limits` library over our database and Redis."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic, time
from typing import Any, ClassVar, TypeVar, cast

import sqlalchemy as sa
from limits.storage import RedisStorage as OfRedis
from limits.storage import Storage, storage_from_string
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from reset.db import Database, Transaction, delete_oldest, moment, stamp
from reset.errors import StoreUnavailable

SCHEME = "reset-database"
REDIS_SCHEME = "reset-redis"
REDIS_TIMEOUT_SECONDS = 0.25
REDIS_AGAIN_SECONDS = 10
_INSERT = "INSERT INTO limits (bucket, hits, expires_at) VALUES (:key, :amount, :until)"
_EXISTS = {"mysql": "ON DUPLICATE KEY UPDATE"}
# In this order: MySQL sees in the second line what the first has set.
_COUNT = (
    "hits = CASE WHEN limits.expires_at <= :now THEN 0 ELSE limits.hits END + :amount,"
    " expires_at = CASE WHEN limits.expires_at <= :now THEN :until ELSE limits.expires_at END"
)

_T = TypeVar("_T")
log = logging.getLogger(__name__)


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
            exists = _EXISTS.get(tx.dialect.name, "ON CONFLICT (bucket) DO UPDATE SET")
            tx.execute(
                sa.text(f"{_INSERT} {exists} {_COUNT}"),
                {
                    "key": key,
                    "amount": amount,
                    "now": stamp(now),
                    "until": stamp(now + timedelta(seconds=expiry)),
                },
            )
            # Nobody counts in between: the row is locked now.
            hits = tx.execute(sa.text("SELECT hits FROM limits WHERE bucket = :key"), {"key": key})
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

    def live(self) -> list[tuple[str, int, datetime]]:
        """Every key whose window is not over, with its hits and the end of the window."""
        with self._db.read() as tx:
            rows = tx.execute(
                sa.text(
                    "SELECT bucket, hits, expires_at FROM limits WHERE expires_at > :now"
                    " ORDER BY bucket"
                ),
                {"now": stamp(self._clock())},
            )
            return [(row.bucket, int(row.hits), moment(row.expires_at)) for row in rows]

    def _live(self, key: str) -> sa.Row[Any] | None:
        with self._db.read() as tx:
            return tx.execute(
                sa.text(
                    "SELECT hits, expires_at FROM limits WHERE bucket = :key AND expires_at > :now"
                ),
                {"key": key, "now": stamp(self._clock())},
            ).one_or_none()


class RedisStorage(DatabaseStorage):
    """Counters in Redis; while it does not answer, in our table, so that limits never fall away.

    Both begin with empty counters, so that an outage lets at most twice as many through.
    """

    STORAGE_SCHEME: ClassVar[list[str] | None] = [REDIS_SCHEME]  # type: ignore[misc]

    def __init__(
        self,
        uri: str | None = None,
        *,
        redis_url: str,
        database: Database,
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__(uri, database=database, clock=clock)
        options: dict[str, Any] = {
            "socket_timeout": REDIS_TIMEOUT_SECONDS,
            "socket_connect_timeout": REDIS_TIMEOUT_SECONDS,
            "retry": Retry(NoBackoff(), 1),  # Of its own it would wait for seconds.
        }
        self._redis = cast(OfRedis, storage_from_string(redis_url, **options))
        self._again_at = monotonic()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        own = super().incr
        return self._either(
            lambda: self._redis.incr(key, expiry, amount), lambda: own(key, expiry, amount)
        )

    def get(self, key: str) -> int:
        own = super().get
        return self._either(lambda: self._redis.get(key), lambda: own(key))

    def get_expiry(self, key: str) -> float:
        own = super().get_expiry
        # The library counts from this host's clock, and we from the one that all hosts share.
        shared = self._clock().timestamp()
        return self._either(lambda: self._redis.get_expiry(key) - time() + shared, lambda: own(key))

    def clear(self, key: str) -> None:
        super().clear(key)  # What was counted while Redis was away.
        self._either(lambda: self._redis.clear(key), lambda: None)

    def live(self) -> list[tuple[str, int, datetime]]:
        return self._either(self._live_in_redis, super().live)

    def _live_in_redis(self) -> list[tuple[str, int, datetime]]:
        redis = cast(Redis, self._redis.get_connection())
        prefix = self._redis.prefixed_key("")
        keys = sorted(key.decode() for key in redis.scan_iter(f"{prefix}LIMITER/*", count=1000))
        now, found = self._clock(), []
        for start in range(0, len(keys), 1000):
            some = keys[start : start + 1000]
            ask = redis.pipeline(transaction=False)
            for key in some:
                ask.get(key)
                ask.ttl(key)
            said = ask.execute()
            for key, hits, seconds in zip(some, said[::2], said[1::2], strict=True):
                if hits:  # Else it was over meanwhile.
                    until = now + timedelta(seconds=seconds)
                    found.append((key.removeprefix(prefix), int(hits), until))
        return found

    def _either(self, redis: Callable[[], _T], own: Callable[[], _T]) -> _T:
        if monotonic() >= self._again_at:
            try:
                return redis()
            except self._redis.base_exceptions as error:
                self._again_at = monotonic() + REDIS_AGAIN_SECONDS
                log.error("redis unavailable", extra={"cause": type(error).__name__})
        return own()


def purge(tx: Transaction, *, now: datetime, limit: int) -> bool:
    """Forget counters whose window is over; True if more are left."""
    return delete_oldest(tx, "limits", "expires_at", until=now, limit=limit)
