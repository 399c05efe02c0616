"""Memory of the processes after some load, and how long a visitor waits for a service that starts.

Memory is proportional: what processes share is divided among them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import fill
from bench.load import challenge_of, closed_loop, forms, get, new_password
from bench.sink import Sink
from bench.system import HOST, System, pss_mib, worker_of
from bench.table import Result, middle, ratios

PEOPLE = 300
PICTURES = 100
SOUNDS = 50
CHANGES = 50
CONNECTIONS = 4
MOST_MIB = 40.0
STARTS = 5
START_SECONDS = 0.8


def measure(out: Path) -> list[Result]:
    return [*_memory(out), *_floors(out), _start(out)]


def _memory(out: Path) -> list[Result]:
    with ExitStack() as stack:
        sink = stack.enter_context(Sink(out, keep=True))
        system = stack.enter_context(System(out, smtp_port=sink.port))
        fill.accounts(system.portal, PEOPLE)
        master, worker = system.start_web(), system.start_worker()
        system.wait_for_worker()
        web = worker_of(master)
        fresh = pss_mib(web), pss_mib(worker.pid)
        _load(system, sink)
        of_web, of_worker, of_master = map(pss_mib, (web, worker.pid, master.pid))
    load = f"after {PEOPLE} requests, {PICTURES} pictures, {SOUNDS} sounds, {CHANGES} new passwords"
    note = f"gunicorn's master has {of_master:.1f} MiB beside it"
    return [
        _mib("memory of the web worker", of_web, f"at the start {fresh[0]:.1f} MiB", load, note),
        _mib("memory of the mail worker", of_worker, f"at the start {fresh[1]:.1f} MiB", load, ""),
    ]


def _floors(out: Path) -> list[Result]:
    """What next to nothing takes here: no bar, but what ours may be compared with."""
    with System(out) as system:
        hello = pss_mib(worker_of(_bare_hello(system)))
        floor = system.start("floor", sys.executable, "-m", "bench.floor")
        log = system.folder / "logs" / "floor.log"
        while floor.poll() is None and "ready" not in log.read_text():
            time.sleep(0.01)
        libraries = pss_mib(floor.pid)
    named = "Flask, SQLAlchemy with SQLite open, Flask-Mail and Flask-Babel, nothing asked of them"
    gunicorn = "gunicorn with four threads, none of our settings"
    return [
        _reported("memory of a worker of bare Flask hello", hello, gunicorn),
        _reported("memory of the bare libraries", libraries, named),
    ]


def _bare_hello(system: System) -> subprocess.Popen[bytes]:
    """The reference with next to nothing; it has answered once."""
    # No settings (the package has none): with those of the service it would load its code, too.
    alone = ("-c", "python:bench", "--threads", "4", "-b", f"{HOST}:{system.port}")
    web = system.start("hello", sys.executable, "-m", "gunicorn", *alone, "bench.hello:app")
    system.wait_for_web(web)
    return web


def _reported(work: str, figure: float, what: str) -> Result:
    return Result(work, f"{figure:.1f} MiB", what, figure, (figure, figure), "-", None)


def _load(system: System, sink: Sink) -> None:
    """Some of all that visitors do; returns when the last mail has left."""
    port = system.port
    requests = forms(port, map(fill.address, range(1, PEOPLE + 1)), system.keys)
    challenges = [challenge_of(request) for request in requests]
    for kind, number in (("png", PICTURES), ("wav", SOUNDS)):
        asked = [get(f"/captcha/{challenge}.{kind}") for challenge in challenges[:number]]
        closed_loop(port, asked, connections=CONNECTIONS, expect=b"200")
    closed_loop(port, requests, connections=CONNECTIONS)
    sink.wait_for(PEOPLE, 120)
    changes = [new_password(token) for token in list(sink.tokens().values())[:CHANGES]]
    closed_loop(port, changes, connections=CONNECTIONS)
    sink.wait_for(PEOPLE + CHANGES, 120)


def _mib(work: str, figure: float, before: str, load: str, note: str) -> Result:
    met, spread = figure <= MOST_MIB, (figure, figure)
    ours = f"{figure:.1f} MiB ({before})"
    return Result(work, ours, load, figure, spread, f"<= {MOST_MIB:.0f} MiB", met, note)


def _start(out: Path) -> Result:
    """From exec of gunicorn to the first whole page; the folder is that of an earlier start."""
    with System(out) as ours, System(out) as reference:
        service, hello = [], []
        for _ in range(STARTS + 1):
            service.append(_seconds(ours, ours.start_web))
            hello.append(_seconds(reference, partial(_bare_hello, reference)))
    figure, spread = middle(service[1:])
    times = middle(ratios(service[1:], hello[1:]))[0]
    return Result(
        "cold start to the first page",
        f"{figure:.2f} s",
        f"bare Flask hello, gunicorn with none of our settings, {middle(hello[1:])[0]:.2f} s",
        figure,
        spread,
        f"<= {START_SECONDS} s",
        figure <= START_SECONDS,
        f"{times:.1f} times as long as hello; the very first start, with its tables to make,"
        f" {service[0]:.2f} s",
    )


def _seconds(system: System, start: Callable[[], subprocess.Popen[bytes]]) -> float:
    begun = time.perf_counter()
    process = start()
    spent = time.perf_counter() - begun
    system.stop(process)
    return spent
