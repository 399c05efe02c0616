"""Several connections to the mail server at once, each with a thread: more as mails queue up.

One is enough for a server that answers at once, and a server may not let us have more: then fewer
are used, and its refusal of another one is no outage.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from reset.errors import MailDeferred
from reset.mail.mime import MimeMessage
from reset.mail.outbox import Message
from reset.mail.sender import Sender

MOST_CONNECTIONS = 4
# Where one connection would need longer for all that waits, there is another one.
PATIENCE_SECONDS = 1
# What waited for longer is not handed over: its lease runs, and so does the life of its link.
FRESH = timedelta(seconds=10)
# Mails that are taken in quick succession are told of together.
TOGETHER_SECONDS = 0.005


@dataclass(frozen=True)
class Parcel:
    """A mail that is ready to be handed over, since ``ready_at``."""

    message: Message
    mime: MimeMessage
    ready_at: datetime


@dataclass(frozen=True)
class Outcome:
    """What became of a mail: taken, or why not."""

    message: Message
    error: BaseException | None = None


class Kept(Exception):
    """It was not handed over: it waited for too long, or the server is down."""


class Couriers:
    """Hands parcels over, in their order as long as there is one connection.

    For one thread, which gives parcels and is told what became of them; ``under_way`` are those
    that it was not told of yet.
    """

    def __init__(self, sender: Sender, clock: Callable[[], datetime]) -> None:
        self._first = sender
        self._clock = clock
        lock = threading.Lock()
        self._changed, self._told = threading.Condition(lock), threading.Condition(lock)
        self._waiting: deque[Parcel] = deque()
        self._outcomes: list[Outcome] = []
        self._threads: dict[Sender, threading.Thread] = {}
        self._most = MOST_CONNECTIONS
        self._is_down = False  # Since it was told last.
        self._closing = False
        self.under_way = 0

    def hand(self, parcel: Parcel) -> None:
        """Take *parcel* along; returns at once."""
        with self._changed:
            if not self._threads:
                self._start(self._first)
            self.under_way += 1
            if self._is_down:
                self._outcomes.append(Outcome(parcel.message, Kept()))
                return
            self._waiting.append(parcel)
            self._changed.notify()

    def wait(self) -> list[Outcome]:
        """What became of one parcel, or of several in quick succession; empty if none is out."""
        with self._changed:
            self._told.wait_for(lambda: self._outcomes or not self.under_way)
            self._told.wait_for(self._is_all_told, TOGETHER_SECONDS)
            outcomes, self._outcomes, self._is_down = self._outcomes, [], False
            self.under_way -= len(outcomes)
            if any(outcome.error is None for outcome in outcomes):
                self._open_another_if_slow()
        return outcomes

    def withdraw(self) -> list[Message]:
        """Take back what nobody has begun to hand over."""
        with self._changed:
            messages = [parcel.message for parcel in self._waiting]
            self._waiting.clear()
            self.under_way -= len(messages)
        return messages

    def close(self) -> None:
        """End all connections; what is being handed over is waited for."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            threads = list(self._threads.items())
        for sender, thread in threads:
            thread.join()
            sender.close()
        self._first.close()
        self._threads.clear()
        self._most = MOST_CONNECTIONS
        self._closing = False

    def _start(self, sender: Sender) -> None:
        thread = threading.Thread(target=self._work, args=(sender,), daemon=True)
        thread.start()  # It raises where the system has none left: then there is none to wait for.
        self._threads[sender] = thread

    def _open_another_if_slow(self) -> None:
        """Only beside one that works: a server that is down is asked once."""
        slowest = max(sender.took_seconds for sender in self._threads)
        waits = slowest * len(self._waiting) > PATIENCE_SECONDS
        if waits and len(self._threads) < self._most:
            with suppress(RuntimeError):  # It can do without one more.
                self._start(self._first.another())

    def _is_all_told(self) -> bool:
        return len(self._outcomes) == self.under_way

    def _work(self, sender: Sender) -> None:
        while parcel := self._next():
            error: BaseException | None = None
            try:
                if self._clock() - parcel.ready_at > FRESH:
                    raise Kept
                sender.send(parcel.mime)
            except BaseException as raised:
                error = raised
            is_down = isinstance(error, MailDeferred) and error.server_down
            if is_down and self._leaves(sender, parcel):
                return
            self._tell(Outcome(parcel.message, error), is_down=is_down)

    def _next(self) -> Parcel | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            return self._waiting.popleft() if self._waiting else None

    def _leaves(self, sender: Sender, parcel: Parcel) -> bool:
        """Whether others are connected: then this one was one too many, and they take *parcel*."""
        with self._changed:
            if not any(other.is_open for other in self._threads if other is not sender):
                return False
            del self._threads[sender]
            self._most = len(self._threads)
            self._waiting.appendleft(parcel)
            self._changed.notify()
            return True

    def _tell(self, outcome: Outcome, *, is_down: bool) -> None:
        with self._changed:
            is_first = not self._outcomes
            self._outcomes.append(outcome)
            if is_down:  # One knock is enough for all.
                self._is_down = True
                self._outcomes += [Outcome(parcel.message, Kept()) for parcel in self._waiting]
                self._waiting.clear()
            if is_first or self._is_all_told():
                self._told.notify()
