"""The captcha's third way: a proof of work in place of the letters, spent like them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from reset.captcha import ALPHABET, Captcha, answer, proof
from reset.captcha.work import puzzle
from tests.conftest import ADDRESS, KEY, START, Clock, Visitor, hidden


def prove(visitor: Visitor, email: str = ADDRESS, **fields: str) -> TestResponse:
    """Send the form as the script fills it in: without letters, with the number that it found."""
    challenge = fields.pop("challenge", None) or visitor.challenge()
    found = {"captcha": "", "proof": proof(challenge, [KEY])}
    return visitor.ask(email, challenge=challenge, **found | fields)


def work_on(page: str) -> tuple[str, str, int]:
    """Salt, digest and number of tries, as the script reads them."""
    salt, digest, tries = page.partition('data-work="')[2].partition('"')[0].split()
    return salt, digest, int(tries)


def test_puzzle_is_the_published_one() -> None:
    """The page says which digest is looked for, and within how many tries.

    Source: `printf %s 0814.524288 | sha256sum`.
    """
    digest = "9fc6c86514d0ae876e863df180e380124579eb1e6c4534ea77765b85eeac7ebb"
    assert puzzle(b"\x08\x14", 20, "524288") == f"0814 {digest} 1048576"


def test_number_is_found_by_trying(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor], ana: int
) -> None:
    """What stands on the page is enough to send the form and to get the mail."""
    visitor = make_visitor(make_app())
    page = visitor.client.get("/").text
    salt, digest, tries = work_on(page)
    number = next(
        n for n in range(tries) if hashlib.sha256(f"{salt}.{n}".encode()).hexdigest() == digest
    )
    response = prove(visitor, challenge=hidden(page, "challenge"), proof=str(number))
    visitor.run_worker()
    assert response.status_code == 303
    assert len(visitor.mails()) == 1


def test_numbers_use_the_whole_range() -> None:
    """No number is likelier than others, and none is beyond the tries that the page tells."""
    captcha = Captcha([KEY], length=8, lifetime=timedelta(minutes=30), work_bits=3)
    found = {proof(captcha.issue(now=START), [KEY]) for _ in range(200)}
    assert found == set("01234567")


def test_page_asks_for_a_million_tries_at_most(visitor: Visitor) -> None:
    """About half a million on average: a second on a computer, some seconds on an old phone."""
    _, _, tries = work_on(visitor.client.get("/").text)
    assert tries == 2**20


def test_number_tells_no_letters() -> None:
    """Drawn from the same bits, its last one would tell every other first letter."""
    captcha = Captcha([KEY], length=8, lifetime=timedelta(minutes=30))
    challenges = [captcha.issue(now=START) for _ in range(200)]
    alike = sum(
        (ALPHABET.index(answer(one, [KEY])[0]) - int(proof(one, [KEY]))) % 2 == 0
        for one in challenges
    )
    assert 50 < alike < 150


@pytest.mark.parametrize("again", ["proof", "letters", "other letters first"])
def test_challenge_is_spent_once_by_either_way(visitor: Visitor, ana: int, again: str) -> None:
    """A solution counts once, and neither way is open after the other, in any spelling."""
    challenge = visitor.challenge()
    solved = {"proof": proof(challenge, [KEY]), "captcha": ""}
    letters = {"captcha": answer(challenge, [KEY])}
    first, second = {
        "proof": (solved, solved),
        "letters": (solved, letters),
        "other letters first": (letters, solved),
    }[again]
    assert visitor.ask(challenge=challenge, **first).status_code == 303
    for spelling in (challenge, challenge + "=", challenge + "~~~"):
        assert visitor.ask(challenge=spelling, **({"captcha": ""} | second)).status_code == 200
    visitor.run_worker()
    assert len(visitor.mails()) == 1


def test_one_guess_for_both_ways(visitor: Visitor) -> None:
    """After a wrong number neither the right one nor the letters are taken any more."""
    for right in ({}, {"proof": ""}):
        challenge = visitor.challenge()
        wrong = str((int(proof(challenge, [KEY])) + 1) % 2**20)
        assert prove(visitor, challenge=challenge, proof=wrong).status_code == 200
        letters = answer(challenge, [KEY])
        assert prove(visitor, challenge=challenge, captcha=letters, **right).status_code == 200
    assert visitor.parts.flow.trace(ADDRESS) == []


def test_right_letters_do_not_mend_a_wrong_number(visitor: Visitor) -> None:
    """Who sends both has one guess, not two."""
    challenge = visitor.challenge()
    letters = answer(challenge, [KEY])
    assert prove(visitor, challenge=challenge, captcha=letters, proof="x").status_code == 200


def test_number_of_another_challenge_is_wrong(visitor: Visitor) -> None:
    """A solution belongs to the challenge it was made for."""
    other = proof(visitor.challenge(), [KEY])
    assert prove(visitor, proof=other).status_code == 200


@pytest.mark.parametrize(
    "spelling",
    ["+{}", " {}", "{} ", "{}\n", "0{}", "{}.0", "-{}", "{}e0", "{}\x00", "0x{}", "{}" * 20_000],
    ids=repr,
)
def test_number_has_one_spelling(visitor: Visitor, spelling: str) -> None:
    """Anything but the plain decimal number is a wrong answer."""
    challenge = visitor.challenge()
    number = proof(challenge, [KEY])
    sent = spelling.replace("{}", number)[:60_000]
    assert prove(visitor, challenge=challenge, proof=sent).status_code == 200


@pytest.mark.parametrize("zero", ["\u0660", "\uff10"], ids=["Arabic", "full width"])
def test_digits_of_other_scripts_are_wrong(visitor: Visitor, zero: str) -> None:
    """Python's int() would take them."""
    challenge = visitor.challenge()
    number = "".join(chr(ord(zero) + int(digit)) for digit in proof(challenge, [KEY]))
    assert prove(visitor, challenge=challenge, proof=number).status_code == 200


