"""Looks by settings and by templates of one's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from config import Settings
from reset.brand import READABLE, Brand, contrast
from tests.conftest import Visitor

MakeApp = Callable[..., Flask]
COLORS = st.integers(0, 0xFFFFFF).map("#{:06x}".format)
MANUAL = (Path(__file__).parent.parent / "docs" / "looks.md").read_text("utf-8")
SVG = '<svg xmlns="http://www.w3.org/2000/svg" {}/>'


def linked_style(page: str) -> str:
    """The address of the one stylesheet."""
    (found,) = re.findall(r'<link rel="stylesheet" href="([^"]+)"', page)
    return str(found)


@hypothesis_settings(deadline=None)
@given(background=COLORS, color=COLORS)
def test_every_text_can_be_read_on_any_background(background: str, color: str) -> None:
    """Text, small print and links stay at 4.5 to 1 or better, whatever the operator likes."""
    brand = Brand("X", "", None, color, "", "", "", background=background)
    light = brand.stylesheet.partition("scheme:light)")[2]
    texts = re.findall(r"--page-(?:text|quiet|brand):(#\w{6})", light)
    assert f"--page:{background};" in light
    assert len(texts) == 3
    assert min(contrast(text, background) for text in [*texts, brand.quiet_outside]) >= READABLE
    assert contrast(brand.dark_color, brand.on_dark_color) >= READABLE


def test_hours_stand_beside_the_telephone(
    make_app: MakeApp, settings: Settings, make_visitor: Callable[[Flask], Visitor], ana: int
) -> None:
    """On pages, and in both parts of a mail."""
    hours = "lunes a viernes, 8 a. m. a 5 p. m."
    visitor = make_visitor(make_app(brand=replace(settings.brand, support_hours=hours)))
    visitor.link()
    (mail,) = visitor.mails()
    for text in (visitor.client.get("/x").text, str(mail.html), str(mail.body)):
        assert 0 < text.index("(605) 371 4545") < text.index(hours)


def test_notice_stands_above_the_form(make_app: MakeApp, settings: Settings) -> None:
    """As plain text, marked with the language in which the operator writes."""
    brand = replace(settings.brand, notice="Sábado: <mantenimiento>")
    page = make_app(brand=brand).test_client().get("/?lang=en").text
    before = page.partition("<form")[0]
    assert '<p class="notice" lang="es">Sábado: &lt;mantenimiento&gt;</p>' in before


@pytest.mark.parametrize(
    ("size", "wide"),
    [
        ('viewBox="0 0 300 100"', 120),
        ('viewBox="0,0,10.5,42"', 10),
        ('width="20mm" height="20mm" viewBox="0 0 9 3"', 40),
        ('width="100%" viewBox="0 0 200 100"', 80),
    ],
)
def test_page_keeps_the_place_of_the_logo(
    make_app: MakeApp, settings: Settings, tmp_path: Path, size: str, wide: int
) -> None:
    """Its shape is known before it is loaded, its address changes with it."""
    logo = tmp_path / "logo.svg"
    seen = set()
    for line_break in ("", "\n"):
        logo.write_text(SVG.format(size) + line_break)
        app = make_app(brand=replace(settings.brand, logo=logo))
        found = re.search(r'src="(/marca/logo\S+)" (\S+ \S+)', app.test_client().get("/").text)
        assert found
        assert found[2] == f'width="{wide}" height="40"'
        seen.add(found[1])
    assert len(seen) == 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The operator's own templates."""
    made = tmp_path / "plantillas"
    made.mkdir()
    return made


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, "utf-8")


def test_examples_of_the_manual_work(make_app: MakeApp, folder: Path) -> None:
    """A few lines change one block; everything else of the page stays ours."""
    example = r"`/srv/hanna/plantillas/(\S+)`:\n\n```html\n(.*?)```"
    for name, text in re.findall(example, MANUAL, re.S):
        write(folder, name, text)
    client = make_app(templates=folder).test_client()
    for path in ("/", "/lista", "/nueva/x"):
        page = client.get(path).text
        assert page.count("Tratamiento de datos personales") == 1
        assert page.count("Volver a la Plataforma Web</a>") >= 1
    form = client.get("/").text
    assert form.index("<p>Solo para afiliados de Hanna.</p>") < form.index("<form")
    assert "Llámenos primero." in form
    assert "Así recupera su contraseña" not in form


