"""The proof of work: a number that a browser finds by trying, for who cannot read nor hear letters.

It costs the visitor no transcription (WCAG 2.2, 3.3.8) and a program little more than a visitor:
what holds programs off are the limits and that a challenge is spent once. As in ALTCHA the search
is bounded, so that nobody with an old phone is unlucky for minutes.
"""

import hashlib

BITS = 20  # Tries at most, as a power of two; half of them on average.


def number(seed: bytes, bits: int) -> str:
    """The number to be found, in decimal; *seed* is secret and belongs to one challenge."""
    return str(int.from_bytes(seed) % (1 << bits))


def puzzle(payload: bytes, bits: int, secret: str) -> str:
    """All that the browser is told: "salt digest tries", as `static/js/work.js` reads it.

    The digest is of "salt.number": without the dot between them the solution of one challenge could
    pass for that of another (CVE-2025-68113). *payload* must leave it within 55 bytes.
    """
    salt = payload.hex()
    digest = hashlib.sha256(f"{salt}.{secret}".encode()).hexdigest()
    return f"{salt} {digest} {1 << bits}"
