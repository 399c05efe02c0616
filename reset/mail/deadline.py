"""Deadlines for dialogues: one thread cuts whatever takes too long.

A timer of its own, and so a thread, for each mail would cost more than what it watches.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from time import monotonic


class Deadline:
    """Cuts a socket when a block takes too long: a tarpit never lets a single read time out."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._socket: socket.socket | None = None

    def extend(self, seconds: float) -> None:
        """Start anew with *seconds* from now."""
        _WATCHDOG.guard(self, seconds)

    def watch(self, watched: socket.socket) -> None:
        """The socket to cut."""
        self._socket = watched

    def cut(self) -> None:
        """Whoever waits for the other side hears that there is none."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not that of a TLS socket, which would let another thread go on in clear.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def __enter__(self) -> None:
        _WATCHDOG.guard(self, self._seconds)

    def __exit__(self, *_: object) -> None:
        _WATCHDOG.release(self)


class _Watchdog:
    """Its thread lives while there is a deadline, sleeps until the next one, and then cuts."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[Deadline, float] = {}
        self._looks_at = 0.0
        self._thread = threading.Thread()

    def guard(self, deadline: Deadline, seconds: float) -> None:
        with self._changed:
            self._due[deadline] = monotonic() + seconds
            if not self._thread.is_alive():  # After a fork, too.
                self._looks_at = self._due[deadline]
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()
            elif self._due[deadline] < self._looks_at:
                self._changed.notify()

    def release(self, deadline: Deadline) -> None:
        with self._changed:
            self._due.pop(deadline, None)

    def _watch(self) -> None:
        with self._changed:
            while self._due:
                now = monotonic()
                for deadline in [one for one, due in self._due.items() if due <= now]:
                    del self._due[deadline]
                    deadline.cut()
                self._looks_at = min(self._due.values(), default=now)
                self._changed.wait(self._looks_at - now)
            self._thread = threading.Thread()


_WATCHDOG = _Watchdog()
