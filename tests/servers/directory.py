"""What an administrator does in a directory of the tests, whichever server it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ldap


class DirectoryServer(ABC):
    """Entries of one server; ``people`` is where persons are, ``administrator`` binds."""

    people: str
    administrator: tuple[str, str]

    @abstractmethod
    def _as(self, name: str, password: str) -> Any:
        """A connection bound as *name*."""

    def add(self, dn: str, **attributes: Any) -> str:
        """A new entry; each attribute is a text or a list, None leaves it out. Returns *dn*."""
        wanted = [(name, _values(value)) for name, value in attributes.items() if value is not None]
        with self._admin() as connection:
            connection.add_s(dn, wanted)
        return dn

    def set(self, dn: str, **attributes: Any) -> None:
        """Replace attributes; None removes one."""
        changes = [
            (ldap.MOD_REPLACE, name, None if value is None else _values(value))
            for name, value in attributes.items()
        ]
        with self._admin() as connection:
            connection.modify_s(dn, changes)

    def move(self, dn: str, rdn: str, to: str | None = None) -> str:
        """Rename an entry; returns the new DN."""
        above = to or self.people
        with self._admin() as connection:
            connection.rename_s(dn, rdn, above)
        return f"{rdn},{above}"

    def delete(self, dn: str) -> None:
        """Remove an entry."""
        with self._admin() as connection:
            connection.delete_s(dn)

    def read(self, dn: str, attribute: str) -> list[bytes]:
        """The values of an attribute, operational ones included."""
        with self._admin() as connection:
            found = connection.search_s(dn, ldap.SCOPE_BASE, attrlist=[attribute])
        return list(found[0][1].get(attribute, []))

    @contextmanager
    def _admin(self) -> Iterator[Any]:
        connection = self._as(*self.administrator)
        try:
            yield connection
        finally:
            connection.unbind_s()

    def _signs_in(self, name: str, password: str) -> bool:
        try:
            self._as(name, password).unbind_s()
        except ldap.INVALID_CREDENTIALS:
            return False
        return True

    def _remove_below(self, base: str, *but: str) -> None:
        """Remove every entry below *base*, the deepest first."""
        with self._admin() as connection:
            # Else a server would send us on to where a referral leads.
            connection.set_option(ldap.OPT_SERVER_CONTROLS, [ldap.controls.ManageDSAITControl()])
            found = connection.search_s(base, ldap.SCOPE_SUBTREE, attrlist=["1.1"])
            for dn in sorted((dn for dn, _ in found if dn), key=len, reverse=True):
                if dn not in (base, *but):
                    connection.delete_s(dn)


def _values(value: Any) -> list[bytes]:
    values = value if isinstance(value, list) else [value]
    return [one if isinstance(one, bytes) else str(one).encode() for one in values]
