"""The captcha: what is asked, what counts as right, and that a challenge tells nothing."""

from __future__ import annotations

import base64
import secrets
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from reset.captcha import Captcha, answer
from reset.db import Database
from reset.errors import BadToken, CaptchaRefused
from tests.conftest import KEY, START, Visitor, hidden

# No two look alike: neither letters (0 O Q, 1 l I) nor the cases of one (c C, s S). The manual's
# sample `eQtWFXFQ` is inside.
ALPHABET = "ADFHJLNQRTWXaeghrt"


@pytest.fixture
def captcha() -> Captcha:
    return Captcha([KEY], length=8, lifetime=timedelta(minutes=30))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path}/reset.sqlite")
    database.migrate()
    return database


def is_right(
    captcha: Captcha, database: Database, challenge: str, typed: str, now: datetime = START
) -> bool:
    with database.begin(durable=False) as tx:
        return captcha.check(tx, challenge, typed, now=now)


def test_answer_is_drawn_from_the_alphabet(captcha: Captcha) -> None:
    """Eight letters of both cases, never one that changing its case leaves right."""
    for _ in range(300):
        letters = answer(captcha.issue(now=START), [KEY])
        assert len(letters) == 8
        assert set(letters) <= set(ALPHABET)
        assert letters not in (letters.lower(), letters.upper(), letters.swapcase())


def test_every_letter_occurs(captcha: Captcha) -> None:
    """All eighteen letters are used."""
    drawn = "".join(answer(captcha.issue(now=START), [KEY]) for _ in range(100))
    assert set(drawn) == set(ALPHABET)


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        (lambda letters: letters, True),
        (lambda letters: " ".join(letters), True),
        (lambda letters: f"\u200b{letters[:4]}-{letters[4:]}. ", True),
        (lambda letters: letters.replace("W", "w").replace("X", "x"), True),
        (str.lower, False),
        (str.upper, False),
        (str.swapcase, False),
        (lambda letters: letters[:-1], False),
        (lambda letters: letters + letters[0], False),
        (lambda letters: "", False),
        (lambda letters: "None", False),
        (lambda letters: "\ud800" * 8, False),
    ],
)
def test_what_counts_as_right(
    captcha: Captcha, database: Database, typed: object, right: bool
) -> None:
    """Case matters but for W and X; spaces, dashes and dots do not; no letter is forgiven."""
    assert callable(typed)
    for _ in range(20):
        challenge = captcha.issue(now=START)
        given = typed(answer(challenge, [KEY]))
        assert is_right(captcha, database, challenge, given) is right


def test_any_host_can_check(captcha: Captcha, database: Database) -> None:
    """Nothing is stored when a challenge is issued; another instance draws and checks the same."""
    challenge = captcha.issue(now=START)
    other = Captcha([KEY], length=10, lifetime=timedelta(minutes=30))
    assert other.picture(challenge) == captcha.picture(challenge)
    assert other.sound(challenge) == captcha.sound(challenge)
    assert is_right(other, database, challenge, answer(challenge, [KEY]))


def test_key_that_verifies_derives(captcha: Captcha) -> None:
    """After a rotation an open challenge still has the letters that were shown."""
    challenge = captcha.issue(now=START)
    rotated = [KEY, KEY[::-1]]
    assert answer(challenge, rotated) == answer(challenge, [KEY])
    later = Captcha(rotated, length=8, lifetime=timedelta(minutes=30)).issue(now=START)
    assert answer(later, rotated) == answer(later, rotated[1:])
    with pytest.raises(BadToken):
        answer(later, [KEY])


def test_challenge_does_not_hold_the_answer(captcha: Captcha) -> None:
    """Neither as text nor decoded."""
    challenge = captcha.issue(now=START)
    letters = answer(challenge, [KEY])
    payload = challenge.partition(".")[0]
    decoded = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    assert letters not in challenge
    assert letters.encode() not in decoded


def test_page_picture_and_sound_hold_no_answer(visitor: Visitor) -> None:
    """No alt text, address, header or metadata tells the letters, and no cookie is set."""
    page = visitor.client.get("/")
    challenge = hidden(page.text, "challenge")
    letters = answer(challenge, [KEY])
    picture = visitor.client.get(f"/captcha/{challenge}.png")
    sound = visitor.client.get(f"/captcha/{challenge}.wav")
    assert picture.mimetype == "image/png"
    assert letters not in f"{page.text} {page.headers} {picture.headers} {sound.headers}"
    assert letters.encode() not in picture.data + sound.data


def test_right_answer_counts_once(captcha: Captcha, database: Database) -> None:
    """The second check of one challenge is refused, whichever spelling its text has."""
    challenge = captcha.issue(now=START)
    letters = answer(challenge, [KEY])
    assert is_right(captcha, database, challenge, letters)
    for spelling in (challenge, challenge + "=", challenge + "~~~"):
        with pytest.raises(CaptchaRefused):
            is_right(captcha, database, spelling, letters)


def test_challenge_of_a_clock_ahead_is_no_old_one(captcha: Captcha, database: Database) -> None:
    """It was issued by a host whose clock is two minutes ahead of the one that checks."""
    challenge = captcha.issue(now=START + timedelta(minutes=2))
    assert is_right(captcha, database, challenge, answer(challenge, [KEY]))


def test_challenges_are_unique(captcha: Captcha) -> None:
    """Two challenges of one second are two, with other letters."""
    challenges = [captcha.issue(now=START) for _ in range(100)]
    assert len(set(challenges)) == 100
    assert len({answer(challenge, [KEY]) for challenge in challenges}) == 100


def test_challenge_of_another_key_is_refused(captcha: Captcha, database: Database) -> None:
    """Whoever lacks the key can make no challenge."""
    strange = Captcha([secrets.token_urlsafe(48)], length=8, lifetime=timedelta(minutes=30))
    with pytest.raises(CaptchaRefused):
        is_right(captcha, database, strange.issue(now=START), "AAAAaaaa")


def test_picture_of_a_strange_challenge_is_not_found(visitor: Visitor) -> None:
    """Only our challenges are drawn."""
    assert visitor.client.get("/captcha/xyz.png").status_code == 404
