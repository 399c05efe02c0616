"""The form, with branding, languages and security headers, beside a bare "hello"."""

from __future__ import annotations

from pathlib import Path

from bench.load import Line, get
from bench.system import System, cpu_ms, worker_of
from bench.table import Result, middle, ratios

BLOCKS = 12
BLOCK = 100
BAR = 0.70


def measure(out: Path) -> list[Result]:
    with System(out) as ours, System(out) as reference:
        form, hello = worker_of(ours.start_web()), worker_of(reference.start_hello())
        per_form, per_hello = [], []
        for block in range(BLOCKS + 1):
            spent = _per_page(form, ours.port), _per_page(hello, reference.port)
            if block:  # The first one warms up.
                per_form.append(spent[0])
                per_hello.append(spent[1])
    figure, spread = middle(ratios(per_hello, per_form))
    return [
        Result(
            "GET of the form",
            f"{middle(per_form)[0]:.2f} ms of CPU",
            f"bare Flask hello, {middle(per_hello)[0]:.2f} ms",
            figure,
            spread,
            f">= {BAR}",
            figure >= BAR,
        )
    ]


def _per_page(pid: int, port: int) -> float:
    """Milliseconds of CPU for a page, of a block of them on one connection."""
    request = get("/")
    with Line(port) as line:
        before = cpu_ms(pid)
        for _ in range(BLOCK):
            if not line.ask(request).startswith(b"HTTP/1.1 200"):
                raise RuntimeError("the page was not answered")
        return (cpu_ms(pid) - before) / BLOCK
