"""`make manual`: pictures from a running service, pages and books out of them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from playwright.sync_api import Browser

from manual import pages, pictures
from manual.__main__ import bind
from tests.browser.conftest import running_demo


def test_every_picture_is_taken_from_the_running_service(tmp_path: Path, browser: Browser) -> None:
    """A page that no longer is as the manual tells it ends `make manual`."""
    with running_demo(tmp_path / "demo") as demo:
        pictures.take(browser, demo, tmp_path / "img")
    taken = {path.stem: path.stat().st_size for path in (tmp_path / "img").iterdir()}
    assert set(taken) == {*pictures.NAMES, "flow"}
    assert min(taken.values()) > 4000  # An empty page has less.


def test_books_are_printed(tmp_path: Path, browser: Browser) -> None:
    """Each with pages, headings to jump to, a structure to read aloud, and its language."""
    for pdf in bind(browser, tmp_path):
        content = pdf.read_bytes()
        language = "en" if pdf.stem == "operator" else "es"
        assert content.startswith(b"%PDF-")
        assert len(re.findall(rb"/Type /Page\b", content)) > 2
        assert all(part in content for part in (b"/StructTreeRoot", b"/Outlines"))
        assert f"/Lang ({language})".encode() in content


def test_guides_for_people_show_whole_tables_on_a_phone(tmp_path: Path, browser: Browser) -> None:
    """What to do stands in the last column: nobody has to find out that it can be pushed."""
    pages.write(tmp_path)
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    for name in ("instructivo", "mesa-de-ayuda"):
        page.goto((tmp_path / f"{name}.html").as_uri())
        hidden = "[...document.querySelectorAll('.table')].map(t => t.scrollWidth - t.clientWidth)"
        assert max(page.evaluate(hidden)) <= 0
    context.close()


def test_pages_load_nothing_from_elsewhere(tmp_path: Path, browser: Browser) -> None:
    """The folder can be copied anywhere; every link in it leads to a page or place that it has."""
    pages.write(tmp_path)
    context = browser.new_context(viewport={"width": 320, "height": 800})
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for path in sorted(tmp_path.glob("*.html")):
        page.goto(path.as_uri())
        for link in page.evaluate("[...document.links].map(link => link.href)"):
            target, _, anchor = unquote(link).partition("#")
            if target.startswith("file:") and not target.endswith(".pdf"):
                assert (file := Path(target.removeprefix("file://"))).is_file()
                assert not anchor or f'id="{anchor}"' in file.read_text("utf-8"), link
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert all(url.startswith((tmp_path.as_uri(), "data:")) for url in asked)
    context.close()
