"""A mail server that takes nothing from anybody: one knock after a pause, not one for each mail."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from reset.errors import MailDeferred
from reset.mail.outbox import Retry

# Not longer: what waits is to leave within ten minutes of the server's coming back.
LONGEST_PAUSE = timedelta(minutes=9)
log = logging.getLogger(__name__)


class Outage:
    """What one worker knows of it; ``until`` is when it knocks again, ``answer`` what it heard."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._knocks = 0
        self.until = datetime.min.replace(tzinfo=UTC)
        self.answer = ""

    def lasts(self, *, now: datetime) -> bool:
        """Whether to wait rather than to knock."""
        return now < self.until

    def note(self, error: MailDeferred, *, now: datetime) -> None:
        """A knock was in vain; the first one is told to the operator, and any new reason."""
        reason = error.answer.partition(" ")[0]
        if not self._knocks or reason != self.answer.partition(" ")[0]:
            log.error("mail server unavailable", extra={"reason": reason})
        self._knocks += 1
        pause = self._retry.delay(self._knocks)
        # Who is refused for good, a wrong password say, asks seldom: accounts get locked.
        self.until = now + (pause if error.refuses_us else min(pause, LONGEST_PAUSE))
        self.answer = error.answer

    def end(self) -> None:
        """The server dealt with a mail, well or badly."""
        if self._knocks:
            log.warning("mail server answers again")
            self._knocks = 0
