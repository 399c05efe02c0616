"""A round of the worker: mails are claimed, made ready, handed over, and noted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from time import monotonic

from reset import logs
from reset.delivery import Delivery
from reset.errors import AccountsUnavailable, MailDeferred, MailRefused, StoreUnavailable
from reset.judgement import Found, Nothing
from reset.letters import NotAsked
from reset.mail import Letter
from reset.mail.couriers import Couriers, Kept, Parcel
from reset.mail.mime import MimeMessage
from reset.mail.outbox import Message
from reset.mail.sender import IDLE_SECONDS, Sender

BATCH = 20
_ACCOUNTS_DOWN = "accounts unavailable"
log = logging.getLogger(__name__)


class HandOver:
    """Does so for one worker, over one connection or several; ``moved_at`` tells that it goes on.

    What the mail server took is remembered while our store is away: it is not sent again.
    """

    def __init__(
        self,
        delivery: Delivery,
        compose: Callable[[Letter], MimeMessage],
        sender: Sender,
        clock: Callable[[], datetime],
    ) -> None:
        self._delivery = delivery
        self._compose = compose
        self._clock = clock
        self._couriers = Couriers(sender, clock)
        self._waiting: list[Message] = []
        self._taken: list[Message] = []
        self._dropped: list[tuple[Message, Nothing]] = []
        self._last_mail = monotonic()
        self.outage = delivery.new_outage()
        self.moved_at = monotonic()

    def round(self) -> int:
        """Handle up to ``BATCH`` due messages; returns how many were claimed."""
        self.moved_at = monotonic()
        self._note()
        # While a mail is out, its lease may lapse: claimed anew it would leave twice.
        if not self._waiting and not self._couriers.under_way:
            self._waiting.extend(self._delivery.claim(limit=BATCH, now=self._clock()))
        claimed = len(self._waiting)
        try:
            while self._waiting or self._couriers.under_way:
                self._send_off()
                self._hear()
        finally:
            self._wait(self._couriers.withdraw())
        self._close_when_idle(busy=claimed > 0)
        return claimed

    def end(self) -> None:
        """Wait for what is being handed over, note it, and close all connections."""
        try:
            while self._couriers.under_way:
                with suppress(StoreUnavailable):  # What was taken is noted in the end, if at all.
                    self._hear()
            self._note()
        finally:
            self._couriers.close()

    def _send_off(self) -> None:
        """Make ready what waits, or put it off while the server is down."""
        if self._waiting and self.outage.lasts(now=self._clock()):
            # One knock has shown that the server is down; the others need not knock, too.
            answer, until = self.outage.answer, self.outage.until
            self._delivery.put_off(self._waiting, answer, until=until, now=self._clock())
            self._waiting.clear()
        found = self._look_up() if self._waiting else []
        now = self._clock()
        for one, letter in zip(found, self._prepared(found, now=now), strict=True):
            with logs.carrying(one.message.log_id):
                self._send(one.message, letter, now=now)
            self._waiting.remove(one.message)

    def _look_up(self) -> list[Found]:
        """What waits and can be judged; what cannot is tried again later."""
        found: list[Found] = []
        messages = list(self._waiting)
        for message, one in zip(messages, self._delivery.letters.look_up(messages), strict=True):
            if isinstance(one, Found):
                found.append(one)
                continue
            with logs.carrying(message.log_id):
                self._fail(message, one)
            self._waiting.remove(message)
        return found

    def _prepared(
        self, found: Sequence[Found], *, now: datetime
    ) -> Sequence[Letter | Nothing | Exception]:
        try:
            return self._delivery.letters.prepare(found, now=now) if found else []
        except StoreUnavailable:
            raise
        except Exception as error:
            # One bad message must never block the rest.
            if len(found) == 1:
                return [error]
            return [letter for one in found for letter in self._prepared([one], now=now)]

    def _send(
        self, message: Message, letter: Letter | Nothing | Exception, *, now: datetime
    ) -> None:
        if isinstance(letter, Letter):
            try:
                self._couriers.hand(Parcel(message, self._compose(letter), now))
            except Exception as error:
                self._fail(message, error)
        elif isinstance(letter, Exception):
            self._fail(message, letter)
        elif letter.event:
            self._dropped.append((message, letter))

    def _hear(self) -> None:
        """Wait for the next mails that were handed over, and note what became of them."""
        outcomes = self._couriers.wait()
        self.moved_at = monotonic()
        failed = [(one.message, one.error) for one in outcomes if one.error]
        self._taken += [one.message for one in outcomes if not one.error]
        # They wait until it is noted that they failed; while our store is away nothing is.
        self._wait([message for message, _ in failed])
        if self._taken:
            self.outage.end()
        for message, error in failed:
            with logs.carrying(message.log_id):
                if self._is_over(message, error):
                    self._waiting.remove(message)
        self._note()

    def _wait(self, messages: Sequence[Message]) -> None:
        """Let *messages* wait among the others, the oldest first."""
        self._waiting = sorted([*self._waiting, *messages], key=lambda message: message.id)

    def _is_over(self, message: Message, error: BaseException) -> bool:
        """Whether that was all for now; False if it still waits to be handed over."""
        if isinstance(error, Kept):
            return False
        if isinstance(error, MailDeferred) and error.server_down:
            self.outage.note(error, now=self._clock())
            return False
        if isinstance(error, (MailRefused, MailDeferred)):
            self.outage.end()
        if not isinstance(error, Exception):
            raise error
        self._fail(message, error)
        return True

    def _fail(self, message: Message, error: Exception) -> None:
        """Note that *message* was not taken: for good, or until another attempt."""
        if isinstance(error, MailRefused):
            self._delivery.note_refused(message, error.answer, now=self._clock())
            log.warning("mail refused", extra=_fields(message))
        elif isinstance(error, MailDeferred):
            self._defer(message, error.answer)
        elif isinstance(error, NotAsked):
            self._delivery.note_deferred(message, _ACCOUNTS_DOWN, now=self._clock())
        elif isinstance(error, AccountsUnavailable):
            log.error("accounts unavailable", extra={"cause": str(error)})
            self._defer(message, _ACCOUNTS_DOWN)
        else:
            log.error("mail failed", extra=_fields(message), exc_info=error)
            self._defer(message, type(error).__name__)

    def _defer(self, message: Message, answer: str) -> None:
        self._delivery.note_deferred(message, answer, now=self._clock())
        # The first word: the code, or the kind of the error. The rest may quote the address.
        reason = answer.partition(" ")[0]
        log.warning("mail deferred", extra={**_fields(message), "reason": reason})

    def _note(self) -> None:
        """Note what the server took; while our store is down that is remembered, not sent again."""
        if not self._taken and not self._dropped:
            return
        self._delivery.note_done(self._taken, self._dropped, now=self._clock())
        taken, self._taken, self._dropped = self._taken, [], []
        for message in taken:
            with logs.carrying(message.log_id):
                log.info("mail sent", extra=_fields(message))

    def _close_when_idle(self, *, busy: bool) -> None:
        if busy:
            self._last_mail = monotonic()
        elif monotonic() - self._last_mail > IDLE_SECONDS:
            self._couriers.close()


def _fields(message: Message) -> dict[str, str | int]:
    return {"request": message.request, "mail": message.kind, "attempt": message.attempts}
