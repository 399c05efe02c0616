"""The operator's own templates: they win over ours of the same name and survive upgrades.

Whatever would only fail, or silently do nothing, once a page is opened is refused at the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from flask import Flask
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PrefixLoader,
    TemplateSyntaxError,
    meta,
    nodes,
)

from reset.errors import ConfigurationError

ORIGINAL = "original"  # {% extends "original/base.html" %} is ours.
STYLE = "extra.css"


def put_before_ours(app: Flask, folder: Path) -> None:
    """Let the templates in *folder* win; call it when filters and extensions are registered.

    Raises:
        ConfigurationError: with one sentence for each fault of a file.
    """
    ours = FileSystemLoader(Path(app.root_path) / "templates")
    app.jinja_loader = ChoiceLoader(
        [FileSystemLoader(folder), ours, PrefixLoader({ORIGINAL: ours})]
    )
    overridden = {STYLE, *ours.list_templates()}
    faults = []
    for name in _files(folder):
        if name not in overridden:
            faults.append(f"{name} has the name of none of our templates")
        elif name != STYLE:
            faults.extend(_faults(app.jinja_env, folder, name))
    if faults:
        # What is wrong with one file may be met from others, too.
        told = dict.fromkeys(faults)
        raise ConfigurationError([f"RESET_TEMPLATES_DIR: {fault}." for fault in told])


def style(folder: Path | None) -> str:
    """The operator's own rules, for the end of the stylesheet; may be empty.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        return (folder / STYLE).read_text("utf-8") if folder else ""
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeError) as error:
        fault = f"RESET_TEMPLATES_DIR: {STYLE} cannot be read ({type(error).__name__})."
        raise ConfigurationError([fault]) from error


def _files(folder: Path) -> list[str]:
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    # Such as `.git`, whose own files have no dot.
    return sorted(str(path) for path in paths if not any(p.startswith(".") for p in path.parts))


def _faults(env: Environment, folder: Path, name: str) -> Iterator[str]:
    try:
        tree = env.parse((folder / name).read_text("utf-8"), name)
        env.compile(tree, name)
        used = _used(tree)
        if unknown := sorted(used - set(env.list_templates())):
            yield f"{name} names {unknown[0]}, which there is not"
            return
        if name in _reached(env, used, _used):
            yield f"{name} contains itself; ours is {ORIGINAL}/{name}"
            return
        blocks = {node.name for node in tree.body if isinstance(node, nodes.Block)}
        for parent in _parents(tree):
            for block in sorted(blocks - _blocks(env, parent)):
                yield f"{name} fills the block {block}, which {parent} does not have"
    except TemplateSyntaxError as error:
        yield f"{error.name}, line {error.lineno}: {(error.message or '').rstrip('.')}"
    except (OSError, UnicodeError) as error:
        yield f"{name} cannot be read ({type(error).__name__})"


def _reached(
    env: Environment, names: set[str], step: Callable[[nodes.Template], set[str]]
) -> set[str]:
    """*names*, and all templates that *step* leads to from there."""
    known = set(env.list_templates())
    reached: set[str] = set()
    while waiting := (names & known) - reached:
        reached |= waiting
        names = {other for name in waiting for other in step(_tree(env, name))}
    return reached


def _blocks(env: Environment, name: str) -> set[str]:
    """All blocks that a template and those that it extends offer."""
    trees = (_tree(env, one) for one in _reached(env, {name}, _parents))
    return {block.name for tree in trees for block in tree.find_all(nodes.Block)}


def _tree(env: Environment, name: str) -> nodes.Template:
    return env.parse(cast(BaseLoader, env.loader).get_source(env, name)[0], name)


def _used(tree: nodes.Template) -> set[str]:
    """What a template extends, includes or imports."""
    return {name for name in meta.find_referenced_templates(tree) if name}


def _parents(tree: nodes.Template) -> set[str]:
    named = (node.template for node in tree.find_all(nodes.Extends))
    return {node.value for node in named if isinstance(node, nodes.Const)}
