"""A new password behind a link from a mail: its time and memory beside the bare hash."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import bcrypt

from bench.load import NEW_PASSWORD, closed_loop, forms, new_password
from bench.sink import Sink
from bench.system import System, cpu_ms, forget_peak, peak_mib, rss_mib, worker_of
from bench.table import Result, middle, ratios
from demo.accounts import HASHERS

BLOCKS = 12
USUAL_BLOCKS = 5
BLOCK = 4
BAR = 1.05
AT_ONCE = 8
MEMORY_ROUNDS = 3
ONE_HASH = 1.25
FAST = "bcrypt at cost 10"  # The demo's own accounts.
USUAL = "bcrypt at cost 12"  # What PHP 8.4 and Laravel write by themselves.
HUNGRY = "argon2id"  # The scheme of the demo that takes the most memory.
SCHEMES: dict[str, Callable[[str], str]] = {
    **HASHERS,
    FAST: HASHERS["bcrypt"],
    USUAL: lambda text: bcrypt.hashpw(text.encode(), bcrypt.gensalt(12)).decode(),
}


def measure(out: Path) -> list[Result]:
    people = {
        FAST: [f"ana{number}@example.com" for number in range(BLOCK * (BLOCKS + 1))],
        USUAL: [f"gloria{number}@example.com" for number in range(BLOCK * (USUAL_BLOCKS + 1))],
        HUNGRY: [f"lucia{number}@example.com" for number in range(1 + AT_ONCE * MEMORY_ROUNDS)],
    }
    with Sink(out, keep=True) as sink, System(out, smtp_port=sink.port) as system:
        for scheme, addresses in people.items():
            system.add_accounts(addresses, SCHEMES[scheme])
        web = worker_of(system.start_web())
        links = _links(system, sink, [name for names in people.values() for name in names])
        requests = {
            scheme: iter([new_password(links[address]) for address in addresses])
            for scheme, addresses in people.items()
        }
        return [
            _time(system, web, requests[FAST], FAST, BLOCKS, bar=BAR),
            _time(system, web, requests[USUAL], USUAL, USUAL_BLOCKS, bar=None),
            _memory(system, web, requests[HUNGRY]),
        ]


def _links(system: System, sink: Sink, addresses: Sequence[str]) -> dict[str, str]:
    """The token that each of *addresses* was mailed; then the mail worker stops."""
    closed_loop(system.port, forms(system.port, addresses, system.keys), connections=4)
    worker = system.start_worker()
    sink.wait_for(len(addresses), seconds=60)
    system.stop(worker)
    return sink.tokens()


def _time(
    system: System,
    web: int,
    requests: Iterator[bytes],
    scheme: str,
    blocks: int,
    *,
    bar: float | None,
) -> Result:
    ours, bare = [], []
    for block in range(blocks + 1):
        before = cpu_ms(web)
        closed_loop(system.port, [next(requests) for _ in range(BLOCK)], connections=1)
        spent = (cpu_ms(web) - before) / BLOCK
        hashed = _hash_ms(scheme)
        if block:  # The first one warms up.
            ours.append(spent)
            bare.append(hashed)
    figure, spread = middle(ratios(ours, bare))
    return Result(
        f"POST of a new password, {scheme}",
        f"{middle(ours)[0]:.1f} ms of CPU",
        f"one {scheme} hash, {middle(bare)[0]:.1f} ms",
        figure,
        spread,
        f"<= {bar}" if bar else "-",
        figure <= bar if bar else None,
    )


def _hash_ms(scheme: str) -> float:
    begun = time.process_time()
    for _ in range(BLOCK):
        SCHEMES[scheme](NEW_PASSWORD)
    return (time.process_time() - begun) * 1000 / BLOCK


def _memory(system: System, web: int, requests: Iterator[bytes]) -> Result:
    closed_loop(system.port, [next(requests)], connections=1)  # Warms up.
    growths, bare = [], []
    for _ in range(MEMORY_ROUNDS):
        together = [next(requests) for _ in range(AT_ONCE)]
        forget_peak(web)
        before = rss_mib(web)
        closed_loop(system.port, together, connections=AT_ONCE)
        growths.append(peak_mib(web) - before)
        bare.append(_hash_mib(HUNGRY))
    figure, spread = middle(ratios(growths, bare))
    return Result(
        f"memory of {AT_ONCE} new passwords at once",
        f"peak grows by {middle(growths)[0]:.0f} MiB",
        f"one {HUNGRY} hash, {middle(bare)[0]:.0f} MiB",
        figure,
        spread,
        f"<= {ONE_HASH} hashes",
        figure <= ONE_HASH,
    )


def _hash_mib(scheme: str) -> float:
    """How much this process grows while it makes one hash."""
    me = os.getpid()
    forget_peak(me)
    before = rss_mib(me)
    SCHEMES[scheme](NEW_PASSWORD)
    return peak_mib(me) - before
