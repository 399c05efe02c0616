"""Asking for a link: the form, its answer, and what nobody learns from it."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from time import thread_time
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from reset.accounts.fields import rules
from reset.captcha import answer
from tests.conftest import ADDRESS, KEY, Clock, Portal, Visitor, hidden, links_in


def test_request_is_answered_with_a_number(visitor: Visitor, ana: int) -> None:
    """The answer page says what happens next and names the request."""
    response = visitor.ask()
    page = visitor.client.get(response.location).text
    assert response.status_code == 303
    assert re.fullmatch(r"/enviada/\d{4}-\d{4}-\d{4}", response.location)
    assert response.location.rpartition("/")[2] in page
    assert "12 horas" in page
    assert "(605) 371 4545" in page


def test_accepting_is_one_durable_commit(visitor: Visitor) -> None:
    """The disk is waited for once: not for two windows of the client, the captcha, the address."""
    levels: list[int] = []

    def keep(connection: sa.Connection) -> None:
        levels.append(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    challenge, engine = visitor.challenge(), visitor.parts.database._engine
    sa.event.listen(engine, "commit", keep)
    visitor.ask(challenge=challenge)
    sa.event.remove(engine, "commit", keep)
    assert levels == [1, 1, 1, 2]  # NORMAL, and last of all FULL.


def test_registered_address_gets_the_link(visitor: Visitor, ana: int) -> None:
    """The mail goes to the stored address and has one link."""
    visitor.ask()
    visitor.run_worker()
    assert len(links_in(visitor.mails()[0])) == 1


@pytest.mark.parametrize(
    "typed",
    [
        " ANA@example.com ",
        "ana@EXAMPLE.com\u200b",
        "\u00a0Ana@Example.Com",
        "\ufeffana@example.com",
    ],
)
def test_address_is_found_as_people_type_it(visitor: Visitor, ana: int, typed: str) -> None:
    """Capitals, spaces and invisible characters of a copy do not matter."""
    visitor.ask(typed)
    visitor.run_worker()
    assert [mail.recipients for mail in visitor.sender.sent] == [[ADDRESS]]


def test_names_of_an_office_are_addresses(visitor: Visitor, portal: Portal) -> None:
    """A domain that the world does not know may well be the portal's."""
    portal.add(email="ana@oficina.local")
    visitor.ask("ana@oficina.local")
    visitor.run_worker()
    assert [mail.recipients for mail in visitor.sender.sent] == [["ana@oficina.local"]]


def test_mail_goes_to_the_stored_spelling(visitor: Visitor, portal: Portal) -> None:
    """The typed address decides who is looked up, never where the mail goes."""
    portal.add(email="Ana.Perez@Example.com")
    visitor.ask("ana.perez@example.com")
    visitor.run_worker()
    assert visitor.sender.sent[0].recipients == ["Ana.Perez@Example.com"]


@pytest.mark.parametrize(
    "typed",
    [
        "mıke@example.org",
        "mike@ıxample.org",
        "mik_@example.org",
        "%@example.org",
        "mike@example.org.evil.example",
        "' OR 1=1--@example.org",
    ],
)
def test_look_alikes_get_no_mail(visitor: Visitor, portal: Portal, typed: str) -> None:
    """Neither Unicode case rules nor SQL patterns turn one address into another."""
    portal.add(email="mike@example.org")
    visitor.ask(typed)
    visitor.run_worker()
    assert visitor.sender.sent == []


def test_kelvin_sign_is_a_k(visitor: Visitor, portal: Portal) -> None:
    """Unicode calls both the same letter; the mail goes to the stored address all the same."""
    portal.add(email="mike@example.org")
    visitor.ask("mi\u212ae@example.org")
    visitor.run_worker()
    assert [mail.recipients for mail in visitor.sender.sent] == [["mike@example.org"]]


ANSWERED_ALIKE: dict[str, list[dict[str, Any]]] = {
    "registered": [{}],
    "disabled": [{"activo": 0}],
    "no hash": [{"clave": ""}],
    "excluded": [{"telefono": "0"}],
    "two spellings": [{}, {"login": "otra", "email": "Ana@example.com"}],
    "unknown": [],
}


@pytest.mark.parametrize("kind", ANSWERED_ALIKE)
def test_everybody_is_answered_alike(
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    portal: Portal,
    kind: str,
) -> None:
    """No status, header or body tells who is registered: not at first, nor over the limit."""
    excluding = replace(portal.table, exclude=rules("telefono=0"))
    visitor = make_visitor(make_app(accounts_source=excluding, limit_per_address="2 per hour"))
    for account in ANSWERED_ALIKE[kind]:
        portal.add(**account)
    assert _answers(visitor, ADDRESS) == _answers(visitor, "nadie@example.com")


