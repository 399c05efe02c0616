"""What a hash scheme can do, and those that come with a library of their own.

What a row's present hash names is kept: variant, prefix, cost and size of the salt. Only the salt
itself is always new.
"""

from __future__ import annotations

import base64
import re
from abc import ABC, abstractmethod

import argon2
import bcrypt
from werkzeug.security import check_password_hash, generate_password_hash

# What one hash may cost, in memory and in about five seconds: a row that asks for more would keep
# the service from answering.
MOST_MEMORY = 2**30  # Bytes.
MOST_PBKDF2 = 10_000_000  # Rounds.
MOST_BCRYPT = 16
BCRYPT_LONGEST = 72  # Bytes; PHP drops the rest in silence, and then two passwords fit.


class Scheme(ABC):
    """One way of hashing; ``weak`` says that a stolen table of its hashes is soon read."""

    weak = False

    @abstractmethod
    def reads(self, stored: str) -> bool:
        """Whether *stored* is, by its form, a hash of this scheme."""

    @abstractmethod
    def verify(self, password: str, stored: str) -> bool:
        """Whether *stored*, which the scheme reads, is a hash of *password*."""

    @abstractmethod
    def renew(self, password: str, stored: str) -> str:
        """A hash like *stored*, which the scheme reads."""

    @abstractmethod
    def fresh(self, password: str) -> str:
        """A hash where there is none to follow."""

    def refusals(self, password: str, stored: str) -> list[str]:
        """Why the portal would not take *password* as typed; *stored* is "" for a fresh hash."""
        return []


class Bcrypt(Scheme):
    """`$2y$` of PHP, Laravel, Joomla; `$2a$` and `$2b$` of others."""

    _form = re.compile(r"\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}")

    # Laravel calls a hash foreign that has no `$2y$`, whoever made it.
    def __init__(self, sample: str = "$2y$12$") -> None:
        self._sample = sample

    def reads(self, stored: str) -> bool:
        return bool(self._form.fullmatch(stored))

    def verify(self, password: str, stored: str) -> bool:
        secret = password.encode()
        # The library knows $2y$ only by its other name.
        return len(secret) <= BCRYPT_LONGEST and bcrypt.checkpw(
            secret, stored.replace("$2y$", "$2b$", 1).encode()
        )

    def renew(self, password: str, stored: str) -> str:
        made = bcrypt.hashpw(password.encode(), bcrypt.gensalt(int(stored[4:6]))).decode()
        return stored[:4] + made[4:]

    def fresh(self, password: str) -> str:
        return self.renew(password, self._sample)

    def refusals(self, password: str, stored: str) -> list[str]:
        return ["too_long_for_portal"] if len(password.encode()) > BCRYPT_LONGEST else []


class Argon2(Scheme):
    """`$argon2id$`, `$argon2i$`, `$argon2d$`."""

    _form = re.compile(r"\$argon2(id|i|d)\$v=\d+\$m=\d+,t=\d+,p=\d+\$[^$]+\$[^$]+", re.ASCII)

    def __init__(self, hasher: argon2.PasswordHasher) -> None:
        self._hasher = hasher

    def reads(self, stored: str) -> bool:
        if not self._form.fullmatch(stored):
            return False
        asked = argon2.extract_parameters(stored)
        memory = asked.memory_cost * 1024
        return memory <= MOST_MEMORY and memory * asked.time_cost <= 8 * MOST_MEMORY

    def verify(self, password: str, stored: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except argon2.exceptions.VerifyMismatchError:
            return False

    def renew(self, password: str, stored: str) -> str:
        parameters = argon2.extract_parameters(stored)
        return argon2.PasswordHasher.from_parameters(parameters).hash(password)

    def fresh(self, password: str) -> str:
        return self._hasher.hash(password)


class Werkzeug(Scheme):
    """`scrypt:N:r:p$salt$hash` and `pbkdf2:sha256:rounds$salt$hash` of Flask applications."""

    _form = re.compile(
        r"(?:scrypt:(\d{1,9}):(\d{1,9}):(\d{1,9})|pbkdf2:sha(?:1|224|256|384|512):(\d{1,9}))"
        r"\$[^$]+\$[0-9a-f]+",
        re.ASCII,
    )

    def reads(self, stored: str) -> bool:
        match = self._form.fullmatch(stored)
        if match is None:
            return False
        n, r, p, rounds = (int(number or 0) for number in match.groups())
        return is_payable_scrypt(n, r, p) and rounds <= MOST_PBKDF2

    def verify(self, password: str, stored: str) -> bool:
        return check_password_hash(stored, password)

    def renew(self, password: str, stored: str) -> str:
        method, salt, _ = stored.split("$")
        return generate_password_hash(password, method, len(salt))

    def fresh(self, password: str) -> str:
        return generate_password_hash(password, "scrypt:32768:8:1")


class DjangoScrypt(Scheme):
    """`scrypt$N$salt$r$p$base64` of Django: Werkzeug's hash in another order."""

    _form = re.compile(
        r"scrypt\$(\d{1,9})\$[^$]+\$(\d{1,9})\$(\d{1,9})\$[A-Za-z0-9+/]{86}==", re.ASCII
    )

    def reads(self, stored: str) -> bool:
        match = self._form.fullmatch(stored)
        return match is not None and is_payable_scrypt(*map(int, match.groups()))

    def verify(self, password: str, stored: str) -> bool:
        _, n, salt, r, p, digest = stored.split("$")
        shown = base64.b64decode(digest).hex()
        return check_password_hash(f"scrypt:{n}:{r}:{p}${salt}${shown}", password)

    def renew(self, password: str, stored: str) -> str:
        _, n, salt, r, p, _ = stored.split("$")
        made = generate_password_hash(password, f"scrypt:{n}:{r}:{p}", len(salt))
        _, salt, shown = made.split("$")
        digest = base64.b64encode(bytes.fromhex(shown)).decode()
        return f"scrypt${n}${salt}${r}${p}${digest}"

    def fresh(self, password: str) -> str:
        return self.renew(password, f"scrypt$16384${'s' * 22}$8$5$")  # Django's own cost.


def is_payable_scrypt(n: int, r: int, p: int) -> bool:
    """Whether scrypt with these parameters stays within our means. Source: RFC 7914, 2."""
    return 128 * n * r <= MOST_MEMORY and 128 * n * r * p <= 2 * MOST_MEMORY


class Prefixed(Scheme):
    """Another scheme's hash behind a prefix: `bcrypt$` of Django, `{CRYPT}` of LDAP."""

    def __init__(self, prefix: str, inner: Scheme) -> None:
        self._prefix = prefix
        self._inner = inner
        self.weak = inner.weak

    def reads(self, stored: str) -> bool:
        head, hashed = self._split(stored)
        # LDAP's prefixes, which alone are in capitals here, may be stored in small letters.
        return self._prefix in (head, head.upper()) and self._inner.reads(hashed)

    def verify(self, password: str, stored: str) -> bool:
        return self._inner.verify(password, self._split(stored)[1])

    def renew(self, password: str, stored: str) -> str:
        head, hashed = self._split(stored)
        return head + self._inner.renew(password, hashed)

    def fresh(self, password: str) -> str:
        return self._prefix + self._inner.fresh(password)

    def refusals(self, password: str, stored: str) -> list[str]:
        return self._inner.refusals(password, self._split(stored)[1])

    def _split(self, stored: str) -> tuple[str, str]:
        size = len(self._prefix)
        return stored[:size], stored[size:]