@pytest.mark.parametrize("sent", ["None", "null", " ", "-1", "1e400", "9" * 5000, "\ufffd", "[]"])
def test_what_is_no_number_is_a_wrong_answer(visitor: Visitor, sent: str) -> None:
    """Never an error page; the address typed stays."""
    response = prove(visitor, proof=sent)
    assert response.status_code == 200
    assert f'value="{ADDRESS}"' in response.text


def test_proof_is_sent_once(visitor: Visitor) -> None:
    """A form with two of them is not ours."""
    challenge = visitor.challenge()
    data = {
        "email": ADDRESS,
        "captcha": "",
        "challenge": challenge,
        "proof": [proof(challenge, [KEY]), "1"],
    }
    assert visitor.client.post("/", data=data).status_code == 400


def test_no_proof_and_no_letters_is_no_answer(visitor: Visitor) -> None:
    """The empty field of a form without script is none: nothing is spent for it."""
    challenge = visitor.challenge()
    response = prove(visitor, challenge=challenge, proof="")
    assert "Escriba las letras que ve en la imagen." in response.text
    assert hidden(response.text, "challenge") == challenge


def test_difficulty_cannot_be_picked(visitor: Visitor) -> None:
    """It is part of what is signed: a challenge that asks for no work is not ours."""
    payload, _, rest = visitor.challenge().partition(".")
    raw = bytearray(base64.urlsafe_b64decode(payload + "="))
    assert raw[1] == 20
    raw[1] = 0
    easy = base64.urlsafe_b64encode(raw).decode().rstrip("=") + "." + rest
    data = {"email": ADDRESS, "captcha": "", "challenge": easy, "proof": "0"}
    response = visitor.client.post("/", data=data)
    assert response.status_code == 200
    assert hidden(response.text, "challenge") != easy


def test_challenge_keeps_its_difficulty() -> None:
    """Other difficulty since it was issued: it asks for what it asked for."""
    before = Captcha([KEY], length=8, lifetime=timedelta(minutes=30), work_bits=3)
    after = Captcha([KEY], length=8, lifetime=timedelta(minutes=30))
    challenge = before.issue(now=START)
    assert after.puzzle(challenge) == before.puzzle(challenge)
    assert after.puzzle(challenge).endswith(" 8")


def test_last_good_second_of_a_proof(visitor: Visitor, clock: Clock) -> None:
    """It lives as long as its challenge; then a kind sentence, the address and a new challenge."""
    early, late = visitor.challenge(), visitor.challenge()
    clock.advance(minutes=30)
    assert prove(visitor, challenge=early).status_code == 303
    clock.advance(seconds=1)
    response = prove(visitor, challenge=late)
    assert "La comprobación venció o ya se usó." in response.text
    assert f'value="{ADDRESS}"' in response.text
    assert hidden(response.text, "challenge") != late
    assert work_on(response.text)[0] != ""


def test_typo_in_the_address_keeps_the_proof(visitor: Visitor, ana: int) -> None:
    """Nobody works twice for a slip of the pen: the same challenge, the number in its field."""
    challenge = visitor.challenge()
    response = prove(visitor, "ana@example", challenge=challenge)
    assert hidden(response.text, "challenge") == challenge
    assert hidden(response.text, "proof") == proof(challenge, [KEY])
    assert prove(visitor, challenge=challenge).status_code == 303


@pytest.mark.parametrize("press", [{"refresh": "1"}, {"proof": "1"}], ids=["refresh", "wrong"])
def test_new_challenge_drops_the_proof(visitor: Visitor, press: dict[str, str]) -> None:
    """The number belonged to the one before."""
    response = prove(visitor, **press)
    assert response.status_code == 200
    assert 'name="proof" value=""' in response.text


def test_proof_is_answered_like_letters(visitor: Visitor, ana: int) -> None:
    """Registered or not, read or proved: one answer."""
    answers = set()
    for email in (ADDRESS, "nadie@example.com"):
        for response in (visitor.ask(email), prove(visitor, email)):
            answers.add((response.status_code, tuple(response.headers.keys())))
    visitor.run_worker()
    assert len(answers) == 1
    assert len(visitor.mails()) == 2


def test_proofs_are_limited(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor], clock: Clock
) -> None:
    """Twenty an hour from one client, right or wrong; who reads the letters goes on."""
    visitor = make_visitor(make_app())
    answers = [prove(visitor, proof="1").status_code for _ in range(10)]
    answers += [prove(visitor).status_code for _ in range(11)]
    assert answers == [200] * 10 + [303] * 10 + [429]
    assert prove(visitor).headers["Retry-After"] == "3600"
    assert visitor.ask().status_code == 303
    clock.advance(hours=1)
    assert prove(visitor).status_code == 303


def test_proof_over_the_limit_spends_nothing(visitor: Visitor) -> None:
    """Its challenge still takes the letters."""
    for _ in range(20):
        prove(visitor, proof="1")
    challenge = visitor.challenge()
    assert prove(visitor, challenge=challenge).status_code == 429
    assert visitor.ask(challenge=challenge).status_code == 303
