"""What an operator wants to know of all accounts: how many, of what kind, what is in the way."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic

from reset.accounts import Account, AccountBackend, eligible, hashes
from reset.address import normalise
from reset.errors import AccountChanged, AccountsUnavailable, InvalidAddress, PasswordRefused
from reset.findings import Finding

SLOW_SECONDS = 0.5
_SEE = "see docs/portals.md, What accounts check says"
_NOBODY = "nobody@absent.invalid"
_OBSTACLES = {
    "account_inactive": "not active",
    "account_ambiguous": "found more than once, with differences",
    "hash_unknown": "without a password hash that could be followed",
}
_REMEDIES = {
    "account_ambiguous": "let the SELECT give one row for each account",
    "hash_unknown": "name the portal's scheme in RESET_ACCOUNTS_HASH",
}


@dataclass
class Survey:
    """Counts over all accounts; ``sample`` is the address of one that could get a link."""

    total: int = 0
    mailable: int = 0
    without_address: int = 0
    malformed: int = 0
    shared: int = 0
    spelled_differently: int = 0
    obstacles: Counter[str] = field(default_factory=Counter)
    exclusions: Counter[str] = field(default_factory=Counter)
    schemes: Counter[str] = field(default_factory=Counter)
    sample: str | None = None


def survey(accounts: Iterable[Account]) -> Survey:
    """Count *accounts*."""
    counted = Survey()
    usable: defaultdict[str, int] = defaultdict(int)
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for account in accounts:
        counted.total += 1
        counted.schemes[account.scheme] += 1
        if account.obstacle:
            counted.obstacles[account.obstacle] += 1
            counted.exclusions[account.reason] += 1
        try:
            address = normalise(account.address)
        except InvalidAddress:
            counted.malformed += bool(account.address)
            counted.without_address += not account.address
            continue
        spellings[address].append(account.address)
        usable[address] += account.obstacle is None
    for address, spelled in spellings.items():
        counted.shared += len(spelled) > 1
        if len(set(spelled)) > 1:
            counted.spelled_differently += 1
        elif usable[address]:
            counted.mailable += usable[address]
            counted.sample = counted.sample or address
    return counted


def findings(
    backend: AccountBackend, exclusions: Iterable[str] = (), upgrades_to: str | None = None
) -> Iterator[Finding]:
    """Everything to tell about *backend*; stops at what makes the rest pointless.

    *exclusions* are the rules that should exclude somebody, *upgrades_to* is the scheme that weak
    hashes give way to.
    """
    try:
        backend.check()
        yield Finding("ok", "the accounts can be read")
        yield from backend.examine()
        yield _speed(backend)
        counted = survey(backend.all())
        yield from _counts(counted)
        yield from (_exclusion(rule, counted.exclusions[rule]) for rule in exclusions)
        yield from _schemes(counted, upgrades_to)
        if counted.sample is not None:
            usable, *_ = eligible(backend.find_by_address(counted.sample))
            yield from (_rehearsal(backend, account) for account in usable[:1])
    except AccountsUnavailable as error:
        yield _unreadable(error)


def dry_run(backend: AccountBackend, address: str) -> Iterator[Finding]:
    """What a request for *address*, as typed, would come to; nothing is sent or changed."""
    try:
        backend.check()
        usable, event, reason = eligible(backend.find_by_address(normalise(address)))
        if not usable:
            words = event.replace("_", " ") + (f" ({reason})" if reason else "")
            yield Finding("warning", f"no mail would be sent: {words}")
        for account in usable:
            yield Finding("ok", f"a mail with a link would be sent for login {account.login}")
            yield _rehearsal(backend, account)
    except InvalidAddress:
        yield Finding("fault", "this is no e-mail address", "write it like nombre@example.com")
    except AccountsUnavailable as error:
        yield _unreadable(error)


def _unreadable(error: AccountsUnavailable) -> Finding:
    return Finding("fault", f"the accounts cannot be read: {error}", _SEE)


def _rehearsal(backend: AccountBackend, account: Account) -> Finding:
    try:
        return backend.rehearse(account)
    except AccountsUnavailable as error:
        return Finding("fault", f"a password cannot be changed: {error}", _SEE)
    except PasswordRefused:
        text = "the portal's own rule (a trigger or check) refused a random password"
        why = "people's own new passwords may be refused, too"
        return Finding("warning", text, "see that it lets the service change passwords", why)
    except AccountChanged:
        why = "whether passwords can be changed was not seen"
        return Finding("warning", "the account changed at this very moment", "try again", why)


def _speed(backend: AccountBackend) -> Finding:
    started = monotonic()
    backend.find_by_address(_NOBODY)
    seconds = monotonic() - started
    if seconds < SLOW_SECONDS:
        return Finding("ok", f"a look-up takes {seconds * 1000:.0f} ms")
    remedy = "make an index for it: docs/portals.md, Addresses"
    why = "each mail with a link waits for one"
    return Finding("warning", f"a look-up takes {seconds:.1f} s", remedy, why)


def _counts(counted: Survey) -> Iterator[Finding]:
    text = f"accounts: {counted.total}, of which could get a link: {counted.mailable}"
    if counted.mailable:
        yield Finding("ok", text)
    else:
        yield Finding("fault", text, "check table or filter, and columns or attributes")
    if counted.without_address:
        yield Finding("ok", f"without an e-mail address: {counted.without_address}")
    if counted.malformed:
        text = f"with an address that can never be mailed: {counted.malformed}"
        why = "these people can never get a link"
        yield Finding("warning", text, "correct them in the portal", why)
    if counted.shared:
        yield Finding("ok", f"addresses of several accounts: {counted.shared}")
    if counted.spelled_differently:
        text = "addresses spelled in several ways, to which no mail goes: "
        text += str(counted.spelled_differently)
        why = "which of them is the person's own, nobody can tell from here"
        yield Finding("warning", text, "spell each alike in the portal", why)
    for obstacle, count in sorted(counted.obstacles.items()):
        if obstacle == "account_excluded":
            continue  # Told rule by rule.
        level = "warning" if obstacle in _REMEDIES else "ok"
        words = _OBSTACLES.get(obstacle, obstacle.replace("_", " "))
        why = "these people get no link" if level == "warning" else ""
        yield Finding(level, f"{words}: {count}", _REMEDIES.get(obstacle, ""), why)


def _exclusion(rule: str, count: int) -> Finding:
    if count:
        return Finding("ok", f"excluded by {rule}: {count}")
    remedy = "check name and value, and that both may be read; rules are separated by ;"
    text = f"excluded by {rule}: nobody who is not out already"
    return Finding("warning", text, remedy, "whoever it was meant for gets links")


def _schemes(counted: Survey, upgrades_to: str | None) -> Iterator[Finding]:
    for scheme, count in sorted(counted.schemes.items()):
        if not scheme:
            continue
        if scheme not in hashes.SCHEMES or not hashes.is_weak(scheme):
            yield Finding("ok", f"hashes of {scheme}: {count}")
        elif upgrades_to:
            yield Finding("ok", f"hashes of {scheme}, to become {upgrades_to}: {count}")
        else:
            remedy = "if the portal reads a better one, set RESET_ACCOUNTS_HASH and _HASH_UPGRADE"
            why = "who steals the table finds these passwords out"
            yield Finding("warning", f"hashes of {scheme}, which is weak: {count}", remedy, why)
