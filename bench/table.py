"""What was measured: the figures, their spread, and whether they keep to the bar."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

HEAD = ("work", "ours", "measured against", "figure (quartiles)", "bar", "verdict")


class Missing(Exception):
    """A part that a row needs is not on this machine; the text names its Debian package."""


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Attributes:
        ours, against: what stands behind the figure, in words with units.
        figure, spread: the median and the quartiles of it; NaN where nothing was measured.
        met: None where there is no bar to meet.
    """

    work: str
    ours: str
    against: str
    figure: float
    spread: tuple[float, float]
    bar: str
    met: bool | None
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.met is None and math.isnan(self.figure):
            return "not measured"
        return {True: "met", False: "NOT MET", None: "reported"}[self.met]


def not_measured(work: str, why: str) -> Result:
    """The line of a row that could not be measured here."""
    return Result(work, "-", "-", math.nan, (math.nan, math.nan), "-", None, why)


def failed(work: str, why: str) -> Result:
    """The line of a row whose measuring broke off: of the service or of the bench."""
    return Result(work, "-", "-", math.nan, (math.nan, math.nan), "-", False, why)


def exit_code(results: Sequence[Result], *, complete: bool) -> int:
    """0 where every bar is met; where *complete* is asked for, only if all was measured."""
    bad = {"NOT MET", "not measured"} if complete else {"NOT MET"}
    return int(any(result.verdict in bad for result in results))


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> list[float]:
    """Each block divided by the block that was measured beside it."""
    return [above / below for above, below in zip(numerator, denominator, strict=True)]


def middle(values: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """The median, and the lower and upper quartile."""
    if len(values) < 2:
        return values[0], (values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return median, (low, high)


def text(results: Sequence[Result]) -> str:
    """The table for a terminal; it is Markdown, too."""
    rows = [HEAD, *(_cells(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    lines.insert(1, "|-" + "-|-".join("-" * width for width in widths) + "-|")
    notes = [f"- {result.work}: {result.note}" for result in results if result.note]
    return "\n".join([*lines, "", *notes]) + "\n"


def write(results: Sequence[Result], machine: dict[str, str], out: Path) -> None:
    """`table.md` and `results.json` in *out*."""
    told = ", ".join(machine.values())
    (out / "table.md").write_text(f"{text(results)}\n{told}\n", "utf-8")
    lines = [asdict(result) | {"verdict": result.verdict} for result in results]
    whole = {"machine": machine, "results": lines}
    (out / "results.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False), "utf-8")


def _cells(result: Result) -> tuple[str, ...]:
    low, high = result.spread
    figure = "-"
    if not math.isnan(result.figure):
        figure = f"{_short(result.figure)} ({_short(low)} to {_short(high)})"
    return (result.work, result.ours, result.against, figure, result.bar, result.verdict)


def _short(number: float) -> str:
    return f"{number:.3g}" if abs(number) < 1000 else f"{number:.0f}"
