"""From the answer to a visitor until the mail is at the mail server, on a system at rest."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from pathlib import Path

from bench import fill
from bench.load import Line, forms
from bench.sink import Sink
from bench.system import System
from bench.table import Result, middle
from reset.worker import BEAT_SECONDS

SERIES = 2
SAMPLES = 30  # Of 20 or fewer the p95 is the worst.
BAR_MS = 300.0


def measure(out: Path) -> list[Result]:
    with ExitStack() as stack:
        sink = stack.enter_context(Sink(out))
        system = stack.enter_context(System(out, smtp_port=sink.port))
        fill.accounts(system.portal, SERIES * SAMPLES + 1)
        system.start_web()
        system.start_worker()
        system.wait_for_worker()
        addresses = map(fill.address, range(1, SERIES * SAMPLES + 2))
        requests = iter(forms(system.port, addresses, system.keys))
        phases = random.Random(1)  # noqa: S311 - no secret
        line = stack.enter_context(Line(system.port))
        _waited(line, next(requests), sink)
        waited = []
        for request in requests:
            # A whole beat: a request meets any of its phases alike.
            time.sleep(phases.uniform(0, BEAT_SECONDS))
            waited.append(_waited(line, request, sink))
    figure = _p95(waited)
    _, spread = middle([_p95(waited[at::SERIES]) for at in range(SERIES)])
    return [
        Result(
            "request to SMTP hand-over, idle system, p95",
            f"{figure:.0f} ms (p50 {middle(waited)[0]:.0f} ms, worst {max(waited):.0f} ms)",
            f"{len(waited)} requests at any phase of the worker's beat of"
            f" {BEAT_SECONDS * 1000:.0f} ms",
            figure,
            spread,
            f"<= {BAR_MS:.0f} ms",
            figure <= BAR_MS,
        )
    ]


def _waited(line: Line, request: bytes, sink: Sink) -> float:
    """Milliseconds from the answer to *request* to its mail; the next one waits for that."""
    before = sink.count()
    if line.ask(request)[9:12] != b"303":
        raise RuntimeError("the request was not accepted")
    answered = time.monotonic()
    sink.wait_for(before + 1, 30)
    return (sink.arrivals()[before][0] - answered) * 1000


def _p95(waited: list[float]) -> float:
    return sorted(waited)[int(len(waited) * 0.95)]
