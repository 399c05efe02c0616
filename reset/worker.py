"""The worker's loop: hand mails over, settle what a crash left, purge what is old.

Beside it a second thread shows at a fixed beat that the first one lives, also while that waits for
a mail server.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from time import monotonic

from reset import logs
from reset.delivery import Delivery
from reset.digest import Digest
from reset.errors import (
    AccountsUnavailable,
    MailDeferred,
    MailRefused,
    StoreUnavailable,
)
from reset.flow import Flow
from reset.heartbeat import BEAT
from reset.mail import Letter
from reset.mail.outbox import LEASE, Message
from reset.mail.sender import IDLE_SECONDS, MimeMessage, Sender
from reset.settlement import Settlement

# A fixed beat, never started by a request: else the time of the next request would tell
# whether the one before was for a registered address.
BEAT_SECONDS = 0.25
BATCH = 20
HOUSEKEEPING_SECONDS = 10
PURGE_EVERY = timedelta(hours=1)
PURGE_MOST = 2000  # At once: mails wait meanwhile.
_ACCOUNTS_DOWN = "accounts unavailable"
_ENOUGH_FAILURES = 2  # In a row: one alone may be of a row that cannot be read.
log = logging.getLogger(__name__)


class Worker:
    """Works for one thread; any number of workers may run on any number of hosts.

    ``name`` tells it from all others: host and process.
    """

    def __init__(
        self,
        flow: Flow,
        settlement: Settlement,
        delivery: Delivery,
        digest: Digest,
        compose: Callable[[Letter], MimeMessage],
        sender: Sender,
        clock: Callable[[], datetime],
    ) -> None:
        self._flow = flow
        self._settlement = settlement
        self._delivery = delivery
        self._digest = digest
        self._compose = compose
        self._sender = sender
        self._clock = clock
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._started_at = clock()
        self._moved_at = monotonic()
        self._waiting: deque[Message] = deque()
        self._taken: deque[Message] = deque()
        self._failed_lookups = 0
        self._outage = delivery.new_outage()
        self._last_mail = monotonic()
        self._next_housekeeping = monotonic()
        self._next_purge = clock()

    def run(self, stop: threading.Event) -> None:
        """Work until *stop* is set; an outage of a store or server is waited out."""
        log.info("worker started", extra={"worker": self.name})
        pulse = threading.Thread(target=self._show_life, args=(stop,), daemon=True)
        pulse.start()
        while not stop.is_set():
            try:
                while self.run_once() == BATCH and not stop.is_set():
                    pass
                self._keep_house()
            except (StoreUnavailable, AccountsUnavailable) as error:
                log.error("store unavailable", extra={"error": str(error)})
                stop.wait(1)
            except Exception:
                log.exception("worker error")
                stop.wait(1)
            stop.wait(BEAT_SECONDS)
        self._sender.close()
        pulse.join()
        with suppress(StoreUnavailable):
            self._delivery.show_end(self.name)
        log.info("worker stopped", extra={"worker": self.name})

    def run_once(self) -> int:
        """Handle up to ``BATCH`` due messages; returns how many were claimed."""
        self._moved_at = monotonic()
        self._note_taken()
        if not self._waiting:
            self._waiting.extend(self._delivery.claim(limit=BATCH, now=self._clock()))
        claimed = len(self._waiting)
        self._failed_lookups = 0
        while self._waiting:
            self._moved_at = monotonic()
            message = self._waiting[0]
            if self._outage.lasts(now=self._clock()):
                self._put_off_all()
                break
            if self._failed_lookups >= _ENOUGH_FAILURES and message.kind == "reset_link":
                # Each look-up would wait for a time-out, and confirmations behind them.
                self._delivery.note_deferred(message, _ACCOUNTS_DOWN, now=self._clock())
            else:
                with logs.carrying(message.log_id):
                    if not self._deliver(message):
                        continue
            self._waiting.popleft()
            self._note_taken()
        self._drop_idle_connection(busy=claimed > 0)
        return claimed

    def housekeeping(self) -> None:
        """Mark what is overdue, purge by retention, settle abandoned claims, tell the help desk."""
        now = self._clock()
        self._delivery.mark_overdue(now=now)
        if now >= self._next_purge:
            more = self._flow.forget(now=now)
            purged = self._flow.purge(now=now, most=PURGE_MOST)
            if purged < PURGE_MOST and not more:
                self._next_purge = now + PURGE_EVERY
            log.info("purged", extra={"requests": purged})
        self._settlement.settle_claims(now=now)
        if not self._outage.lasts(now=self._clock()):
            self._send_digest()

    def beat(self) -> None:
        """Show that this worker lives; what keeps it from that does not keep it from working."""
        try:
            self._delivery.show_life(self.name, started_at=self._started_at, now=self._clock())
        except StoreUnavailable:
            pass  # The other thread says so.
        except Exception:
            log.exception("no heartbeat")

    def _show_life(self, stop: threading.Event) -> None:
        """Beat until *stop*, whatever the other thread does: its mails must not move the beat."""
        due = monotonic()
        while not stop.wait(max(0, due - monotonic())):
            due += BEAT.total_seconds()
            # Stuck for longer than any hand-over may take, it is no longer alive.
            if monotonic() - self._moved_at < LEASE.total_seconds():
                self.beat()

    def _deliver(self, message: Message) -> bool:
        """One attempt at one message; False if it still is to wait for a server that is down."""
        try:
            letter = self._delivery.prepare_mail(message, now=self._clock())
            if message.kind == "reset_link":
                self._failed_lookups = 0
            if letter is not None:
                self._sender.send(self._compose(letter))
                self._taken.append(message)
                self._outage.end()
        except MailRefused as error:
            self._outage.end()
            self._delivery.note_refused(message, error.answer, now=self._clock())
            log.warning("mail refused", extra=_fields(message))
        except MailDeferred as error:
            if error.server_down:
                self._outage.note(error, now=self._clock())
                return False
            self._outage.end()
            self._defer(message, error.answer)
        except AccountsUnavailable as error:
            log.error("accounts unavailable", extra={"cause": str(error)})
            self._failed_lookups += 1
            self._defer(message, _ACCOUNTS_DOWN)
        except StoreUnavailable:
            raise
        except Exception as error:
            # One bad message must never block the rest.
            log.exception("mail failed", extra=_fields(message))
            self._defer(message, type(error).__name__)
        return True

    def _send_digest(self) -> None:
        """The help desk's mail of the day, if it is due; after a failure again, a lease later."""
        day = self._digest.day(now=self._clock())
        letter = self._digest.claim(day, now=self._clock()) if day else None
        if day is None or letter is None:
            return
        try:
            self._sender.send(self._compose(letter))
            self._outage.end()
            log.info("digest sent")
        except MailRefused as error:
            log.error("digest refused", extra={"reason": error.answer.partition(" ")[0]})
        except MailDeferred as error:
            if error.server_down:
                self._outage.note(error, now=self._clock())
            log.warning("digest deferred", extra={"reason": error.answer.partition(" ")[0]})
            return
        except Exception:
            # A template of the operator's, perhaps: no reason to keep other mails from leaving.
            log.exception("digest failed")
            return
        self._digest.note_done(day, now=self._clock())

    def _put_off_all(self) -> None:
        """One knock has shown that the server is down; the others need not knock, too."""
        outage = self._outage
        self._delivery.put_off(self._waiting, outage.answer, until=outage.until, now=self._clock())
        self._waiting.clear()

    def _note_taken(self) -> None:
        """Note what the server took; while our store is down that is remembered, not sent again."""
        while self._taken:
            message = self._taken[0]
            self._delivery.note_sent(message, now=self._clock())
            self._taken.popleft()
            with logs.carrying(message.log_id):
                log.info("mail sent", extra=_fields(message))

    def _defer(self, message: Message, answer: str) -> None:
        self._delivery.note_deferred(message, answer, now=self._clock())
        # The first word: the code, or the kind of the error. The rest may quote the address.
        reason = answer.partition(" ")[0]
        log.warning("mail deferred", extra={**_fields(message), "reason": reason})

    def _drop_idle_connection(self, *, busy: bool) -> None:
        if busy:
            self._last_mail = monotonic()
        elif monotonic() - self._last_mail > IDLE_SECONDS:
            self._sender.close()

    def _keep_house(self) -> None:
        if monotonic() >= self._next_housekeeping:
            self._next_housekeeping = monotonic() + HOUSEKEEPING_SECONDS
            self.housekeeping()


def _fields(message: Message) -> dict[str, str | int]:
    return {"request": message.request, "mail": message.kind, "attempt": message.attempts}
