"""A server of accounts that does not answer: not everybody has to find that out anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

LONG_SECONDS = 2  # Longer than any refusal, shorter than the time-outs of connections (4, 5).
PAUSE_SECONDS = 10


class Silence:
    """What one process knows of one server.

    Who asked it while it is silent would wait for nothing, and hold a thread that others need.
    """

    def __init__(self) -> None:
        self._until = monotonic()

    def lasts(self) -> bool:
        """Whether it was silent a moment ago."""
        return monotonic() < self._until

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Connect within the block: a failure that took long was silence."""
        began = monotonic()
        try:
            yield
        except Exception:
            if monotonic() - began >= LONG_SECONDS:
                self._until = monotonic() + PAUSE_SECONDS
            raise
