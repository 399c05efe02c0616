"""How a process of several threads keeps its memory."""

from __future__ import annotations

import ctypes
from contextlib import suppress

# Of glibc's malloc.h; other systems have neither the call nor what it mends.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE, _SPARE = 4 << 20, 2 << 20  # Bytes.


def share() -> None:
    """One heap for all threads: Python lets one run at a time, so that none waits for another.

    Else the system's library keeps a heap for each, and each grows to the largest need of one. It
    would also keep up to twice the largest block that there was, such as a hash's. With less kept
    than here, each sound would ask the system for its memory anew and take half as long again.
    """
    with suppress(AttributeError):
        system = ctypes.CDLL(None)
        system.mallopt(_M_ARENA_MAX, 1)
        system.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        system.mallopt(_M_TRIM_THRESHOLD, _SPARE)
