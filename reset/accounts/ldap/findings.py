"""What the operator should know of a directory, beyond whether it answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reset.accounts.ldap import Directory
from reset.accounts.ldap.session import Entry
from reset.findings import Finding


def encryption(directory: Directory) -> Finding:
    """Whether somebody on the way could read the passwords."""
    if directory.is_encrypted:
        return Finding("ok", "the connection is encrypted")
    if directory.is_local:
        return Finding("ok", "the connection does not leave this machine")
    return Finding("warning", "passwords travel in clear text", "use ldaps:// or turn StartTLS on")


def visibility(entries: Sequence[Entry], directory: Directory) -> Iterator[Finding]:
    """Attributes that none of *entries* shows, although nobody could do without them."""
    for attribute in (directory.email, directory.login):
        if entries and not any(entry.raw(attribute) for entry in entries):
            yield Finding(
                "fault",
                f"no entry shows its {attribute}",
                "name the right attribute, and let the service account read it",
            )


def precision(exact: Sequence[bool]) -> Iterator[Finding]:
    """Whether a link dies with the password only; *exact* says so of some entries."""
    missing = len(exact) - sum(exact)
    if missing:
        # New entries have none until their password is changed for the first time.
        yield Finding(
            "note" if any(exact) else "warning",
            f"entries without a time of their last password, in the first {len(exact)}: {missing};"
            " any change of theirs voids their links",
            "let the service account read pwdChangedTime (it comes with OpenLDAP's ppolicy and the"
            " first change after it was loaded) or pwdLastSet",
        )
