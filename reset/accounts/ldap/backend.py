"""Accounts in an LDAP directory such as OpenLDAP, 389 DS or any other with entryUUID."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import ldap
from ldap.controls.libldap import AssertionControl
from ldap.filter import filter_format

from reset.accounts import Account, hashes
from reset.accounts.fields import as_text, same_text
from reset.accounts.ldap import Directory, findings
from reset.accounts.ldap.reading import Reader
from reset.accounts.ldap.session import PAGE, Entry, Session, change, escaped, open_session
from reset.accounts.silence import Silence
from reset.address import spellings
from reset.errors import AccountChanged, AccountsUnavailable, PasswordRefused
from reset.findings import Finding

_MEMBERS = ("member", "uniqueMember", "memberUid")
# Of Active Directory the persons are asked. Others hold a member at least (RFC 4519, 3.5 and 3.6).
_MAY_BE_EMPTY = {"group", "posixgroup"}
log = logging.getLogger(__name__)


class LdapAccounts(Reader):
    """The AccountBackend over a directory; the server itself hashes, unless settings say how.

    RFC 3062 cannot tell the server to compare first: slapd 2.5 answers an assertion (RFC 4528) on
    it with "critical extension is unavailable". So the entry is read again on the connection that
    changes it, a moment before; where an attribute is replaced, the server compares as well.
    Two changes within the second that pwdChangedTime counts in look like one.
    """

    def __init__(self, directory: Directory) -> None:
        super().__init__(directory)
        self._silences = {uri: Silence() for uri in directory.url.split()}

    def check(self) -> None:
        with self._open() as session:
            for group in self._directory.exclude_groups:
                _check_group(session, group)
            for entry in self._page(session, size=1):
                self._account(session, entry)

    def find_by_address(self, address: str) -> list[Account]:
        email = self._directory.email
        same = "".join(filter_format("(%s=%s)", [email, text]) for text in spellings(address))
        with self._open() as session:
            found = self._search(session, f"(|{same})")
            return [
                self._account(session, entry, address) for entry in self._having(found, address)
            ]

    def find_by_login(self, login: str) -> list[Account]:
        attribute, text = self._directory.login, as_text(login)
        with self._open() as session:
            return [
                self._account(session, entry)
                for entry in self._search(session, filter_format("(%s=%s)", [attribute, text]))
                if any(same_text(stored, text) for stored in entry.texts(attribute))
            ]

    def get(self, account_id: str) -> Account | None:
        with self._open() as session:
            entry = self._entry(session, account_id)
            return None if entry is None else self._account(session, entry)

    def has_password(self, account: Account, password: str) -> bool | None:
        # Never by a bind: it would count as a failure of the person's own, and may lock them out.
        with self._open() as session:
            entry = self._entry(session, account.id)
        stored = entry.texts(self._password_attribute) if entry else []
        readable = [text for text in stored if hashes.scheme_of(text)]
        return any(hashes.verify(password, text) for text in readable) if readable else None

    def set_password(self, account: Account, new_password: str) -> None:
        _refuse_unwritable(new_password)
        with self._open() as session:
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
        with self._open() as session:
            for page in session.pages(directory.base, directory.filter, self._attributes, PAGE):
                for entry in page:
                    yield self._account(session, entry)

    def examine(self) -> list[Finding]:
        directory = self._directory
        with self._open() as session:
            entries = self._page(session, size=PAGE)
            exact = [self._credential(e).startswith(self.precise_changes) for e in entries]
            return [
                findings.encryption(directory),
                *findings.visibility(entries, directory),
                *findings.precision(exact),
            ]

    def rehearse(self, account: Account) -> Finding:
        text = "whether passwords may be written was not tried: a directory cannot undo a change"
        return Finding("note", text, "reset the password of a trial account once")

    def _open(self) -> AbstractContextManager[Session]:
        return open_session(self._directory, self._silences)

    def _store(self, session: Session, entry: Entry, password: str) -> None:
        attribute = self._directory.password
        if attribute is None:
            change(partial(session.set_password, entry.dn, password))
            return
        new_hash = hashes.renew(password, entry.text(attribute), self._directory.scheme)
        if attribute.lower() == "userpassword" and not new_hash.startswith("{"):
            # RFC 2307, 5.3: the server would take it for the password itself, in clear text.
            raise AccountsUnavailable("a hash in userPassword needs {SCHEME} before it")
        replaced = (ldap.MOD_REPLACE, attribute, [new_hash.encode()])
        controls = self._only_if_unchanged(session, entry)
        change(partial(session.modify, entry.dn, [replaced], controls))

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
    if not classes & _MAY_BE_EMPTY and not any(map(seen.raw, _MEMBERS)):
        raise AccountsUnavailable(f"{group} is no group, or its members may not be seen")
