"""The manual: nothing in it that the service does not have, and nothing missing."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from itertools import chain

import click
import pytest
from babel.messages.pofile import read_po

from manual import pages, pictures, reference
from reset import cli

ROOT = pages.ROOT
IMG = pages.DOCS / "img"
NAMES = sorted(path.stem for path in pages.DOCS.glob("*.md"))
GUIDES = ("instructivo", "mesa-de-ayuda")


def markdown(name: str) -> str:
    return (pages.DOCS / f"{name}.md").read_text("utf-8")


def shown(name: str) -> set[str]:
    return set(re.findall(r"!\[[^]]+\]\(([^)]+)\)", markdown(name)))


def test_pages_out_of_the_code_are_up_to_date() -> None:
    """Settings, commands, modules, what the help desk says; else: python -m manual.reference."""
    for page, text in reference.written().items():
        assert page.read_text("utf-8") == text, page.name


def test_every_setting_is_explained() -> None:
    """A setting that config.py reads has words in `.env.example`, its own or its neighbours'."""
    explained = [(name, meaning) for name, meaning in reference.explained() if meaning or name]
    assert {name for name, _ in explained if name} == set(reference.settings())
    for (before, _), (name, meaning) in zip([("", ""), *explained], explained, strict=False):
        assert before or meaning, f"RESET_{name} begins its section without a word"


def test_every_command_is_in_the_reference() -> None:
    """Those of groups, too, each with the first sentence of its help."""
    page = reference.PAGE.read_text("utf-8")
    for path, command in reference.all_commands():
        assert command.help, path
        assert f"| `{path}" in page


def test_every_command_can_be_called() -> None:
    """Those of all modules: they are read in one by one, when they are asked for."""
    for module in pkgutil.iter_modules(cli.__path__):
        import_module(f"reset.cli.{module.name}")
    assert cli.commands.list_commands(click.Context(cli.commands)) == sorted(cli.commands.commands)


@pytest.mark.parametrize("name", ["../README", *NAMES])
def test_links_lead_somewhere(name: str) -> None:
    """To a file that is there, and to a heading that it has."""
    page = pages.DOCS / f"{name}.md"
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text("utf-8")):
        if re.match(r"\w+:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.is_file(), target
        if anchor:
            assert anchor in [one for _, one, _ in pages.Page(file.stem).headings]


def test_every_page_is_in_one_book() -> None:
    """So that it is printed, and the list of the pages leads to it."""
    bound = sorted(chain.from_iterable(names for _, names in pages.BOOKS.values()))
    assert [pages.FRONT, *bound] == sorted(NAMES)
    assert all(f"({name}.md)" in markdown(pages.FRONT) for name in bound)


def test_pictures_are_those_that_the_script_takes() -> None:
    """None is left over, none is missing, and none makes a telephone wait."""
    taken = {f"img/{name}.png" for name in pictures.NAMES}
    drawn = {"img/architecture.svg", "img/rush.svg", "img/growth.svg"}
    assert set.union(*map(shown, NAMES)) == taken | drawn
    assert {f"img/{path.name}" for path in IMG.iterdir()} == taken | drawn | {"img/flow.png"}
    assert max(path.stat().st_size for path in IMG.iterdir()) < 100_000


@pytest.mark.parametrize("guide", GUIDES)
def test_words_in_bold_stand_on_the_pages(guide: str) -> None:
    """What a guide has in bold is found by a person who looks for it, letter by letter."""
    with (ROOT / "translations/en/LC_MESSAGES/messages.po").open("rb") as file:
        labels = {str(message.id) for message in read_po(file)}
    portal = (ROOT / "demo/templates/portal/login.html").read_text("utf-8")
    for bold in re.findall(r"\*\*(.+?)\*\*", markdown(guide), re.DOTALL):
        label = " ".join(bold.split())
        assert label in labels or label in portal, label
