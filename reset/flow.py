"""The use cases of visitors who ask and of the help desk, told without HTTP, HTML or SMTP.

Every state change is one transaction; web, worker and command line run the same code. What the
worker does with a queued mail stands in `delivery`, what a link is good for in `bearer`.
"""

from __future__ import annotations

import logging
from datetime import datetime
from time import sleep

from reset import audit, captcha, counters, digest, links, logs, trail
from reset.address import normalise
from reset.audit import ResetRequest
from reset.db import Database
from reset.errors import CaptchaRefused, InvalidAddress, StoreUnavailable
from reset.mail import outbox
from reset.rules import Rules

PURGE_STEP = 200
FORGET_STEP = 2000
# Between two steps other processes, which look for the lock each millisecond, get their turn.
PURGE_PAUSE_SECONDS = 0.05
log = logging.getLogger(__name__)


class Flow:
    """The use cases over one database; none of them looks an account up."""

    def __init__(self, database: Database, challenges: captcha.Captcha, rules: Rules) -> None:
        self._db = database
        self._captcha = challenges
        self._rules = rules

    def check_captcha(self, challenge: str, typed: str, *, proof: str = "", now: datetime) -> None:
        """Spend *challenge*, right or wrong; a *proof*, where there is one, stands for the letters.

        Raises:
            CaptchaRefused: wrong letters or proof, or it is forged, too old or already spent.
        """
        with self._db.begin(durable=False) as tx:
            right = self._captcha.check(tx, challenge, typed, proof=proof, now=now)
        if not right:
            raise CaptchaRefused

    def request(
        self, address: str, *, allowed: bool, origin: str, language: str, now: datetime
    ) -> str:
        """Store a request for a normalised *address* and return its number.

        Its mails, and the pages that they lead to, speak *language*.

        The same work for everybody: the worker finds out later who is registered. What is not
        *allowed* (too many for this address) is mailed only if the person has no live link.
        """
        number = audit.new_number()
        with self._db.begin() as tx:
            audit.open_request(tx, number, address, language, now=now)
            audit.note(tx, number, "requested", now=now, origin=origin, **logs.of_request())
            outbox.enqueue(
                tx,
                number,
                "reset_link",
                host=self._rules.mail_host,
                now=now,
                content={"limited": "no" if allowed else "yes"},
            )
        log.info("request stored", extra={"request": number})
        return number

    def forget(self, *, now: datetime) -> bool:
        """Forget captchas and counters that are over; True if more are left for the next time.

        In steps as `purge`: a rush leaves hundreds of thousands.
        """
        with self._db.begin(durable=False) as tx:
            # Twice the lifetime: another host's clock may be behind.
            spent = now - 2 * self._captcha.lifetime
            left = captcha.purge(tx, until=spent, limit=FORGET_STEP)
            left = counters.purge(tx, now=now, limit=FORGET_STEP) or left
        if left:
            sleep(PURGE_PAUSE_SECONDS)
        return left

    def purge(self, *, now: datetime, most: int | None = None) -> int:
        """Delete what is older than the retention; returns how many requests, up to *most*.

        In steps: what visitors send meanwhile waits for one of them, not for all.
        """
        before = now - self._rules.retention
        with self._db.begin() as tx:
            trail.purge(tx, before=before)
            digest.purge(tx, before=before)
        purged = 0
        while most is None or purged < most:
            with self._db.begin() as tx:
                step = audit.purge(tx, before=before, unless=outbox.WAITING_MAILS, limit=PURGE_STEP)
            purged += step
            if step < PURGE_STEP:
                break
            sleep(PURGE_PAUSE_SECONDS)
        return purged

    def restored(self, *, now: datetime) -> int:
        """Void what a backup held as pending: since then it was mailed and used, or it was not.

        Returns how many requests that concerns; who made one of them asks again.
        """
        with self._db.begin() as tx:
            pending = {*outbox.drop_waiting(tx), *links.close_everything(tx)}
            for request in sorted(pending):
                audit.note(tx, request, "restored", now=now)
        return len(pending)

    def trace(self, number_or_address: str) -> list[ResetRequest]:
        """The request of that number, or the latest of that address; may be empty."""
        number = audit.unspoken(number_or_address)
        with self._db.read() as tx:
            if number:
                found = audit.by_number(tx, number)
                return [found] if found else []
            try:
                return audit.by_address(tx, normalise(number_or_address))
            except InvalidAddress:
                return []

    def is_ready(self, *, now: datetime) -> bool:
        """Whether requests are stored and a worker attends to the queue."""
        try:
            with self._db.read() as tx:
                return not outbox.is_due(tx, now=now - outbox.UNATTENDED)
        except StoreUnavailable:
            return False
