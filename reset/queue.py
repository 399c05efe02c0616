"""What an operator does with the mails that did not leave: look, try again at once, or drop.

Each step names the state that it leaves, so that a worker and a command never both act on a mail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from reset import audit, trail
from reset.db import Database, Transaction
from reset.mail import outbox, unsent
from reset.mail.unsent import Unsent
from reset.pending import LISTED

STEP = 200  # Mails in one transaction: what visitors send meanwhile waits for one of them.


@dataclass(frozen=True)
class Done:
    """How far an act got: mails that it changed, and those that it left as they are."""

    changed: int = 0
    left: int = 0


def listed(database: Database, *, limit: int, now: datetime) -> tuple[list[Unsent], int]:
    """Mails that wait or were given up within ``LISTED``, oldest first; and how many there are."""
    with database.read() as tx:
        since = now - LISTED
        return unsent.mails(tx, since=since, limit=limit), unsent.count(tx, since=since)


def answer(database: Database, mail: Unsent) -> str:
    """What the mail server said to it last; "" if it was not asked."""
    with database.read() as tx:
        return audit.last_answer(tx, mail.request, mail.kind)


def retry(database: Database, number: str, *, clock: Callable[[], datetime]) -> Iterator[Done]:
    """Let the mails of request *number*, or all if it is "", be tried at once.

    A reset mail that was given up within ``LISTED`` is tried again, too. What is being handed over
    is left alone, and so is a confirmation that was given up: its text is gone. Yields after each
    step.
    """

    def again(tx: Transaction, mail: Unsent, now: datetime) -> bool:
        if mail.state == "abandoned":
            return unsent.revive(tx, mail.id, now=now)
        return outbox.hasten(tx, mail.request, mail.kind, now=now)

    return _for_each(database, number, "mail_retried", again, clock, LISTED)


def drop(database: Database, number: str, *, clock: Callable[[], datetime]) -> Iterator[Done]:
    """Drop the mails that wait of request *number*, or all if it is ""; as `retry`."""

    def away(tx: Transaction, mail: Unsent, now: datetime) -> bool:
        return unsent.drop(tx, mail.id, now=now)

    return _for_each(database, number, "mail_dropped", away, clock, timedelta(0))


def _for_each(
    database: Database,
    number: str,
    event: str,
    act: Callable[[Transaction, Unsent, datetime], bool],
    clock: Callable[[], datetime],
    given_up_within: timedelta,
) -> Iterator[Done]:
    changed, left, last, since = 0, 0, "", clock() - given_up_within
    while True:
        with database.begin() as tx:
            now = clock()
            mails = unsent.mails(tx, since=since, limit=STEP, after=last, request=number)
            acted = [mail for mail in mails if act(tx, mail, now)]
            for mail in acted:
                audit.note(tx, mail.request, event, now=now, mail=mail.kind, operator=trail.CONSOLE)
            if acted:
                trail.note(tx, trail.CONSOLE, event, number, now=now, mails=len(acted))
        changed, left = changed + len(acted), left + len(mails) - len(acted)
        yield Done(changed, left)
        if len(mails) < STEP:
            return
        last = mails[-1].id
