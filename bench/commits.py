"""How often a request waits for the disk: each sync of the web process, request by request."""

from __future__ import annotations

import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench.load import Line, forms
from bench.rush import addresses
from bench.system import System, require, worker_of
from bench.table import Result, middle

REQUESTS = 150
_SYNC = re.compile(r"(\d+\.\d+) f(?:data)?sync\(\d+<([^>]*)>")


@dataclass
class Syncs:
    """The syncs between its first byte and its answer: of the log, and of the database itself."""

    log: int = 0
    database: int = 0


def measure(out: Path) -> list[Result]:
    """The mail worker does not run: every sync is that of a request."""
    strace = require("strace", "strace")
    with System(out) as system:
        web = worker_of(system.start_web())
        names = addresses()
        requests = forms(system.port, [next(names) for _ in range(REQUESTS)], system.keys)
        trace = system.folder / "strace.txt"
        with _traced(strace, web, trace), Line(system.port) as line:
            spans = [_timed(line, request) for request in requests]
        traced = trace.read_text()
    counted = count(spans, traced)
    plain = [
        request.log for before, request in pairwise(counted) if not _checkpoint(before, request)
    ]
    figure = statistics.fmean(plain)
    checkpoints = sum(request.database for request in counted)
    return [
        Result(
            "durable commits of a request",
            f"{min(plain)} to {max(plain)} syncs of the log in each of {len(plain)} requests",
            "fsync and fdatasync calls of the web process (strace)",
            figure,
            middle(plain)[1],
            "exactly 1",
            set(plain) == {1},
            f"{checkpoints} checkpoints fell into {REQUESTS} requests; with them it is"
            f" {sum(r.log + r.database for r in counted) / REQUESTS:.2f} syncs a request",
        )
    ]


@contextmanager
def _traced(strace: str, pid: int, trace: Path) -> Iterator[None]:
    command = [strace, "-f", "-y", "-ttt", "-e", "trace=fsync,fdatasync", "-o", str(trace)]
    tracer = subprocess.Popen(  # noqa: S603 - our own command
        [*command, "-p", str(pid)], stderr=subprocess.PIPE
    )
    assert tracer.stderr is not None  # noqa: S101 - a pipe, see above
    tracer.stderr.readline()  # "Process N attached".
    try:
        yield
    finally:
        tracer.terminate()
        tracer.communicate()


def _timed(line: Line, request: bytes) -> tuple[float, float]:
    begun = time.time()
    if not line.ask(request).startswith(b"HTTP/1.1 303"):
        raise RuntimeError("the request was not accepted")
    return begun, time.time()


def count(spans: list[tuple[float, float]], traced: str) -> list[Syncs]:
    counted = [Syncs() for _ in spans]
    for at, path in _SYNC.findall(traced):
        for (begun, ended), request in zip(spans, counted, strict=True):
            if begun <= float(at) <= ended:
                request.log += path.endswith("-wal")
                request.database += not path.endswith("-wal")
    return counted


def _checkpoint(before: Syncs, request: Syncs) -> bool:
    """It syncs both files, and the commit after it the head of the log that begins anew."""
    return bool(before.database or request.database)
