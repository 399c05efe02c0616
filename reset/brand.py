"""Whose service it is: names, logo, and colours that can be read on light and on dark."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

READABLE = 4.5  # Source: WCAG 2.2, SC 1.4.3.
# The backgrounds of the stylesheet that come nearest to the text on them, and its light texts.
LIGHT_PAGE, DARK_PAGE = "#f5f2ec", "#262d2a"
_TEXT, _QUIET = "#20302c", "#55635e"
_WHITE, _BLACK = "#ffffff", "#000000"


@dataclass(frozen=True)
class Brand:
    """What pages and mails show of the organisation; every text may be empty but ``name``."""

    name: str
    organisation: str
    logo: Path | None
    color: str
    portal_url: str
    support_email: str
    support_phone: str
    support_hours: str = ""
    notice: str = ""
    background: str = LIGHT_PAGE

    @cached_property
    def on_color(self) -> str:
        """White or black, whichever can be read on the brand's colour."""
        return ink_on(self.color)

    @cached_property
    def dark_color(self) -> str:
        """The brand's colour for dark pages."""
        return readable(self.color, DARK_PAGE)

    @cached_property
    def on_dark_color(self) -> str:
        """Black or white, whichever can be read on it."""
        return ink_on(self.dark_color)

    @cached_property
    def quiet_outside(self) -> str:
        """Small print on ``background``."""
        return readable(_QUIET, self.background)

    @property
    def stylesheet(self) -> str:
        """The colours as CSS custom properties, for light and for dark pages."""
        light, dark = readable(self.color, LIGHT_PAGE), self.dark_color
        page = self.background
        text = _TEXT if contrast(_TEXT, page) >= READABLE else ink_on(page)
        outside = (
            f"--page:{page};--page-text:{text};"
            f"--page-quiet:{self.quiet_outside};--page-brand:{readable(self.color, page)}"
        )
        return (
            f":root{{{_properties(self.color, light)}}}\n"
            f"@media (prefers-color-scheme:light){{:root{{{outside}}}}}\n"
            f"@media (prefers-color-scheme:dark){{:root{{{_properties(dark, dark)}}}}}\n"
        )


def _properties(fill: str, text: str) -> str:
    return f"--brand:{fill};--on-brand:{ink_on(fill)};--brand-text:{text}"


def ink_on(color: str) -> str:
    """White or black, whichever can be read on *color*."""
    return max(_WHITE, _BLACK, key=lambda ink: contrast(ink, color))


def readable(color: str, page: str) -> str:
    """*color*, moved towards black or white until it can be read on *page*."""
    towards = ink_on(page)
    for step in range(21):
        mixed = _mix(color, towards, step / 20)
        if contrast(mixed, page) >= READABLE:
            return mixed
    return towards


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21. Source: WCAG 2.2, "contrast ratio"."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (value / 255 for value in _rgb(color))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _mix(color: str, towards: str, share: float) -> str:
    pairs = zip(_rgb(color), _rgb(towards), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _rgb(color: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(color.removeprefix("#")))
