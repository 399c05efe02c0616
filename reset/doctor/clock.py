"""Clocks: this host's, and that of our database, by which links live and die."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import sqlalchemy as sa

from reset.doctor import Case
from reset.engine import server_time
from reset.findings import Finding

APART_SECONDS = 5
TIMEDATECTL = "timedatectl"
_NTP = "timedatectl set-ntp true"
_TIMEOUT_SECONDS = 5


def check(case: Case) -> Iterator[Finding]:
    """Whether they agree; a database that does not answer is told elsewhere."""
    with suppress(sa.exc.SQLAlchemyError), case.state() as tx:
        yield apart("the database's server", server_time(tx))
    yield _synchronised()


def apart(whose: str, theirs: datetime) -> Finding:
    """How far the clock of *whose* is from ours; to be called right after it was read."""
    seconds = (theirs - datetime.now(UTC)).total_seconds()
    text = f"the clock of {whose} and this host's are {abs(seconds):.0f} s apart"
    if abs(seconds) < APART_SECONDS:
        return Finding("ok", text)
    why = "certificates, logs and the times in mails follow different clocks"
    return Finding("warning", text, f"on each of them: {_NTP}", why)


def _synchronised() -> Finding:
    command = shutil.which(TIMEDATECTL)
    told = ""
    if command:
        with suppress(OSError, subprocess.SubprocessError):
            show = [command, "show", "--property=NTPSynchronized", "--value"]
            told = subprocess.run(  # noqa: S603 - a constant command
                show, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
            ).stdout.strip()
    if told == "yes":
        return Finding("ok", "this host's clock is synchronised")
    if told == "no":
        why = "a clock that drifts makes certificates look expired, and times in mails wrong"
        return Finding("warning", "this host's clock is not synchronised (NTP)", _NTP, why)
    return Finding("note", "whether this host's clock is synchronised is not known (timedatectl)")
