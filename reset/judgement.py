"""Which mails are still to be sent, and the links in them: judged for several mails at a time.

What is asked of the database is asked for all of them at once; of a single account only where it
had a mail lately.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from reset import audit, links, trail
from reset.accounts import Account
from reset.audit import Asked
from reset.db import Transaction
from reset.links import Link
from reset.mail.outbox import Message
from reset.rules import Rules


@dataclass(frozen=True)
class Found:
    """Who a mail is for: the accounts to write to, and the event that says why, or why not.

    ``is_limited`` is what was asked for too often; None if an operator asked for the mail.
    """

    message: Message
    asked: Asked
    is_limited: bool | None = False
    usable: Sequence[Account] = ()
    event: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Nothing:
    """There is nothing to send; ``event`` says why, or is empty if another worker has the mail."""

    event: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


class Judgement:
    """Judges *found* in one transaction, in which nobody else mails these addresses."""

    def __init__(
        self, tx: Transaction, rules: Rules, found: Sequence[Found], *, now: datetime
    ) -> None:
        self._tx = tx
        self._rules = rules
        self._now = now
        numbers = [one.message.request for one in found]
        accounts = [account.id for one in found for account in one.usable]
        if numbers:
            audit.hold_alike(tx, *numbers)  # What is judged here still holds at the end.
        self._asked = audit.asked(tx, numbers)
        self._links = links.of_requests(tx, numbers)
        self._last_uses = links.last_uses(tx, accounts)
        self._linked = links.linked_since(tx, accounts, since=now - rules.longest_memory)
        self._lines: list[tuple[str, str, Mapping[str, str | int]]] = []

    def links_to(self, found: Found) -> list[tuple[Account, Link]] | Nothing:
        """The accounts to write to, each with a link."""
        message, event = found.message, found.event
        wanted = [account for account in found.usable if self._is_wanted(message.request, account)]
        if found.usable and not wanted:
            event = "request_closed"
        elif wanted and self._is_too_much(found, wanted):
            wanted, event = [], "limited"
        if not wanted:
            return Nothing(event, {"reason": found.reason} if found.reason else {})
        if message.request not in self._links:
            self._lines.append((message.request, event, {"accounts": len(wanted)}))
        return [(account, self._link_to(message.request, account)) for account in wanted]

    def note(self) -> None:
        """Add what was judged to the traces."""
        audit.note_all(self._tx, self._lines, now=self._now)

    def _is_wanted(self, request: str, account: Account) -> bool:
        """Neither denied, nor was the password of *account* set after this request was made."""
        asked, used_at = self._asked[request], self._last_uses.get(account.id)
        return asked.is_open and (used_at is None or used_at <= asked.created_at)

    def _is_too_much(self, found: Found, accounts: Sequence[Account]) -> bool:
        """Over the limit, while each account has a live link of another mail.

        Without such a link the mail leaves: who asks too often must not lock the owner out.
        """
        if found.is_limited is None or not any(one.id in self._linked for one in accounts):
            return False
        if not found.is_limited and not self._are_mailed_enough(found, accounts):
            return False
        since = self._now - self._rules.link_lifetime
        return all(
            any(
                self._rules.is_unchanged(link, account) and link.request != found.message.request
                for link in links.open_since(self._tx, account.id, since=since)
            )
            for account in accounts
        )

    def _are_mailed_enough(self, found: Found, accounts: Sequence[Account]) -> bool:
        """Whether an account got as many mails as an address may ask for.

        Counted by the mails themselves: it holds whatever became of the counters, but for those
        that an operator cleared.
        """
        cleared = trail.last_time(self._tx, trail.LIMIT_CLEARED, found.asked.address)
        return any(
            links.mailed_since(
                self._tx,
                account.id,
                max(
                    cleared or datetime.min.replace(tzinfo=UTC),
                    self._now - timedelta(seconds=limit.get_expiry()),
                ),
                but=found.message.request,
            )
            >= limit.amount
            for account in accounts
            for limit in self._rules.mails_per_account
        )

    def _link_to(self, request: str, account: Account) -> Link:
        """The link of an earlier attempt while it is as good as a new one: both mails work then."""
        for link in self._links.get(request, ()):
            is_theirs = link.account == account.id and link.state == "open"
            if is_theirs and self._rules.is_unchanged(link, account):
                return link
        self._linked.add(account.id)
        fingerprint = self._rules.fingerprint(account)
        return links.create(self._tx, request, account.id, fingerprint, now=self._now)
