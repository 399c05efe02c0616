"""The portal's accounts: what the service knows of one, and what a source of them can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


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
    """

    id: str
    login: str
    address: str
    name: str = ""
    credential: str = field(default="", repr=False)
    personal: tuple[str, ...] = field(default=(), repr=False)
    obstacle: str | None = None

    @property
    def identity(self) -> tuple[str, str, str]:
        """What must stay as it is for a link to live."""
        return self.id, self.address, self.credential


class AccountBackend(Protocol):
    """A source of accounts. Every method may raise AccountsUnavailable. Since 0.1."""

    def check(self) -> None:
        """Read once as every look-up does; the text of AccountsUnavailable is for the operator."""

    def find_by_address(self, address: str) -> list[Account]:
        """All accounts whose stored address normalises to *address*; may be empty."""

    def get(self, account_id: str) -> Account | None:
        """The account of that id as it is now."""

    def has_password(self, account: Account, password: str) -> bool:
        """Whether *password* is the present one."""

    def set_password(self, account: Account, new_password: str) -> None:
        """Store *new_password*, exactly as typed, if the account still is as it was read.

        Raises:
            AccountChanged: it is not; nothing was written.
            PasswordRefused: the store does not take this password; nothing was written.
        """
