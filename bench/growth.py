"""What grows with the data: the small and the large stand side by side and take turns."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count, islice
from pathlib import Path

import config
from app import create_app
from bench import fill, plot
from bench.load import Line, forms
from bench.system import ROOT, System, cpu_ms, worker_of
from bench.table import Result, middle, ratios
from reset.service import Service

ACCOUNTS = (1_000, 1_000_000)
REQUESTS = 1_000_000
QUEUED = (500, 100_000)
BAR = 1.2
BLOCKS = 15
BLOCK = 20
CLAIMED = 20
WAITED = timedelta(hours=2)  # Since then the mails are due.
_LOOKUP, _CLAIM, _POST, _CPU = "look-up", "claim", "request", "CPU of a request"


@dataclass
class _Side:
    """One host, and the milliseconds of each block by what was done."""

    system: System
    service: Service
    web: int
    figures: dict[str, list[float]] = field(
        default_factory=lambda: {name: [] for name in (_LOOKUP, _CLAIM, _POST, _CPU)}
    )

    def lookups(self, accounts: int) -> list[Callable[[], object]]:
        """Addresses from all over the table; every fourth is not in it."""
        some = [fill.address(1 + at * (accounts - 1) // BLOCK) for at in range(BLOCK)]
        some[::4] = [address.replace("persona", "nadie") for address in some[::4]]
        return [partial(self.service.accounts.find_by_address, address) for address in some]

    def claims(self) -> list[Callable[[], object]]:
        now = self.service.clock()
        return [partial(self.service.delivery.claim, limit=CLAIMED, now=now)] * BLOCK

    def give_back(self) -> None:
        """Of all that was claimed nothing was done."""
        with closing(sqlite3.connect(self.system.database, timeout=60)) as connection, connection:
            given = connection.execute(
                "UPDATE outbox SET state = 'queued', attempts = 0, lease = NULL,"
                " leased_until = NULL WHERE state = 'sending'"
            )
            if given.rowcount != CLAIMED * BLOCK:
                raise RuntimeError(f"{given.rowcount} mails were claimed")

    def posts(self, line: Line, addresses: Iterable[str]) -> list[Callable[[], object]]:
        requests = forms(self.system.port, islice(addresses, BLOCK), self.system.keys)
        return [partial(_post, line, request) for request in requests]


def measure(out: Path) -> list[Result]:
    with ExitStack() as stack:
        sides = small, old, queue = _sides(stack, out)
        addresses = (f"persona{number:07}@example.org" for number in count())
        for _ in range(BLOCKS + 1):
            lookups = [small.lookups(ACCOUNTS[0]), old.lookups(ACCOUNTS[1])]
            _in_turns(_LOOKUP, (small, old), lookups)
            _in_turns(_CLAIM, sides, [side.claims() for side in sides])
            for side in sides:
                side.give_back()
            _request(sides, addresses)
    accounts, queued = (
        f"{few:,} -> {many:,} {what}"
        for (few, many), what in ((ACCOUNTS, "accounts"), (QUEUED, "queued"))
    )
    requests = f"empty -> {REQUESTS:,} old requests"
    results = {
        "look-up, a million accounts": _result(f"look-up, {accounts}", _LOOKUP, old, small),
        "request, a million old ones": _result(f"request, {requests}", _POST, old, small),
        "claim, a million requests": _result(f"claim of {CLAIMED}, {requests}", _CLAIM, old, small),
        "request, 100,000 mails queued": _result(f"request, {queued}", _POST, queue, small),
        "claim, 100,000 mails queued": _result(
            f"claim of {CLAIMED}, {queued}", _CLAIM, queue, small
        ),
    }
    title = "How many times as long as with little data"
    plot.bars(out / "growth.svg", title, {n: one.figure for n, one in results.items()}, "x", BAR)
    return list(results.values())


def _sides(stack: ExitStack, out: Path) -> Sequence[_Side]:
    """Small, with old requests and all accounts, with a long queue; no worker runs."""
    systems = small, old, queue = [stack.enter_context(System(out)) for _ in range(3)]
    services = [_service(stack, system) for system in systems]
    now = datetime.now(UTC)
    fill.accounts(small.portal, ACCOUNTS[0])
    fill.accounts(old.portal, ACCOUNTS[1])
    fill.old_requests(old.database, REQUESTS, now=now)
    # Some wait everywhere, to be claimed.
    for system, many in ((small, QUEUED[0]), (old, QUEUED[0]), (queue, QUEUED[1])):
        fill.queue(system.database, many, people=ACCOUNTS[0], now=now - WAITED)
    webs = [worker_of(system.start_web()) for system in systems]
    return [_Side(*parts) for parts in zip(systems, services, webs, strict=True)]


def _service(stack: ExitStack, system: System) -> Service:
    """Its parts in this process; the tables are made now, and filled later."""
    service: Service = create_app(config.load(system.environ, ROOT)).extensions["reset"]
    service.database.close()
    stack.callback(service.database.close)
    return service


def _request(sides: Sequence[_Side], addresses: Iterable[str]) -> None:
    """Each visitor has one connection for a block: the server closes one that rests."""
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(side.system.port)) for side in sides]
        posts = [side.posts(line, addresses) for side, line in zip(sides, lines, strict=True)]
        before = [cpu_ms(side.web) for side in sides]
        _in_turns(_POST, sides, posts)
    for side, spent in zip(sides, before, strict=True):
        side.figures[_CPU].append((cpu_ms(side.web) - spent) / BLOCK)


def _post(line: Line, request: bytes) -> None:
    if line.ask(request)[9:12] != b"303":
        raise RuntimeError("the request was not accepted")


def _in_turns(
    name: str, sides: Sequence[_Side], actions: Sequence[Sequence[Callable[[], object]]]
) -> None:
    """One action of each side after the other; notes the median of each."""
    taken: list[list[float]] = [[] for _ in sides]
    for turn in zip(*actions, strict=True):
        for action, times in zip(turn, taken, strict=True):
            begun = time.perf_counter()
            action()
            times.append((time.perf_counter() - begun) * 1000)
    for side, times in zip(sides, taken, strict=True):
        side.figures[name].append(middle(times)[0])


def _result(work: str, name: str, large: _Side, small: _Side) -> Result:
    figure, spread = _times(name, large, small)
    above, below = middle(large.figures[name][1:])[0], middle(small.figures[name][1:])[0]
    note = f"{_times(_CPU, large, small)[0]:.2f} times the CPU of the web" if name == _POST else ""
    return Result(
        work,
        f"{above:.2f} ms",
        f"the small one in turns with it, {below:.2f} ms",
        figure,
        spread,
        f"<= {BAR}",
        figure <= BAR,
        note,
    )


def _times(name: str, large: _Side, small: _Side) -> tuple[float, tuple[float, float]]:
    """How many times as long, in each block but the first one, which warms up."""
    return middle(ratios(large.figures[name][1:], small.figures[name][1:]))
