"""Password hashes in the portal's own formats: recognised, verified and made anew.

A new hash follows the scheme and the cost of the row's present one, so that the portal reads it
as if it had written it.
"""

from __future__ import annotations

import re
import threading
from typing import Protocol

import argon2
import bcrypt
from passlib.hash import django_pbkdf2_sha256
from werkzeug.security import check_password_hash, generate_password_hash

from reset.errors import PasswordRefused

BCRYPT_LONGEST = 72  # Bytes; PHP drops the rest in silence, and then two passwords fit.
# Hashing is made to cost: a few at a time, so that pages still answer while passwords are set.
_slots = threading.BoundedSemaphore(2)


class Scheme(Protocol):
    """One way of hashing; ``sample`` is a hash whose cost and format the new one follows."""

    sample: str

    def verify(self, password: str, stored: str) -> bool:
        """Whether *stored* is a hash of *password*."""

    def renew(self, password: str, sample: str) -> str:
        """A new hash like *sample*."""


class Bcrypt:
    """`$2y$` of PHP, Laravel, Joomla; `$2a$` and `$2b$`. The prefix of the row is kept."""

    sample = "$2y$12$"

    def verify(self, password: str, stored: str) -> bool:
        secret = password.encode()
        # The library knows $2y$ only by its other name.
        return len(secret) <= BCRYPT_LONGEST and bcrypt.checkpw(
            secret, stored.replace("$2y$", "$2b$", 1).encode()
        )

    def renew(self, password: str, sample: str) -> str:
        secret = password.encode()
        if len(secret) > BCRYPT_LONGEST:
            raise PasswordRefused(["too_long_for_portal"])
        made = bcrypt.hashpw(secret, bcrypt.gensalt(int(sample[4:6]))).decode()
        return sample[:4] + made[4:]


class Argon2:
    """`$argon2id$`, `$argon2i$`, `$argon2d$` with the parameters of the row."""

    sample = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43

    def verify(self, password: str, stored: str) -> bool:
        try:
            return argon2.PasswordHasher().verify(stored, password)
        except argon2.exceptions.VerifyMismatchError:
            return False

    def renew(self, password: str, sample: str) -> str:
        parameters = argon2.extract_parameters(sample)
        return argon2.PasswordHasher.from_parameters(parameters).hash(password)


class Werkzeug:
    """`scrypt:N:r:p$salt$hash` and `pbkdf2:sha256:rounds$salt$hash` of Flask applications."""

    sample = "scrypt:32768:8:1$"

    def verify(self, password: str, stored: str) -> bool:
        return check_password_hash(stored, password)

    def renew(self, password: str, sample: str) -> str:
        return generate_password_hash(password, method=sample.split("$")[0])


class DjangoPbkdf2:
    """`pbkdf2_sha256$rounds$salt$hash` with the rounds of the row."""

    sample = "pbkdf2_sha256$1000000$"

    def verify(self, password: str, stored: str) -> bool:
        return bool(django_pbkdf2_sha256.verify(password, stored))

    def renew(self, password: str, sample: str) -> str:
        rounds = int(sample.split("$")[1])
        return str(django_pbkdf2_sha256.using(rounds=rounds).hash(password))


SCHEMES: dict[str, Scheme] = {
    "bcrypt": Bcrypt(),
    "argon2": Argon2(),
    "werkzeug": Werkzeug(),
    "django_pbkdf2_sha256": DjangoPbkdf2(),
}
_FORMATS = {
    "bcrypt": re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}"),
    "argon2": re.compile(r"\$argon2(id|i|d)\$v=\d+\$m=\d+,t=\d+,p=\d+\$[^$]+\$[^$]+"),
    "werkzeug": re.compile(
        r"(scrypt:\d+:\d+:\d+|pbkdf2:sha(1|224|256|384|512):\d+)\$[^$]+\$[0-9a-f]+"
    ),
    "django_pbkdf2_sha256": re.compile(r"pbkdf2_sha256\$\d+\$[^$]+\$[A-Za-z0-9+/=]+"),
}


def scheme_of(stored: str) -> str | None:
    """The name of the scheme that *stored* is in; None if it is none that we can write."""
    return next((name for name, form in _FORMATS.items() if form.fullmatch(stored)), None)


def verify(password: str, stored: str) -> bool:
    """Whether *stored* is a hash of *password*; False for a hash of no known scheme."""
    name = scheme_of(stored)
    if name is None:
        return False
    with _slots:
        try:
            return SCHEMES[name].verify(password, stored)
        except (ValueError, argon2.exceptions.Argon2Error):
            return False  # It looks like a hash and is none: nobody's password fits.


def renew(password: str, stored: str, fallback: str, *, upgrade: bool = False) -> str:
    """A hash of *password* like *stored*; of the scheme *fallback* where that has no format.

    Raises:
        PasswordRefused: the scheme cannot hold this password without loss.
    """
    name = scheme_of(stored)
    scheme = SCHEMES[name or fallback]
    with _slots:
        try:
            return scheme.renew(password, stored if name else scheme.sample)
        except (ValueError, argon2.exceptions.Argon2Error) as error:
            raise PasswordRefused(["refused_by_portal"]) from error


def is_weak(name: str) -> bool:
    return False
