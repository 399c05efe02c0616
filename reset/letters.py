"""From queued mails to letters: who is registered, what is still to be sent, and what it says.

Several mails at a time: it is the same work for an address that is registered and for one that is
not, and costs little more than for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from reset import audit, logs
from reset.accounts import Account, AccountBackend, eligible
from reset.audit import Asked
from reset.db import Database, moment
from reset.errors import AccountsUnavailable
from reset.judgement import Found, Judgement, Nothing
from reset.links import Link
from reset.mail import Letter, leases
from reset.mail.outbox import Message
from reset.rules import Rules
from reset.tokens import Tokens

_ENOUGH_FAILURES = 2  # In a row: one alone may be of a row that cannot be read.


class NotAsked(AccountsUnavailable):
    """The portal's store was down a moment ago."""


class Letters:
    """Looks up who is registered, and makes links."""

    def __init__(self, database: Database, accounts: AccountBackend, rules: Rules) -> None:
        self._db = database
        self._accounts = accounts
        self._rules = rules

    def look_up(self, messages: Sequence[Message]) -> list[Found | Exception]:
        """Who each of *messages* is for, or what kept us from finding out.

        While the portal's store is down each look-up would wait for a time-out, and confirmations
        behind them: it is asked twice, and then no more.
        """
        with self._db.read() as tx:
            asked = audit.asked(tx, [message.request for message in messages])
        found: list[Found | Exception] = []
        failures = 0
        for message in messages:
            try:
                if message.kind == "password_changed":
                    found.append(Found(message, asked[message.request]))
                    continue
                if failures >= _ENOUGH_FAILURES:
                    raise NotAsked
                with logs.carrying(message.log_id):
                    found.append(self._found(message, asked[message.request]))
                failures = 0
            except AccountsUnavailable as error:
                failures += 1
                found.append(error)
            except Exception as error:
                found.append(error)
        return found

    def prepare(self, found: Sequence[Found], *, now: datetime) -> list[Letter | Nothing]:
        """What each mail says, with links minted now; in one transaction."""
        with self._db.begin() as tx:
            ours = leases.renew(tx, [one.message for one in found], now=now)
            asking = [one for one in found if one.event and one.message.id in ours]
            judgement = Judgement(tx, self._rules, asking, now=now)
            judged = {one.message.id: judgement.links_to(one) for one in asking}
            judgement.note()
        return [
            self._letter(one, judged.get(one.message.id), now=now)
            if one.message.id in ours
            else Nothing()
            for one in found
        ]

    def _found(self, message: Message, asked: Asked) -> Found:
        # Read before anything is written: a damaged row must not keep others from being sent.
        content = message.content
        limited = None if content.get("again") else content["limited"] != "no"
        usable, event, reason = eligible(self._accounts.find_by_address(asked.address))
        return Found(message, asked, limited, usable, event, reason)

    def _letter(
        self, found: Found, judged: list[tuple[Account, Link]] | Nothing | None, *, now: datetime
    ) -> Letter | Nothing:
        if judged is None:
            return _confirmation(found)
        return judged if isinstance(judged, Nothing) else self._reset_link(found, judged, now=now)

    def _reset_link(
        self, found: Found, linked: Sequence[tuple[Account, Link]], *, now: datetime
    ) -> Letter:
        message = found.message
        urls = [
            {
                "login": account.login,
                "url": self._url("nueva", self._rules.link_tokens, link, now=now),
            }
            for account, link in linked
        ]
        names = {account.name for account, _ in linked}
        account, link = linked[0]
        return Letter(
            kind="reset_link",
            to=account.address,
            name=names.pop() if len(names) == 1 else "",
            language=found.asked.language,
            message_id=message.message_id,
            facts={
                "links": urls,
                "valid_until": now + self._rules.link_lifetime,
                "number": audit.spoken(message.request),
                "deny_url": self._url("no-fui-yo", self._rules.deny_tokens, link, now=now),
            },
        )

    def _url(self, page: str, signer: Tokens, link: Link, *, now: datetime) -> str:
        token = signer.make(bytes.fromhex(link.id), now=now)
        return f"{self._rules.public_url}/{page}/{token}"


def _confirmation(found: Found) -> Letter:
    message, content = found.message, found.message.content
    return Letter(
        kind="password_changed",
        to=content["to"],
        name=content["name"],
        language=found.asked.language,
        message_id=message.message_id,
        facts={
            "login": content["login"],
            "origin": content["origin"],
            "when": moment(content["when"]),
            "number": audit.spoken(message.request),
        },
    )
