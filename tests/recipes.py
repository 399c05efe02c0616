"""The recipes of the manual, to be run as they stand there."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

DOCS = Path(__file__).parent.parent / "docs"


@dataclass(frozen=True)
class Recipe:
    """What an operator copies: statements for the database, rules for a directory, settings."""

    sql: list[str]
    rules: str
    settings: dict[str, str]


def recipe(title: str, page: str = "portals.md") -> Recipe:
    """The recipe under the heading *title*."""
    sections = re.split("^## ", (DOCS / page).read_text("utf-8"), flags=re.M)
    (section,) = (text for text in sections if text.startswith(f"{title}\n"))
    sql = "\n".join(_blocks(section, "sql"))
    lines = io.StringIO("\n".join(_blocks(section, "ini")))
    settings = dotenv_values(stream=lines, interpolate=False)
    return Recipe(
        [statement.strip() for statement in sql.split(";\n") if statement.strip()],
        "\n".join(_blocks(section, "conf") or _blocks(section, "sh")),
        {name: value or "" for name, value in settings.items()},
    )


def _blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.M | re.S)
