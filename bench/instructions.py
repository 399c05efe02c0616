"""The instructions of a page, as valgrind counts them: nearly the same figure at every run.

Times swing with what else the machine does; a gate that a small loss cannot slip through needs
a count.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.form import BAR as FORM_BAR
from bench.load import Line, forms, get
from bench.rush import addresses
from bench.system import System, require, worker_of
from bench.table import Result, middle, ratios

BLOCKS = 3
BLOCK = 10
_TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)


class _Counted:
    """A gunicorn that is watched; *app* in place of the service."""

    def __init__(self, valgrind: str, system: System, *app: str) -> None:
        self.system = system
        system.environ["PYTHONHASHSEED"] = "0"
        system.environ["GUNICORN_CMD_ARGS"] += " --timeout=0"  # All is slow here.
        self._process = system.start(
            "valgrind",
            *(valgrind, "--tool=callgrind", "--instr-atstart=no"),
            "--trace-children=yes",  # Into gunicorn's worker.
            f"--callgrind-out-file={system.folder}/callgrind.%p",
            *(sys.executable, "-m", "gunicorn", *app),
        )

    def begin(self) -> None:
        """Count from now on; returns when it answers."""
        self.system.wait_for_web(self._process)
        self._pid = worker_of(self._process)
        self._dumps = 0

    def each(self, requests: Sequence[bytes]) -> list[float]:
        """Instructions of one request, for each block of them; the first block warms up."""
        counts = []
        self._control("--instr=on")
        with Line(self.system.port) as line:
            for block in _blocks(requests):
                self._control("--zero")
                for request in block:
                    if line.ask(request)[9:12] not in (b"200", b"303"):
                        raise RuntimeError("a page was not answered")
                counts.append(self._dumped() / BLOCK)
        self._control("--instr=off")
        return counts[1:]

    def _dumped(self) -> int:
        self._dumps += 1
        self._control("--dump")
        dump = self.system.folder / f"callgrind.{self._pid}.{self._dumps}"
        return int(_TOTALS.findall(dump.read_text())[-1])

    def _control(self, what: str) -> None:
        command = ["callgrind_control", what, str(self._pid)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)  # noqa: S603


def measure(out: Path) -> list[Result]:
    valgrind = require("valgrind", "valgrind")
    with ExitStack() as stack:
        ours = _Counted(valgrind, stack.enter_context(System(out)))
        reference = _Counted(valgrind, stack.enter_context(System(out)), "bench.hello:app")
        ours.begin()
        reference.begin()
        number = BLOCK * (BLOCKS + 1)
        names = addresses()
        asked = forms(ours.system.port, [next(names) for _ in range(number)], ours.system.keys)
        form = ours.each([get("/")] * number)
        request = ours.each(asked)
        hello = reference.each([get("/")] * number)
    return [
        _result("GET of the form", form, hello, FORM_BAR),
        _result("POST of a request", request, hello),
    ]


def _result(work: str, ours: list[float], hello: list[float], bar: float | None = None) -> Result:
    figure, spread = middle(ratios(hello, ours))
    return Result(
        f"{work}, instructions",
        f"{middle(ours)[0] / 1e6:.3f} million",
        f"bare Flask hello, {middle(hello)[0] / 1e6:.3f} million",
        figure,
        spread,
        f">= {bar}" if bar else "-",
        figure >= bar if bar else None,
    )


def _blocks(requests: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (requests[at : at + BLOCK] for at in range(0, len(requests), BLOCK))