def test_blocks_of_the_manual_exist(app: Flask) -> None:
    """What an operator may fill, upgrade after upgrade."""
    rows = re.findall(r"^\| `([\w/.]+)` \| (`.*) \|$", MANUAL, re.M)
    assert len(rows) == 5
    for name, blocks in rows:
        offered = app.jinja_env.get_template(name).blocks
        assert set(re.findall(r"`(\w+)`", blocks)) <= set(offered), name


def test_mail_can_be_replaced(
    make_app: MakeApp, make_visitor: Callable[[Flask], Visitor], ana: int, folder: Path
) -> None:
    """Any template of ours, with what it is told."""
    write(folder, "email/reset_link/subject.txt", "Su clave de {{ brand.name }}")
    visitor = make_visitor(make_app(templates=folder))
    visitor.link()
    assert visitor.mails()[0].subject == "Su clave de Hanna"


def test_own_rules_end_the_stylesheet(make_app: MakeApp, folder: Path) -> None:
    """One file, whose address changes with the operator's rules."""
    before = linked_style(make_app().test_client().get("/").text)
    write(folder, "extra.css", "h1 { color: rebeccapurple }")
    client = make_app(templates=folder).test_client()
    url = linked_style(client.get("/").text)
    assert url != before
    assert client.get(url).text.endswith("h1 { color: rebeccapurple }")
    assert client.get(url).mimetype == "text/css"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("reset/reqest.html", "", "has the name of none of our templates"),
        ("base.html~", "", "has the name of none of our templates"),
        ("base.html", "\n{% block footer %}", "base.html, line 2: Unexpected end of template"),
        ("base.html", "{{ x|no_such_filter }}", "line 1: No filter named 'no_such_filter'"),
        ("base.html", '{% extends "base.html" %}', "contains itself; ours is original/base.html"),
        (
            "_help_desk.html",
            '{% include "_help_desk.html" %}',
            "contains itself; ours is original/_help_desk.html",
        ),
        ("base.html", '{% include "x.html" %}', "names x.html, which there is not"),
        (
            "base.html",
            '{% extends "original/base.html" %}{% block foot %}{% endblock %}',
            "fills the block foot, which original/base.html does not have",
        ),
    ],
)
def test_template_that_would_fail_later_is_told_at_the_start(
    make_app: MakeApp,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    text: str,
    said: str,
) -> None:
    """One line with the file's name; no page has to be opened to find it."""
    write(folder, name, text)
    with pytest.raises(SystemExit):
        make_app(templates=folder)
    (_, line) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"RESET_TEMPLATES_DIR: {name}")
    assert said in line


def test_templates_that_contain_each_other_are_told(
    make_app: MakeApp, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also those that only lead there; what is wrong with a file is told once."""
    write(folder, "_help_desk.html", '{% include "base.html" %}')
    write(folder, "base.html", '{% include "_help_desk.html" %}')
    write(folder, "reset/done.html", '{% extends "base.html" %}')
    write(folder, "errors/404.html", "{% if")
    write(folder, "errors/403.html", '{% extends "errors/404.html" %}')
    with pytest.raises(SystemExit):
        make_app(templates=folder)
    _, *lines = capsys.readouterr().err.splitlines()
    told = [line.split()[1].rstrip(",") for line in lines]
    assert told == ["_help_desk.html", "base.html", "errors/404.html"]


def test_hidden_files_are_left_alone(make_app: MakeApp, folder: Path) -> None:
    """The folder may be a working copy."""
    for name in (".gitignore", ".git/config"):
        write(folder, name, "x")
    assert make_app(templates=folder).test_client().get("/").status_code == 200


def test_template_in_another_encoding_is_told(
    make_app: MakeApp, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rules and templates alike."""
    for name in ("extra.css", "base.html"):
        (folder / name).write_bytes("ñ".encode("latin1"))
        with pytest.raises(SystemExit):
            make_app(templates=folder)
        assert f"{name} cannot be read (UnicodeDecodeError)" in capsys.readouterr().err
        (folder / name).unlink()
