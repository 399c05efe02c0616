"""Faults and races: `make test` runs a short form of each, `make soak` the long one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

_FIGURES = pytest.StashKey[list["Figure"]]()
Rounds = Callable[[int, int], int]
Note = Callable[[str, str, object, str], None]


@dataclass(frozen=True)
class Figure:
    """A line of the table that `make soak` prints."""

    goal: str
    what: str
    value: str
    bar: str


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Rounds:
    """``rounds(short, long)``: how often, in `make test` and in `make soak`."""
    return lambda short, long: long if request.config.getoption("--soak") else short


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Note:
    """``figure(goal, what, value, bar)`` puts what was measured into the table."""
    lines = request.config.stash.setdefault(_FIGURES, [])
    return lambda goal, what, value, bar: lines.append(Figure(goal, what, str(value), bar))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = terminalreporter.config.stash.get(_FIGURES, [])
    if not terminalreporter.config.getoption("--soak") or not lines:
        return
    terminalreporter.section("figures")
    terminalreporter.write_line("| goal | what | seen | bar |")
    terminalreporter.write_line("|---|---|---|---|")
    for line in sorted(lines, key=lambda one: (len(one.goal), one.goal)):
        terminalreporter.write_line(f"| {line.goal} | {line.what} | {line.value} | {line.bar} |")
