"""Turns the pages of `docs/` into HTML: each by itself, and all of a book as one, for print."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from mdit_py_plugins.anchors import anchors_plugin
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
# What becomes one PDF, and in which language; the first page has the title.
BOOKS = {
    "instructivo": ("es", ["instructivo"]),
    "mesa-de-ayuda": ("es", ["mesa-de-ayuda"]),
    "operator": (
        "en",
        [
            *("operator", "install", "portals", "embedding", "looks", "captcha", "monitoring"),
            *("backup", "data", "several-hosts", "reference"),
            *("architecture", "promises", "performance"),
        ],
    ),
}
TELEPHONE = 720  # The width of its pictures, in pixels.
FRONT = "README"  # The list of the pages, which becomes index.html.
_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
)


def slug(heading: str) -> str:
    """The anchor of *heading*, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


class Page:
    """One file of `docs/`; *book* is the pages that are bound with it, none if it stands alone."""

    def __init__(self, name: str, book: list[str] | None = None) -> None:
        self.name = name
        self.book = book or []
        self._md = MarkdownIt("commonmark", {"html": True}).enable("table")
        anchors_plugin(self._md, max_level=4, slug_func=slug)
        self.tokens = self._md.parse((DOCS / f"{name}.md").read_text("utf-8"))
        self.headings = [
            (token.tag, self._anchor(str(token.attrs["id"])), self.tokens[i + 1].content)
            for i, token in enumerate(self.tokens)
            if token.type == "heading_open"
        ]

    @property
    def title(self) -> str:
        return self.headings[0][2]

    def html(self) -> Markup:
        for token in self.tokens:
            if token.type == "heading_open":
                first = token.tag == "h1" and self.book
                token.attrs["id"] = self.name if first else self._anchor(str(token.attrs["id"]))
            for part in token.children or []:
                if part.type == "link_open":
                    self._link(part)
                if part.type == "image":
                    _size(part, where=self.name)
        made = self._md.renderer.render(self.tokens, self._md.options, {})
        # A wide table scrolls in its own place, not the page with it.
        made = made.replace("<table>", '<div class="table" tabindex="0"><table>')
        made = made.replace("</table>", "</table></div>")
        top, *chapters = re.split(r"(?=<h2)", made)
        made = top + "".join(f"<section>\n{chapter}</section>\n" for chapter in chapters)
        return Markup(made)  # noqa: S704 - our own pages

    def contents(self) -> Iterator[tuple[str, str]]:
        """(anchor, words) of the chapters; within a book the page is one itself."""
        if len(self.book) > 1:
            yield self.name, self.title
        yield from ((anchor, _plain(words)) for tag, anchor, words in self.headings if tag == "h2")

    def _anchor(self, anchor: str) -> str:
        return f"{self.name}-{anchor}" if self.book else anchor

    def _link(self, part: Token) -> None:
        page, _, anchor = str(part.attrs["href"]).partition("#")
        if ":" in page:
            return
        name = page.removesuffix(".md") or self.name
        if not (DOCS / f"{name}.md").is_file():
            raise FileNotFoundError(f"docs/{self.name}.md links to {page}, which is no page")
        if not self.book:
            part.attrs["href"] = f"{address(name)}#{anchor}".rstrip("#")
        elif name in self.book:
            part.attrs["href"] = f"#{name}-{anchor}".rstrip("-")
        else:  # On paper a page of another book is not one step away.
            part.tag, part.attrs = "span", {}


def address(name: str) -> str:
    return "index.html" if name == FRONT else f"{name}.html"


def _plain(words: str) -> str:
    return words.replace("`", "").replace("*", "")


def _size(part: Token, *, where: str) -> None:
    """A picture is as wide as it was: a telephone shows two of its pixels for each point."""
    source = DOCS / str(part.attrs["src"])
    if not part.content:
        raise ValueError(f"docs/{where}.md: {source.name} has no words for who cannot see it")
    if source.suffix == ".png":
        with Image.open(source) as picture:
            kind = "phone" if picture.width == TELEPHONE else "screen"
            points = 2 if kind == "phone" else 1
            part.attrs["width"], part.attrs["height"] = (size // points for size in picture.size)
        part.attrs["class"] = kind


def write(target: Path) -> None:
    """All pages as `.html`, each book as `.print.html`, and what they load, into *target*."""
    shutil.copytree(DOCS / "img", target / "img", dirs_exist_ok=True)
    shutil.copy(Path(__file__).with_name("manual.css"), target)
    _write(target / "index.html", "en", [Page(FRONT)], pdf="")
    for name, (language, pages) in BOOKS.items():
        for page in pages:
            _write(target / address(page), language, [Page(page)], pdf=f"{name}.pdf")
        bound = [Page(page, pages) for page in pages]
        _write(target / f"{name}.print.html", language, bound, pdf="")


def _write(path: Path, language: str, pages: list[Page], *, pdf: str) -> None:
    path.write_text(
        _templates.get_template("page.html").render(lang=language, pages=pages, pdf=pdf), "utf-8"
    )
