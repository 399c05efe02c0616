"""What an operator wants to know of all accounts: how many, of what kind, what is in the way."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from reset.accounts import Account, AccountBackend, Finding, hashes
from reset.address import normalise
from reset.errors import AccountChanged, AccountsUnavailable, InvalidAddress, PasswordRefused

_OBSTACLES = {
    "account_inactive": "are not active",
    "account_excluded": "are excluded by a rule",
    "account_ambiguous": "come up more than once, with differences",
    "address_secondary": "have it as a further address only",
    "hash_unknown": "have no password hash that could be followed",
}
_REMEDIES = {
    "account_ambiguous": "let the SELECT give one row for each account",
    "hash_unknown": "name the portal's scheme in RESET_ACCOUNTS_HASH",
}


@dataclass
class Survey:
    """Counts over all accounts; no address, name or hash is kept once it was counted."""

    total: int = 0
    mailable: int = 0
    without_address: int = 0
    malformed: int = 0
    obstacles: Counter[str] = field(default_factory=Counter)
    schemes: Counter[str] = field(default_factory=Counter)
    shared: int = 0
    spelled_differently: int = 0
    sample: Account | None = None


def survey(accounts: Iterable[Account]) -> Survey:
    """Count *accounts*; ``sample`` is one that a link could be sent for."""
    counted = Survey()
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for account in accounts:
        counted.total += 1
        counted.schemes[account.scheme] += 1
        if account.obstacle:
            counted.obstacles[account.obstacle] += 1
        try:
            spellings[normalise(account.address)].append(account.address)
        except InvalidAddress:
            counted.malformed += bool(account.address)
            counted.without_address += not account.address
            continue
        if account.obstacle is None:
            counted.mailable += 1
            counted.sample = counted.sample or account
    counted.shared = sum(len(spelled) > 1 for spelled in spellings.values())
    counted.spelled_differently = sum(len(set(spelled)) > 1 for spelled in spellings.values())
    return counted


def findings(backend: AccountBackend) -> Iterator[Finding]:
    """Everything to tell about *backend*; stops at what makes the rest pointless."""
    try:
        backend.check()
        yield Finding("ok", "the accounts can be read")
        yield from backend.examine()
        counted = survey(backend.all())
        yield from _told(counted)
        if counted.sample is not None:
            yield rehearsal(backend, counted.sample)
    except AccountsUnavailable as error:
        yield unreadable(error)


def unreadable(error: AccountsUnavailable) -> Finding:
    """The accounts cannot be read at all."""
    return Finding("fault", f"the accounts cannot be read: {error}", "see docs/portals.md")


def rehearsal(backend: AccountBackend, account: Account) -> Finding:
    """Whether the password of *account* could be changed now."""
    try:
        return backend.rehearse(account)
    except AccountsUnavailable as error:
        remedy = "give the service's account the rights of docs/portals.md"
        return Finding("fault", f"a password cannot be changed: {error}", remedy)
    except PasswordRefused:
        text = "the portal's own rule (a trigger or check) refused a random password"
        return Finding("warning", text, "see that it lets the service change passwords")
    except AccountChanged:
        return Finding("warning", "the account changed at this very moment", "try again")


def _told(counted: Survey) -> Iterator[Finding]:
    accounts = f"{counted.total} accounts, {counted.mailable} of which could get a link"
    if counted.mailable:
        yield Finding("ok", accounts)
    else:
        yield Finding("fault", accounts, "check table, filter and columns")
    yield from _addresses(counted)
    for obstacle, count in sorted(counted.obstacles.items()):
        level = "warning" if obstacle in _REMEDIES else "ok"
        words = _OBSTACLES.get(obstacle, f"have the obstacle {obstacle}")
        yield Finding(level, f"{count} {words}", _REMEDIES.get(obstacle, ""))
    for scheme, count in sorted(counted.schemes.items()):
        if scheme:
            yield _scheme(scheme, count)


def _addresses(counted: Survey) -> Iterator[Finding]:
    if counted.without_address:
        yield Finding("ok", f"{counted.without_address} have no e-mail address")
    if counted.malformed:
        text = f"{counted.malformed} have an address that can never be mailed"
        yield Finding("warning", text, "correct them in the portal")
    if counted.shared:
        yield Finding("ok", f"{counted.shared} addresses belong to several accounts")
    if counted.spelled_differently:
        text = f"{counted.spelled_differently} of these are spelled in different ways: no mail"
        yield Finding("warning", text, "spell each alike in the portal")


def _scheme(scheme: str, count: int) -> Finding:
    if hashes.is_weak(scheme):
        remedy = "set RESET_ACCOUNTS_HASH and RESET_ACCOUNTS_HASH_UPGRADE, if the portal reads it"
        return Finding("warning", f"{count} hashes are {scheme}, which is weak", remedy)
    return Finding("ok", f"{count} hashes are {scheme}")
