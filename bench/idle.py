"""What the processes take while nobody comes: they must not spin."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from bench.system import System, cpu_ms, worker_of
from bench.table import Result, middle

SETTLE_SECONDS = 3
WINDOWS = 5
WINDOW_SECONDS = 5
BAR_PERCENT = 0.5


def measure(out: Path) -> list[Result]:
    with System(out) as system:
        web, worker = worker_of(system.start_web()), system.start_worker().pid
        system.wait_for_worker()
        time.sleep(SETTLE_SECONDS)
        read = [(time.monotonic(), cpu_ms(web), cpu_ms(worker))]
        for _ in range(WINDOWS):
            time.sleep(WINDOW_SECONDS)
            read.append((time.monotonic(), cpu_ms(web), cpu_ms(worker)))
    return [
        _result("idle web worker", [(at, of_web) for at, of_web, _ in read]),
        _result("idle mail worker", [(at, of_worker) for at, _, of_worker in read]),
    ]


def _result(work: str, read: Sequence[tuple[float, float]]) -> Result:
    """Over all windows, as not every one has the housekeeping in it."""
    windows = [_percent(*pair) for pair in pairwise(read)]
    figure = _percent(read[0], read[-1])
    return Result(
        work,
        f"{figure:.2f} % of a core",
        f"{WINDOWS * WINDOW_SECONDS} s on the clock",
        figure,
        middle(windows)[1],
        f"<= {BAR_PERCENT} %",
        figure <= BAR_PERCENT,
    )


def _percent(before: tuple[float, float], after: tuple[float, float]) -> float:
    return (after[1] - before[1]) / (after[0] - before[0]) / 10
