"""Signed texts: one signer for each purpose, and fingerprints of a credential.

A token holds sixteen random bytes and the second of its making, signed. What it means stands in the
database. Texts that differ may decode to the same bytes, so always compare what was decoded.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from itsdangerous import BadData, TimestampSigner
from itsdangerous.encoding import base64_decode, base64_encode

from reset.errors import BadToken

ID_BYTES = 16
LONGEST = 200
# A signature of 160 bits keeps the whole link under 120 characters, which no mail program breaks.
_DIGEST = functools.partial(hashlib.blake2s, digest_size=20)


def new_id() -> bytes:
    """Sixteen bytes that nobody can guess."""
    return secrets.token_bytes(ID_BYTES)


class _SignerAt(TimestampSigner):
    """itsdangerous' signer with the time passed in."""

    def __init__(self, *args: Any, now: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._now = now

    def get_timestamp(self) -> int:
        return self._now


class Tokens:
    """Makes and reads the tokens of one purpose; no other purpose or address accepts them.

    Args:
        keys: secret keys, oldest first: the last one signs, all of them verify.
        purpose: what the tokens are for.
        audience: the public address of this service.
    """

    def __init__(self, keys: Sequence[str], purpose: str, audience: str = "") -> None:
        self._salt = f"{purpose}|{audience}"
        signer = TimestampSigner(
            [*keys], salt=self._salt, key_derivation="hmac", digest_method=_DIGEST
        )
        self._derived = [signer.derive_key(key) for key in keys]

    def __repr__(self) -> str:
        return f"Tokens({self._salt!r})"

    def make(self, payload: bytes, *, now: datetime) -> str:
        """Sign *payload*; two calls in the same second give the same token."""
        signed = self._signer(now=int(now.timestamp())).sign(base64_encode(payload))
        return signed.decode("ascii")

    def read(self, token: str) -> tuple[bytes, datetime]:
        """Return the payload and the second in which it was signed.

        Ages are judged by the caller: itsdangerous takes a token from a host whose clock runs
        ahead for an expired one.

        Raises:
            BadToken: not signed here for this purpose.
        """
        if len(token) > LONGEST:
            raise BadToken
        try:
            payload, made_at = self._signer().unsign(token, return_timestamp=True)
            return base64_decode(payload), made_at
        except (BadData, ValueError, OverflowError, OSError) as error:
            raise BadToken from error

    def _signer(self, *, now: int = 0) -> _SignerAt:
        # Not a serializer, which would try to compress sixteen bytes that are random; and with keys
        # that are derived already, instead of once more for each token.
        return _SignerAt(self._derived, key_derivation="none", digest_method=_DIGEST, now=now)


def keyed_hash(key: str, purpose: str, *parts: str) -> str:
    """HMAC-SHA256 over *parts*, each with its length, as 64 hex digits."""
    text = "".join(f"{len(part)}:{part}" for part in (purpose, *parts))
    return hmac.new(key.encode(), text.encode("utf-8", "surrogatepass"), "sha256").hexdigest()


def fingerprint(keys: Sequence[str], *parts: str) -> str:
    """64 hex digits that say nothing about *parts* to who lacks the keys."""
    return _fingerprint(keys[-1], *parts)


def has_fingerprint(keys: Sequence[str], expected: str, *parts: str) -> bool:
    """Whether *parts* had the fingerprint *expected*, under any of the *keys*."""
    return any(hmac.compare_digest(expected, _fingerprint(key, *parts)) for key in keys)


def can_compare(keys: Sequence[str], made: str) -> bool:
    """Whether the fingerprint *made* was made with one of *keys*: else it is unlike everything."""
    return any(made.startswith(_mark(key)) for key in keys)


def _fingerprint(key: str, *parts: str) -> str:
    return _mark(key) + keyed_hash(key, "fingerprint", *parts)[: -len(_mark(key))]


def _mark(key: str) -> str:
    return keyed_hash(key, "mark")[:8]
