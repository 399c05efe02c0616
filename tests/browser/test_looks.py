"""Logos, colours and print as Chromium shows them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from PIL import Image
from playwright.sync_api import expect

from config import Settings
from tests.browser.conftest import Hosted, Opener

MakeApp = Callable[..., Flask]
SENT = "/enviada/4821-0937-5562"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}">{}</svg>'


@pytest.mark.parametrize("background", ["#003366", "#7a7a7a", "#ffd500"])
def test_coloured_page_can_be_read(
    new_context: Opener, hosted: Hosted, make_app: MakeApp, settings: Settings, background: str
) -> None:
    """On cards and beside them: axe finds nothing, with a brand of nearly the same colour."""
    brand = replace(settings.brand, background=background, color="#8a7a6a", notice="Aviso.")
    page = new_context(bypass_csp=True).new_page()
    page.goto(hosted(make_app(brand=brand)))
    assert [v["id"] for v in Axe().run(page).response["violations"]] == []


@pytest.mark.parametrize(("width", "height"), [(40, 400), (1200, 60), (2000, 1600)])
@pytest.mark.parametrize("kind", ["svg", "png"])
def test_logo_of_any_shape_fits(
    new_context: Opener,
    hosted: Hosted,
    make_app: MakeApp,
    settings: Settings,
    tmp_path: Path,
    width: int,
    height: int,
    kind: str,
) -> None:
    """Tall, wide or huge; in dark mode on a white plate, where dark strokes can be seen."""
    file = tmp_path / f"logo.{kind}"
    if kind == "svg":
        file.write_text(SVG.format(width, height, '<path stroke="#000" d="M0 0l40 40"/>'))
    else:
        Image.new("RGBA", (width, height), (0, 0, 0, 90)).save(file)
    app = make_app(brand=replace(settings.brand, logo=file, organisation="Caja " * 9))
    context = new_context(viewport={"width": 320, "height": 700}, color_scheme="dark")
    page = context.new_page()
    page.goto(hosted(app))
    logo = page.locator(".logo")
    assert logo.evaluate("logo => logo.naturalWidth") > 0
    assert 8 <= logo.evaluate("logo => logo.offsetWidth") <= 160
    assert logo.evaluate("logo => logo.offsetHeight") <= 48
    expect(logo).to_have_css("background-color", "rgb(255, 255, 255)")
    assert page.locator(".site p").evaluate("name => name.offsetWidth") > 160
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_script_in_a_logo_runs_nowhere(
    new_context: Opener, hosted: Hosted, make_app: MakeApp, settings: Settings, tmp_path: Path
) -> None:
    """Neither on our pages nor where somebody opens the file itself."""
    file = tmp_path / "logo.svg"
    script = "document.documentElement.id = 'ran'"
    file.write_text(SVG.format(9, 9, f'<g onload="{script}"/><script>{script}</script>'))
    address = hosted(make_app(brand=replace(settings.brand, logo=file)))
    page = new_context(quiet=False).new_page()
    for path in ("/", "/marca/logo"):
        answer = page.goto(address + path)
        assert page.evaluate("document.documentElement.id") == ""
    assert answer is not None
    assert answer.headers["content-type"] == "image/svg+xml; charset=utf-8"


def test_number_of_the_request_can_be_printed(
    new_context: Opener, hosted: Hosted, make_app: MakeApp, settings: Settings
) -> None:
    """Number, what to do and help desk on one sheet, black on white, nothing to press."""
    brand = replace(settings.brand, background="#003366", support_hours="lunes a viernes")
    page = new_context(color_scheme="dark").new_page()
    page.goto(hosted(make_app(brand=brand)) + SENT)
    page.emulate_media(media="print", color_scheme="dark")
    for text in ("4821-0937-5562", "Abra el mensaje", "(605) 371 4545", "lunes a viernes"):
        expect(page.get_by_text(text)).to_be_visible()
    shown = "[...document.body.querySelectorAll('*')].filter((e) => e.checkVisibility())"
    pressed = page.evaluate(f"{shown}.filter((e) => e.matches('button, .button, footer')).length")
    assert pressed == 0
    for name, color in (("color", "rgb(0, 0, 0)"), ("backgroundColor", "rgb(255, 255, 255)")):
        styles = "[null, '::before'].map((part) => getComputedStyle(e, part))"
        found = set(page.evaluate(f"{shown}.flatMap((e) => {styles}.map((s) => s.{name}))"))
        assert found <= {color, "rgba(0, 0, 0, 0)"}
    expect(page.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) == 1