def _answers(visitor: Visitor, email: str) -> list[Any]:
    """Five times asked, the worker busy in between: each answer and the page that it leads to."""
    answers = []
    for _ in range(5):
        asked = visitor.ask(email)
        answers += [_masked(asked), _masked(visitor.client.get(asked.location))]
        visitor.run_worker()
    return answers


def _masked(response: TestResponse) -> tuple[int, list[tuple[str, str]], str]:
    def mask(text: str) -> str:
        return re.sub(r"\d{4}-\d{4}-\d{4}", "N", text)

    return response.status_code, [(n, mask(v)) for n, v in response.headers], mask(response.text)


def test_nobody_is_looked_up_while_asking(visitor: Visitor, portal: Portal) -> None:
    """The answer comes even when the portal's accounts cannot be read."""
    portal.path.unlink()
    assert visitor.ask().status_code == 303


def test_wrong_letters_are_answered_alike(visitor: Visitor, portal: Portal, ana: int) -> None:
    """Nobody is looked up for them either; the page differs only in what was typed."""
    portal.path.unlink()
    answers = []
    for email in (ADDRESS, "nix@example.com"):
        page = visitor.ask(email, captcha="wrong")
        text = page.text.replace(hidden(page.text, "challenge"), "C").replace(email, "E")
        text = re.sub('data-work="[^"]+"', "", text)
        answers.append((page.status_code, [*page.headers], text))
    assert answers[0] == answers[1]
    assert answers[0][0] == 200


def test_asking_changes_no_account(visitor: Visitor, portal: Portal, ana: int) -> None:
    """Before a valid link is used, the accounts stay as they were."""
    before = portal.rows()
    for _ in range(8):
        visitor.ask()
    visitor.run_worker()
    assert portal.rows() == before


def test_disabled_account_gets_no_mail(visitor: Visitor, portal: Portal) -> None:
    """No link for an account that is switched off; the trace says why."""
    portal.add(activo=0)
    visitor.ask()
    visitor.run_worker()
    assert visitor.sender.sent == []
    assert visitor.trace() == ["requested", "account_inactive"]


def test_two_accounts_on_one_mailbox_share_a_mail(visitor: Visitor, portal: Portal) -> None:
    """One mail lists each login with its own link."""
    portal.add("ana.perez")
    portal.add("beto.perez")
    visitor.ask()
    visitor.run_worker()
    (mail,) = visitor.mails()
    assert len(set(links_in(mail))) == 2
    assert "ana.perez" in str(mail.body)
    assert "beto.perez" in str(mail.body)


def test_two_spellings_of_one_address_get_none(visitor: Visitor, portal: Portal) -> None:
    """Where the portal spells an address in two ways, a person must decide."""
    portal.add("ana.perez", "ana@example.com")
    portal.add("ana.otra", "Ana@example.com")
    visitor.ask()
    visitor.run_worker()
    assert visitor.sender.sent == []
    assert visitor.trace()[-1] == "address_ambiguous"


@pytest.mark.parametrize(
    "email",
    [
        "",
        "   ",
        "ana",
        "ana@",
        "ana@example",
        "ana@@example.com",
        "ana@example.com,eve@evil.example",
        "ana@example.com;eve@evil.example",
        "ana@example.com|eve@evil.example",
        "ana@example.com eve@evil.example",
        "ana@example.com\r\nBcc: eve@evil.example",
        "ana@example.com\0",
        "ana@example.com\0@evil.example",
        '"a b"@example.com',
        "ana@[127.0.0.1]",
        "(c)ana@example.com",
        "josé@example.com",
        "a" * 65 + "@example.com",
        "a@" + "b" * 250 + ".com",
        "a." * 20_000,
        "\ufffd@example.com",
        '"><script>alert(1)</script>@example.com',
    ],
    ids=range(22),
)
def test_bad_address_is_told_beside_its_field(visitor: Visitor, email: str) -> None:
    """The typo burns no captcha: letters and challenge stay."""
    challenge = visitor.challenge()
    response = visitor.ask(email, challenge=challenge)
    assert response.status_code == 200
    assert 'id="email-errors"' in response.text
    assert hidden(response.text, "challenge") == challenge
    assert answer(challenge, [KEY]) in response.text
    assert "<script>alert" not in response.text


def test_typo_can_be_mended_with_the_same_letters(visitor: Visitor, ana: int) -> None:
    """After the address is corrected the same captcha is accepted."""
    challenge = visitor.challenge()
    visitor.ask("ana@example", challenge=challenge)
    assert visitor.ask(challenge=challenge).status_code == 303


