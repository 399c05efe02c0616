"""The form, with branding, languages and security headers, beside a bare "hello"."""

from __future__ import annotations

from pathlib import Path

from bench import plot
from bench.load import Line, get
from bench.system import System, cpu_ms, worker_of
from bench.table import Result, middle, ratios

BLOCKS = 40
BLOCK = 60
BAR = 0.70


def measure(out: Path) -> list[Result]:
    with System(out) as ours, System(out) as reference:
        form, hello = worker_of(ours.start_web()), worker_of(reference.start_hello())
        _require_real_page(ours)
        per_form, per_hello = [], []
        for block in range(BLOCKS + 1):
            spent = _per_page(form, ours.port), _per_page(hello, reference.port)
            if block:  # The first one warms up.
                per_form.append(spent[0])
                per_hello.append(spent[1])
    pages = {"bare Flask hello": middle(per_hello)[0], "the form": middle(per_form)[0]}
    plot.bars(out / "form.svg", "CPU of a page", pages, "ms", pages["bare Flask hello"] / BAR)
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


def _require_real_page(system: System) -> None:
    """With all that a visitor gets: the brand, the language asked for, the security headers."""
    with Line(system.port) as line:
        page = line.ask(get("/"))
    for part in (b"\r\nContent-Security-Policy: ", b"Hanna", b'lang="es'):
        if part not in page:
            raise RuntimeError(f"the page lacks {part!r}")


def _per_page(pid: int, port: int) -> float:
    """Milliseconds of CPU for a page, of a block of them on one connection."""
    request = get("/")
    with Line(port) as line:
        before = cpu_ms(pid)
        for _ in range(BLOCK):
            if not line.ask(request).startswith(b"HTTP/1.1 200"):
                raise RuntimeError("the page was not answered")
        return (cpu_ms(pid) - before) / BLOCK
