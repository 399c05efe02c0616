"""The form is made once and kept: what one visitor sees never reaches another."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, template_rendered
from flask.testing import FlaskClient

from config import Settings
from reset import mirror
from tests.conftest import KEY, START, Visitor, hidden

MakeApp = Callable[..., Flask]
VISITORS: dict[str, dict[str, Any]] = {
    "nothing said": {},
    "no frame": {"headers": {"Sec-Fetch-Dest": "document"}},
    "frame": {"headers": {"Sec-Fetch-Dest": "iframe"}},
    "English browser": {"headers": {"Accept-Language": "en"}},
    "Spanish browser": {"headers": {"Accept-Language": "es-CO,es;q=0.9"}},
    "English chosen": {"query_string": {"lang": "en"}},
    "English chosen, English browser": {
        "query_string": {"lang": "en"},
        "headers": {"Accept-Language": "en"},
    },
    "Spanish chosen, English browser, no frame": {
        "query_string": {"lang": "es"},
        "headers": {"Accept-Language": "en", "Sec-Fetch-Dest": "document"},
    },
    "unknown language": {"query_string": {"lang": "<b>"}},
    "address": {"query_string": {"email": "ana@example.com"}},
    "address, in English": {"query_string": {"email": "beto@example.com", "lang": "en"}},
    "mounted elsewhere": {"environ_overrides": {"SCRIPT_NAME": "/evil"}},
    "other host": {"headers": {"Host": "127.0.0.1"}},
    "forged host": {"headers": {"Host": "evil.example"}},
    "doctor": {
        "headers": {mirror.QUESTION: mirror.question([KEY], "http://localhost:5000", now=START)}
    },
    "no body": {"method": "HEAD"},
    "letters asked for anew": {"method": "POST", "data": {"refresh": "1"}},
}


def seen(client: FlaskClient, visitor: dict[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """Page and headers, but for what is never twice the same: challenge and puzzle."""
    answer = client.open("/", **visitor)
    page = re.sub(r'[\w-]{20,}\.[\w-]+\.[\w-]+|data-work="[^"]+"', "", answer.text)
    return page, [*answer.headers.items()]


@pytest.mark.parametrize("who", VISITORS)
def test_who_came_before_leaves_nothing_in_the_page(make_app: MakeApp, who: str) -> None:
    """Byte by byte it is the page that the first visitor of a new process is shown."""
    first = seen(make_app().test_client(), VISITORS[who])
    client = make_app().test_client()
    for _ in range(2):
        for other in VISITORS.values():
            seen(client, other)
        assert seen(client, VISITORS[who]) == first


def test_every_visitor_gets_a_challenge_of_their_own(visitor: Visitor) -> None:
    """Field, picture, sound and puzzle are of the same one, and nobody had it before."""
    had = set()
    for _ in range(3):
        page = visitor.client.get("/").text
        challenge = hidden(page, "challenge")
        assert page.count(challenge) == 3
        assert f'data-work="{visitor.parts.captcha.puzzle(challenge)}"' in page
        had.add(challenge)
    assert len(had) == 3


def test_form_is_made_once(visitor: Visitor) -> None:
    """The second visitor costs no template, in whichever language the first one read it."""
    made: list[object] = []

    def note(_: Flask, **values: object) -> None:
        made.append(values["template"])

    for query in ("/", "/?lang=en"):
        visitor.client.get(query)
        with template_rendered.connected_to(note, visitor.app):
            assert visitor.client.get(query).status_code == 200
    assert made == []


def test_form_asks_no_database(visitor: Visitor, tmp_path: Path) -> None:
    """Whoever opens it while the store is down is shown it all the same."""
    visitor.parts.database.close()
    (tmp_path / "reset.sqlite").unlink()
    (tmp_path / "reset.sqlite").mkdir()
    assert visitor.client.get("/readyz").status_code == 503
    assert [visitor.client.get("/").status_code for _ in range(2)] == [200, 200]


def test_two_services_in_one_process_show_their_own(make_app: MakeApp, settings: Settings) -> None:
    """What one keeps is not the other's."""
    names = ("Hanna", "Otra Caja")
    apps = [make_app(brand=replace(settings.brand, name=name)) for name in names]
    for _ in range(2):
        for app, name in zip(apps, names, strict=True):
            assert f"<strong>{name}</strong>" in app.test_client().get("/").text


def test_what_looks_like_a_place_to_fill_is_left(make_app: MakeApp, settings: Settings) -> None:
    """A page is filled as a format; what the operator wrote into it is none."""
    client = make_app(brand=replace(settings.brand, name="100 % %(0)b")).test_client()
    for _ in range(2):
        answer = client.get("/")
        assert answer.status_code == 200
        assert "<strong>100 % %(0)b</strong>" in answer.text


def test_templates_of_ones_own_are_made_for_each_visitor(make_app: MakeApp, tmp_path: Path) -> None:
    """They may show whatever Flask knows of the request."""
    own = tmp_path / "plantillas" / "reset" / "request.html"
    own.parent.mkdir(parents=True)
    own.write_text(
        '{% extends "original/reset/request.html" %}'
        "{% block intro %}{{ request.args.de }}{% endblock %}"
    )
    client = make_app(templates=tmp_path / "plantillas").test_client()
    for office in ("barranquilla", "soledad"):
        assert office in client.get(f"/?de={office}").text
