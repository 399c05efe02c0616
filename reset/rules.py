"""What the use cases follow: settings that are neither of the web nor of the mail server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

from limits import RateLimitItem

from reset.accounts import Account
from reset.links import Link
from reset.mail.outbox import Retry
from reset.tokens import Tokens, can_compare, fingerprint, has_fingerprint


@dataclass(frozen=True)
class Rules:
    """The rules of one service; ``mail_host`` stands in every Message-ID."""

    public_url: str
    keys: Sequence[str] = field(repr=False)
    link_lifetime: timedelta
    mail_host: str
    retry: Retry
    retention: timedelta
    mails_per_account: Sequence[RateLimitItem]

    @property
    def longest_memory(self) -> timedelta:
        """How long ago a mail may have left that another one depends on."""
        windows = [timedelta(seconds=limit.get_expiry()) for limit in self.mails_per_account]
        return max(self.link_lifetime, *windows)

    @cached_property
    def link_tokens(self) -> Tokens:
        """What the links in mails are signed with."""
        return Tokens(self.keys, "link", self.public_url)

    @cached_property
    def deny_tokens(self) -> Tokens:
        """What the "no fui yo" links are signed with."""
        return Tokens(self.keys, "deny", self.public_url)

    def fingerprint(self, account: Account) -> str:
        """What a link remembers of *account* to see that it is unchanged."""
        return fingerprint(self.keys, *account.identity)

    def can_compare(self, link: Link) -> bool:
        """Whether the key with which *link* remembers its account is still one of ours."""
        return can_compare(self.keys, link.fingerprint)

    def is_unchanged(self, link: Link, account: Account) -> bool:
        """Whether *account* still is as it was when *link* was made."""
        return has_fingerprint(self.keys, link.fingerprint, *account.identity)
