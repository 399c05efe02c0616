"""The use cases of the worker: which mails it takes, and what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from reset import audit, heartbeat
from reset.accounts import AccountBackend
from reset.db import Database, Transaction
from reset.judgement import Nothing
from reset.letters import Letters
from reset.mail import leases, outbox
from reset.mail.outage import Outage
from reset.mail.outbox import Message
from reset.rules import Rules

KINDS = ("reset_link", "password_changed")
RESULTS = ("done", "deferred", "refused", "abandoned")
# From one minute on: a slow mail server must not make registered people's requests look slower.
HANDOVER_SECONDS = (60, 300, 900, 3600, 14_400, 43_200, 86_400)


class Delivery:
    """Claims mails, and notes what the mail server said; their `letters` are made beside it.

    ``figures`` counts what became of mails; one that there is nobody to send to counts as one that
    the mail server took.
    """

    def __init__(self, database: Database, accounts: AccountBackend, rules: Rules) -> None:
        self._db = database
        self._rules = rules
        self.letters = Letters(database, accounts, rules)
        self.figures: Counter[str] = Counter()

    def claim(self, *, limit: int, now: datetime) -> list[Message]:
        """Lease due messages to the caller; looks before it locks.

        Not durable: after a power cut they wait again, and none was handed over, as
        their leases are renewed durably before.
        """
        with self._db.read() as tx:
            if not outbox.is_due(tx, now=now):
                return []
        with self._db.begin(durable=False) as tx:
            return leases.claim(tx, limit=limit, now=now)

    def new_outage(self) -> Outage:
        """What a worker keeps in mind while the mail server is down."""
        return Outage(self._rules.retry)

    def note_done(
        self, sent: Sequence[Message], dropped: Sequence[tuple[Message, Nothing]], *, now: datetime
    ) -> None:
        """The mail server took what is *sent*; for what is *dropped* there was nothing to send.

        One transaction, as for one of them alone: SQLite has one writer, and requests that wait
        for it could count how often the worker wrote.
        """
        with self._db.begin() as tx:
            ours = leases.mark_sent(tx, sent, now=now)
            ours |= leases.mark_dropped(tx, [message for message, _ in dropped])
            notes = [(message, "mail_sent", _attempt(message)) for message in sent]
            notes += [(message, why.event, why.details) for message, why in dropped]
            notes = [one for one in notes if one[0].id in ours]
            audit.note_all(tx, [(one[0].request, *one[1:]) for one in notes], now=now)
        for message, _, _ in notes:
            self._count_done(message, now=now)

    def note_deferred(self, message: Message, answer: str, *, now: datetime) -> None:
        """It was not taken: try again after a while, or give up after some days."""
        due_at = now + self._rules.retry.delay(message.attempts)
        result = None
        with self._db.begin() as tx:
            if due_at - message.created_at > self._rules.retry.give_up_after:
                if leases.mark_abandoned(tx, message):
                    self._note_failure(tx, message, "mail_abandoned", answer, now=now)
                    result = "abandoned"
            elif leases.put_back(tx, message, due_at=due_at):
                self._note_failure(tx, message, "mail_deferred", answer, now=now)
                result = "deferred" if message.attempts == 1 else None
        self._count(message, result)

    def put_off(
        self, messages: Iterable[Message], answer: str, *, until: datetime, now: datetime
    ) -> None:
        """The server takes nothing before *until*: all these wait, or are given up.

        Only the first time stands in the trace: an outage has many times.
        """
        results: list[tuple[Message, str]] = []
        with self._db.begin() as tx:
            for message in messages:
                # Without jitter, in the order of which they would leave afterwards.
                due_at = min(until, now + self._rules.retry.longest(message.attempts))
                if due_at - message.created_at > self._rules.retry.give_up_after:
                    if leases.mark_abandoned(tx, message):
                        self._note_failure(tx, message, "mail_abandoned", answer, now=now)
                        results.append((message, "abandoned"))
                elif leases.put_back(tx, message, due_at=due_at) and message.attempts == 1:
                    self._note_failure(tx, message, "mail_deferred", answer, now=now)
                    results.append((message, "deferred"))
        for message, result in results:
            self._count(message, result)

    def note_refused(self, message: Message, answer: str, *, now: datetime) -> None:
        """It will never be taken."""
        with self._db.begin() as tx:
            ours = leases.mark_abandoned(tx, message)
            if ours:
                self._note_failure(tx, message, "mail_refused", answer, now=now)
        self._count(message, "refused" if ours else None)

    def mark_overdue(self, *, now: datetime) -> None:
        """Mark what has waited for twelve hours for the help desk."""
        with self._db.read() as tx:
            if not outbox.newly_overdue(tx, now=now):
                return
        with self._db.begin() as tx:
            for message_id, request in outbox.newly_overdue(tx, now=now):
                if outbox.mark_overdue(tx, message_id, now=now):
                    audit.note(tx, request, "overdue", now=now)

    def show_life(self, worker: str, *, started_at: datetime, now: datetime) -> None:
        """Write the sign of life of a *worker* that runs since *started_at*."""
        with self._db.begin(durable=False) as tx:
            heartbeat.beat(tx, worker, self.figures, started_at=started_at, now=now)

    def show_end(self, worker: str) -> None:
        """That *worker* ends is no fault."""
        with self._db.begin(durable=False) as tx:
            heartbeat.leave(tx, worker)

    def _count_done(self, message: Message, *, now: datetime) -> None:
        self._count(message, "done")
        if message.kind == "reset_link":
            waited = (now - message.created_at).total_seconds()
            self.figures.update(f"within {s}" for s in HANDOVER_SECONDS if waited <= s)

    def _count(self, message: Message, result: str | None) -> None:
        if result:
            self.figures[f"{message.kind} {result}"] += 1

    def _note_failure(
        self, tx: Transaction, message: Message, event: str, answer: str, *, now: datetime
    ) -> None:
        audit.note(tx, message.request, event, now=now, answer=answer, **_attempt(message))


def _attempt(message: Message) -> Mapping[str, str | int]:
    return {"mail": message.kind, "attempt": message.attempts}
