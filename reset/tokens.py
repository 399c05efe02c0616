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

from itsdangerous import BadData, TimestampSigner
from itsdangerous.encoding import base64_decode, base64_encode, int_to_bytes

from reset.errors import BadToken

ID_BYTES = 16
LONGEST = 200
# A signature of 160 bits keeps the whole link under 120 characters, which no mail program breaks.
_DIGEST = functools.partial(hashlib.blake2s, digest_size=20)


def new_id() -> bytes:
    """Sixteen bytes that nobody can guess."""
    return secrets.token_bytes(ID_BYTES)


class Tokens:
    """Makes and reads the tokens of one purpose; no other purpose or address accepts them.

    Args:
        keys: secret keys, oldest first: the last one signs, all of them verify.
        purpose: what the tokens are for.
        audience: the public address of this service.
    """

    def __init__(self, keys: Sequence[str], purpose: str, audience: str = "") -> None:
        self._salt = f"{purpose}|{audience}"
        deriving = TimestampSigner(
            [*keys], salt=self._salt, key_derivation="hmac", digest_method=_DIGEST
        )
        # Not a serializer, which would try to compress sixteen bytes that are random; and with keys
        # that are derived already, instead of once more for each token.
        self._signer = TimestampSigner(
            [deriving.derive_key(key) for key in keys],
            key_derivation="none",
            digest_method=_DIGEST,
        )

    def __repr__(self) -> str:
        return f"Tokens({self._salt!r})"

    def make(self, payload: bytes, *, now: datetime) -> str:
        """Sign *payload*; two calls in the same second give the same token."""
        # As the signer puts a token together, which would ask the clock of this host.
        made_at = base64_encode(int_to_bytes(int(now.timestamp())))
        signed = base64_encode(payload) + b"." + made_at
        return (signed + b"." + self._signer.get_signature(signed)).decode("ascii")

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
            payload, made_at = self._signer.unsign(token, return_timestamp=True)
            return base64_decode(payload), made_at
        except (BadData, ValueError, OverflowError, OSError) as error:
            raise BadToken from error


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
