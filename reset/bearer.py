"""What the bearer of a link may do: open it, set a password with it, or say "no fui yo".

Every state change is one transaction; a crash between the portal's store and ours is settled by
the worker, which looks at what the portal's store says.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from reset import audit, links
from reset.accounts import Account, AccountBackend
from reset.db import Database, Transaction
from reset.errors import (
    AccountChanged,
    AccountsUnavailable,
    BadToken,
    ChangeUncertain,
    LinkBusy,
    LinkExpired,
    LinkReplaced,
    LinkUnknown,
    LinkUsed,
    PasswordRefused,
)
from reset.links import Link
from reset.policy import Policy
from reset.rules import Rules
from reset.settlement import Settlement

CLAIM = timedelta(minutes=2)  # Longer than all time-outs of an account store together.
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenLink:
    """A link that can be used now, the account as it is now, and the person's language."""

    link: Link
    account: Account
    language: str


class Bearer:
    """The use cases of a link over one database and one source of accounts."""

    def __init__(
        self,
        database: Database,
        accounts: AccountBackend,
        policy: Policy,
        rules: Rules,
        settlement: Settlement,
    ) -> None:
        self._db = database
        self._accounts = accounts
        self._policy = policy
        self._rules = rules
        self._settlement = settlement

    def open_link(self, token: str, *, now: datetime) -> OpenLink:
        """The account that *token* may set a password for; only notes that it was opened.

        Raises:
            LinkError: it cannot be used; its class says why.
            LinkBusy: somebody is using it right now.
        """
        opened = self._usable(token, now=now)
        with self._db.begin(durable=False) as tx:
            if links.note_opened(tx, opened.link, now=now):
                login = opened.account.login
                audit.note(tx, opened.link.request, "link_opened", now=now, login=login)
        return opened

    def set_password(self, token: str, password: str, *, origin: str, now: datetime) -> None:
        """Set *password*, exactly as typed, and use the link up.

        Raises:
            PasswordRefused: a rule or the portal's store does not take it; the link stays good.
            LinkError, LinkBusy: as in `open_link`.
            AccountsUnavailable: the store did not answer; the link is good again, at once or when
                the worker has settled the claim.
        """
        opened = self._usable(token, now=now)
        self._refuse_weak(opened, password, now=now)
        with self._claimed(opened.link, origin=origin, now=now):
            try:
                self._change(opened, password)
            except ChangeUncertain as lost:
                try:
                    took = self._took(opened, password)
                except AccountsUnavailable:
                    raise lost from None  # Still nobody knows: the claim must stay.
                if not took:
                    raise
        self._settlement.finish(opened.link, opened.account, origin, now=now)

    def weaknesses(self, opened: OpenLink, password: str) -> list[str]:
        """The codes of every rule that *password* does not keep for this account; may be empty."""
        return [str(code) for code in self._policy.violations(password, opened.account.personal)]

    def check_denial(self, token: str, *, now: datetime) -> str:
        """Whether "no fui yo" can still be said with *token*; changes nothing.

        Returns the language of the mail that it is from.

        Raises:
            LinkUnknown: not one of ours.
            LinkExpired: the links of its mail are dead anyway.
            LinkUsed: too late, a password of the account was set meanwhile.
            LinkBusy: somebody is setting one right now.
        """
        with self._db.read() as tx:
            request, made_at = self._denied(tx, token)
            self._deniable(tx, request, made_at, now=now)
            return audit.language_of(tx, request)

    def deny(self, token: str, *, now: datetime) -> None:
        """Close the open requests of the accounts behind *token*: "I did not ask for this".

        With several accounts on one mailbox, what is still open is closed before LinkUsed tells
        that a password was already set with another one.

        Raises:
            LinkError, LinkBusy: as in `check_denial`.
        """
        with self._db.begin() as tx:
            request, made_at = self._denied(tx, token)
            links.hold_accounts_of(tx, request)
            audit.hold_alike(tx, request)
            theirs, used = self._deniable(tx, request, made_at, now=now)
            audit.note(tx, request, "denied", now=now)
            for account in {link.account for link in theirs}:
                for closed in links.close_all(tx, account):
                    audit.note(tx, closed, "link_closed", now=now)
            audit.close_alike(tx, request, now=now)
        log.info("request denied", extra={"request": request})
        if used:
            raise LinkUsed

    def _usable(self, token: str, *, now: datetime) -> OpenLink:
        link, made_at, language = self._genuine(token)
        if link.state == "used":
            raise LinkUsed
        if link.state == "closed":
            raise LinkReplaced
        if now - made_at > self._rules.link_lifetime:
            raise LinkExpired
        if link.state == "claimed":
            raise LinkBusy
        account = self._accounts.get(link.account)
        if account is None or account.obstacle or not self._rules.is_unchanged(link, account):
            raise LinkReplaced
        return OpenLink(link, account, language)

    def _genuine(self, token: str) -> tuple[Link, datetime, str]:
        """The link behind *token*, when that was made, and the language of its request."""
        try:
            payload, made_at = self._rules.link_tokens.read(token)
        except BadToken as error:
            raise LinkUnknown from error
        with self._db.read() as tx:
            found = links.get_with_language(tx, payload.hex())
        if found is None:
            raise LinkUnknown
        return found[0], made_at, found[1]

    def _denied(self, tx: Transaction, token: str) -> tuple[str, datetime]:
        """The request that *token* is from, and when it was made."""
        try:
            payload, made_at = self._rules.deny_tokens.read(token)
        except BadToken as error:
            raise LinkUnknown from error
        link = links.get(tx, payload.hex())
        if link is None:
            raise LinkUnknown
        return link.request, made_at

    def _deniable(
        self, tx: Transaction, request: str, made_at: datetime, *, now: datetime
    ) -> tuple[list[Link], list[Link]]:
        """All links of *request*, and those whose account was changed."""
        theirs = links.of_request(tx, request)
        used = [
            one
            for one in theirs
            if one.state == "used" or links.used_since(tx, one.account, one.request)
        ]
        if len(used) == len(theirs):
            raise LinkUsed
        if any(links.is_claimed(tx, one.account) for one in theirs):
            raise LinkBusy
        if now - made_at > self._rules.link_lifetime:
            raise LinkExpired
        return theirs, used

    def _refuse_weak(self, opened: OpenLink, password: str, *, now: datetime) -> None:
        codes = self.weaknesses(opened, password)
        if codes:
            self._note_refused_password(opened.link, codes, now=now)
            raise PasswordRefused(codes)

    @contextmanager
    def _claimed(self, link: Link, *, origin: str, now: datetime) -> Iterator[None]:
        """Hold *link* while a password is set; a refusal gives it back.

        A claim left by any other failure, such as a change whose answer was lost and that may yet
        come true, is settled by the worker when it has run out.
        """
        with self._db.begin() as tx:
            if not links.claim(tx, link, until=now + CLAIM, origin=origin):
                raise LinkBusy
        try:
            yield
        except AccountChanged as error:
            with self._db.begin() as tx:
                links.close(tx, link)
                audit.note(tx, link.request, "link_closed", now=now)
            raise LinkReplaced from error
        except PasswordRefused as error:
            with self._db.begin() as tx:
                links.give_back(tx, link)
            self._note_refused_password(link, error.codes, now=now)
            raise
        except ChangeUncertain:
            raise
        except AccountsUnavailable:
            with self._db.begin() as tx:
                links.give_back(tx, link)
                reason = "accounts unavailable"
                audit.note(tx, link.request, "change_failed", now=now, reason=reason)
            raise

    def _change(self, opened: OpenLink, password: str) -> None:
        """Look once more, now that nobody else can use the link, then write.

        At the account the store itself looks once more.
        """
        with self._db.read() as tx:
            link = links.get(tx, opened.link.id)
        if link is None or link.state != "claimed":
            raise LinkBusy  # This process stood still for so long that the claim was settled.
        self._accounts.set_password(opened.account, password)

    def _took(self, opened: OpenLink, password: str) -> bool:
        """Whether *password* is seen to be set although the store's answer was lost.

        Raises:
            AccountChanged: another one is; ours, which compares before it sets, came too late.
        """
        account = self._accounts.get(opened.account.id)
        if account is not None and account.credential == opened.account.credential:
            return False
        present = None if account is None else self._accounts.has_password(account, password)
        if account is None or present is False:
            raise AccountChanged
        # Where only a sign-in could tell whose password it is, the worker finishes later.
        return present is True

    def _note_refused_password(self, link: Link, codes: Sequence[str], *, now: datetime) -> None:
        with self._db.begin(durable=False) as tx:
            audit.note(tx, link.request, "password_refused", now=now, reasons=", ".join(codes))
