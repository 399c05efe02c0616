"""Which source of accounts the settings name, and how it is opened."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast
from urllib.parse import urlsplit

from reset.accounts import AccountBackend
from reset.accounts.fields import Rule, rules
from reset.accounts.hashes import SCHEMES
from reset.accounts.ldap import Directory
from reset.accounts.sql import Table
from reset.accounts.sql.backend import SqlAccounts
from reset.accounts.sql.statements import (
    after_change_fault,
    assignments_fault,
    select_fault,
    update_fault,
)
from reset.engine import parse
from reset.errors import ConfigurationError
from reset.values import Values

_DIRECTORY_SCHEMES = ("ldap", "ldaps", "ldapi")
_FILTERS = {
    "password-modify": "(objectClass=person)",
    "attribute": "(objectClass=person)",
    "active-directory": "(&(objectCategory=person)(objectClass=user))",
}
# What Active Directory marks its administrators with.
_AD_ADMINISTRATORS = (Rule("adminCount", "=", "1"),)
# What would be ignored in silence. Names of columns are left out: they have defaults.
_ONLY_TABLE = (
    *("ACCOUNTS_FIND_SQL", "ACCOUNTS_UPDATE_SQL", "ACCOUNTS_AFTER_CHANGE_SQL"),
    *("ACCOUNTS_SET", "ACCOUNTS_HASH_UPGRADE"),
)
_ONLY_DIRECTORY = (
    *("ACCOUNTS_LDAP_BASE", "ACCOUNTS_LDAP_BIND_DN", "ACCOUNTS_LDAP_FILTER"),
    *("ACCOUNTS_LDAP_EXCLUDE_GROUPS", "ACCOUNTS_LDAP_UNLOCK", "ACCOUNTS_LDAP_MUST_CHANGE"),
)
_ADDRESSES = (
    "it must be an address such as sqlite:////srv/portal.sqlite, postgresql://user@host/portal, "
    "mysql://user@host/portal or ldaps://host, in a password @ is written %40, % %25 and / %2F"
)


@dataclass(frozen=True)
class OwnBackend:
    """A class of the operator's own, called with the URL to make an AccountBackend."""

    path: str
    url: str = field(repr=False)


Source = Table | Directory | OwnBackend


def read(values: Values) -> Source:
    """The source that *values* describe; faults are noted there."""
    url = values.text("ACCOUNTS_URL")
    path = values.text("ACCOUNTS_BACKEND")
    # All are asked for, whichever apply: a name of another kind of source is no unknown one.
    table = _table(values)
    directory = _directory(values, table)
    if path:
        return OwnBackend(path, url)
    is_directory = url.partition(":")[0].lower() in _DIRECTORY_SCHEMES
    source = directory if is_directory else table
    for name, sentence in _faults(source):
        values.fault(name, sentence)
    for name in _ONLY_TABLE if is_directory else _ONLY_DIRECTORY:
        if values.text(name) not in ("", "0"):
            values.fault(name, "is not for this kind of RESET_ACCOUNTS_URL")
    return source


def open_accounts(source: Source, clock: Callable[[], datetime]) -> AccountBackend:
    """The backend for *source*; it connects when first used. *clock* tells the time in UTC.

    Raises:
        ConfigurationError: something that has to be installed for it is missing.
    """
    try:
        return _opened(source, clock)
    except ConfigurationError:
        raise
    except Exception as error:
        # An option of the URL that is not known, or a fault in the operator's own class.
        name = "ACCOUNTS_BACKEND" if isinstance(source, OwnBackend) else "ACCOUNTS_URL"
        sentence = f"RESET_{name}: cannot be used ({type(error).__name__})."
        raise ConfigurationError([sentence]) from error


def _opened(source: Source, clock: Callable[[], datetime]) -> AccountBackend:
    if isinstance(source, Table):
        return SqlAccounts(source)
    if isinstance(source, OwnBackend):
        return _own(source)
    try:
        # Only who has a directory has to install what it needs.
        from reset.accounts.ldap.active_directory import ActiveDirectory
        from reset.accounts.ldap.backend import LdapAccounts
    except ModuleNotFoundError as error:
        sentence = "RESET_ACCOUNTS_URL: a directory needs pip install -r requirements-ldap.txt."
        raise ConfigurationError([sentence]) from error
    if source.active_directory:
        return ActiveDirectory(source, clock)
    return LdapAccounts(source)


def exclusions(source: Source) -> list[str]:
    """The operator's own rules and groups, each as an account says by which it is excluded."""
    if isinstance(source, OwnBackend):
        return []
    own = [str(rule) for rule in source.exclude if rule not in _AD_ADMINISTRATORS]
    return own + (list(source.exclude_groups) if isinstance(source, Directory) else [])


def upgrades_to(source: Source) -> str | None:
    """The scheme that takes the place of weak ones at the next change; None for the row's own."""
    return source.scheme if isinstance(source, Table) and source.upgrade else None


def _own(source: OwnBackend) -> AccountBackend:
    module, _, name = source.path.rpartition(".")
    try:
        backend = cast(
            Callable[[str], AccountBackend], getattr(importlib.import_module(module), name)
        )
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        sentence = f"RESET_ACCOUNTS_BACKEND: {source.path} cannot be imported."
        raise ConfigurationError([sentence]) from error
    return backend(source.url)


