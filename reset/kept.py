"""Pages that are made once and kept: alike for everybody but for what is put in last."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Hashable


class KeptPages:
    """The pages that one application keeps.

    Args:
        keep: whether it keeps any, or makes each page anew.
    """

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._pages: dict[Hashable, bytes] = {}

    def filled(self, key: Hashable, make: Callable[..., str], *values: str) -> bytes:
        """The page that *make* gives for *values*.

        *make* is called with marks in their stead, and once for each *key*, which has to name all
        else that the page follows. HTML must take the *values* as they are.
        """
        if not self._keep:
            return make(*values).encode()
        if key not in self._pages:
            # Nobody can guess a mark, so that none is in what an operator or a visitor wrote.
            marks = [secrets.token_hex(16) for _ in values]
            page = make(*marks).replace("%", "%%")
            for place, mark in enumerate(marks):
                page = page.replace(mark, f"%({place})b")
            self._pages[key] = page.encode()
        return self._pages[key] % {b"%d" % n: value.encode() for n, value in enumerate(values)}
