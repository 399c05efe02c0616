"""WordPress and phpBB, whose log-ins do not hash what was typed but what they made of it.

A password that they would change cannot be stored so that it works: it is refused in words.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from reset.accounts.libpass import Libpass
from reset.accounts.schemes import Bcrypt, Prefixed


class WordPress(Prefixed):
    """`$wp$2y$` of WordPress since 6.8: bcrypt of a digest, which has no longest password."""

    def __init__(self) -> None:
        super().__init__("$wp", Bcrypt())

    def verify(self, password: str, stored: str) -> bool:
        return super().verify(self._digest(password), stored)

    def renew(self, password: str, stored: str) -> str:
        return super().renew(self._digest(password), stored)

    def fresh(self, password: str) -> str:
        return super().fresh(self._digest(password))

    def refusals(self, password: str, stored: str) -> list[str]:
        return _lost_by_wordpress(password)

    def _digest(self, password: str) -> str:
        """Source: wp_hash_password() in wp-includes/pluggable.php, WordPress 6.8.

        It trims the password first; here none comes with blanks at its ends.
        """
        keyed = hmac.digest(b"wp-sha384", password.encode(), hashlib.sha384)
        return base64.b64encode(keyed).decode()


class Phpass(Libpass):
    """`$P$` of WordPress before 6.8, `$H$` of phpBB."""

    def refusals(self, password: str, stored: str) -> list[str]:
        return _lost_by_phpbb(password) if stored[:3] == "$H$" else _lost_by_wordpress(password)


def _lost_by_wordpress(password: str) -> list[str]:
    """Its log-in trims what was typed, and sets a backslash before quotes and backslashes.

    Source: wp_authenticate() in wp-includes/pluggable.php; wp_magic_quotes() in
    wp-includes/load.php, which wp_signon() in wp-includes/user.php does not undo.
    """
    blank = ["blank_at_ends"] if password != password.strip(" \t\n\r\0\v") else []
    return blank + (["quotes"] if set("'\"\\") & set(password) else [])


def _lost_by_phpbb(password: str) -> list[str]:
    """Its log-in turns the signs of HTML into entities and hashes those.

    Source: set_var() in phpbb/request/type_cast_helper.php; it uses htmlspecialchars().
    """
    return ["html_signs"] if set('&<>"') & set(password) else []
