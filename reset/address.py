"""E-mail addresses: what was typed, and the form in which two addresses are compared."""

from __future__ import annotations

import re
import unicodedata

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from reset.errors import InvalidAddress

# Offices use `oficina.local` and the like; which domains exist is the portal's business.
SPECIAL_USE_DOMAIN_NAMES.clear()
LONGEST = 254  # RFC 5321, 4.5.3.1.3: a path of 256 octets holds an address of 254.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")


def tidy(typed: str) -> str:
    """Drop the spaces around and the zero-width characters that copying brings along."""
    return _INVISIBLE.sub("", typed).strip()


def normalise(typed: str) -> str:
    """Return the form in which addresses are compared: lower case, domain as in DNS.

    The result is for comparing only; mail goes to the address as the portal stores it.

    Raises:
        InvalidAddress: it could not be an address of any account.
    """
    address = tidy(typed)
    if len(address) > LONGEST:  # First: to put many accents in order takes seconds.
        raise InvalidAddress
    address = unicodedata.normalize("NFC", address)
    try:
        parts = validate_email(
            address,
            check_deliverability=False,
            allow_smtputf8=False,
            globally_deliverable=False,
            strict=True,
        )
    except (EmailNotValidError, UnicodeError) as error:
        raise InvalidAddress from error
    if "." not in parts.ascii_domain:
        raise InvalidAddress
    return f"{parts.local_part}@{parts.ascii_domain}".lower()


def has_address(stored: str, address: str | None) -> bool:
    """Whether the portal's spelling *stored* is the normalised *address*."""
    if stored == address:  # As nearly all are: reading them costs more than finding them.
        return True
    try:
        return normalise(stored) == address
    except InvalidAddress:
        return False


def spellings(address: str) -> list[str]:
    """The lower-case spellings under which a portal may store a normalised *address*."""
    if "xn--" not in address and address.isascii():
        return [address]
    unicode_form = validate_email(
        address, check_deliverability=False, globally_deliverable=False
    ).normalized.lower()
    return sorted({address, unicode_form})
