"""Who may ask how often: Flask-Limiter, with counters in our own database or in Redis.

Counters are keyed on what was typed and where it came from, never on what was found.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Sequence
from datetime import datetime

from flask import Flask, request
from flask_limiter import Limiter
from limits import RateLimitItem, parse_many

from reset import counters
from reset.db import Database
from reset.errors import ClientUnknown, RateLimited
from reset.tokens import keyed_hash

# Per client, in place of the setting. Making a picture or a sound costs more than a page, and a
# player asks for a sound in several pieces; a proof costs a program less than letters do.
FIXED = {
    "picture": "120 per minute",
    "sound": "60 per minute",
    "proof": "20 per hour",
    "sign_in": "20 per 15 minutes",
}
PER_OPERATOR = parse_many("10 per 15 minutes")


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
        storage_uri: str,
    ) -> None:
        options = {"database": database, "clock": clock}
        if storage_uri:
            options["redis_url"] = storage_uri
        limiter = Limiter(
            client_network,
            app=app,
            strategy="fixed-window",
            storage_uri=f"{counters.REDIS_SCHEME if storage_uri else counters.SCHEME}://",
            storage_options=options,  # type: ignore[arg-type]
        )
        self._strategy = limiter.limiter
        self._per_ip = parse_many(per_ip)
        self._per_address = parse_many(per_address)
        self._fixed = {purpose: parse_many(limit) for purpose, limit in FIXED.items()}
        self._keys = keys
        self._clock = clock

    def count_client(self, purpose: str) -> None:
        """Count one attempt of this client at *purpose*.

        Raises:
            RateLimited: there were too many.
        """
        self._hit_or_raise(self._fixed.get(purpose, self._per_ip), purpose, client_network())

    def allows_address(self, address: str) -> bool:
        """Count one request for the normalised *address*; False when there were too many."""
        # The oldest key: one that is added behind it gives nobody a new quota.
        bucket = keyed_hash(self._keys[0], "limit", address)
        return not self._exhausted(self._per_address, "address", bucket)

    def count_operator(self, name: str) -> None:
        """Count one attempt to sign in as *name*, as typed, whether there is such an operator.

        Raises:
            RateLimited: there were too many.
        """
        bucket = keyed_hash(self._keys[0], "limit", "operator", name.strip().lower())
        self._hit_or_raise(PER_OPERATOR, "operator", bucket)

    def _hit_or_raise(self, items: Sequence[RateLimitItem], *bucket: str) -> None:
        over = self._exhausted(items, *bucket)
        if over:
            until = max(self._strategy.get_window_stats(item, *bucket).reset_time for item in over)
            raise RateLimited(max(1, math.ceil(until - self._clock().timestamp())))

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
