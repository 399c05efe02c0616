"""A disk that fails when told to: `faulty.c`, preloaded into the processes under test."""

from __future__ import annotations

import errno
import struct
import subprocess
from pathlib import Path

_ORDERS = struct.Struct("@4l")
KILL = -1
FULL = errno.ENOSPC
BROKEN = errno.EIO


class Faulty:
    """Where and how writes to SQLite files fail in all processes that have `environ`."""

    def __init__(self, folder: Path, gcc: str) -> None:
        library = folder / "faulty.so"
        source = Path(__file__).with_name("faulty.c")
        subprocess.run(
            [gcc, "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True
        )
        self._orders = folder / "orders"
        self._orders.write_bytes(bytes(_ORDERS.size))
        self.environ = {"LD_PRELOAD": str(library), "FAULTY_ORDERS": str(self._orders)}

    def fail(self, error: int, *, at: int = 1, lasting: bool = True) -> None:
        """Count from now on: call number *at* fails with *error*, and if *lasting* all after."""
        _write(self._orders, at, lasting, error, 0)

    def heal(self) -> None:
        """Let everything succeed again."""
        heal(self._orders)

    @property
    def calls(self) -> int:
        """How many calls were counted."""
        return int(_ORDERS.unpack(self._orders.read_bytes())[3])


def heal(orders: Path) -> None:
    """`Faulty.heal`, also for the process under test, which knows the name of the file."""
    _write(orders, 0, False, 0)


def _write(orders: Path, *values: int) -> None:
    # Not truncated: the processes have it mapped.
    with orders.open("r+b") as file:
        file.write(struct.pack(f"@{len(values)}l", *values))
