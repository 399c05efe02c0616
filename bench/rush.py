"""The rush of the first of the month: requests, with solved captchas, one after the other.

Three hosts stand side by side, alike but for the mail server behind them: quick, slow, and one
that takes connections and never says a word. They take turns; only one of them runs at a time.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from bench import plot
from bench.load import closed_loop, forms
from bench.sink import Sink
from bench.system import System, cpu_ms, worker_of
from bench.table import Result, middle, ratios

SINKS = {"sink at 0 ms": 0.0, "sink at 50 ms a reply": 50.0, "silent sink": None}
QUICK, SLOW, SILENT = SINKS
ROUNDS = 9
BLOCK = 160
CONNECTIONS = 8
SINGLE = 50
ACCOUNTS = 4000
PER_SECOND = 200
ALIKE = 0.95
P50_MS = 4.0


@dataclass
class _Host:
    """One system under load, and what was measured of it; a figure for each round."""

    system: System
    sink: Sink
    web: int
    worker: int
    addresses: Iterator[str]
    per_second: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Only now its mail worker runs, so that nobody else is disturbed by it.

        It may be held in the middle of a write: meanwhile this host must only be read.
        """
        os.kill(self.worker, signal.SIGCONT)
        try:
            yield
        finally:
            os.kill(self.worker, signal.SIGSTOP)

    def rush(self) -> None:
        """A block on several connections."""
        requests = self._forms(BLOCK)
        with self.awake():
            before = cpu_ms(self.web)
            run = closed_loop(self.system.port, requests, connections=CONNECTIONS)
            self.cpu.append((cpu_ms(self.web) - before) / BLOCK)
            self.per_second.append(run.per_second)

    def single(self) -> None:
        """A block on one connection, for the time that a visitor waits."""
        requests = self._forms(SINGLE)
        with self.awake():
            self.latencies += closed_loop(self.system.port, requests, connections=1).latencies

    def forget(self) -> None:
        """What was measured while all was cold."""
        for figures in (self.per_second, self.cpu, self.latencies):
            figures.clear()

    def _forms(self, number: int) -> list[bytes]:
        asked = [next(self.addresses) for _ in range(number)]
        return forms(self.system.port, asked, self.system.keys)


def measure(out: Path) -> list[Result]:
    with ExitStack() as stack:
        hosts = {name: _host(stack, out, delay) for name, delay in SINKS.items()}
        syncs: list[float] = []
        for round_ in range(ROUNDS + 1):
            for host in hosts.values():
                host.rush()
            hosts[QUICK].single()
            syncs.append(_sync_ms(out))
            if not round_:
                for host in hosts.values():
                    host.forget()
        if not hosts[QUICK].sink.count():
            raise RuntimeError("no mail left")
    _draw(out, hosts)
    return [
        *(_rate(name, host) for name, host in hosts.items()),
        *(_alike(name, hosts[name], hosts[SILENT]) for name in (QUICK, SLOW)),
        _latency(hosts[QUICK], middle(syncs)[0]),
        _cpu(hosts[QUICK]),
    ]


def addresses() -> Iterator[str]:
    """As they come in a rush: each person once, and every fourth is not registered."""
    for number in count():
        yield f"nadie{number}@example.com" if number % 4 == 3 else _registered(number)


def _registered(number: int) -> str:
    return f"ana{number}@example.com"


def _host(stack: ExitStack, out: Path, delay_ms: float | None) -> _Host:
    sink = stack.enter_context(Sink(out, delay_ms=delay_ms))
    system = stack.enter_context(System(out, smtp_port=sink.port))
    system.add_accounts(_registered(number) for number in range(ACCOUNTS))
    web = worker_of(system.start_web())
    worker = system.start_worker().pid
    system.wait_for_worker()
    os.kill(worker, signal.SIGSTOP)
    return _Host(system, sink, web, worker, addresses())


def _sync_ms(out: Path, times: int = 20) -> float:
    """How long this disk takes to make 16 KiB durable, without anything around it."""
    file = out / "sync.bin"
    with file.open("wb", buffering=0) as target:
        begun = time.perf_counter()
        for _ in range(times):
            target.write(bytes(16_384))
            os.fdatasync(target.fileno())
        spent = time.perf_counter() - begun
    file.unlink()
    return spent * 1000 / times


def _rate(name: str, host: _Host) -> Result:
    figure, spread = middle(host.per_second)
    return Result(
        f"requests accepted, {name}",
        f"{figure:.0f}/s on {CONNECTIONS} connections",
        "-",
        figure,
        spread,
        f">= {PER_SECOND}/s",
        figure >= PER_SECOND,
    )


def _alike(name: str, host: _Host, silent: _Host) -> Result:
    figure, spread = middle(ratios(host.per_second, silent.per_second))
    return Result(
        f"the same rate, {name}",
        f"{middle(host.per_second)[0]:.0f}/s",
        f"silent sink in the same round, {middle(silent.per_second)[0]:.0f}/s",
        figure,
        spread,
        f"{ALIKE} to {1 / ALIKE:.2f}",
        ALIKE <= figure <= 1 / ALIKE,
    )


def _latency(host: _Host, sync_ms: float) -> Result:
    figure, spread = middle(host.latencies)
    worst = sorted(host.latencies)[int(len(host.latencies) * 0.95)]
    return Result(
        "request at one connection, p50",
        f"{figure:.1f} ms (p95 {worst:.1f} ms)",
        f"16 KiB made durable on this disk, {sync_ms:.2f} ms",
        figure,
        spread,
        f"<= {P50_MS:.0f} ms",
        figure <= P50_MS,
    )


def _cpu(host: _Host) -> Result:
    figure, spread = middle(host.cpu)
    told = f"{figure:.2f} ms: {1000 / figure:.0f}/s would fill a core"
    return Result("request, CPU of the web", told, "-", figure, spread, "-", None)


def _draw(out: Path, hosts: dict[str, _Host]) -> None:
    values = {name: middle(host.per_second)[0] for name, host in hosts.items()}
    title = "Requests accepted per second, by the mail server behind"
    plot.bars(out / "rush.svg", title, values, "/s", PER_SECOND)