def test_wrong_letters_keep_the_address(visitor: Visitor) -> None:
    """A fresh captcha is shown, what was typed for the address stays."""
    challenge = visitor.challenge()
    response = visitor.ask(challenge=challenge, captcha="xxxxxxxx")
    assert response.status_code == 200
    assert hidden(response.text, "challenge") != challenge
    assert 'id="captcha-errors"' in response.text
    assert f'value="{ADDRESS}"' in response.text
    assert "xxxxxxxx" not in response.text


def test_one_guess_a_challenge(visitor: Visitor) -> None:
    """After one wrong answer the right one is refused, too."""
    challenge = visitor.challenge()
    visitor.ask(challenge=challenge, captcha="xxxxxxxx")
    assert visitor.ask(challenge=challenge).status_code == 200


def test_solved_captcha_counts_once(visitor: Visitor, ana: int) -> None:
    """Replaying an accepted form asks for new letters and mails nothing more."""
    challenge = visitor.challenge()
    answers = [visitor.ask(challenge=challenge).status_code for _ in range(5)]
    visitor.run_worker()
    assert answers == [303, 200, 200, 200, 200]
    assert len(visitor.mails()) == 1


def test_other_spelling_of_a_challenge_is_the_same_one(visitor: Visitor, ana: int) -> None:
    """A signed text has several valid spellings; the captcha is spent in all of them."""
    challenge = visitor.challenge()
    letters = answer(challenge, [KEY])
    visitor.ask(challenge=challenge)
    assert visitor.ask(challenge=challenge + "=", captcha=letters).status_code == 200


def test_last_good_second_of_a_challenge(visitor: Visitor, clock: Clock) -> None:
    """A challenge may be answered for half an hour; then letters and address stay apart."""
    early, late = visitor.challenge(), visitor.challenge()
    clock.advance(minutes=30)
    assert visitor.ask(challenge=early).status_code == 303
    clock.advance(seconds=1)
    response = visitor.ask(challenge=late)
    assert response.status_code == 200
    assert f'value="{ADDRESS}"' in response.text
    assert hidden(response.text, "challenge") != late


@pytest.mark.parametrize("shown", [True, False], ids=["captcha shown", "no captcha"])
def test_nothing_is_no_answer(visitor: Visitor, shown: bool) -> None:
    """Who leaves letters and challenge empty, as if none had been asked for, asked for nothing."""
    for letters in ("", "  ", "None", "null", "-"):
        challenge = visitor.challenge() if shown else ""
        data = {"email": ADDRESS, "captcha": letters, "challenge": challenge}
        response = visitor.client.post("/", data=data)
        assert response.status_code == 200
        assert 'id="captcha-errors"' in response.text
    assert visitor.parts.flow.trace(ADDRESS) == []


@pytest.mark.parametrize("challenge", ["x", "a.b.c", "ñ", "=" * 300, "None", "."])
def test_forged_challenge_is_refused(visitor: Visitor, challenge: str) -> None:
    """What we did not sign is answered with a fresh captcha."""
    response = visitor.client.post(
        "/", data={"email": ADDRESS, "captcha": "aaaaaaaa", "challenge": challenge}
    )
    assert response.status_code == 200
    assert 'id="captcha-errors"' in response.text


def test_token_of_another_purpose_is_no_challenge(visitor: Visitor, ana: int) -> None:
    """A reset token signed with the same key opens no captcha."""
    token = visitor.link().rpartition("/")[2]
    data = {"email": ADDRESS, "captcha": "aaaaaaaa", "challenge": token}
    assert visitor.client.post("/", data=data).status_code == 200
    assert visitor.client.get(f"/captcha/{token}.png").status_code == 404


def test_refresh_keeps_the_address(visitor: Visitor) -> None:
    """Without JavaScript, Refrescar shows other letters and keeps what was typed."""
    challenge = visitor.challenge()
    response = visitor.ask(challenge=challenge, refresh="1", captcha="abc")
    assert response.status_code == 200
    assert hidden(response.text, "challenge") != challenge
    assert f'value="{ADDRESS}"' in response.text
    assert "error" not in response.text


def test_refreshed_letters_are_void(visitor: Visitor) -> None:
    """After Refrescar the letters before are wrong, even if they were right."""
    challenge = visitor.challenge()
    visitor.ask(challenge=challenge, refresh="1")
    assert visitor.ask(challenge=challenge).status_code == 200


def test_refresh_is_not_the_first_button(visitor: Visitor) -> None:
    """Enter presses the first submit button of a form: it must send it."""
    buttons = re.findall(r"<button[^>]*type=\"submit\"[^>]*>", visitor.client.get("/").text)
    assert "refresh" not in buttons[0]
    assert 'name="refresh"' in buttons[1]


