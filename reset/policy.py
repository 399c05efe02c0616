"""The rules for a new password: they return codes; the words stand in `texts`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib import resources

from zxcvbn_rs_py import zxcvbn

LONGEST = 128
# zxcvbn's time grows with the square of the length; what is weak is so within its first words.
ESTIMATED = 24
# zxcvbn counts guesses: below a million (score 0 and 1) a password falls to anybody who tries.
_GUESSABLE_BELOW = 2
_ARTICLES = re.compile("^(mi|mis|tu|tus|su|sus|el|la|los|las)")
_LEET = str.maketrans("0134578@$!|", "oleastbasii")


class Violation(StrEnum):
    """A rule that a password does not keep."""

    TOO_SHORT = "too_short"
    NO_UPPER = "no_upper"
    NO_LOWER = "no_lower"
    NO_DIGIT = "no_digit"
    TOO_LONG = "too_long"
    BAD_CHARACTER = "bad_character"
    PERSONAL = "personal"
    COMMON = "common"


@dataclass(frozen=True)
class Profile:
    """What a password must hold; ``classes`` asks for upper case, lower case and a digit."""

    min_length: int
    classes: bool


PROFILES = {
    "manual": Profile(min_length=8, classes=True),  # The portal's manual.
    "nist": Profile(min_length=15, classes=False),  # Source: NIST SP 800-63B-4, 3.1.1.2.
}


@dataclass(frozen=True)
class Policy:
    """The rules of one service; *context* are words such as the brand's name."""

    profile: Profile
    context: Collection[str] = field(default=())

    def violations(self, password: str, personal: Collection[str] = ()) -> list[Violation]:
        """Every rule that *password*, exactly as typed, does not keep; empty when all is well.

        *personal* holds data of the account: names, telephone, document, dates, addresses.
        """
        found = list(self._of_form(password))
        if len(password) > LONGEST:
            return found
        if contains_personal(password, personal):
            found.append(Violation.PERSONAL)
        if is_common(password, self.context):
            found.append(Violation.COMMON)
        return found

    def _of_form(self, password: str) -> Iterable[Violation]:
        if len(password) < self.profile.min_length:
            yield Violation.TOO_SHORT
        if len(password) > LONGEST:
            yield Violation.TOO_LONG
        if self.profile.classes:
            yield from _missing_classes(password)
        if any(map(_cannot_be_stored, password)):
            yield Violation.BAD_CHARACTER


def _missing_classes(password: str) -> Iterable[Violation]:
    if not any(c.isupper() for c in password):
        yield Violation.NO_UPPER
    if not any(c.islower() for c in password):
        yield Violation.NO_LOWER
    if not any(c.isdecimal() for c in password):
        yield Violation.NO_DIGIT


def _cannot_be_stored(character: str) -> bool:
    # U+FFFD stands for bytes that were no UTF-8: the portal would see other ones at log-in.
    return unicodedata.category(character) in ("Cc", "Cs") or character == "\ufffd"


def fold(text: str) -> str:
    """*text* without accents and case, for comparing words."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def contains_personal(password: str, personal: Iterable[str]) -> bool:
    """Whether *password* holds a word of four letters, or a number, out of *personal*."""
    readings = {fold(password), fold(password).translate(_LEET)}
    letters = {"".join(filter(str.isalpha, reading)) for reading in readings}
    words, numbers = _personal_parts(personal)
    inside = (word for word in words if len(word) >= 4)
    if words & letters or any(word in reading for word in inside for reading in readings):
        return True
    runs = {r for text in (password, _joined(password)) for r in re.findall(r"\d{4,}", text)}
    return any(_shares_number(run, numbers) for run in runs)


def _joined(password: str) -> str:
    """*password* with the separators left out that people write numbers with."""
    return re.sub(r"(?<=\d)[-./ _]+(?=\d)", "", password)


def _personal_parts(personal: Iterable[str]) -> tuple[set[str], set[str]]:
    words: set[str] = set()
    numbers: set[str] = set()
    for value in personal:
        words.update(w for w in re.findall(r"[^\W\d_]+", fold(value)) if len(w) >= 3)
        numbers.update(_numbers(value))
    return words, numbers


def _numbers(value: str) -> set[str]:
    date = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)(?:[ T].*)?", value)
    if date:
        year, month, day = date.groups()
        short = year[2:]
        orders = (year + month + day, day + month + year, month + day + year)
        shorts = (short + month + day, day + month + short, month + day + short)
        return {year, day + month, month + day, *orders, *shorts}
    digits = re.sub(r"\D", "", value)
    return {digits, *re.findall(r"\d{4,}", value)} if len(digits) >= 4 else set()


def _shares_number(run: str, numbers: Iterable[str]) -> bool:
    """A run of digits that is a number, holds one, or is a good part (five digits) of one."""
    return any(number in run or (len(run) >= 5 and run in number) for number in numbers)


def is_common(password: str, context: Iterable[str] = ()) -> bool:
    """Whether *password* is a common one, a known word with trimmings, or a pattern."""
    words = {fold(word) for text in context for word in re.findall(r"[^\W\d_]{3,}", text)}
    words |= _spanish_words()
    folded = fold(password)
    core = re.sub(r"^[\W\d_]+|[\W\d_]+$", "", folded)
    if core in words or core.translate(_LEET) in words or _only_words(folded, words):
        return True
    listed = sorted(words)
    return any(_is_guessable(form[:ESTIMATED], listed) for form in {password, folded})


def _is_guessable(text: str, words: list[str]) -> bool:
    whole = text.encode(errors="replace").decode()  # Half a pair of surrogates is no character.
    return int(zxcvbn(whole, words).score) < _GUESSABLE_BELOW


def _only_words(folded: str, words: set[str]) -> bool:
    """Whether nothing but trimmings is left once the leet is read and the digits are dropped."""
    letters = {"".join(filter(str.isalpha, f)) for f in (folded, folded.translate(_LEET))}
    bare = {_ARTICLES.sub("", text) for text in letters}
    doubled = {half for text in letters if (half := text[: len(text) // 2]) * 2 == text}
    return bool((letters | bare | doubled) & words)


@cache
def _spanish_words() -> frozenset[str]:
    lines = resources.files("reset").joinpath("common_es.txt").read_text("utf-8").splitlines()
    return frozenset(w for line in lines if not line.startswith("#") for w in line.split())
