"""Where the limits are counted: a Redis, or our own database."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any, cast
from urllib.parse import urlsplit

import redis

from reset.counters import REDIS_TIMEOUT_SECONDS
from reset.doctor import Case
from reset.findings import Finding
from reset.loopback import is_loopback

_TIMEOUT_SECONDS = 5
_DATABASE = "the service's own database counts meanwhile, and each visitor waits for Redis first"


def check(case: Case) -> Iterator[Finding]:
    """Whether it answers, and in time."""
    url = case.settings.ratelimit_storage_uri
    if not url:
        yield Finding("ok", "attempts are counted in the service's own database")
        return
    yield _encryption(url)
    client = redis.Redis.from_url(
        url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
    )
    try:
        client.ping()
        started = monotonic()
        client.ping()
        yield _speed(monotonic() - started)
        memory = cast(dict[str, Any], client.info("memory"))
        yield _eviction(str(memory.get("maxmemory_policy", "")))
    except redis.RedisError as error:
        text = f"Redis does not answer ({type(error).__name__})"
        remedy = "systemctl status redis-server; check RESET_RATELIMIT_STORAGE_URI"
        yield Finding("fault", text, remedy, _DATABASE)
    finally:
        client.close()


def _encryption(url: str) -> Finding:
    host = urlsplit(url).hostname or ""
    if url.startswith("rediss:") or is_loopback(host):
        return Finding("ok", "what is said to Redis cannot be read on its way")
    remedy = "rediss:// in RESET_RATELIMIT_STORAGE_URI: docs/several-hosts.md, Limits in Redis"
    why = "who listens learns its password, and may clear every limit"
    text = "what is said to Redis crosses the network unencrypted"
    return Finding("warning", text, remedy, why)


def _speed(seconds: float) -> Finding:
    text = f"Redis answers in {seconds * 1000:.0f} ms"
    if seconds < REDIS_TIMEOUT_SECONDS:
        return Finding("ok", text)
    remedy = "use one that is near, or leave RESET_RATELIMIT_STORAGE_URI out"
    return Finding("warning", text, remedy, _DATABASE)


def _eviction(policy: str) -> Finding:
    if policy in ("", "noeviction"):
        return Finding("ok", "Redis forgets no counter before its time")
    text = f"Redis may forget counters when its memory is full (maxmemory-policy {policy})"
    remedy = "redis-cli CONFIG SET maxmemory-policy noeviction, or a Redis of its own"
    return Finding("note", text, remedy, "a forgotten counter lets as many attempts through again")
