"""The worker's loop: hand mails over, settle what a crash left, purge what is old.

Beside it a second thread shows at a fixed beat that the first one lives, also while that waits for
a mail server.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from time import monotonic

from reset.delivery import Delivery
from reset.digest import Digest
from reset.errors import AccountsUnavailable, MailDeferred, MailRefused, StoreUnavailable
from reset.flow import Flow
from reset.handover import BATCH, HandOver
from reset.heartbeat import BEAT
from reset.mail import Letter
from reset.mail.leases import LEASE
from reset.mail.mime import MimeMessage
from reset.mail.sender import Sender
from reset.settlement import Settlement

# A fixed beat, never started by a request: else the time of the next request would tell
# whether the one before was for a registered address.
BEAT_SECONDS = 0.25
HOUSEKEEPING_SECONDS = 10
PURGE_EVERY = timedelta(hours=1)
PURGE_MOST = 2000  # At once: mails wait meanwhile.
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
        self._handover = HandOver(delivery, compose, sender, clock)
        self._next_housekeeping = monotonic()
        self._next_purge = clock()

    def run(self, stop: threading.Event) -> None:
        """Work until *stop* is set; an outage of a store or server is waited out."""
        log.info("worker started", extra={"worker": self.name})
        pulse = threading.Thread(target=self._show_life, args=(stop,), daemon=True)
        pulse.start()
        due = monotonic()
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
            # A period, not a pause: what was done does not move the beats.
            due += BEAT_SECONDS * (1 + max(0, monotonic() - due) // BEAT_SECONDS)
            stop.wait(due - monotonic())
        with suppress(StoreUnavailable):
            self._handover.end()
        pulse.join()
        with suppress(StoreUnavailable):
            self._delivery.show_end(self.name)
        log.info("worker stopped", extra={"worker": self.name})

    def run_once(self) -> int:
        """Handle up to ``BATCH`` due messages; returns how many were claimed."""
        return self._handover.round()

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
        if not self._handover.outage.lasts(now=self._clock()):
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
            if monotonic() - self._handover.moved_at < LEASE.total_seconds():
                self.beat()

    def _send_digest(self) -> None:
        """The help desk's mail of the day, if it is due; after a failure again, a lease later."""
        day = self._digest.day(now=self._clock())
        letter = self._digest.claim(day, now=self._clock()) if day else None
        if day is None or letter is None:
            return
        try:
            self._sender.send(self._compose(letter))
            self._handover.outage.end()
            log.info("digest sent")
        except MailRefused as error:
            log.error("digest refused", extra={"reason": error.answer.partition(" ")[0]})
        except MailDeferred as error:
            if error.server_down:
                self._handover.outage.note(error, now=self._clock())
            log.warning("digest deferred", extra={"reason": error.answer.partition(" ")[0]})
            return
        except Exception:
            # A template of the operator's, perhaps: no reason to keep other mails from leaving.
            log.exception("digest failed")
            return
        self._digest.note_done(day, now=self._clock())

    def _keep_house(self) -> None:
        if monotonic() >= self._next_housekeeping:
            self._next_housekeeping = monotonic() + HOUSEKEEPING_SECONDS
            self.housekeeping()
