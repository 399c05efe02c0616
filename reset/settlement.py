"""The end of a change: noted and confirmed at once, or found out after a crash or a lost answer."""

from __future__ import annotations

import logging
from datetime import datetime

from reset import audit, links, logs
from reset.accounts import Account, AccountBackend
from reset.address import has_address
from reset.db import Database, stamp
from reset.errors import AccountsUnavailable, StoreUnavailable
from reset.links import Link
from reset.mail import outbox
from reset.rules import Rules

log = logging.getLogger(__name__)


class Settlement:
    """Brings our links to what the portal's store says is true."""

    def __init__(self, database: Database, accounts: AccountBackend, rules: Rules) -> None:
        self._db = database
        self._accounts = accounts
        self._rules = rules

    def finish(self, link: Link, account: Account, origin: str, *, now: datetime) -> None:
        """Note a changed password and queue the confirmation, in one transaction.

        Once for each link, whoever comes first; *origin* is who changed it, coarsely.
        """
        try:
            with self._db.begin() as tx:
                links.hold_accounts_of(tx, link.request)
                audit.hold_alike(tx, link.request)
                if not links.use(tx, link, now=now) and not links.is_closed(tx, link):
                    return
                details = {"login": account.login, "origin": origin, **logs.of_request()}
                audit.note(tx, link.request, "password_changed", now=now, **details)
                content = {
                    "to": account.address,
                    "name": account.name,
                    "login": account.login,
                    "origin": origin,
                    "when": stamp(now),
                }
                host = self._rules.mail_host
                outbox.enqueue(
                    tx, link.request, "password_changed", host=host, now=now, content=content
                )
                for other in links.close_all(tx, account.id):
                    audit.note(tx, other, "superseded", now=now)
            log.info("password changed", extra={"request": link.request})
        except StoreUnavailable:
            # The password is changed, and that is what the person must hear. The worker finds
            # the claim, compares fingerprints and sends the confirmation.
            log.exception("change not noted", extra={"request": link.request})

    def settle_claims(self, *, now: datetime) -> None:
        """Finish what a crash left half-done: the password was changed, or the link is good."""
        with self._db.read() as tx:
            lapsed = links.with_lapsed_claim(tx, now=now)
        for link in lapsed:
            try:
                self._settle(link, now=now)
            except AccountsUnavailable as error:
                # Of one account perhaps; the others need not wait.
                log.error("claim not settled", extra={"request": link.request, "cause": str(error)})

    def _settle(self, link: Link, *, now: datetime) -> None:
        """End a claim that nobody came back for by what the portal's store says now."""
        account = self._accounts.get(link.account)
        with self._db.read() as tx:
            address = audit.address_of(tx, link.request)
            wanted = audit.is_open(tx, link.request)
            by_another = links.used_since(tx, link.account, link.request)
        known = self._rules.can_compare(link)
        changed = account is not None and known and not self._rules.is_unchanged(link, account)
        moved = account is not None and not has_address(account.address, address)
        if account is not None and changed and not moved and not by_another:
            self.finish(link, account, link.origin or "", now=now)
            return
        with self._db.begin() as tx:
            # The account moved to another address, was changed by another link, or is gone, or
            # the person said "no fui yo" meanwhile, or the link's key was taken out: it must not
            # come back to life.
            if changed or account is None or not wanted or not known:
                links.close(tx, link)
            else:
                links.give_back(tx, link)
