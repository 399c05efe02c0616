"""Mails as people get them: on a small phone, on a desk, in light and dark, and as text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask

from config import Settings
from reset.brand import READABLE
from tests.browser.conftest import Opener
from tests.test_preview import preview

MakeApp = Callable[..., Flask]
LONG = "m" * 90
# Of a button as it is shown: right edge, and the contrast of its text.
BUTTONS = """() => [...document.querySelectorAll('td[bgcolor] a')].map((link) => {
    const parts = (color) => color.match(/[\\d.]+/g).slice(0, 3).map((part) => {
        const c = part / 255;
        return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    const light = (color) => {
        const [red, green, blue] = parts(color);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
    };
    const ink = light(getComputedStyle(link).color);
    const fill = light(getComputedStyle(link.parentElement).backgroundColor);
    return [link.getBoundingClientRect().right, Math.max(ink / fill, fill / ink)];
})"""


# A mail is a part of the mail program's page, which has the landmarks.
PART = {"rules": {name: {"enabled": False} for name in ("region", "landmark-one-main")}}


@pytest.fixture
def mails(make_app: MakeApp, settings: Settings, tmp_path: Path) -> list[Path]:
    """Every mail, in colours that need repair in light and in dark."""
    brand = replace(
        settings.brand,
        color="#00004d",
        background="#5b6f7f",
        support_hours="lunes a viernes, 8 a. m. a 5 p. m.",
    )
    return preview(make_app(brand=brand, languages=("es",)), tmp_path / "mails")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_mails_are_whole_and_can_be_read(
    new_context: Opener, mails: list[Path], scheme: str
) -> None:
    """No sideways scroll, no button cut off or pale, nothing that axe finds, no one asked."""
    page = new_context(color_scheme=scheme).new_page()
    asked: list[str] = []
    buttons = 0
    page.on("request", lambda request: asked.append(request.url))
    for path in (path for path in mails if path.suffix == ".html"):
        page.goto(path.as_uri())
        assert [v["id"] for v in Axe().run(page, options=PART).response["violations"]] == []
        for width in (320, 640):
            page.set_viewport_size({"width": width, "height": 700})
            assert page.evaluate("document.documentElement.scrollWidth") == width
            for right, contrast in page.evaluate(BUTTONS):
                assert right <= width - 8
                assert contrast >= READABLE
                buttons += 1
    assert buttons == 2 * (1 + 2 + 1 + 1)
    assert {url for url in asked if not url.startswith("file:")} == set()


def test_long_words_break(
    new_context: Opener,
    make_app: MakeApp,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Log-in, person, organisation and help desk: none makes a small phone scroll sideways."""
    for name in ("_NAME", "_LOGIN"):
        monkeypatch.setattr(f"reset.mail.samples.{name}", LONG)
    brand = replace(settings.brand, name=LONG, organisation=LONG, support_email=f"{LONG}@x.example")
    page = new_context(viewport={"width": 320, "height": 700}).new_page()
    for path in preview(make_app(brand=brand, languages=("es",)), tmp_path):
        if path.suffix == ".html":
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") == 320


def words(html: str) -> str:
    """What a mail says, without its markup and with single blanks."""
    body = re.sub(r"<(style|title).*?</\1>", "", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_text_part_is_tidy_and_complete(mails: list[Path]) -> None:
    """Short lines, single empty ones, and every fact of the HTML."""
    for path in mails:
        if path.suffix != ".txt":
            continue
        text = path.read_text("utf-8")
        long = [line for line in text.splitlines() if len(line) > 78 and "://" not in line]
        assert (path.name, long) == (path.name, [])
        assert "\n\n\n" not in text
        assert text == text.strip()
        html = path.with_suffix(".html").read_text("utf-8")
        facts = re.findall(r"\S*(?:\d|@|muestra)\S*", text)
        assert len(facts) > 6
        missing = [fact for fact in facts if fact not in words(html) and fact not in unescape(html)]
        assert (path.name, missing) == (path.name, [])
        links = set(re.findall(r"https?://\S+", text))
        assert links == set(re.findall(r'href="(http[^"]+)"', html))
