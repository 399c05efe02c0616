"""Accounts in an LDAP directory such as OpenLDAP, 389 DS or any other with entryUUID."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

import ldap
from ldap.controls.libldap import AssertionControl
from ldap.filter import filter_format

from reset.accounts import Account, Finding, hashes, ldap_findings
from reset.accounts.directory import Directory as Directory
from reset.accounts.fields import applying, is_active
from reset.accounts.ldap_session import PAGE, Entry, Session, change, escaped, open_session
from reset.address import has_address, spellings
from reset.errors import AccountChanged, AccountsUnavailable, PasswordRefused

# Source: draft-behera-ldap-password-policy-10, 5.3.3: locked until an administrator says otherwise.
_LOCKED_FOR_GOOD = "000001010000Z"
_MEMBERS = ("member", "uniqueMember", "memberUid")
_NEVER_EMPTY = {"groupofnames", "groupofuniquenames"}  # Source: RFC 4519, 3.5 and 3.6.
log = logging.getLogger(__name__)


class LdapAccounts:
    """The AccountBackend over a directory; the server itself hashes, unless settings say how.

    RFC 3062 cannot tell the server to compare first: slapd 2.5 answers an assertion (RFC 4528) on
    it with "critical extension is unavailable". So the entry is read again on the connection that
    changes it, a moment before; where an attribute is replaced, the server compares as well.
    Two changes within the second that pwdChangedTime counts in look like one.
    """

    id_attribute = "entryUUID"
    # What the server keeps about the account itself, to be asked for by name.
    state_attributes: tuple[str, ...] = ("pwdAccountLockedTime",)
    precise_changes: tuple[str, ...] = ("pwdChangedTime", "pwdLastSet")
    any_change: tuple[str, ...] = ("entryCSN", "modifyTimestamp")

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def check(self) -> None:
        with open_session(self._directory) as session:
            for group in self._directory.exclude_groups:
                _check_group(session, group)
            for entry in self._page(session, size=1):
                self._account(session, entry)

    def find_by_address(self, address: str) -> list[Account]:
        email = self._directory.email
        same = "".join(filter_format("(%s=%s)", [email, text]) for text in spellings(address))
        with open_session(self._directory) as session:
            found = self._search(session, f"(|{same})")
            return [
                self._account(session, entry, address) for entry in self._having(found, address)
            ]

    def get(self, account_id: str) -> Account | None:
        with open_session(self._directory) as session:
            entry = self._entry(session, account_id)
            return None if entry is None else self._account(session, entry)

    def has_password(self, account: Account, password: str) -> bool | None:
        # Never by a bind: it would count as a failure of the person's own, and may lock them out.
        with open_session(self._directory) as session:
            entry = self._entry(session, account.id)
        stored = entry.texts(self._password_attribute) if entry else []
        readable = [text for text in stored if hashes.scheme_of(text)]
        return any(hashes.verify(password, text) for text in readable) if readable else None

    def set_password(self, account: Account, new_password: str) -> None:
        _refuse_unwritable(new_password)
        with open_session(self._directory) as session:
            entry = self._entry(session, account.id)
            if entry is None:
                raise AccountChanged
            now = self._account(session, entry)
            if now.obstacle or now.identity != account.identity:
                raise AccountChanged
            self._store(session, entry, new_password)
            self._settle_state(session, entry.dn)

    def all(self) -> Iterator[Account]:
        directory = self._directory
        with open_session(directory) as session:
            for page in session.pages(directory.base, directory.filter, self._attributes, PAGE):
                for entry in page:
                    yield self._account(session, entry)

    def examine(self) -> list[Finding]:
        directory = self._directory
        with open_session(directory) as session:
            entries = self._page(session, size=PAGE)
            exact = [self._credential(e).startswith(self.precise_changes) for e in entries]
            return [
                ldap_findings.encryption(directory),
                ldap_findings.speed(partial(self._search, session), directory.email),
                *ldap_findings.visibility(entries, directory),
                *ldap_findings.precision(exact),
            ]

    def rehearse(self, account: Account) -> Finding:
        return Finding(
            "warning",
            "a change cannot be rehearsed: a directory has no way to undo it",
            "reset the password of a trial account once",
        )

    # What other kinds of directory do in their own way.

    def _id(self, entry: Entry) -> str:
        return entry.text(self.id_attribute)

    def _id_filter(self, known: uuid.UUID) -> str:
        return f"({self.id_attribute}={known})"

    def _is_off(self, entry: Entry) -> str:
        """The attribute by which the directory itself keeps the account out; or nothing."""
        locked = entry.text("pwdAccountLockedTime") == _LOCKED_FOR_GOOD
        return "pwdAccountLockedTime" if locked else ""

    def _is_member(self, session: Session, entry: Entry, group: str) -> bool:
        login = entry.text(self._directory.login)
        same = filter_format(
            "(|(member=%s)(uniqueMember=%s)(memberUid=%s))", [entry.dn] * 2 + [login]
        )
        return bool(session.search(group, same, ["objectClass"], ldap.SCOPE_BASE))

    def _store(self, session: Session, entry: Entry, password: str) -> None:
        attribute = self._directory.password
        if attribute is None:
            return change(partial(session.set_password, entry.dn, password))
        new_hash = hashes.renew(password, entry.text(attribute), self._directory.scheme)
        if attribute.lower() == "userpassword" and not new_hash.startswith("{"):
            # RFC 2307, 5.3: the server would take it for the password itself, in clear text.
            raise AccountsUnavailable("a hash in userPassword needs {SCHEME} before it")
        replaced = (ldap.MOD_REPLACE, attribute, [new_hash.encode()])
        controls = self._only_if_unchanged(session, entry)
        return change(partial(session.modify, entry.dn, [replaced], controls))

    def _settle_state(self, session: Session, dn: str) -> None:
        """Bring the server's own marks to what the settings say; the password is set already."""
        try:
            entry = session.read(dn, ["pwdReset", "pwdAccountLockedTime"])
            changes = self._marks(entry) if entry else []
            if changes:
                session.modify(dn, changes)
        except ldap.LDAPError as error:
            log.warning("account state not set", extra={"error": type(error).__name__})

    def _marks(self, entry: Entry) -> list[tuple[Any, ...]]:
        changes: list[tuple[Any, ...]] = []
        must_change = entry.text("pwdReset") == "TRUE"
        if must_change is not self._directory.must_change:
            wanted = [b"TRUE"] if self._directory.must_change else None
            changes.append((ldap.MOD_REPLACE, "pwdReset", wanted))
        # OpenLDAP lifts its lock by itself with every change of the password that it checks.
        if self._directory.unlock and entry.raw("pwdAccountLockedTime"):
            changes.append((ldap.MOD_REPLACE, "pwdAccountLockedTime", None))
        return changes

    # How entries become accounts.

    @property
    def _password_attribute(self) -> str:
        return self._directory.password or "userPassword"

    @property
    def _changes(self) -> tuple[str, ...]:
        """The attributes that tell a change of the password, the most exact one first."""
        own = self._directory.password
        if own is None:
            return (*self.precise_changes, "userPassword", *self.any_change)
        # The server keeps times for its own attribute; a portal's tells its changes by itself.
        timed = self.precise_changes if own.lower() == "userpassword" else ()
        return (own, *timed, *self.any_change)

    @property
    def _attributes(self) -> Collection[str]:
        own = {self.id_attribute, *self.state_attributes, *self._changes}
        return self._directory.attributes | own

    def _search(self, session: Session, condition: str) -> list[Entry]:
        directory = self._directory
        both = f"(&{directory.filter}{condition})"
        return session.search(directory.base, both, self._attributes, ldap.SCOPE_SUBTREE)

    def _page(self, session: Session, *, size: int) -> list[Entry]:
        directory = self._directory
        pages = session.pages(directory.base, directory.filter, self._attributes, size)
        return next(pages, [])

    def _entry(self, session: Session, account_id: str) -> Entry | None:
        try:
            known = uuid.UUID(str(json.loads(account_id)))
        except ValueError:
            return None  # Of the accounts that the settings named before.
        return next(iter(self._search(session, self._id_filter(known))), None)

    def _having(self, found: list[Entry], address: str) -> list[Entry]:
        """Those of *found* that have exactly *address*: servers compare more loosely."""
        email = self._directory.email
        return [e for e in found if any(has_address(text, address) for text in e.texts(email))]

    def _account(self, session: Session, entry: Entry, typed: str | None = None) -> Account:
        directory = self._directory
        addresses = entry.texts(directory.email)
        address = next(iter(addresses), "")
        name, login = entry.text(directory.name), entry.text(directory.login)
        extra = (text for attribute in directory.personal for text in entry.texts(attribute))
        obstacle, reason = self._obstacle(session, entry)
        if obstacle is None and typed is not None and not has_address(address, typed):
            # Who owns a further address of an entry is not sure enough to send a link there.
            obstacle = "address_secondary"
        return Account(
            id=json.dumps(self._known_id(entry)),
            login=login,
            address=address,
            name=name,
            credential=self._credential(entry),
            personal=(name, login, *addresses, *extra),
            obstacle=obstacle,
            reason=reason,
            scheme=hashes.scheme_of(entry.text(self._password_attribute)) or "",
        )

    def _known_id(self, entry: Entry) -> str:
        known = self._id(entry)
        if not known:
            raise AccountsUnavailable(f"the service account may not read {self.id_attribute}")
        return known

    def _credential(self, entry: Entry) -> str:
        for attribute in self._changes:
            values = sorted(entry.texts(attribute))
            if values and values != ["0"]:  # Active Directory: "to be changed at the next sign-in".
                return f"{attribute}={' '.join(values)}"
        raise AccountsUnavailable("the service account may read nothing that tells of a change")

    def _obstacle(self, session: Session, entry: Entry) -> tuple[str | None, str]:
        """The event name of what is in the way, and what in the settings or entry is behind it."""
        directory = self._directory
        if off := self._is_off(entry):
            return "account_inactive", off
        if directory.active and not is_active(entry.text(directory.active)):
            return "account_inactive", directory.active
        fields = {rule.field: entry.texts(rule.field) for rule in directory.exclude}
        if rule := applying(directory.exclude, fields):
            return "account_excluded", str(rule)
        for group in directory.exclude_groups:
            if self._is_member(session, entry, group):
                return "account_excluded", group
        if directory.password and directory.scheme == "auto":
            known = hashes.scheme_of(entry.text(directory.password))
            return (None if known else "hash_unknown"), ""
        return None, ""

    def _only_if_unchanged(self, session: Session, entry: Entry) -> list[AssertionControl]:
        """Have the server compare what was read a moment ago, if it can. Source: RFC 4528."""
        if not session.supports(AssertionControl.controlType):
            return []
        attribute = self._credential(entry).partition("=")[0]
        same = "".join(
            f"({name}={escaped(value)})"
            for name in (attribute, self._directory.email)
            for value in entry.raw(name)
        )
        return [AssertionControl(True, f"(&{same})")]


def _refuse_unwritable(password: str) -> None:
    if not password:
        raise PasswordRefused(["missing"])  # RFC 3062, 2: the server would make one up.
    try:
        password.encode()
    except UnicodeEncodeError:
        raise PasswordRefused(["bad_character"]) from None


def _check_group(session: Session, group: str) -> None:
    # A group that is not there has no members, and then nobody would be kept out.
    try:
        seen = session.read(group, ["objectClass", *_MEMBERS])
    except ldap.NO_SUCH_OBJECT:
        seen = None
    if seen is None:
        raise AccountsUnavailable(f"the group {group} does not exist, or may not be seen")
    classes = {name.lower() for name in seen.texts("objectClass")}
    if classes & _NEVER_EMPTY and not any(map(seen.raw, _MEMBERS)):
        raise AccountsUnavailable(f"the members of the group {group} may not be seen")
