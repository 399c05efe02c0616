"""The organisation's logo: what fits into a small page, and its shape before it is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

LARGEST = 20_000  # With more, the form would not stay below 60 kB.
HEIGHT = 40
_NUMBER = r"(\d*\.?\d+)"


def width(picture: Path) -> int:
    """How wide a .png or .svg file is at ``HEIGHT``.

    Raises:
        ValueError: it is no such picture, or does not say how wide and high it is.
    """
    content = picture.read_bytes()
    wide, high = _png(content) if picture.suffix == ".png" else _svg(content)
    if not wide or not high:
        raise ValueError("no size")
    return max(1, round(HEIGHT * wide / high))


def _png(content: bytes) -> tuple[float, float]:
    if not content.startswith(b"\x89PNG\r\n\x1a\n") or content[12:16] != b"IHDR":
        raise ValueError("no PNG")
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def _svg(content: bytes) -> tuple[float, float]:
    try:
        root = ElementTree.fromstring(content)  # noqa: S314 - the operator's own file
    except ElementTree.ParseError as error:
        raise ValueError("no XML") from error
    if root.tag != "{http://www.w3.org/2000/svg}svg":
        raise ValueError("no SVG")
    sides = [re.fullmatch(rf"{_NUMBER}[a-z]*", root.get(side, "")) for side in ("width", "height")]
    if sides[0] and sides[1]:
        return float(sides[0][1]), float(sides[1][1])
    corners = " ".join(root.get("viewBox", "").replace(",", " ").split())
    box = re.fullmatch(rf"\S+ \S+ {_NUMBER} {_NUMBER}", corners)
    return (float(box[1]), float(box[2])) if box else (0, 0)
