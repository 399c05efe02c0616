"""A directory of accounts as the operator describes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reset.accounts.fields import Rule


@dataclass(frozen=True)
class Directory:
    """Where accounts are and how to change them; `docs/portals.md` has examples.

    Attributes:
        url: one URI or several, separated by blanks.
        filter: which entries below *base* are accounts.
        starttls: encrypt an `ldap:` connection; certificates are always verified.
        ca: a file with the certification authority; None for the system's.
        email, login, name, active, personal: names of attributes.
        password: None to let the server hash (RFC 3062); else the attribute to put a hash into.
        scheme: how to hash where *password* is an attribute and there is no hash to follow.
        exclude: which accounts get no link.
        exclude_groups: DNs of groups whose members get no link.
        unlock: lift a lock-out with the change.
        must_change: the person has to choose another password at the next sign-in.
    """

    url: str
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
