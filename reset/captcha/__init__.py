"""The captcha: a signed random challenge whose letters follow from the secret key.

Issuing one stores nothing, any host can check it, and its picture and sound are always the same.
Each challenge allows one guess: its letters, or the number of its proof of work.
"""

from __future__ import annotations

import hmac
import re
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from reset.captcha import work
from reset.db import Transaction, delete_oldest, stamp
from reset.errors import BadToken, CaptchaRefused
from reset.tokens import Tokens

if TYPE_CHECKING:
    from reset.captcha.audio import Voice

# Both cases only where the shapes differ, and no letter that looks or sounds like another one.
ALPHABET = "ADFHJLNQRTWXaeghrt"
SAME_SHAPE = str.maketrans("wx", "WX")
_CAPITALS = frozenset("ADFHJLNQRT")
_SMALL = frozenset("aeghrt")
LONGEST = 200  # The page lets forty be typed.
_PURPOSE = "captcha"
_RANDOM_BYTES = 15  # With the two before them 34 hex digits: the column of `captcha_spent`.
_SPEND = sa.text("INSERT INTO captcha_spent (nonce, spent_at) VALUES (:nonce, :now)")
_IGNORED = re.compile("[\\s.\\-\u00ad\u200b-\u200f\u2010-\u2015\u2060\ufeff]")


class Captcha:
    """Issues challenges and judges what was typed.

    Args:
        keys: secret keys, oldest first: the last one signs, all of them verify.
        length: how many letters a new challenge has.
        lifetime: how long a challenge may be answered.
        voice: who says the letters; unless given, the voice that comes with the service.
        work_bits: how much work a new challenge asks for instead.
    """

    def __init__(
        self,
        keys: Sequence[str],
        *,
        length: int,
        lifetime: timedelta,
        voice: Voice | None = None,
        work_bits: int = work.BITS,
    ) -> None:
        self._keys = list(keys)
        self._tokens = Tokens(keys, _PURPOSE)
        self._length = length
        self._voice = voice
        self._work_bits = work_bits
        self.lifetime = lifetime

    def issue(self, *, now: datetime) -> str:
        """A new challenge, good for one guess."""
        return self.issue_with_puzzle(now=now)[0]

    def issue_with_puzzle(self, *, now: datetime) -> tuple[str, str]:
        """A new challenge and what `puzzle` would tell of it, which need not be opened for that."""
        payload = bytes([self._length, self._work_bits]) + secrets.token_bytes(_RANDOM_BYTES)
        challenge = self._tokens.make(payload, now=now)
        return challenge, _Opened(self._keys[-1], payload, now).puzzle

    def is_fresh(self, challenge: str, *, now: datetime) -> bool:
        """Whether *challenge* is genuine and young enough; says nothing about its being spent."""
        try:
            self._open_fresh(challenge, now=now)
        except CaptchaRefused:
            return False
        return True

    def check(
        self, tx: Transaction, challenge: str, typed: str, *, proof: str = "", now: datetime
    ) -> bool:
        """Spend *challenge*, then tell whether it was answered; *tx* must be committed.

        Where there is a *proof*, it alone decides, else the letters *typed*.

        Raises:
            CaptchaRefused: the challenge is forged, too old or was already spent.
        """
        opened = self._open_fresh(challenge, now=now)
        _spend(tx, opened.payload.hex(), now=now)
        if proof:
            return _same(opened.number, proof)
        return _same(opened.letters.translate(SAME_SHAPE), cleaned(typed).translate(SAME_SHAPE))

    def solve(self, challenge: str) -> str:
        """The letters of *challenge*, for the operator's own proof; raises BadToken."""
        return answer(challenge, self._keys)

    def picture(self, challenge: str) -> bytes:
        """The PNG of *challenge*; the same bytes each time and on every host.

        Raises:
            BadToken: it was not issued with one of our keys.
        """
        from reset.captcha import image  # Pillow is for the web alone, not for the mail worker.

        opened = _opened(challenge, self._keys)
        return image.draw(opened.letters, opened.derive("draw"))

    def sound(self, challenge: str) -> bytes:
        """The WAV of *challenge*; the same bytes each time and on every host with the same voice.

        Raises:
            BadToken: it was not issued with one of our keys.
        """
        from reset.captcha import audio

        opened = _opened(challenge, self._keys)
        voice = self._voice or audio.load(audio.VOICE_DIR, ALPHABET)
        return audio.speak(opened.letters, opened.derive("speak"), voice)

    def puzzle(self, challenge: str) -> str:
        """The work that stands for the letters of *challenge*; raises BadToken."""
        return _opened(challenge, self._keys).puzzle

    def _open_fresh(self, challenge: str, *, now: datetime) -> _Opened:
        try:
            opened = _opened(challenge, self._keys)
        except BadToken as error:
            raise CaptchaRefused from error
        if now - opened.made_at > self.lifetime:
            raise CaptchaRefused
        return opened


