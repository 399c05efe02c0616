"""Plots as SVG, written by hand: bars, and lines over an axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 40, 40, 50
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
        parts.append(_line(x(bar), _TOP - 6, x(bar), height - 16, "#000", dashed=True))
    _write(file, title, height, parts)


def lines(
    file: Path,
    title: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
) -> None:
    """One line for each of *series*, points of (x, y); y begins at 0."""
    points = [point for line in series.values() for point in line]
    places = [math.log10(x) if log_x else x for x, _ in points]
    least, most = min(places), max(places)
    top = max(y for _, y in points) * 1.1 or 1

    def at(x: float, y: float) -> tuple[float, float]:
        place = ((math.log10(x) if log_x else x) - least) / ((most - least) or 1)
        across, up = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return _LEFT + place * across, _HEIGHT - _BOTTOM - y / top * up

    floor = _HEIGHT - _BOTTOM
    parts = [_line(_LEFT, floor, _WIDTH - _RIGHT, floor), _line(_LEFT, _TOP, _LEFT, floor)]
    for share in (0.25, 0.5, 0.75, 1.0):
        _, y = at(points[0][0], top * share)
        parts.append(_line(_LEFT, y, _WIDTH - _RIGHT, y, "#ddd"))
        parts.append(_text(_LEFT - 6, y + 4, f"{top * share:.3g}", "end"))
    for x in sorted({x for x, _ in points}):
        parts.append(_text(at(x, 0)[0], floor + 16, f"{x:,.10g}", "middle"))
    for row, (name, line) in enumerate(series.items()):
        colour = _COLOURS[row % len(_COLOURS)]
        path = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(_LEFT + 12, _TOP + 14 + 16 * row, name, colour=colour))
    parts.append(_text((_LEFT + _WIDTH) / 2, _HEIGHT - 12, x_label, "middle"))
    parts.append(_text(_LEFT, _TOP - 6, y_label))
    _write(file, title, _HEIGHT, parts)


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


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#222") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}">{escape(text)}</text>'


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str = "#222", *, dashed: bool = False
) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dash}/>'
    )
