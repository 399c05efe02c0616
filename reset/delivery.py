"""The use cases of the worker: from a queued message to a letter, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from reset import audit, heartbeat, links, trail
from reset.accounts import Account, AccountBackend, eligible
from reset.db import Database, Transaction, moment
from reset.links import Link
from reset.mail import Letter, outbox
from reset.mail.outage import Outage
from reset.mail.outbox import Message
from reset.rules import Rules
from reset.tokens import Tokens

KINDS = ("reset_link", "password_changed")
RESULTS = ("done", "deferred", "refused", "abandoned")
# From one minute on: a slow mail server must not make registered people's requests look slower.
HANDOVER_SECONDS = (60, 300, 900, 3600, 14_400, 43_200, 86_400)


class Delivery:
    """Looks up who is registered, makes links, and notes what the mail server said.

    ``figures`` counts what became of mails; one that there is nobody to send to counts as one that
    the mail server took.
    """

    def __init__(self, database: Database, accounts: AccountBackend, rules: Rules) -> None:
        self._db = database
        self._accounts = accounts
        self._rules = rules
        self.figures: Counter[str] = Counter()

    def claim(self, *, limit: int, now: datetime) -> list[Message]:
        """Lease due messages to the caller; looks before it locks."""
        with self._db.read() as tx:
            if not outbox.is_due(tx, now=now):
                return []
        with self._db.begin() as tx:
            return outbox.claim(tx, limit=limit, now=now)

    def prepare_mail(self, message: Message, *, now: datetime) -> Letter | None:
        """What *message* says, with links minted now; None when nothing is to be sent.

        Raises:
            AccountsUnavailable: nobody could be looked up; try again later.
        """
        if message.kind == "password_changed":
            return self._confirmation(message, now=now)
        return self._reset_link(message, now=now)

    def new_outage(self) -> Outage:
        """What a worker keeps in mind while the mail server is down."""
        return Outage(self._rules.retry)

    def note_sent(self, message: Message, *, now: datetime) -> None:
        """The mail server took *message*."""
        with self._db.begin() as tx:
            ours = outbox.mark_sent(tx, message, now=now)
            if ours:
                audit.note(tx, message.request, "mail_sent", now=now, **_attempt(message))
        if ours:
            self._count_done(message, now=now)

    def note_deferred(self, message: Message, answer: str, *, now: datetime) -> None:
        """It was not taken: try again after a while, or give up after some days."""
        due_at = now + self._rules.retry.delay(message.attempts)
        result = None
        with self._db.begin() as tx:
            if due_at - message.created_at > self._rules.retry.give_up_after:
                if outbox.mark_abandoned(tx, message):
                    self._note_failure(tx, message, "mail_abandoned", answer, now=now)
                    result = "abandoned"
            elif outbox.put_back(tx, message, due_at=due_at):
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
                due_at = min(until, now + self._rules.retry.delay(message.attempts))
                if due_at - message.created_at > self._rules.retry.give_up_after:
                    if outbox.mark_abandoned(tx, message):
                        self._note_failure(tx, message, "mail_abandoned", answer, now=now)
                        results.append((message, "abandoned"))
                elif outbox.put_back(tx, message, due_at=due_at) and message.attempts == 1:
                    self._note_failure(tx, message, "mail_deferred", answer, now=now)
                    results.append((message, "deferred"))
        for message, result in results:
            self._count(message, result)

    def note_refused(self, message: Message, answer: str, *, now: datetime) -> None:
        """It will never be taken."""
        with self._db.begin() as tx:
            ours = outbox.mark_abandoned(tx, message)
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

    def _reset_link(self, message: Message, *, now: datetime) -> Letter | None:
        with self._db.read() as tx:
            address = audit.address_of(tx, message.request) or ""
            language = audit.language_of(tx, message.request)
        usable, event, reason = eligible(self._accounts.find_by_address(address))
        with self._db.begin() as tx:
            if not outbox.renew(tx, message, now=now):
                return None
            audit.hold_alike(tx, message.request)  # What is judged here still holds at the end.
            wanted = [a for a in usable if self._is_wanted(tx, message.request, a)]
            details = {"reason": reason} if reason else {}
            if usable and not wanted:
                event = "request_closed"
            elif usable and self._is_too_much(tx, message, wanted, now=now):
                wanted, event = [], "limited"
            if wanted and not links.of_request(tx, message.request):
                audit.note(tx, message.request, event, now=now, accounts=len(wanted))
            opened = [self._link_to(tx, message.request, account, now=now) for account in wanted]
        if not wanted:
            self._note_dropped(message, event, details, now=now)
            return None
        return self._letter_with_links(message, wanted, opened, language, now=now)

    def _note_dropped(
        self, message: Message, event: str, details: Mapping[str, str], *, now: datetime
    ) -> None:
        # A transaction of its own, as that of `note_sent`: SQLite has one writer, and requests that
        # wait for it could count how often the worker wrote.
        with self._db.begin() as tx:
            ours = outbox.mark_dropped(tx, message)
            if ours:
                audit.note(tx, message.request, event, now=now, **details)
        if ours:
            self._count_done(message, now=now)

    def _is_wanted(self, tx: Transaction, request: str, account: Account) -> bool:
        """Neither denied, nor was the password of *account* set after this request was made."""
        return audit.is_open(tx, request) and not links.used_since(tx, account.id, request)

    def _is_too_much(
        self, tx: Transaction, message: Message, accounts: Sequence[Account], *, now: datetime
    ) -> bool:
        """Over the limit, while each account has a live link of another mail.

        Without such a link the mail leaves: who asks too often must not lock the owner out.
        """
        if message.content.get("again"):
            return False  # An operator asked for it, who hears that the mail does not arrive.
        if message.content["limited"] == "no" and not self._are_mailed_enough(
            tx, message.request, accounts, now=now
        ):
            return False
        since = now - self._rules.link_lifetime
        return all(
            any(
                self._rules.is_unchanged(link, account) and link.request != message.request
                for link in links.open_since(tx, account.id, since=since)
            )
            for account in accounts
        )

    def _are_mailed_enough(
        self, tx: Transaction, request: str, accounts: Sequence[Account], *, now: datetime
    ) -> bool:
        """Whether an account got as many mails as an address may ask for.

        Counted by the mails themselves: it holds whatever became of the counters, but for those
        that an operator cleared.
        """
        address = audit.address_of(tx, request) or ""
        cleared = trail.last_time(tx, trail.LIMIT_CLEARED, address) or datetime.min.replace(
            tzinfo=UTC
        )
        return any(
            links.mailed_since(
                tx,
                account.id,
                max(cleared, now - timedelta(seconds=limit.get_expiry())),
                but=request,
            )
            >= limit.amount
            for account in accounts
            for limit in self._rules.mails_per_account
        )

    def _link_to(self, tx: Transaction, request: str, account: Account, *, now: datetime) -> Link:
        """The link of an earlier attempt while it is as good as a new one: both mails work then."""
        for link in links.of_request(tx, request):
            is_theirs = link.account == account.id and link.state == "open"
            if is_theirs and self._rules.is_unchanged(link, account):
                return link
        return links.create(tx, request, account.id, self._rules.fingerprint(account), now=now)

    def _letter_with_links(
        self,
        message: Message,
        accounts: Sequence[Account],
        opened: Sequence[Link],
        language: str,
        *,
        now: datetime,
    ) -> Letter:
        urls = [
            {
                "login": account.login,
                "url": self._url("nueva", self._rules.link_tokens, link, now=now),
            }
            for account, link in zip(accounts, opened, strict=True)
        ]
        names = {account.name for account in accounts}
        return Letter(
            kind="reset_link",
            to=accounts[0].address,
            name=names.pop() if len(names) == 1 else "",
            language=language,
            message_id=message.message_id,
            facts={
                "links": urls,
                "valid_until": now + self._rules.link_lifetime,
                "number": audit.spoken(message.request),
                "deny_url": self._url("no-fui-yo", self._rules.deny_tokens, opened[0], now=now),
            },
        )

    def _url(self, page: str, signer: Tokens, link: Link, *, now: datetime) -> str:
        token = signer.make(bytes.fromhex(link.id), now=now)
        return f"{self._rules.public_url}/{page}/{token}"

    def _confirmation(self, message: Message, *, now: datetime) -> Letter | None:
        with self._db.begin() as tx:
            if not outbox.renew(tx, message, now=now):
                return None
            language = audit.language_of(tx, message.request)
        content = message.content
        return Letter(
            kind="password_changed",
            to=content["to"],
            name=content["name"],
            language=language,
            message_id=message.message_id,
            facts={
                "login": content["login"],
                "origin": content["origin"],
                "when": moment(content["when"]),
                "number": audit.spoken(message.request),
            },
        )

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
