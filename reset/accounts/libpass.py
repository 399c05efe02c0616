"""The schemes of libpass, in which a new hash keeps all settings of the present one."""

from __future__ import annotations

import re
from typing import Any

from reset.accounts.schemes import MOST_BCRYPT, MOST_PBKDF2, Scheme, is_payable_scrypt


class Libpass(Scheme):
    """A scheme as libpass has it, or that part of it that starts with *prefix*.

    *fresh* are its settings for a fresh hash.
    """

    _MOST_ROUNDS = MOST_PBKDF2
    _MOST_LOG2 = 20
    _KEPT = frozenset({"ident", "rounds", "block_size", "parallelism", "version"})

    # Without *fresh*, libpass would choose costs that take seconds in Python.
    def __init__(
        self, handler: Any, *, prefix: str = "", weak: bool = False, **fresh: object
    ) -> None:
        self._handler = handler
        self._prefix = prefix
        self._fresh = fresh
        self.weak = weak

    def reads(self, stored: str) -> bool:
        if not stored.startswith(self._prefix):
            return False
        try:
            present = self._handler.from_string(self._as_libpass_has_it(stored))
        except (ValueError, TypeError):
            return False
        return present.checksum is not None and self._is_payable(present)

    def _is_payable(self, present: Any) -> bool:
        """Whether a hash with the settings of *present* stays within our means."""
        if hasattr(present, "block_size"):
            return is_payable_scrypt(2**present.rounds, present.block_size, present.parallelism)
        rounds = getattr(present, "rounds", 0)
        log = getattr(self._handler, "rounds_cost", "") == "log2"
        return bool(rounds <= (self._MOST_LOG2 if log else self._MOST_ROUNDS))

    def verify(self, password: str, stored: str) -> bool:
        return bool(self._handler.verify(password, self._as_libpass_has_it(stored)))

    def renew(self, password: str, stored: str) -> str:
        present = self._handler.from_string(self._as_libpass_has_it(stored))
        made = str(self._handler.using(**self._settings(present)).hash(password))
        return self._as_stored(made, stored)

    def fresh(self, password: str) -> str:
        return str(self._handler.using(**self._fresh).hash(password))

    def _settings(self, present: Any) -> dict[str, object]:
        known = self._KEPT & {*self._handler.setting_kwds, "version"}
        kept = {name: getattr(present, name) for name in known if hasattr(present, name)}
        # A row without any salt gets one of the usual size.
        if "salt_size" in self._handler.setting_kwds and present.salt:
            kept["salt_size"] = len(present.salt)
        return kept

    def _as_libpass_has_it(self, stored: str) -> str:
        return stored

    def _as_stored(self, made: str, stored: str) -> str:
        return made


class ShaCrypt(Libpass):
    """`$5$` and `$6$` of crypt; 5000 rounds may stand there or, being the default, be left out."""

    _MOST_ROUNDS = 2_000_000

    def _as_stored(self, made: str, stored: str) -> str:
        rounds = "rounds=5000$"
        written = stored[3:].startswith(rounds) and rounds not in made
        return made[:3] + rounds + made[3:] if written else made


class HexDigest(Libpass):
    """A bare digest in hexadecimal, in capitals or not."""

    def _as_stored(self, made: str, stored: str) -> str:
        return made.upper() if stored.isupper() else made


class LdapDigest(Libpass):
    """`{SSHA}` and its kin; the name is written in capitals or not.

    Source: RFC 2307, 5.3.
    """

    def _as_libpass_has_it(self, stored: str) -> str:
        name, brace, digest = stored.partition("}")
        return name.upper() + brace + digest

    def _as_stored(self, made: str, stored: str) -> str:
        return stored.partition("}")[0] + "}" + made.partition("}")[2]


class BcryptOfDigest(Libpass):
    """`bcrypt_sha256$` of Django and `$bcrypt-sha256$`: bcrypt without a longest password."""

    _MOST_LOG2 = MOST_BCRYPT

    # Bits that bcrypt leaves unused are zero, whoever writes; libpass would mend others, and warn.
    _tail = re.compile(r"[./A-Za-z0-9]{21}[.Oeu]\$?[./A-Za-z0-9]{30}[.CGKOSWaeimquy26]\Z")

    def reads(self, stored: str) -> bool:
        return bool(self._tail.search(stored)) and super().reads(stored)