def test_address_can_be_prefilled(visitor: Visitor) -> None:
    """The portal may pass on what was typed into its log-in."""
    page = visitor.client.get("/", query_string={"email": 'a"><b@example.com'}).text
    assert 'value="a&#34;&gt;&lt;b@example.com"' in page


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"email": ADDRESS},
        {"email": ADDRESS, "captcha": "a"},
        {"email": [ADDRESS, "eve@evil.example"], "captcha": "a", "challenge": "c"},
        {"email[]": [ADDRESS, "eve@evil.example"], "captcha": "a", "challenge": "c"},
        {"email": ADDRESS, "captcha": ["a", "b"], "challenge": "c"},
    ],
    ids=range(6),
)
def test_form_of_the_wrong_shape_is_malformed(visitor: Visitor, data: dict[str, Any]) -> None:
    """Each field must come exactly once."""
    assert visitor.client.post("/", data=data).status_code == 400


@pytest.mark.parametrize("path", ["/", "/nueva", "/no-fui-yo"])
def test_only_a_form_is_read_as_a_form(visitor: Visitor, path: str) -> None:
    """JSON of any shape, and what a page of another site may send unasked, is malformed."""
    bodies = ('{"email":["v","e"]}', '{"token":true}', "[1]", '"x"', "{", "email=v&token=x")
    for kind in ("application/json", "text/plain"):
        for body in bodies:
            assert visitor.client.post(path, data=body, content_type=kind).status_code == 400


@pytest.mark.parametrize(
    ("path", "field"),
    [("/", "email"), ("/", "captcha"), ("/", "challenge"), ("/nueva", "token"), ("/", "foto")],
)
def test_file_part_is_malformed(visitor: Visitor, path: str, field: str) -> None:
    """No form of ours has a file: in the place of a field, beside it, or anywhere."""
    data: dict[str, Any] = dict.fromkeys(("email", "captcha", "token", "password", "confirm"), "a")
    data |= {"email": ADDRESS, "challenge": visitor.challenge()}
    for fields in ([], [data.get(field, "a")]):
        sent = data | {field: [*fields, (io.BytesIO(b"x"), "x.txt")]}
        assert visitor.client.post(path, data=sent).status_code == 400


@pytest.mark.parametrize("error", [OSError, RuntimeError])
def test_broken_body_is_malformed(visitor: Visitor, error: type[Exception]) -> None:
    """A connection that breaks off, or chunks that are none, end in 400."""

    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _: object) -> int:
            raise error

    response = visitor.client.post(
        "/",
        content_type="application/x-www-form-urlencoded",
        environ_overrides={"wsgi.input": io.BufferedReader(Broken()), "CONTENT_LENGTH": "10"},
    )
    assert response.status_code == 400


@pytest.mark.parametrize(
    "data",
    [{"email": "a" * 70_000}, {f"f{i}": "x" for i in range(2000)}],
    ids=["long field", "many parts"],
)
def test_hostile_sizes_are_cut_off(visitor: Visitor, data: dict[str, str]) -> None:
    """Body, field and number of parts are bounded."""
    response = visitor.client.post("/", data=data, content_type="multipart/form-data")
    assert response.status_code == 413
    assert "<h1" in response.text


@pytest.mark.parametrize("field", ["email", "captcha"])
def test_flood_of_accents_costs_no_time(visitor: Visitor, field: str) -> None:
    """To put 30 000 accents in order takes seconds of CPU: nobody's address or letters need it."""
    flood = "a" + "\u0345" * 14_000 + "\u0300" * 14_000 + "@example.com"
    challenge = visitor.challenge()
    data = {"email": ADDRESS, "captcha": "x", "challenge": challenge, field: flood}
    visitor.ask("x")
    before = thread_time()
    unicodedata.normalize("NFC", flood)
    normalised = thread_time()
    response = visitor.client.post("/", data=data, content_type="multipart/form-data")
    assert response.status_code == 200
    assert thread_time() - normalised < (normalised - before) / 2


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE"])
def test_other_methods_are_refused(visitor: Visitor, method: str) -> None:
    """Nothing but reading and sending the form."""
    assert visitor.client.open("/", method=method).status_code == 405


def test_open_form_survives_a_rotation(make_app: Callable[..., Flask]) -> None:
    """After a key is added, an open form goes on working."""
    before = make_app().test_client()
    challenge = hidden(before.get("/").text, "challenge")
    after = make_app(secret_keys=(KEY, KEY[::-1])).test_client()
    data = {"email": ADDRESS, "challenge": challenge, "captcha": answer(challenge, [KEY])}
    assert after.post("/", data=data).status_code == 303
