"""The portal's accounts: what the service knows of one, and what a source of them can do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from reset.findings import Finding


@dataclass(frozen=True)
class Account:
    """One account of the portal, as read at one moment.

    Attributes:
        id: the portal's own id as JSON text, so that 7 and "007" stay different.
        login: the name to sign in with, for the person to recognise the account.
        address: where mail goes: as the portal stores it, spelling and all.
        credential: changes whenever the password does (the stored hash, or its time of change).
        personal: data that a password must not contain; each may be empty.
        obstacle: why no password may be set, as an event name; None when all is well.
        reason: what in the settings or the account is behind the obstacle; may be empty.
        scheme: the name of the hash scheme of the stored password, where one can be seen.
    """

    id: str
    login: str
    address: str
    name: str = ""
    credential: str = field(default="", repr=False)
    personal: tuple[str, ...] = field(default=(), repr=False)
    obstacle: str | None = None
    reason: str = ""
    scheme: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        """What must stay as it is for a link to live."""
        return self.id, self.address, self.credential


def eligible(found: Sequence[Account]) -> tuple[list[Account], str, str]:
    """The accounts to write to, and the event and reason that tell the help desk why or why not."""
    if not found:
        return [], "no_account", ""
    if len({account.address for account in found}) > 1:
        # The portal spells one address in two ways: which is right, only a person can tell.
        return [], "address_ambiguous", ""
    usable = [account for account in found if account.obstacle is None]
    if not usable:
        return [], str(found[0].obstacle), found[0].reason
    return usable, "account_found", ""


class AccountBackend(Protocol):
    """A source of accounts. Every method may raise AccountsUnavailable. Since 0.1.

    Methods are called from several threads at once.
    """

    def check(self) -> None:
        """Read once as every look-up does; the text of AccountsUnavailable is for the operator."""

    def find_by_address(self, address: str) -> list[Account]:
        """All accounts whose stored address normalises to *address*; may be empty.

        An account that has it, but to which no mail may go, is returned with its obstacle.
        """

    def find_by_login(self, login: str) -> list[Account]:
        """All accounts whose name to sign in with is *login*, in any case; may be empty.

        Blanks at the ends do not count; nothing in it is a wildcard. Only the help desk asks.
        Since 0.1.
        """

    def get(self, account_id: str) -> Account | None:
        """The account of that id as it is now."""

    def has_password(self, account: Account, password: str) -> bool | None:
        """Whether *password* is the present one; None where only a sign-in could tell."""

    def set_password(self, account: Account, new_password: str) -> None:
        """Store *new_password*, exactly as typed, if the account still is as it was read.

        Raises:
            AccountChanged: it is not; nothing was written.
            PasswordRefused: the store does not take this password; nothing was written.
            ChangeUncertain: it was sent, but whether it was stored is not known.
        """

    def all(self) -> Iterator[Account]:
        """Every account, in any order, those without an address included. Since 0.1."""

    def examine(self) -> list[Finding]:
        """What only this kind of source can tell: rights, speed, encryption. Since 0.1."""

    def rehearse(self, account: Account) -> Finding:
        """Change *account*'s password and undo it where the source can; else say that it cannot.

        Since 0.1.
        """
