"""The use cases of the help desk: find a request, see it, send again, cancel links, clear a limit.

Each stands in the trail, looking included. An act with a request stands in its trace, too.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reset import audit, links, pending, trail
from reset.accounts import Account, AccountBackend
from reset.accounts.fields import as_text
from reset.address import normalise
from reset.audit import ResetRequest
from reset.db import Database, Transaction
from reset.errors import AccountsUnavailable, ActRefused, InvalidAddress
from reset.links import Link
from reset.mail import outbox
from reset.pending import Pending
from reset.rules import Rules

SENT_AGAIN_PER_HOUR = 3
LISTED_AT_MOST = 100
_KIND = "reset_link"
_LISTS = "pendientes"  # What the trail says instead of a number.
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """A request, and when its mail is tried next if it waits."""

    request: ResetRequest
    due_at: datetime | None


@dataclass(frozen=True)
class Found:
    """What a search found; ``kind`` is "number", "address" or "login".

    ``accounts`` is None where they were not asked, or could not be: then ``accounts_down``.
    """

    kind: str
    cases: list[Case]
    accounts: list[Account] | None = None
    accounts_down: bool = False


@dataclass(frozen=True)
class Lists:
    """The two lists of the twelve hours, cut at ``LISTED_AT_MOST``, and their real lengths."""

    not_accepted: list[Pending]
    unused: list[Pending]
    counts: tuple[int, int]


@dataclass(frozen=True)
class Asked:
    """Who asks for an act with which request, why, and how often it was done when they looked."""

    number: str
    operator: str
    reason: str
    seen: int
    now: datetime = field(kw_only=True)


class Desk:
    """The use cases over our database and the portal's accounts."""

    def __init__(self, database: Database, accounts: AccountBackend, rules: Rules) -> None:
        self._db = database
        self._accounts = accounts
        self._rules = rules

    def search(self, typed: str, operator: str, *, now: datetime) -> Found:
        """What there is to *typed*: a number in any spelling, an address, or a login."""
        # As heard on the telephone: an o is a nought where all else are digits.
        number = audit.unspoken(typed.replace("o", "0").replace("O", "0"))
        if number:
            return self._by_number(number, operator, now=now)
        try:
            return self._by_address(normalise(typed), operator, now=now)
        except InvalidAddress:
            return self._by_login(as_text(typed), operator, now=now)

    def view(self, number: str, operator: str, *, now: datetime) -> tuple[Case, list[Case]] | None:
        """The request of the digits *number*, and the others for its address, newest first."""
        with self._db.begin() as tx:
            request = audit.by_number(tx, number)
            if request is None:
                return None
            trail.note(tx, operator, "viewed", number, now=now)
            others = [r for r in audit.by_address(tx, request.address) if r.number != number]
            return _case(tx, request), [_case(tx, other) for other in others]

    def lists(self, operator: str, *, now: datetime) -> Lists:
        """What the help desk follows up after twelve hours."""
        with self._db.begin() as tx:
            trail.note(tx, operator, "listed", _LISTS, now=now)
            return Lists(
                pending.not_accepted(tx, now=now, limit=LISTED_AT_MOST),
                pending.unused(tx, now=now, limit=LISTED_AT_MOST),
                pending.counts(tx, now=now),
            )

    def send_again(self, asked: Asked) -> None:
        """A new mail for a request, whatever became of the last one; one that waits leaves now.

        It counts for no limit of the address.

        Raises:
            ActRefused: "closed", "changed", "sending", "too_often", or "done" already.
        """
        number, now = asked.number, asked.now
        with self._db.begin() as tx:
            self._hold(tx, asked, "sent_again")
            if not audit.is_open(tx, number):
                raise ActRefused("closed")
            theirs = links.of_request(tx, number)
            if theirs and all(_is_changed(tx, link) for link in theirs):
                raise ActRefused("changed")
            hour_ago = now - timedelta(hours=1)
            if audit.count(tx, number, "sent_again", since=hour_ago) >= SENT_AGAIN_PER_HOUR:
                raise ActRefused("too_often")
            last = outbox.last_of(tx, number, _KIND)
            if last is not None and last.state == "sending":
                raise ActRefused("sending")
            if not outbox.hasten(tx, number, _KIND, now=now):
                host, content = self._rules.mail_host, {"limited": "no", "again": "yes"}
                outbox.enqueue(tx, number, _KIND, host=host, now=now, content=content)
            _note(tx, asked, "sent_again")

    def cancel_links(self, asked: Asked) -> None:
        """Close the open links of the accounts of a request's address, and what waits to be mailed.

        Raises:
            ActRefused: "busy" (a password is being set), "nothing_open", or "done" already.
        """
        number = asked.number
        with self._db.begin() as tx:
            self._hold(tx, asked, "links_cancelled")
            accounts = links.accounts_alike(tx, number)
            if any(links.is_claimed(tx, account) for account in accounts):
                raise ActRefused("busy")
            last = outbox.last_of(tx, number, _KIND)
            waits = last is not None and last.state in ("queued", "sending")
            if not waits and not any(links.has_open(tx, account) for account in accounts):
                raise ActRefused("nothing_open")
            _note(tx, asked, "links_cancelled")
            for account in accounts:
                for closed in links.close_all(tx, account):
                    audit.note(tx, closed, "link_closed", now=asked.now)
            audit.close_alike(tx, number, now=asked.now)

    def clear_limit(self, asked: Asked) -> str:
        """Let the address of a request ask again at once; returns it, for its counters.

        Raises:
            ActRefused: "done" already.
        """
        with self._db.begin() as tx:
            self._hold(tx, asked, trail.LIMIT_CLEARED)
            address = audit.address_of(tx, asked.number) or ""
            _note(tx, asked, trail.LIMIT_CLEARED, address)
            return address

    def attend(self, asked: Asked) -> None:
        """Take a request from the lists of the twelve hours.

        Raises:
            ActRefused: "done" already.
        """
        with self._db.begin() as tx:
            self._hold(tx, asked, pending.ATTENDED)
            _note(tx, asked, pending.ATTENDED)

    def _by_number(self, number: str, operator: str, *, now: datetime) -> Found:
        with self._db.begin() as tx:
            trail.note(tx, operator, "searched", number, now=now)
            request = audit.by_number(tx, number)
            return Found("number", [_case(tx, request)] if request else [])

    def _by_address(self, address: str, operator: str, *, now: datetime) -> Found:
        cases = self._cases([address], address, operator, now=now)
        try:
            return Found("address", cases, self._accounts.find_by_address(address))
        except AccountsUnavailable as error:
            log.error("accounts unavailable", extra={"cause": str(error)})
            return Found("address", cases, accounts_down=True)

    def _by_login(self, login: str, operator: str, *, now: datetime) -> Found:
        subject = login.lower()  # As `flask reset person` looks for it.
        try:
            accounts = self._accounts.find_by_login(login) if login else []
        except AccountsUnavailable as error:
            log.error("accounts unavailable", extra={"cause": str(error)})
            return Found("login", self._cases([], subject, operator, now=now), accounts_down=True)
        addresses = sorted({a for account in accounts if (a := _address(account))})
        return Found("login", self._cases(addresses, subject, operator, now=now), accounts)

    def _cases(
        self, addresses: list[str], subject: str, operator: str, *, now: datetime
    ) -> list[Case]:
        """The requests for *addresses*, newest first; the search for *subject* is noted."""
        with self._db.begin() as tx:
            trail.note(tx, operator, "searched", subject, now=now)
            found = [request for one in addresses for request in audit.by_address(tx, one)]
            found.sort(key=lambda request: request.created_at, reverse=True)
            return [_case(tx, request) for request in found]

    def _hold(self, tx: Transaction, asked: Asked, act: str) -> None:
        """Let nobody else act on the same accounts and address; a double click comes too late."""
        links.hold_accounts(tx, links.accounts_alike(tx, asked.number))
        audit.hold_alike(tx, asked.number)
        if audit.count(tx, asked.number, act) > asked.seen:
            raise ActRefused("done")


def _note(tx: Transaction, asked: Asked, act: str, subject: str = "") -> None:
    trail.note(
        tx,
        asked.operator,
        act,
        subject or asked.number,
        now=asked.now,
        **({"request": asked.number} if subject else {}),
        reason=asked.reason,
    )
    audit.note(tx, asked.number, act, now=asked.now, operator=asked.operator, reason=asked.reason)


def _is_changed(tx: Transaction, link: Link) -> bool:
    return link.state == "used" or links.used_since(tx, link.account, link.request)


def _case(tx: Transaction, request: ResetRequest) -> Case:
    last = outbox.last_of(tx, request.number, _KIND)
    return Case(request, last.due_at if last and last.state == "queued" else None)


def _address(account: Account) -> str:
    try:
        return normalise(account.address)
    except InvalidAddress:
        return ""
