"""The same request where the state is in PostgreSQL and the limits in Redis, on two hosts.

Each host has a web and a mail worker. Beside them stands one host on SQLite, as a small office has
it; the visitors are as many on both sides, and so are the cores.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from bench import fill
from bench.load import closed_loop, forms
from bench.sink import Sink
from bench.system import System
from bench.table import Missing, Result, middle, ratios
from tests.servers.redis import RedisServer
from tests.servers.sql import postgresql
from tests.servers.state import state_database

ROUNDS = 5
BLOCK = 160
SINGLE = 20
CONNECTIONS = 8
PEOPLE = 2000
PATIENCE_SECONDS = 180
# Two hosts are one service: a form of one may be sent to the other.
_SHARED = ("RESET_SECRET_KEYS_FILE", "RESET_PUBLIC_URL", "RESET_ACCOUNTS_URL")


@dataclass
class _Side:
    """Hosts that share a state, and what was measured of them, a figure for each round."""

    sink: Sink
    hosts: list[System]
    addresses: Iterator[str]
    asked: int = 0
    per_second: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def rush(self) -> None:
        """A block on all hosts at once; returns when its mails have left, too."""
        share, connections = BLOCK // len(self.hosts), CONNECTIONS // len(self.hosts)
        made = [self._forms(host, share) for host in self.hosts]
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            begun = perf_counter()
            running = [
                pool.submit(closed_loop, host.port, requests, connections=connections)
                for host, requests in zip(self.hosts, made, strict=True)
            ]
            for one in running:
                one.result()
            self.per_second.append(BLOCK / (perf_counter() - begun))
        self.sink.wait_for(self.asked, PATIENCE_SECONDS)

    def single(self) -> None:
        """A block on one connection to each host."""
        for host in self.hosts:
            requests = self._forms(host, SINGLE // len(self.hosts))
            self.latencies += closed_loop(host.port, requests, connections=1).latencies
        self.sink.wait_for(self.asked, PATIENCE_SECONDS)

    def _forms(self, host: System, number: int) -> list[bytes]:
        self.asked += number
        asked = [next(self.addresses) for _ in range(number)]
        return forms(host.port, asked, self.hosts[0].keys)


def measure(out: Path) -> list[Result]:
    programs, redis = _postgresql(), shutil.which("redis-server", path=_path())
    if redis is None:
        raise Missing("no redis-server here (Debian package redis-server)")
    with ExitStack() as stack:
        server = stack.enter_context(postgresql(programs, fsync="on"))
        folder = stack.enter_context(TemporaryDirectory())
        counters = RedisServer(redis, Path(folder))
        stack.enter_context(counters.running())
        state = {
            "RESET_DATABASE_URL": stack.enter_context(state_database(server)),
            "RESET_RATELIMIT_STORAGE_URI": counters.url,
        }
        several, single = _side(stack, out, 2, state), _side(stack, out, 1, {})
        for round_ in range(ROUNDS + 1):
            for side in (several, single):
                side.rush()
                side.single()
                if not round_:
                    side.per_second.clear()
                    side.latencies.clear()
        # As many came as were asked for: for one that is missing, another came twice.
        mailed = [to for _, to in several.sink.arrivals()]
    return [_result(several, single, len(mailed) - len(set(mailed)))]


def _side(stack: ExitStack, out: Path, hosts: int, state: dict[str, str]) -> _Side:
    sink = stack.enter_context(Sink(out))
    systems: list[System] = []
    for _ in range(hosts):
        shared = {name: systems[0].environ[name] for name in _SHARED} if systems else {}
        system = System(out, smtp_port=sink.port, settings={**state, **shared})
        systems.append(stack.enter_context(system))
        system.start_web()
        system.start_worker()
    fill.accounts(systems[0].portal, PEOPLE)
    for system in systems:
        system.wait_for_worker()
    return _Side(sink, systems, map(fill.address, count(1)))


def _result(several: _Side, single: _Side, twice: int) -> Result:
    figure, spread = middle(ratios(several.per_second, single.per_second))
    return Result(
        "request, PostgreSQL + Redis, 2 web hosts, 2 workers",
        f"{middle(several.per_second)[0]:.0f}/s, p50 {middle(several.latencies)[0]:.1f} ms,"
        f" {several.asked} requests, {twice} mails came twice",
        f"one host on SQLite, {middle(single.per_second)[0]:.0f}/s,"
        f" p50 {middle(single.latencies)[0]:.1f} ms",
        figure,
        spread,
        "no errors",
        twice == 0,
        "accepted per second beside SQLite, on the same cores; every answer was 303,"
        " and a mail that does not come breaks off",
    )


def _postgresql() -> Path:
    """The folder of its newest version's programs."""
    found = shutil.which("postgres", path=_path())
    if found is None:
        raise Missing("no postgres here (Debian package postgresql)")
    return Path(found).resolve().parent


def _path() -> str:
    """Also where the path of an ordinary user does not lead."""
    versions = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", *versions])
