"""Who may ask how often: Flask-Limiter, with counters in our own database or in Redis.

Counters are keyed on what was typed and where it came from, never on what was found.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from flask import Flask, request
from flask_limiter import Limiter
from limits import RateLimitItem, parse_many

from reset import counters
from reset.counters import DatabaseStorage
from reset.db import Database
from reset.errors import ClientUnknown, RateLimited
from reset.metrics import Metrics
from reset.tokens import keyed_hash

ADDRESS = "address"
NOT_BY_CLIENT = frozenset({ADDRESS, "operator", "search"})
# Per client, in place of the setting. Making a picture or a sound costs more than a page, and a
# player asks for a sound in several pieces; a proof costs a program less than letters do.
FIXED = {
    "picture": "120 per minute",
    "sound": "60 per minute",
    "proof": "20 per hour",
    "sign_in": "20 per 15 minutes",
}
# Of one name: by one client, and by all together. If a few attempts of anybody closed the name, a
# stranger who knows it would keep the operator out.
PER_OPERATOR = parse_many("10 per 15 minutes")
PER_OPERATOR_BY_ALL = parse_many("100 per 15 minutes")
SEARCHES = parse_many("60 per 10 minutes")  # Of one operator: enough for calls, not for a list.


@dataclass(frozen=True)
class Counter:
    """How often ``who`` (a client's network, or the keyed hash of an address) tried ``purpose``.

    ``most`` is how often is allowed until the moment ``until``.
    """

    purpose: str
    who: str
    hits: int
    most: int
    until: datetime
    key: str = field(repr=False)

    @property
    def is_full(self) -> bool:
        """Whether the next attempt is one too many."""
        return self.hits >= self.most


class Limits:
    """The limits of one application."""

    def __init__(
        self,
        database: Database,
        *,
        per_ip: str,
        per_address: str,
        keys: Sequence[str],
        clock: Callable[[], datetime],
        storage_uri: str,
        metrics: Metrics,
    ) -> None:
        options = {"database": database, "clock": clock}
        if storage_uri:
            options["redis_url"] = storage_uri
        limiter = Limiter(
            client_network,
            # Not ours: no view declares a limit, and it would look for one in every request.
            app=Flask(__name__),
            strategy="fixed-window",
            storage_uri=f"{counters.REDIS_SCHEME if storage_uri else counters.SCHEME}://",
            storage_options=options,  # type: ignore[arg-type]
        )
        self._strategy = limiter.limiter
        self._storage = cast(DatabaseStorage, limiter.storage)
        self._per_ip = parse_many(per_ip)
        self._per_address = parse_many(per_address)
        self._fixed = {purpose: parse_many(limit) for purpose, limit in FIXED.items()}
        self._keys = keys
        self._clock = clock
        self._metrics = metrics

    def count_client(self, purpose: str) -> None:
        """Count one attempt of this client at *purpose*.

        Raises:
            RateLimited: there were too many.
        """
        self._hit_or_raise(self._fixed.get(purpose, self._per_ip), purpose, client_network())

    def count_search(self, operator: str) -> None:
        """Count one search of *operator*'s.

        Raises:
            RateLimited: there were too many.
        """
        self._hit_or_raise(SEARCHES, "search", operator)

    def allows_address(self, address: str) -> bool:
        """Count one request for the normalised *address*; False when there were too many."""
        allowed = not self._exhausted(self._per_address, ADDRESS, self._hidden(address))
        if not allowed:
            self._metrics.count_limit(ADDRESS)
        return allowed

    def clear_address(self, address: str) -> int:
        """Forget the requests for a normalised *address*; returns how many counters ran."""
        hidden = self._hidden(address)
        return self._clear(item.key_for(ADDRESS, hidden) for item in self._per_address)

    def clear_client(self, network: str) -> int:
        """Forget all attempts of a client, as `network_of` tells it; how many counters ran."""
        return self._clear(one.key for one in self.counters() if one.who == network)

    def counted(self, address: str) -> int:
        """How many requests for a normalised *address* are counted now."""
        hidden = self._hidden(address)
        return max(self._storage.get(item.key_for(ADDRESS, hidden)) for item in self._per_address)

    def counters(self) -> list[Counter]:
        """All that run now."""
        return [_counter(*one) for one in self._storage.live()]

    def count_operator(self, name: str) -> None:
        """Count one attempt to sign in as *name*, as typed, whether there is such an operator.

        Raises:
            RateLimited: there were too many.
        """
        folded = name.strip().lower()
        for items, who in ((PER_OPERATOR, [client_network()]), (PER_OPERATOR_BY_ALL, [])):
            bucket = keyed_hash(self._keys[0], "limit", "operator", folded, *who)
            self._hit_or_raise(items, "operator", bucket)

    def _hit_or_raise(self, items: Sequence[RateLimitItem], *bucket: str) -> None:
        over = self._exhausted(items, *bucket)
        if over:
            self._metrics.count_limit(bucket[0])
            until = max(self._strategy.get_window_stats(item, *bucket).reset_time for item in over)
            raise RateLimited(max(1, math.ceil(until - self._clock().timestamp())))

    def _hidden(self, address: str) -> str:
        # The oldest key: one that is added behind it gives nobody a new quota.
        return keyed_hash(self._keys[0], "limit", address)

    def _clear(self, keys: Iterable[str]) -> int:
        running = [key for key in keys if self._storage.get(key)]
        for key in running:
            self._storage.clear(key)
        return len(running)

    def _exhausted(self, items: Sequence[RateLimitItem], *bucket: str) -> list[RateLimitItem]:
        """Count one hit on each of *items* and return those that are over."""
        windows = [(item.key_for(*bucket), item.get_expiry()) for item in items]
        hits = self._storage.incr_all(windows)
        return [item for item, hit in zip(items, hits, strict=True) if hit > item.amount]


def _counter(key: str, hits: int, until: datetime) -> Counter:
    """What the library's *key* says, such as `LIMITER/form/2001:db8::/64/30/1/minute`."""
    _, purpose, rest = key.split("/", 2)
    who, most, _, _ = rest.rsplit("/", 3)
    return Counter(purpose, who, hits, int(most), until, key)


def client_network() -> str:
    """The client's address; for IPv6 its /64, which one household has to itself.

    Raises:
        ClientUnknown: behind a UNIX socket with `RESET_TRUSTED_PROXIES` left at 0.
    """
    try:
        return network_of(request.remote_addr or "")
    except ValueError as error:
        raise ClientUnknown from error


def network_of(client: str) -> str:
    """The client of an IP address, as its attempts are counted.

    Raises:
        ValueError: it is none.
    """
    address = ipaddress.ip_address(client.removesuffix("/64"))
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
