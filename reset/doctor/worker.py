"""The worker: whether it lives, and what waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from reset import heartbeat
from reset.db import moment, stamp
from reset.doctor import Case, command
from reset.engine import server_time
from reset.findings import Finding
from reset.mail import outbox

_RECENT = timedelta(days=1)
_START = "systemctl restart restablecer-worker; systemctl status restablecer-worker"
_WAIT = "no mail leaves: people wait for links that do not come"
_LIST = "outbox list"


def check(case: Case) -> Iterator[Finding]:
    """Signs of life, and the queue of mails; a database that is away is told elsewhere."""
    try:
        with case.state() as tx:
            now = server_time(tx)
            yield _life(tx, now)
            yield from _queue(tx, now)
    except sa.exc.SQLAlchemyError:
        yield Finding("note", "what the worker does is not known: see the database")


def _life(tx: sa.Connection, now: datetime) -> Finding:
    signs = heartbeat.signs(tx)
    alive = [sign for sign in signs if sign.is_alive(now=now)]
    if alive:
        return Finding("ok", f"workers that are alive: {len(alive)}")
    text = "no worker runs"
    if signs:
        last = max(sign.beat_at for sign in signs)
        text = f"no worker is alive; the last one was, {_spoken(now - last)} ago"
    remedy = f"{_START} (without systemd: {command('worker')})"
    return Finding("fault", text, remedy, _WAIT)


def _queue(tx: sa.Connection, now: datetime) -> Iterator[Finding]:
    waiting, oldest = _one(tx, "COUNT(*), MIN(created_at)", "state IN ('queued', 'sending')")
    if not waiting:
        yield Finding("ok", "no mail waits")
    elif outbox.is_due(tx, now=now - outbox.UNATTENDED):
        text = f"mails that wait: {waiting}, and nobody attends to them"
        yield Finding("fault", text, _START, _WAIT)
    else:
        age = now - moment(oldest)
        text = f"mails that wait: {waiting}, the oldest for {_spoken(age)}"
        if age < outbox.OVERDUE:
            yield Finding("ok" if age < outbox.UNATTENDED else "note", text, command(_LIST))
        else:
            why = "visitors were told to call when nothing came within 12 hours"
            yield Finding(
                "warning", text, f"see the mail findings here, and: {command(_LIST)}", why
            )
    (refused,) = _one(
        tx, "COUNT(*)", "state = 'abandoned' AND created_at >= :since", since=now - _RECENT
    )
    if refused:
        text = f"mails of the last day that were refused, or given up: {refused}"
        why = "those people got no mail; the help desk can tell them"
        yield Finding(
            "warning", text, f"{command(_LIST)}; {command('trace NUMBER')} tells why", why
        )
    else:
        yield Finding("ok", "no mail of the last day was refused or given up")


def _one(tx: sa.Connection, what: str, where: str, **times: datetime) -> tuple[Any, ...]:
    values = {name: stamp(time) for name, time in times.items()}
    row = tx.execute(sa.text(f"SELECT {what} FROM outbox WHERE {where}"), values).one()
    return tuple(row)


def _spoken(span: timedelta) -> str:
    hours, rest = divmod(int(span.total_seconds()), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
