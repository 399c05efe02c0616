"""What a store keeps in a field of an account, as text, and the rules about who may not reset."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_ACTIVE = {"1", "true", "t", "yes", "y", "si", "sí", "s", "activo", "activa", "active", "a"}
_BOOLEANS = {"true": "1", "t": "1", "false": "0", "f": "0"}
_UNPRINTABLE = "".join(chr(code) for code in range(32) if not chr(code).isspace())
_RULE = re.compile(r"\s*([^\s=!~]+)\s*(!=|=|~)\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Rule:
    """One reason to exclude an account: a field has, lacks (``!=``) or matches (``~``) a value."""

    field: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.field}{self.operator}{self.value}"

    def applies(self, values: Iterable[str]) -> bool:
        """Whether an account with these *values* of the field (an attribute has many) is out."""
        if self.operator == "~":
            return any(re.search(self.value, value, re.IGNORECASE) for value in values)
        same = any(_comparable(value) == _comparable(self.value) for value in values)
        return same is (self.operator == "=")


def rules(text: str) -> tuple[Rule, ...]:
    """The rules in *text*: `deleted=1; auth!=manual; usuario~^svc_`.

    Raises:
        ValueError: its text quotes the rule that cannot be read.
    """
    return tuple(_rule(part) for part in text.split(";") if part.strip())


def applying(rules: Sequence[Rule], fields: Mapping[str, Sequence[str]]) -> Rule | None:
    """The first of *rules* that excludes an account with these *fields*."""
    return next((rule for rule in rules if rule.applies(fields[rule.field])), None)


def as_text(value: Any) -> str:
    """*value* as one line of text; NULL is the empty one, a bit or truth value is 0 or 1."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, bytes):
        if value and not value.decode("latin1").strip(_UNPRINTABLE):  # MySQL's BIT.
            return str(int.from_bytes(value, "big"))
        value = value.decode("utf-8", "replace")
    if isinstance(value, Decimal | float) and value == value // 1:
        return str(int(value))  # Else a rule such as deleted=1 would miss 1.00.
    text = unicodedata.normalize("NFC", str(value))
    if not text.isprintable():
        # What cannot be seen might command a terminal, and hide a value from a rule.
        text = "".join(c for c in text if c.isspace() or _is_seen(c))
    return " ".join(text.split())


def same_text(stored: str, typed: str) -> bool:
    """Whether two texts differ in nothing but case and blanks at their ends."""
    return as_text(stored).lower() == as_text(typed).lower()


def is_active(text: str) -> bool:
    """Whether *text*, of a field that says so, is a clear yes."""
    return text.lower() in _ACTIVE


def _is_seen(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf")


def _rule(text: str) -> Rule:
    match = _RULE.fullmatch(text)
    if match is None:
        raise ValueError(text.strip())
    rule = Rule(*match.groups())
    if rule.operator != "~" and re.search(r"^[=~!]|^['\"]|['\"]$", rule.value):
        raise ValueError(text.strip())  # Else it would be about a value that nobody has.
    if rule.operator == "~":
        try:
            re.compile(rule.value)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(text.strip()) from error
    return rule


def _comparable(text: str) -> str:
    folded = as_text(text).casefold()
    return _BOOLEANS.get(folded, folded)
