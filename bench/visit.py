"""What a whole visit costs, from the form to the new password: for the rule of capacity."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from bench import fill
from bench.load import Line, challenge_of, closed_loop, forms, get, new_password
from bench.sink import Sink
from bench.system import System, cpu_ms, worker_of
from bench.table import Result

WARM_UP = 20
VISITS = 80  # With those of the warming up, fewer pictures than a client may see in a minute.
_FILES = re.compile(rb'(?:href|src)="(/(?:static|marca)[^"]+)"')


def measure(out: Path) -> list[Result]:
    """Each step on its own: all visitors make it before any makes the next."""
    with Sink(out, keep=True) as sink, System(out, smtp_port=sink.port) as system:
        fill.accounts(system.portal, WARM_UP + VISITS)
        web, worker = worker_of(system.start_web()), system.start_worker()
        system.wait_for_worker()
        for people in (range(1, WARM_UP + 1), range(WARM_UP + 1, WARM_UP + VISITS + 1)):
            resting = cpu_ms(worker.pid)
            spent = _visits(system, sink, web, [fill.address(one) for one in people])
            time.sleep(0.5)  # Now the last mails are noted, too.
            mailed = (cpu_ms(worker.pid) - resting) / len(people)
    steps = sum(spent.values())
    told = ", ".join(f"{step} {cost:.1f}" for step, cost in spent.items())
    a_core = 60_000 / steps
    return [
        Result(
            "a whole visit, CPU of the web",
            f"{steps:.1f} ms: {a_core:.0f} a minute would fill a core",
            f"accounts with bcrypt at cost 10; ms of each step: {told}",
            steps,
            (steps, steps),
            "-",
            None,
        ),
        Result(
            "a whole visit, CPU of the mail worker",
            f"{mailed:.1f} ms for its two mails",
            "-",
            mailed,
            (mailed, mailed),
            "-",
            None,
            "all visitors make a step together, so the mails leave in batches; with all that the"
            " worker does while it waits for them",
        ),
    ]


def _visits(system: System, sink: Sink, web: int, people: Sequence[str]) -> dict[str, float]:
    """CPU in milliseconds that each step takes of a visitor."""
    spent: dict[str, float] = {}

    def step(name: str, requests: Sequence[bytes], expect: bytes = b"200") -> None:
        resting = cpu_ms(web)
        closed_loop(system.port, requests, connections=1, expect=expect)
        spent[name] = (cpu_ms(web) - resting) / len(people)

    before = sink.count()
    asked = forms(system.port, people, system.keys)
    pictures = [get(f"/captcha/{challenge_of(form)}.png") for form in asked]
    step("form", [get("/")] * len(people))
    step("files", [get(file) for file in _files(system)] * len(people))
    step("picture", pictures)
    step("request", asked, b"303")
    step("answer", [get("/enviada/4821-0937-5562")] * len(people))
    sink.wait_for(before + len(people), 60)
    mailed = sink.tokens()
    tokens = [mailed[address] for address in people]
    step("link", [get(f"/nueva/{token}") for token in tokens])
    step("new password", [new_password(token) for token in tokens], b"303")
    step("done", [get("/lista")] * len(people))
    sink.wait_for(before + 2 * len(people), 60)
    return spent


def _files(system: System) -> list[str]:
    """What a browser loads with its first page."""
    with Line(system.port) as line:
        return sorted({found.decode() for found in _FILES.findall(line.ask(get("/")))})
