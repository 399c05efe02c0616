"""Spanish first; other languages by the address, then the browser, then the setting."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask

from reset.captcha import answer
from tests.conftest import ADDRESS, KEY, Visitor, links_in

pytestmark = pytest.mark.usefixtures("ana")


def language_of(page: str) -> str:
    """What a page or mail says that its language is."""
    found = re.search(r'<html lang="(\w+)">', page)
    assert found
    return found[1]


@pytest.mark.parametrize(
    ("query", "browser", "language"),
    [
        ("", "", "es"),
        ("", "en-US,en;q=0.9", "en"),
        ("", "de,en;q=0.5,es;q=0.4", "en"),
        ("", "de", "es"),
        ("", "pt-BR", "es"),
        ("", "\x80;q=x", "es"),
        ("?lang=en", "es-CO", "en"),
        ("?lang=es", "en", "es"),
        ("?lang=pt", "en", "en"),
        ("?lang=../en", "es", "es"),
    ],
)
def test_language_of_a_page(visitor: Visitor, query: str, browser: str, language: str) -> None:
    """`?lang=` wins over the browser, the browser over the setting, which lists all there are."""
    page = visitor.client.get(f"/{query}", headers={"Accept-Language": browser}).text
    assert language_of(page) == language


def test_first_language_of_the_setting_is_for_everybody_else(
    make_app: Callable[..., Flask],
) -> None:
    """The operator says what is spoken to those who understand none of the languages."""
    page = (
        make_app(languages=("pt", "es")).test_client().get("/", headers={"Accept-Language": "de"})
    )
    assert language_of(page.text) == "pt"


def test_chosen_language_stays(visitor: Visitor) -> None:
    """Without any cookie: links and forms of a page lead to pages in the same language."""
    challenge = visitor.challenge()
    form = visitor.client.get("/?lang=en").text
    assert 'action="/?lang=en"' in form
    letters = answer(challenge, [KEY])
    asked = {"email": ADDRESS, "challenge": challenge, "captcha": letters}
    sent = visitor.client.post("/?lang=en", data=asked)
    assert sent.location.endswith("?lang=en")
    assert language_of(visitor.client.get(sent.location).text) == "en"


def test_browser_that_asks_for_a_language_needs_no_query(visitor: Visitor) -> None:
    """Addresses stay as short as they are."""
    visitor.client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "en"
    assert "lang=en" not in visitor.client.get("/").text.partition("<footer")[0]
    assert "?" not in visitor.ask().location


def test_mails_speak_as_the_page_that_asked(visitor: Visitor) -> None:
    """Both mails, although another process sends them."""
    visitor.client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "en"
    visitor.set_password(visitor.link())
    visitor.run_worker()
    assert [language_of(str(mail.html)) for mail in visitor.mails()] == ["en", "en"]


def test_link_speaks_as_its_mail(visitor: Visitor) -> None:
    """In any browser: new password, refusal and "no fui yo"."""
    visitor.client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "en"
    link = visitor.link()
    denial = links_in(visitor.mails()[-1], "no-fui-yo")[0]
    visitor.client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "es"
    assert language_of(visitor.client.get(denial).text) == "en"
    form = visitor.client.get(link).text
    assert language_of(form) == "en"
    assert 'action="/nueva?lang=en"' in form
    assert language_of(visitor.set_password(link, "short").text) == "en"


def test_address_wins_over_the_language_of_the_mail(visitor: Visitor) -> None:
    """Who asks for another language gets it."""
    link = visitor.link()
    assert language_of(visitor.client.get(f"{link}?lang=en").text) == "en"


def test_other_languages_are_offered(visitor: Visitor) -> None:
    """By their own names, on pages that show the same in each of them."""
    number = visitor.ask().location
    for page in ("/", number, "/lista"):
        shown = visitor.client.get(page).text
        assert f'<a href="{page}?lang=en" lang="en" hreflang="en">English</a>' in shown
    assert "hreflang" not in visitor.client.get(visitor.link()).text


def test_error_pages_speak_the_language_too(visitor: Visitor) -> None:
    """Whatever went wrong."""
    assert language_of(visitor.client.get("/no-such-page?lang=en").text) == "en"
    assert (
        language_of(visitor.client.get("/nueva/x", headers={"Accept-Language": "en"}).text) == "en"
    )
