"""What the service must know of an LDAP directory; can be read without python-ldap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from reset.accounts.fields import Rule
from reset.loopback import is_loopback


@dataclass(frozen=True)
class Directory:
    """Where the directory is, which entries are accounts, and what is kept in which attribute.

    Attributes:
        url: one or several URIs with blanks between; the first that answers is used.
        bind_dn: the service account; Active Directory also takes ``user@realm``.
        filter: which entries below ``base`` are accounts.
        starttls: turn ldap:// into TLS before anything else is sent. Certificates are always
            verified.
        ca: the file of the authority that signed the directory's certificate; None: the system's.
        password: None: the directory itself hashes (RFC 3062); else the attribute that gets a
            hash of ours. Active Directory has its own way.
        scheme: for entries without a usable hash in ``password``.
        exclude: whose attributes (any of their values) say that they may not reset.
        exclude_groups: DNs of the groups whose members may not reset.
        unlock: lift a lock-out, set after too many failures, with the change.
        active_directory: whether it is one; then ``password`` and ``scheme`` mean nothing.
        must_change: have the person choose another password at the next sign-in.
    """

    url: str = field(repr=False)
    base: str
    bind_dn: str
    bind_password: str = field(repr=False)
    filter: str
    starttls: bool
    ca: Path | None
    email: str = "mail"
    login: str = "uid"
    name: str = "cn"
    active: str | None = None
    personal: Sequence[str] = ()
    password: str | None = None
    scheme: str = "auto"
    exclude: Sequence[Rule] = ()
    exclude_groups: Sequence[str] = ()
    unlock: bool = False
    must_change: bool = False
    active_directory: bool = False

    @property
    def attributes(self) -> set[str]:
        """Every attribute that the settings name."""
        optional = (self.active, self.password, *self.personal)
        ruled = (rule.field for rule in self.exclude)
        return {self.email, self.login, self.name, *filter(None, optional), *ruled}

    @property
    def is_encrypted(self) -> bool:
        """Whether nobody on the way can read along, at any of the URIs."""
        return self.starttls or all(
            uri.lower().startswith(("ldaps://", "ldapi://")) for uri in self.url.split()
        )

    @property
    def is_local(self) -> bool:
        """Whether the connection stays on this machine, at any of the URIs."""
        return all(_is_local(uri) for uri in self.url.split())


def _is_local(uri: str) -> bool:
    parts = urlsplit(uri)
    return parts.scheme == "ldapi" or is_loopback(parts.hostname or "")
