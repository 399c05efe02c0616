"""How a process of several threads keeps its memory."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_ARENA_MAX = -8  # Of glibc's malloc.h; other systems have neither the call nor what it mends.


def share() -> None:
    """One heap for all threads: Python lets one run at a time, so that none waits for another.

    Else the system's library keeps a heap for each, and each grows to the largest need of one.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
