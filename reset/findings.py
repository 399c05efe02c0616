"""What a check of the installation tells its operator."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that `flask reset doctor` or `accounts check` tells the operator.

    Attributes:
        level: "ok", "note" (not known), "warning" (it works, but see the remedy) or "fault".
        text: what was found, without any person's data.
        remedy: what to do about it; empty when all is well.
        why: why it matters; empty when all is well, or when the text says it already.
    """

    level: str
    text: str
    remedy: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        # A server's or proxy's own words may be among it, and command the terminal.
        for name in ("text", "remedy", "why"):
            shown = "".join(c if c.isprintable() else " " for c in getattr(self, name))
            object.__setattr__(self, name, shown)