def answer(challenge: str, keys: Sequence[str]) -> str:
    """The letters of *challenge*, for whoever holds the keys (self-tests, benchmarks).

    Raises:
        BadToken: it was not issued with one of *keys*.
    """
    return _opened(challenge, keys).letters


def proof(challenge: str, keys: Sequence[str]) -> str:
    """The number that a browser would find, as `answer` gives the letters; raises BadToken."""
    return _opened(challenge, keys).number


def cleaned(typed: str) -> str:
    """*typed* without the spaces, dashes, dots and invisible characters that people add.

    Nothing is left of what nobody types: to normalise a flood of accents takes seconds.
    """
    if len(typed) > LONGEST:
        return ""
    return _IGNORED.sub("", unicodedata.normalize("NFKC", typed))


def purge(tx: Transaction, *, until: datetime, limit: int) -> bool:
    """Forget challenges spent until then, too old to be answered anyway; True if more are left."""
    return delete_oldest(tx, "captcha_spent", "spent_at", until=until, limit=limit)


def _spend(tx: Transaction, spent: str, *, now: datetime) -> None:
    try:
        tx.execute(_SPEND, {"nonce": spent, "now": stamp(now)})
    except sa.exc.IntegrityError:
        raise CaptchaRefused from None


def _same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


@dataclass(frozen=True)
class _Opened:
    """A genuine challenge: the key that verifies it is the one to derive with."""

    key: str = field(repr=False)
    payload: bytes
    made_at: datetime

    @property
    def letters(self) -> str:
        """Drawn again until changing the case of the whole answer always makes it wrong."""
        for attempt in range(1000):
            number = int.from_bytes(self.derive(f"answer{attempt}"))
            letters = _in_alphabet(number, self.payload[0])
            if _CAPITALS & set(letters) and _SMALL & set(letters):
                return letters
        raise BadToken

    @property
    def work_bits(self) -> int:
        """As it was when the challenge was issued: a change holds for new ones alone."""
        return self.payload[1]

    @property
    def number(self) -> str:
        """Derived for itself: the digest on the page tells nothing about the letters."""
        return work.number(self.derive("work"), self.work_bits)

    @property
    def puzzle(self) -> str:
        """As `Captcha.puzzle` tells it."""
        return work.puzzle(self.payload, self.work_bits, self.number)

    def derive(self, purpose: str) -> bytes:
        message = f"{purpose}|".encode() + self.payload
        return hmac.digest(self.key.encode(), message, "sha256")


def _opened(challenge: str, keys: Sequence[str]) -> _Opened:
    for key in reversed(keys):
        try:
            payload, made_at = Tokens([key], _PURPOSE).read(challenge)
        except BadToken:
            continue
        return _Opened(key, payload, made_at)
    raise BadToken


def _in_alphabet(number: int, length: int) -> str:
    letters = []
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[digit])
    return "".join(letters)
