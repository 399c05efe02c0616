"""What `flask reset doctor` looks at: a module for each subject, which yields findings.

A check changes nothing. It may fail or hang: the others, and the operator, do not wait for it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import sqlalchemy as sa
from flask import Flask

from reset import engine
from reset.findings import Finding
from reset.service import Service

if TYPE_CHECKING:
    from config import Settings

DEADLINE_SECONDS = 60
INSTALLED = Path("/usr/local/bin/restablecer")  # By deploy/install.sh.

Check = Callable[["Case"], Iterable[Finding]]


@dataclass(frozen=True)
class Case:
    """What a check may look at; ``mail_to`` is an address to ask the mail server about, or ""."""

    app: Flask
    parts: Service
    mail_to: str = ""

    @property
    def settings(self) -> Settings:
        """What was set."""
        return self.parts.settings

    @property
    def state_url(self) -> sa.URL:
        """Our own database, with its driver."""
        return engine.parse(self.settings.database_url)

    @contextmanager
    def state(self) -> Iterator[sa.Connection]:
        """Our own database as it is: nothing is created, migrated or kept.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: it does not answer.
        """
        opened = engine.open_engine(self.settings.database_url)
        try:
            with opened.connect() as connection:
                yield connection
                connection.rollback()
        finally:
            opened.dispose()


def command(words: str) -> str:
    """A command of ours as it is typed on this host."""
    return f"{INSTALLED.name} {words}" if INSTALLED.exists() else f".venv/bin/flask reset {words}"


@dataclass(frozen=True)
class Told:
    """A finding and the subject that it belongs to."""

    subject: str
    finding: Finding


def examine(checks: Mapping[str, Check], case: Case) -> Iterator[Told]:
    """Run all *checks* at once and tell what each found, in their order."""
    deadline = monotonic() + DEADLINE_SECONDS
    running = [(subject, _started(check, case)) for subject, check in checks.items()]
    for subject, found in running:
        yield from (Told(subject, finding) for finding in _heard(found, deadline))


def _started(check: Check, case: Case) -> queue.SimpleQueue[Finding | None]:
    """What *check* finds, and None at its end."""
    found: queue.SimpleQueue[Finding | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            for finding in check(case):
                found.put(finding)
        except Exception as error:
            # Its text may hold a name or an address; its kind is enough to report it.
            text = f"this check ended early ({type(error).__name__})"
            remedy = "mend what else is told here; if this stays, report it to the maintainers"
            found.put(Finding("fault", text, remedy, "what it did not reach may be wrong, too"))
        found.put(None)

    threading.Thread(target=run, daemon=True).start()
    return found


def _heard(found: queue.SimpleQueue[Finding | None], deadline: float) -> Iterator[Finding]:
    try:
        while (finding := found.get(timeout=max(0.01, deadline - monotonic()))) is not None:
            yield finding
    except queue.Empty:
        text = f"no answer within {DEADLINE_SECONDS} s"
        remedy = "see whether the server behind it is stuck or overloaded"
        yield Finding("fault", text, remedy, "visitors and mails wait for it as long")
