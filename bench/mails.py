"""Mails handed over: our worker, all of its work counted, beside one connection a mail.

Ours is the time from one mail's arrival to the next, while the worker drains its queue: claim,
look-up, links, templates, hand-over and notes. The reference is given the texts of the same
letter, builds a message of them, sends it, and does nothing else. Like against like stands beside
it: from the facts of a letter to its hand-over, by Flask and Flask-Mail, and by our parts alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

from bench import fill, plot
from bench.sink import Sink
from bench.system import ROOT, System, cpu_ms
from bench.table import Result, middle, ratios

# For each sink: rounds, mails of ours and of the reference in a round, and the bar.
SINKS = {0: (5, 520, 200, 6.0), 50: (3, 100, 10, 5.0)}
PEOPLE = 1000
# Until then the beat has to come, and connections are opened.
LEFT_OUT = 20
PATIENCE_SECONDS = 120
_NOTE = (
    "the reference is given its texts and keeps no record; from the facts of the letter, its three"
    " templates rendered by Flask in the mail's language, Flask-Mail takes {rendered}, the parts of"
    " our worker that do the same take {alone}, and the whole worker, which also claims, looks up,"
    " makes links and notes, {worker}"
)


@dataclass
class _Host:
    """A worker with its sink, and milliseconds a mail, for each round."""

    system: System
    sink: Sink
    worker: int
    queued: int = 0
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    reference: list[list[float]] = field(default_factory=list)
    rendered: list[list[float]] = field(default_factory=list)
    alone: list[list[float]] = field(default_factory=list)

    @property
    def whole(self) -> list[list[float]]:
        """The worker's own figures, in the form of the others."""
        return [list(both) for both in zip(self.wall, self.cpu, strict=True)]

    def drain(self, mails: int) -> None:
        """Let the worker send *mails* to as many people."""
        before, spent = self.sink.count(), cpu_ms(self.worker)
        now = datetime.now(UTC)
        fill.queue(self.system.database, mails, people=PEOPLE, now=now, after=self.queued)
        self.queued += mails
        self.sink.wait_for(before + mails, PATIENCE_SECONDS)
        time.sleep(0.5)  # Now the last ones are noted, too.
        self.cpu.append((cpu_ms(self.worker) - spent) / mails)
        at = sorted(at for at, _ in self.sink.arrivals()[before:])
        self.wall.append((at[-1] - at[LEFT_OUT - 1]) * 1000 / (mails - LEFT_OUT))

    def send(self, mails: int, how: str) -> list[float]:
        """Milliseconds of waiting and of CPU for a mail, as `one_by_one` says."""
        command = [sys.executable, "-m", "bench.one_by_one", str(self.sink.port), str(mails), how]
        done = subprocess.run(  # noqa: S603 - our own command
            command,
            cwd=ROOT,
            env=self.system.environ,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return [float(figure) for figure in json.loads(done.stdout.splitlines()[-1])]


def measure(out: Path) -> list[Result]:
    letter = out / "letter.json"
    letter.write_text(json.dumps(_letter(out)))
    results, a_minute = [], {}
    for delay, (rounds, ours, reference, bar) in SINKS.items():
        with ExitStack() as stack:
            host = start(stack, out, delay_ms=delay)
            host.drain(2 * LEFT_OUT)
            host.wall.clear()
            host.cpu.clear()
            for _ in range(rounds):
                host.drain(ours)
                host.reference.append(host.send(reference, str(letter)))
                host.rendered.append(host.send(reference, "facts"))
                host.alone.append(host.send(reference, "ours"))
        results += [_result(delay, host, bar), *_like_against_like(delay, host)]
        a_minute[f"{delay} ms: one by one"] = 60_000 / middle(_column(host.reference, 0))[0]
        a_minute[f"{delay} ms: our worker"] = 60_000 / middle(host.wall)[0]
    letter.unlink()
    title = "Mails a minute, by the time that the mail server takes for a reply"
    plot.bars(out / "mails.svg", title, a_minute, "")
    return results


def start(stack: ExitStack, out: Path, *, delay_ms: float = 0, keep: bool = False) -> _Host:
    """A system of `PEOPLE` accounts whose worker has begun; no web."""
    sink = stack.enter_context(Sink(out, delay_ms=delay_ms, keep=keep))
    system = stack.enter_context(System(out, smtp_port=sink.port))
    fill.accounts(system.portal, PEOPLE)
    worker = system.start_worker()
    system.wait_for_worker()
    return _Host(system, sink, worker.pid)


def _letter(out: Path) -> dict[str, object]:
    """What our worker writes, as Flask-Mail takes it."""
    with ExitStack() as stack:
        host = start(stack, out, keep=True)
        fill.queue(host.system.database, 1, people=PEOPLE, now=datetime.now(UTC))
        host.sink.wait_for(1, PATIENCE_SECONDS)
        (mail,) = host.sink.mails()
    extra = ("Auto-Submitted", "X-Auto-Response-Suppress")
    return {
        "subject": str(mail["Subject"]),
        "recipients": [str(mail["To"])],
        "body": _part(mail, "plain"),
        "html": _part(mail, "html"),
        "sender": str(mail["From"]),
        "reply_to": str(mail["Reply-To"]),
        "extra_headers": {name: str(mail[name]) for name in extra},
    }


def _part(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    if part is None:
        raise RuntimeError(f"our mail has no {kind} part")
    return str(part.get_content())


def _result(delay: float, host: _Host, bar: float) -> Result:
    figure, spread = middle(ratios(_column(host.reference, 0), host.wall))
    return Result(
        f"mails handed over, {delay} ms a reply",
        f"{_told(host.whole)}, with all that the worker does",
        f"one connection a mail with Flask-Mail, {_told(host.reference)}",
        figure,
        spread,
        f">= {bar:g}",
        figure >= bar,
        _NOTE.format(
            rendered=_told(host.rendered), alone=_told(host.alone), worker=_told(host.whole)
        ),
    )


def _like_against_like(delay: float, host: _Host) -> list[Result]:
    """From the facts of a letter on: our parts alone, and the whole worker with all it does."""
    ours = {"compose and hand over alone": host.alone, "the whole worker": host.whole}
    results = []
    for work, figures in ours.items():
        figure, spread = middle(ratios(_column(host.rendered, 0), _column(figures, 0)))
        results.append(
            Result(
                f"{work}, {delay} ms a reply",
                _told(figures),
                f"the same letter rendered by Flask, then Flask-Mail, {_told(host.rendered)}",
                figure,
                spread,
                "-",
                None,
            )
        )
    return results


def _told(figures: list[list[float]]) -> str:
    wall, cpu = (middle(_column(figures, column))[0] for column in (0, 1))
    return f"{wall:.2f} ms a mail ({cpu:.2f} ms of CPU)"


def _column(figures: list[list[float]], column: int) -> list[float]:
    return [line[column] for line in figures]
