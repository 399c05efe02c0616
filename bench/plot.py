"""Plots as SVG, written by hand: bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

_WIDTH, _TOP = 720, 40
_COLOURS = ("#00695c", "#c62828", "#1f5f8b", "#ef6c00", "#6a1b9a", "#555555")


def bars(
    file: Path, title: str, values: Mapping[str, float], unit: str, bar: float | None = None
) -> None:
    """One horizontal bar for each of *values*; a dashed line at the *bar* to meet."""
    most = max([*values.values(), bar or 0]) * 1.15 or 1
    left, step = 230, 34
    height = _TOP + step * len(values) + 20

    def x(value: float) -> float:
        return left + value / most * (_WIDTH - left - 70)

    parts = []
    for row, (name, value) in enumerate(values.items()):
        y = _TOP + row * step
        colour = _COLOURS[row % len(_COLOURS)]
        parts.append(_text(left - 8, y + 17, name, "end"))
        parts.append(
            f'<rect x="{left}" y="{y}" width="{x(value) - left:.1f}" height="24" fill="{colour}"/>'
        )
        told = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        parts.append(_text(x(value) + 6, y + 17, f"{told} {unit}"))
    if bar is not None:
        parts.append(_dashed(x(bar), _TOP - 6, height - 16))
    _write(file, title, height, parts)


def _write(file: Path, title: str, height: float, parts: Sequence[str]) -> None:
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
        ' font-family="sans-serif" font-size="12">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>\n'
        + "\n".join([_text(_WIDTH / 2, 20, title, "middle"), *parts])
        + "\n</svg>\n",
        "utf-8",
    )


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="#222">{escape(text)}</text>'


def _dashed(x: float, y1: float, y2: float) -> str:
    return (
        f'<line x1="{x:.1f}" y1="{y1:.1f}" x2="{x:.1f}" y2="{y2:.1f}" stroke="#000"'
        ' stroke-dasharray="5 4"/>'
    )
