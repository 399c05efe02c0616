"""Where the web processes of one host count together: a file for each slot, held by a process."""

from __future__ import annotations

import fcntl
import functools
import itertools
import logging
import os
from pathlib import Path

from prometheus_client import values

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # Set by gunicorn.conf.py; the library's own name.
_FILE_BYTES = 1 << 16  # As the library makes them; we need about a quarter.
log = logging.getLogger(__name__)


def share_counters() -> Path | None:
    """The folder in which all web processes of this host count, or None where there is one alone.

    Not a file for each process, as is usual: with time there would be thousands.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        return None
    try:
        _slot(folder, os.getpid())
    except OSError as error:
        log.error("figures of this process alone", extra={"cause": type(error).__name__})
        values.ValueClass = values.MutexValue
        return None
    values.ValueClass = values.MultiProcessValue(lambda: _slot(folder, os.getpid()))
    return Path(folder)


@functools.lru_cache(maxsize=1)
def _slot(folder: str, _process: int) -> int:
    """The lowest number that no living process holds; its counters go on where they were left."""
    for number in itertools.count():
        lock = os.open(Path(folder) / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        # Its blocks are taken now: later a full disk would end the process, not raise an error.
        file = os.open(Path(folder) / f"counter_{number}.db", os.O_RDWR | os.O_CREAT, 0o600)
        os.posix_fallocate(file, 0, _FILE_BYTES)
        os.close(file)
        return number  # The lock stays open until the process ends.
    raise AssertionError