def _table(values: Values) -> Table:
    return Table(
        url=values.text("ACCOUNTS_URL"),
        table=values.text("ACCOUNTS_TABLE"),
        find_sql=values.text("ACCOUNTS_FIND_SQL"),
        update_sql=values.text("ACCOUNTS_UPDATE_SQL"),
        after_change_sql=values.text("ACCOUNTS_AFTER_CHANGE_SQL"),
        assignments=values.text("ACCOUNTS_SET"),
        id=values.text("ACCOUNTS_ID", "id"),
        email=values.text("ACCOUNTS_EMAIL"),
        password=values.text("ACCOUNTS_PASSWORD"),
        login=values.text("ACCOUNTS_LOGIN") or None,
        name=values.text("ACCOUNTS_NAME") or None,
        active=values.text("ACCOUNTS_ACTIVE") or None,
        personal=values.words("ACCOUNTS_PERSONAL"),
        exclude=_rules(values, "ACCOUNTS_EXCLUDE"),
        scheme=values.choice("ACCOUNTS_HASH", ("auto", *SCHEMES)),
        upgrade=values.boolean("ACCOUNTS_HASH_UPGRADE"),
    )


def _directory(values: Values, table: Table) -> Directory:
    change = values.choice("ACCOUNTS_LDAP_CHANGE", tuple(_FILTERS))
    is_ad = change == "active-directory"
    return Directory(
        url=table.url,
        base=values.text("ACCOUNTS_LDAP_BASE"),
        bind_dn=values.text("ACCOUNTS_LDAP_BIND_DN"),
        bind_password=values.text("ACCOUNTS_LDAP_BIND_PASSWORD"),
        filter=values.text("ACCOUNTS_LDAP_FILTER", _FILTERS[change]),
        starttls=values.boolean("ACCOUNTS_LDAP_STARTTLS", default="1"),
        ca=values.file("ACCOUNTS_LDAP_CA"),
        email=table.email or "mail",
        login=table.login or ("sAMAccountName" if is_ad else "uid"),
        name=table.name or ("displayName" if is_ad else "cn"),
        active=table.active,
        personal=table.personal,
        password=(table.password or "userPassword") if change == "attribute" else None,
        active_directory=is_ad,
        scheme=table.scheme,
        exclude=(*table.exclude, *(_AD_ADMINISTRATORS if is_ad else ())),
        exclude_groups=_groups(values.text("ACCOUNTS_LDAP_EXCLUDE_GROUPS")),
        unlock=values.boolean("ACCOUNTS_LDAP_UNLOCK"),
        must_change=values.boolean("ACCOUNTS_LDAP_MUST_CHANGE"),
    )


def _rules(values: Values, name: str) -> tuple[Rule, ...]:
    try:
        return rules(values.text(name))
    except ValueError as error:
        values.fault(name, f"{error} is no rule such as deleted=1, auth!=manual or login~^svc_")
        return ()


def _groups(text: str) -> tuple[str, ...]:
    """DNs hold commas, so that semicolons stand between them."""
    return tuple(part.strip() for part in text.split(";") if part.strip())


def _faults(source: Table | Directory) -> Iterator[tuple[str, str]]:
    """The names and sentences of what is wrong with *source* as a whole."""
    yield from _table_faults(source) if isinstance(source, Table) else _directory_faults(source)


def _table_faults(table: Table) -> Iterator[tuple[str, str]]:
    try:
        parse(table.url)
    except ValueError as error:
        yield "ACCOUNTS_URL", f"{error}; {_ADDRESSES}" if table.url else "is missing"
    if not table.email:
        yield "ACCOUNTS_EMAIL", "is missing: the column with the e-mail address"
    if not table.password:
        yield "ACCOUNTS_PASSWORD", "is missing: the column with the hash of the password"
    if not table.table and not table.find_sql:
        yield "ACCOUNTS_TABLE", "is missing (or RESET_ACCOUNTS_FIND_SQL)"
    elif not table.table and not table.update_sql:
        yield "ACCOUNTS_UPDATE_SQL", "is missing (or RESET_ACCOUNTS_TABLE, the table to change)"
    if table.update_sql and table.assignments:
        yield "ACCOUNTS_SET", "has no effect beside RESET_ACCOUNTS_UPDATE_SQL; write it there"
    if table.upgrade and table.scheme == "auto":
        yield "ACCOUNTS_HASH_UPGRADE", "needs the scheme to use, in RESET_ACCOUNTS_HASH"
    for name, text, fault in (
        ("ACCOUNTS_FIND_SQL", table.find_sql, select_fault),
        ("ACCOUNTS_UPDATE_SQL", table.update_sql, update_fault),
        ("ACCOUNTS_AFTER_CHANGE_SQL", table.after_change_sql, after_change_fault),
        ("ACCOUNTS_SET", table.assignments, assignments_fault),
    ):
        sentence = fault(text) if text else None
        if sentence:
            yield name, sentence


def _directory_faults(directory: Directory) -> Iterator[tuple[str, str]]:
    required = {
        "ACCOUNTS_LDAP_BASE": directory.base,
        "ACCOUNTS_LDAP_BIND_DN": directory.bind_dn,
        # A bind without one succeeds as nobody. Source: RFC 4513, 5.1.2.
        "ACCOUNTS_LDAP_BIND_PASSWORD": directory.bind_password,
    }
    yield from ((name, "is missing") for name, value in required.items() if not value)
    for url in directory.url.split():
        if not _is_directory_url(url):
            yield "ACCOUNTS_URL", _ADDRESSES
            return
    if not directory.is_encrypted and not directory.is_local:
        yield "ACCOUNTS_LDAP_STARTTLS", "passwords would travel in clear: set it to 1"


def _is_directory_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    # A name and password in it would be in every log that names the server.
    return parts.scheme in _DIRECTORY_SCHEMES and "@" not in parts.netloc
