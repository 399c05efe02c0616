"""Accounts in memory: for trials and tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from reset.accounts import Account
from reset.accounts.fields import same_text
from reset.address import normalise
from reset.errors import AccountChanged
from reset.findings import Finding


class MemoryAccounts:
    """The AccountBackend over a dictionary; the credential is the password itself."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self.accounts = {account.id: account for account in accounts}

    def check(self) -> None:
        """Nothing can be missing."""

    def find_by_address(self, address: str) -> list[Account]:
        return [a for a in self.accounts.values() if normalise(a.address) == address]

    def find_by_login(self, login: str) -> list[Account]:
        return [a for a in self.accounts.values() if same_text(a.login, login)]

    def get(self, account_id: str) -> Account | None:
        return self.accounts.get(account_id)

    def has_password(self, account: Account, password: str) -> bool:
        return account.credential == password

    def set_password(self, account: Account, new_password: str) -> None:
        if self.accounts.get(account.id) != account:
            raise AccountChanged
        self.accounts[account.id] = replace(account, credential=new_password)

    def all(self) -> Iterator[Account]:
        return iter(list(self.accounts.values()))

    def examine(self) -> list[Finding]:
        return []

    def rehearse(self, account: Account) -> Finding:
        return Finding("ok", "a password can be set")
