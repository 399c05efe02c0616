"""How the entries of a directory become accounts."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection

import ldap
from ldap.filter import filter_format

from reset.accounts import Account, hashes
from reset.accounts.fields import applying, is_active
from reset.accounts.ldap import Directory
from reset.accounts.ldap.session import Entry, Session
from reset.address import has_address
from reset.errors import AccountsUnavailable

# Source: draft-behera-ldap-password-policy-10, 5.3.3: locked until an administrator says otherwise.
_LOCKED_FOR_GOOD = "000001010000Z"


class Reader:
    """Finds entries and reads accounts out of them, as OpenLDAP and its like keep them."""

    id_attribute = "entryUUID"
    # What the server keeps about the account itself, to be asked for by name.
    state_attributes: tuple[str, ...] = ("pwdAccountLockedTime", "uid", "gidNumber")
    precise_changes: tuple[str, ...] = ("pwdChangedTime", "pwdLastSet")
    any_change: tuple[str, ...] = ("entryCSN", "modifyTimestamp")

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

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
        named = [("member", entry.dn), ("uniqueMember", entry.dn)]
        named += [("memberUid", uid) for uid in entry.texts("uid")]
        named += [("gidNumber", number) for number in entry.texts("gidNumber")]
        same = "".join(filter_format("(%s=%s)", pair) for pair in named)
        return bool(session.search(group, f"(|{same})", ["objectClass"], ldap.SCOPE_BASE))

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
