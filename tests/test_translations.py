"""Every sentence in every language: complete catalogues, and no Spanish left on other pages."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import NoReturn
from zoneinfo import ZoneInfo, available_timezones

import pytest
from babel import Locale
from babel.messages import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from flask import Flask, Response, template_rendered
from flask_babel import force_locale
from flask_wtf import FlaskForm
from jinja2 import Environment, nodes
from wtforms import StringField
from wtforms.validators import InputRequired

from reset import texts
from reset.language import NAMES, SPANISH
from tests.conftest import Portal, Visitor, links_in
from tests.test_headers import ERRORS
from tests.test_operators import PASSWORD, sign_in

ROOT = Path(__file__).parent.parent
TEMPLATES = sorted(path for path in (ROOT / "templates").rglob("*.*"))
TRANSLATED = [language for language in NAMES if language != SPANISH]
MEND = "run `make translations`"
# What is spelled as in Spanish.
ALIKE = {
    "en": {"Captcha", "Email", "Error:"},
    "pt": {
        "Buscar",
        "Cancelando…",
        "Captcha",
        "Continuar",
        "Entrar",
        "Enviando…",
        "Falta:",
        "Mostrar",
        "Ocultar",
        "Pausar",
    },
}
# A class, and an attribute in a macro: text in a template, but not on the page.
UNSEEN = {"wide", 'aria-describedby=""'}
# A sign with an accent, or two words: no name of a field, a class or a file.
WORDY = re.compile(r"[^\W\d_]\s+[^\W\d_]|[À-ɏ]")


def catalogue(language: str) -> Catalog:
    """The translations into *language*."""
    return read_po(BytesIO(_file(language, "po").read_bytes()))


@cache
def sentences() -> set[str]:
    """Every sentence in code and templates, in Spanish."""
    with (ROOT / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)  # type: ignore[no-untyped-call]
    keywords = DEFAULT_KEYWORDS | {"lazy_gettext": None}
    found = extract_from_dir(ROOT, methods, options, keywords)
    return {message for _, _, message, *_ in found if isinstance(message, str)}


def _file(language: str, suffix: str) -> Path:
    return ROOT / "translations" / language / "LC_MESSAGES" / f"messages.{suffix}"


def _translations(language: str) -> dict[str, str]:
    return {str(message.id): str(message.string) for message in catalogue(language) if message.id}


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_sentence_is_translated(language: str) -> None:
    """None is missing, empty, left over or a guess that nobody looked at."""
    known = catalogue(language)
    assert set(_translations(language)) == sentences(), MEND
    assert [m.id for m in known if m.id and (not m.string or m.fuzzy)] == []
    assert list(known.obsolete) == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_are_compiled(language: str) -> None:
    """What is read at run time is what stands in the catalogue."""
    compiled = BytesIO()
    write_mo(compiled, catalogue(language))
    assert compiled.getvalue() == _file(language, "mo").read_bytes(), MEND


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_keep_values_and_tags(language: str) -> None:
    """Names, times and numbers are put in, and no sign of HTML is added or lost."""
    marks = re.compile(r"%\(\w+\)s|%|{\w*}|</?\w[^>]*>|[\"&<>]")
    changed = [
        (spanish, translated)
        for spanish, translated in _translations(language).items()
        if sorted(marks.findall(spanish)) != sorted(marks.findall(translated))
    ]
    assert changed == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_are_not_spanish(language: str) -> None:
    """Words that two languages share are listed here."""
    alike = {spanish for spanish, words in _translations(language).items() if spanish == words}
    assert alike == ALIKE[language]


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_name_buttons_as_they_are_called(language: str) -> None:
    """«Restablecer Contraseña» in a sentence is what stands on the button in that language."""
    known = _translations(language)
    wrong = [
        (label, words)
        for spanish, words in known.items()
        for label in re.findall("«(.+?)»", spanish)
        if f"“{known[label]}”" not in words
    ]
    assert wrong == []


class Words(HTMLParser):
    """The words of a page that a visitor sees or hears."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        spoken = re.compile(
            r"alt|title|placeholder|label|data-.*|aria-(label|description|valuetext)"
        )
        self.found += [value for name, value in attrs if value and spoken.fullmatch(name)]

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is None:
            self.found.append(data)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_template_has_no_words_of_its_own(path: Path) -> None:
    """Whatever can be read stands in `_()`."""
    source = path.read_text()
    page = Words()
    page.feed(re.sub(r"{#.*?#}|{%.*?%}|{{.*?}}", "", source, flags=re.DOTALL))
    page.close()
    words = {text.strip() for text in page.found if re.search(r"[^\W\d_]", text)}
    assert words - UNSEEN == set()
    tree = Environment(extensions=["jinja2.ext.i18n"], autoescape=True).parse(source)
    constants = {c.value for c in tree.find_all(nodes.Const) if isinstance(c.value, str)}
    capital = re.compile("[A-Z]")
    wordy = {c for c in constants if WORDY.search(c) or capital.search(c)}
    assert wordy - sentences() == set()


