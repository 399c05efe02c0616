"""Writes what `docs/` has from the code: `python -m manual.reference`."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import click

import config
from manual import phrases
from reset.cli import commands
from reset.errors import ConfigurationError
from reset.values import PREFIX, SECRETS, Values

ROOT = Path(__file__).resolve().parent.parent
PAGE, DESK = ROOT / "docs" / "reference.md", ROOT / "docs" / "mesa-de-ayuda.md"
KINDS = {
    "text": "text",
    "required": "text",
    "words": "list with commas",
    "integer": "{least} to {most}",
    "boolean": "1 or 0",
    "choice": "{options}",
    "choices": "some of {options}",
    "duration": "duration, at most {most}",
    "limit": "limits",
    "timezone": "time zone",
    "color": "colour",
    "address": "e-mail address",
    "sender": "name and address",
    "keys": "list of keys",
    "web_address": "web address",
    "public_url": "web address",
    "origins": "list of origins",
    "database_url": "database address",
    "redis_url": "Redis address",
    "file": "file",
    "picture": "file",
    "folder": "folder",
}
SETTINGS = """\
# Settings, commands, modules

Written from the code by `python -m manual.reference` (and `make manual`), never by hand. What
belongs together, and how to choose, stands in the [operator guide](operator.md).

## Settings

They are read from the environment or from `.env`, each once. A **secret** may stand in a file of
its own, which `…_FILE` names instead. Below the kind stands the default, if there is one.
"""
COMMANDS = """
## Commands

After `deploy/install.sh` it is `restablecer …`, else `.venv/bin/flask reset …` in the service's
folder, as its user. `--json` is for programs; `--help` tells more.
"""
MODULES = """
## Modules

What each says of itself.
"""


class Recorder(Values):
    """Notes how each setting is asked for. Nothing is set, so that defaults are what is read."""

    def __init__(self) -> None:
        super().__init__({})
        self.kinds: dict[str, tuple[str, str]] = {}

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return functools.partial(self._noting, name, found) if name in KINDS else found

    def _noting(self, kind: str, method: Callable[..., Any], *args: Any, **named: Any) -> Any:
        asked = inspect.signature(method).bind(*args, **named).arguments
        options = [f"`{option}`" for option in asked.get("options", ())]
        default = str(asked.get("default", "0" if kind == "boolean" else ""))
        default = options[0].strip("`") if kind == "choice" else default
        some = ", ".join(options) if len(options) < 9 else f"{options[0]} or a scheme"
        # Methods call each other: the first is what config.py asked for.
        words = KINDS[kind].format(**asked | {"options": some})
        self.kinds.setdefault(asked["name"], (words, default))
        return method(*args, **named)


def settings() -> dict[str, tuple[str, str]]:
    """Every setting that config.py reads, without its prefix: kind, and default or nothing."""
    recorder = Recorder()
    config._settings(recorder, Path())
    return {name: recorder.kinds[name] for name in recorder.asked}


def needed() -> set[str]:
    """The settings that a service over a table does not start without."""
    try:
        config.load({}, Path("/nonexistent"))
    except ConfigurationError as error:
        return {fault.partition(":")[0] for fault in error.faults if " is missing" in fault}
    return set()


def explained() -> Iterator[tuple[str, str]]:
    """(setting, meaning) as `.env.example` has them; text without a setting is for all below it."""
    words: list[str] = []
    for line in (ROOT / ".env.example").read_text("utf-8").splitlines():
        if heading := re.match(r"# --- (.+?) -+$", line):
            yield "", f"### {heading[1]}\n"
        elif setting := re.match(rf"(?:# )?{PREFIX}([A-Z_]+)=", line):
            yield setting[1], _prose(words)
        elif line.startswith("#"):
            if line.startswith("# S") and words:
                yield "", f"{_prose(words)}\n"
                words = []
            words.append(re.sub(r"^ S( |$)", "", line[1:]))
            continue
        words = []


def _prose(lines: list[str]) -> str:
    """A comment as one line of Markdown: code as code, pages as links."""
    paths = "|".join(sorted((path for path, _ in all_commands()), reverse=True))
    code = rf'python3 -c ".*?"|{paths}|[\w-]+://[^\s,;)]*[^\s,;).]|{PREFIX}[A-Z_]+'
    text = _line(re.sub(r"(?<=\S) {3,}(?=\S)", ", ", "\n".join(lines)))
    text = re.sub(rf"({code})(?!\S*`)", r"`\1`", text)
    return re.sub(r"docs/([\w-]+\.md)", r"[\1](\1)", text)


def _line(text: str) -> str:
    """*text* for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def settings_table() -> Iterator[str]:
    kinds, required = settings(), needed()
    rows = 0
    for name, meaning in explained():
        if not name:
            yield from ("", meaning) if rows else (meaning,)
            rows = 0
            continue
        if not rows:
            yield from ("| setting | kind, default | meaning |", "|---|---|---|")
        rows += 1
        kind, default = kinds[name]
        kind += " · **secret**" if name in SECRETS else ""
        last = "**needed**" if PREFIX + name in required else f"`{default}`" if default else ""
        meaning = meaning or "(with the one above)"
        yield f"| `{PREFIX}{name}` | {kind}{last and '<br>'}{last} | {meaning} |"


def all_commands(
    group: click.Group = commands, path: str = "flask reset"
) -> Iterator[tuple[str, click.Command]]:
    """Every command with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from all_commands(command, f"{path} {name}")
        elif command:
            yield f"{path} {name}", command


def commands_table() -> Iterator[str]:
    """How each command is called, and what its help says first."""
    yield from ("| command | what it does |", "|---|---|")
    for path, command in all_commands():
        usage = " ".join([path, *map(_spelled, command.params)])
        words = [_line((command.help or "").split("\n\n")[0])]
        for option in command.params:
            if isinstance(option, click.Option) and option.name != "as_json":
                words.append(f"`{option.opts[0]}`: {option.help}")
        yield f"| `{usage}` | {'<br>'.join(words)} |"


def _spelled(parameter: click.Parameter) -> str:
    if not isinstance(parameter, click.Option):
        return parameter.make_metavar(click.Context(click.Command("")))
    value = "" if parameter.is_flag else " " + parameter.opts[0].strip("-").upper()
    return f"{parameter.opts[0]}{value}" if parameter.required else f"[{parameter.opts[0]}{value}]"


def modules_table() -> Iterator[str]:
    """What each module of the service says it is, in its first sentence."""
    yield from ("| module | what it is |", "|---|---|")
    for path in [ROOT / "app.py", ROOT / "config.py", *sorted((ROOT / "reset").rglob("*.py"))]:
        words = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n\n")[0]
        yield f"| `{path.relative_to(ROOT)}` | {_line(words)} |"


def written() -> dict[Path, str]:
    """The pages that are, wholly or in part, what the code says."""
    parts = (SETTINGS, settings_table(), COMMANDS, commands_table(), MODULES, modules_table())
    lines = chain.from_iterable([part] if isinstance(part, str) else part for part in parts)
    desk = phrases.written(DESK.read_text("utf-8"))
    return {PAGE: "\n".join(lines) + "\n", DESK: desk}


def write() -> None:
    for page, text in written().items():
        page.write_text(text, "utf-8")


if __name__ == "__main__":
    write()
