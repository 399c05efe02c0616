"""Accounts in Active Directory, or in Samba as its domain controller."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import ldap
from ldap.controls import RequestControl
from ldap.filter import filter_format

from reset.accounts import Account
from reset.accounts.ldap import Directory
from reset.accounts.ldap.backend import LdapAccounts
from reset.accounts.ldap.session import Entry, Session, change, escaped
from reset.errors import AccountsUnavailable
from reset.findings import Finding

_DISABLED = 0x2  # Source: MS-ADTS, 2.2.16: ADS_UF_ACCOUNTDISABLE.
# A FILETIME counts steps of 100 ns since 1601; 0 and the largest mean never.
# Source: MS-DTYP, 2.3.3; MS-ADA1, 2.4.
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
# Source: MS-ADTS, 3.1.1.3.4.1.27 and 3.1.1.3.4.1.19, its older form. Without it an administrative
# change is made without a look at the password history.
_HINTS = ("1.2.840.113556.1.4.2239", "1.2.840.113556.1.4.2066")
_ENFORCE = b"\x30\x03\x02\x01\x01"  # SEQUENCE { INTEGER 1 }
# Source: MS-ADTS, 3.1.1.3.4.4.3: members of groups that are members, at any depth.
_NESTED = "memberOf:1.2.840.113556.1.4.1941:"


class ActiveDirectory(LdapAccounts):
    """The AccountBackend over Active Directory; *clock* tells which accounts have expired.

    The directory has no way to compare and set: the entry is read again on the connection that
    changes it, a moment before.
    """

    id_attribute = "objectGUID"
    state_attributes = ("userAccountControl", "accountExpires", "objectSid", "primaryGroupID")
    # The number of the key goes on where the time is 0, that is, "to be changed at next sign-in".
    precise_changes = ("pwdLastSet", "msDS-KeyVersionNumber")
    any_change = ("whenChanged",)

    def __init__(self, directory: Directory, clock: Callable[[], datetime]) -> None:
        super().__init__(directory)
        self._clock = clock

    def check(self) -> None:
        self._insist_on_tls()
        super().check()

    def has_password(self, account: Account, password: str) -> bool | None:
        return None

    def set_password(self, account: Account, new_password: str) -> None:
        self._insist_on_tls()
        super().set_password(account, new_password)

    def examine(self) -> list[Finding]:
        with self._open() as session:
            hints = _hints(session)
        if hints:
            found = Finding("ok", "password history is enforced on resets")
        else:
            found = Finding(
                "warning",
                "password history is not enforced on resets",
                "the domain controller lacks the policy hints control: Windows Server has it",
            )
        return [*super().examine(), found]

    def _insist_on_tls(self) -> None:
        if not self._directory.is_encrypted:
            raise AccountsUnavailable("Active Directory takes passwords over ldaps:// or StartTLS")

    def _id(self, entry: Entry) -> str:
        raw = entry.raw(self.id_attribute)
        return str(uuid.UUID(bytes_le=raw[0])) if raw else ""

    def _id_filter(self, known: uuid.UUID) -> str:
        return f"({self.id_attribute}={escaped(known.bytes_le)})"

    def _is_off(self, entry: Entry) -> str:
        if not entry.text("userAccountControl"):
            raise AccountsUnavailable("the service account may not read userAccountControl")
        if int(entry.text("userAccountControl")) & _DISABLED:
            return "userAccountControl"
        now = int((self._clock() - _EPOCH) / timedelta(microseconds=1)) * 10
        return "accountExpires" if 0 < int(entry.text("accountExpires") or 0) <= now else ""

    def _is_member(self, session: Session, entry: Entry, group: str) -> bool:
        # By its name alone a group that was renamed would have no members.
        seen = session.read(group, ["objectSid"])
        sids = seen.raw("objectSid") if seen else []
        primary = _primary_group(entry)
        if not sids or not primary:
            raise AccountsUnavailable(f"the group {group} or the primary group may not be read")
        inside = filter_format(f"({_NESTED}=%s)", [group])
        # The primary group is not in memberOf, but may be inside the group, too.
        return sids == [primary] or any(
            session.search(dn, inside, ["objectClass"], ldap.SCOPE_BASE)
            for dn in (entry.dn, f"<SID={primary.hex()}>")
        )

    def _store(self, session: Session, entry: Entry, password: str) -> None:
        # Source: MS-ADTS, 3.1.1.3.1.5: in quotes, in UTF-16, and nothing in it is escaped.
        quoted = f'"{password}"'.encode("utf-16-le")
        changes: list[tuple[Any, ...]] = [(ldap.MOD_REPLACE, "unicodePwd", [quoted])]
        if self._directory.unlock:
            changes.append((ldap.MOD_REPLACE, "lockoutTime", [b"0"]))
        if self._directory.must_change:
            changes.append((ldap.MOD_REPLACE, "pwdLastSet", [b"0"]))
        change(partial(session.modify, entry.dn, changes, _hints(session)))

    def _settle_state(self, session: Session, dn: str) -> None:
        """Nothing: it is all in the one change, and that one clears the mark by itself."""


def _hints(session: Session) -> list[RequestControl]:
    """The control that has the server look at the history; empty where it knows none."""
    known = next(filter(session.supports, _HINTS), None)
    return [RequestControl(known, True, _ENFORCE)] if known else []


def _primary_group(entry: Entry) -> bytes:
    """Its SID: that of the domain, which an account's own begins with, and a number."""
    sid, number = entry.raw("objectSid"), entry.text("primaryGroupID")
    return sid[0][:-4] + int(number).to_bytes(4, "little") if sid and number else b""