@pytest.mark.parametrize("path", sorted((ROOT / "static" / "js").iterdir()), ids=lambda p: p.name)
def test_script_has_no_words_of_its_own(path: Path) -> None:
    """What scripts say comes from attributes of the page."""
    code = re.sub(r"(?m)^\s*//.*$|\s// .*$", "", path.read_text())
    strings = re.findall(r"'([^'\n]*)'|\"([^\"\n]*)\"|`([^`]*)`", code)
    capital = re.compile("^[A-Z][a-z]")
    wordy = {s for s in map("".join, strings) if WORDY.search(s) or capital.search(s)}
    # The name of the frame in a portal whose page has no words of its own for it.
    assert wordy - {"Restablecer contraseña"} == {"use strict"}


def _fail(error: Exception) -> Callable[..., NoReturn]:
    def view(**_: str) -> NoReturn:
        raise error

    return view


def see_everything(visitor: Visitor, portal: Portal) -> None:
    """Go through every page and get every mail."""
    client = visitor.client
    visitor.ask("x", refresh="1")
    visitor.ask("x", captcha="")
    visitor.ask(captcha="wrong")
    client.get(visitor.ask().location)
    link = visitor.link()
    client.get(link)
    visitor.set_password(link, "short", confirm="other")
    visitor.set_password(link, "short")
    client.get(visitor.set_password(link).location)
    portal.add("ana.trabajo")
    visitor.clock.advance(hours=2)
    visitor.link()
    denial = links_in(visitor.mails()[-1], "no-fui-yo")[0]
    client.get(denial)
    client.post("/no-fui-yo", data={"token": denial.rpartition("/")[2]})
    see_the_help_desk(visitor)
    for error in ERRORS:
        visitor.app.view_functions["reset.request_reset"] = _fail(error)
        client.get("/")


def see_the_help_desk(visitor: Visitor) -> None:
    """The door, from elsewhere, too; what is behind it; and who is not known to the proxy."""
    app, client, parts = visitor.app, visitor.client, visitor.parts
    parts.operators.add("marta", PASSWORD, now=visitor.clock())
    client.get("/ayuda/entrar", headers={"Sec-Fetch-Site": "cross-site"})
    client.post("/ayuda/entrar", data={"name": "", "password": ""})
    for _ in range(11):
        sign_in(client, password="x")
    visitor.clock.advance(minutes=16)
    sign_in(client)
    client.get("/ayuda/")
    visitor.clock.advance(hours=1)
    client.get("/ayuda/")
    client.get("/ayuda/entrar")
    app.extensions["reset"] = replace(parts, user_header="X-Remote-User")
    client.get("/ayuda/")
    app.extensions["reset"] = parts


@pytest.fixture
def shown(make_app: Callable[..., Flask]) -> Iterator[tuple[Flask, list[str], set[str]]]:
    """An application in all languages, its answers so far, and the templates behind them."""
    app, answers, used = make_app(languages=tuple(NAMES)), list[str](), set[str]()

    @app.after_request
    def keep(answer: Response) -> Response:
        answers.append(answer.get_data(as_text=True))
        return answer

    def note(_: Flask, template: object, **__: object) -> None:
        used.add(str(getattr(template, "name", "")))

    with template_rendered.connected_to(note, app):
        yield app, answers, used


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.usefixtures("ana")
def test_nothing_is_shown_in_spanish(
    shown: tuple[Flask, list[str], set[str]],
    make_visitor: Callable[[Flask], Visitor],
    portal: Portal,
    language: str,
) -> None:
    """On no page and in no mail; none is left out here."""
    app, answers, used = shown
    visitor = make_visitor(app)
    visitor.client.environ_base["HTTP_ACCEPT_LANGUAGE"] = language
    see_everything(visitor, portal)
    mails = [f"{mail.subject} {mail.body} {mail.html}" for mail in visitor.mails()]
    seen = " ".join(html.unescape(" ".join(answers + mails)).split())
    between = re.compile(r"%\(\w+\)s|{\w*}|<[^>]+>")
    pieces = {piece.strip() for spanish in sentences() for piece in between.split(spanish)}
    theirs = " ".join(_translations(language).values())
    assert [p for p in pieces if len(p) > 12 and p in seen and p not in theirs] == []
    own = {str(path.relative_to(ROOT / "templates")) for path in TEMPLATES}
    parts = {name for name in own if "base" in name or name.startswith("_")}
    assert used == own - parts


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("es", "Este campo es obligatorio."),
        ("en", "This field is required."),
        ("pt", "Campo obrigatório."),
    ],
)
def test_messages_of_the_form_library(
    make_app: Callable[..., Flask], language: str, words: str
) -> None:
    """WTForms' own sentences are in the language of the page, too."""

    class Form(FlaskForm):  # type: ignore[misc]
        name = StringField(validators=[InputRequired()])

        class Meta(FlaskForm.Meta):  # type: ignore[misc]
            csrf = False

    app = make_app(languages=tuple(NAMES))
    with app.test_request_context(f"/?lang={language}", method="POST", data={"name": ""}):
        form = Form()
        assert not form.validate()
        assert form.name.errors == [words]


@pytest.mark.parametrize(
    ("language", "when", "span"),
    [
        ("en", "Monday, November 23, 2026, 3:15\u00a0AM (Colombia Time, UTC-05:00)", "12 hours"),
        (
            "pt",
            "segunda-feira, 23 de novembro de 2026, 03:15 (Horário Colômbia, UTC-05:00)",
            "12 horas",
        ),
    ],
)
def test_times_in_other_languages(app: Flask, language: str, when: str, span: str) -> None:
    """As people there write them, in the configured zone."""
    with app.app_context(), force_locale(language):
        moment = datetime(2026, 11, 23, 8, 15, tzinfo=UTC)
        assert texts.local_time(moment, ZoneInfo("America/Bogota")) == when
        assert texts.duration(timedelta(hours=12)) == span


@pytest.mark.parametrize("language", NAMES)
def test_every_zone_can_be_told(app: Flask, language: str) -> None:
    """By its country, or by its distance from UTC alone where that is all that is known."""
    moment, nowhere = datetime(2026, 11, 23, 8, 15, tzinfo=UTC), Locale(language).territories["ZZ"]
    with app.app_context(), force_locale(language):
        told = {zone: texts.local_time(moment, ZoneInfo(zone)) for zone in available_timezones()}
    assert [zone for zone, words in told.items() if nowhere in words] == []
    assert told["Etc/GMT+5"].endswith("(UTC-05:00)")
