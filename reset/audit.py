"""The help desk's trace: one ResetRequest and what happened to it, without any secret."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from reset.db import Transaction, hold, moment, new_key, stamp

NUMBER_DIGITS = 12
_NOTED = sa.text(
    "INSERT INTO events (id, request, at, event, details)"
    " VALUES (:id, :number, :at, :event, :details)"
)
_ASKED = sa.text(
    "SELECT number, address, language, created_at, closed_at FROM requests WHERE number IN :numbers"
).bindparams(sa.bindparam("numbers", type_=sa.String, expanding=True))


@dataclass(frozen=True)
class Event:
    """One line of a trace: a fixed name, when it happened (UTC), and small plain details."""

    at: datetime
    name: str
    details: dict[str, str | int]


@dataclass(frozen=True)
class Asked:
    """What a mail for a request is about; ``is_open`` tells whether it is still wanted."""

    address: str
    language: str
    created_at: datetime
    is_open: bool


@dataclass(frozen=True)
class ResetRequest:
    """What a visitor asked for; ``address`` is normalised, ``events`` are oldest first."""

    number: str
    address: str
    created_at: datetime
    events: list[Event]


def new_number() -> str:
    """Twelve random digits: they count nothing and are easily said on the telephone."""
    return "".join(secrets.choice("0123456789") for _ in range(NUMBER_DIGITS))


def spoken(number: str) -> str:
    """*number* in groups of four: "4821-0937-5562"."""
    return "-".join(number[i : i + 4] for i in range(0, NUMBER_DIGITS, 4))


def unspoken(text: str) -> str | None:
    """The number in *text*, with dashes, dots, spaces or none; None if it is no number."""
    digits = "".join(c for c in text if c not in "-. \t")
    return (
        digits if len(digits) == NUMBER_DIGITS and digits.isascii() and digits.isdigit() else None
    )


def open_request(
    tx: Transaction, number: str, address: str, language: str, *, now: datetime
) -> None:
    """Store one request."""
    tx.execute(
        sa.text(
            "INSERT INTO requests (number, address, language, created_at)"
            " VALUES (:number, :address, :language, :at)"
        ),
        {"number": number, "address": address, "language": language, "at": stamp(now)},
    )


def note(tx: Transaction, number: str, event: str, *, now: datetime, **details: str | int) -> None:
    """Add a line to the trace of request *number*; *details* are read by the help desk."""
    note_all(tx, [(number, event, details)], now=now)


def note_all(
    tx: Transaction, lines: Sequence[tuple[str, str, Mapping[str, str | int]]], *, now: datetime
) -> None:
    """Add (number, event, details) as lines to traces, in that order."""
    rows = [
        {
            "id": new_key(now),
            "number": number,
            "at": stamp(now),
            "event": event,
            "details": json.dumps(details, ensure_ascii=False),
        }
        for number, event, details in lines
    ]
    if rows:
        tx.execute(_NOTED, rows)


def count(tx: Transaction, number: str, event: str, *, since: datetime | None = None) -> int:
    """How often *event* stands in the trace of request *number*, in all or since *since*."""
    found = tx.execute(
        sa.text(
            "SELECT COUNT(*) FROM events WHERE request = :number AND event = :event AND at > :since"
        ),
        {"number": number, "event": event, "since": stamp(since) if since else ""},
    )
    return int(found.scalar_one())


def address_of(tx: Transaction, number: str) -> str | None:
    """The normalised address that request *number* was made for."""
    return tx.execute(
        sa.text("SELECT address FROM requests WHERE number = :number"), {"number": number}
    ).scalar()


def language_of(tx: Transaction, number: str) -> str:
    """The code of the language that request *number* was made in."""
    found = tx.execute(
        sa.text("SELECT language FROM requests WHERE number = :number"), {"number": number}
    )
    return str(found.scalar_one())


def asked(tx: Transaction, numbers: Sequence[str]) -> dict[str, Asked]:
    """The requests of *numbers*, by number."""
    return {
        row.number: Asked(row.address, row.language, moment(row.created_at), row.closed_at is None)
        for row in tx.execute(_ASKED, {"numbers": list(numbers)})
    }


def is_open(tx: Transaction, number: str) -> bool:
    """Whether the mail of request *number* is still wanted."""
    found = tx.execute(
        sa.text("SELECT 1 FROM requests WHERE number = :number AND closed_at IS NULL"),
        {"number": number},
    )
    return found.scalar() is not None


def hold_alike(tx: Transaction, *numbers: str) -> None:
    """Let no other worker mail the addresses of requests *numbers* until *tx* ends."""
    named = {f"number{at}": number for at, number in enumerate(numbers)}
    listed = ", ".join(f":{name}" for name in named)
    hold(
        tx,
        "SELECT number FROM requests WHERE address IN"
        f" (SELECT address FROM requests WHERE number IN ({listed})) ORDER BY number",
        **named,
    )


def close_alike(tx: Transaction, number: str, *, now: datetime) -> None:
    """Close all requests so far for the address of *number*: what was not mailed will not be."""
    tx.execute(
        sa.text(
            "UPDATE requests SET closed_at = :now WHERE address = :address AND closed_at IS NULL"
        ),
        {"now": stamp(now), "address": address_of(tx, number)},
    )


def by_number(tx: Transaction, number: str) -> ResetRequest | None:
    """One request with its trace."""
    row = tx.execute(
        sa.text("SELECT number, address, created_at FROM requests WHERE number = :number"),
        {"number": number},
    ).one_or_none()
    if row is None:
        return None
    return ResetRequest(row.number, row.address, moment(row.created_at), _events(tx, number))


def by_address(tx: Transaction, address: str, *, limit: int = 20) -> list[ResetRequest]:
    """The latest requests for a normalised *address*, newest first; may be empty."""
    rows = tx.execute(
        sa.text(
            "SELECT number, address, created_at FROM requests WHERE address = :address"
            " ORDER BY created_at DESC, number LIMIT :limit"
        ),
        {"address": address, "limit": limit},
    )
    return [
        ResetRequest(row.number, row.address, moment(row.created_at), _events(tx, row.number))
        for row in rows.all()
    ]


def all_of(tx: Transaction, address: str) -> list[ResetRequest]:
    """Every request for a normalised *address*, oldest first; may be empty."""
    rows = tx.execute(
        sa.text("SELECT number FROM requests WHERE address = :address ORDER BY created_at, number"),
        {"address": address},
    )
    return list(filter(None, (by_number(tx, row.number) for row in rows.all())))


def erase(tx: Transaction, address: str) -> None:
    """Delete every request for a normalised *address* with all that hangs on it."""
    tx.execute(sa.text("DELETE FROM requests WHERE address = :address"), {"address": address})


def _events(tx: Transaction, number: str) -> list[Event]:
    rows = tx.execute(
        sa.text("SELECT at, event, details FROM events WHERE request = :number ORDER BY id"),
        {"number": number},
    )
    return [Event(moment(row.at), row.event, json.loads(row.details)) for row in rows]


def last_answer(tx: Transaction, number: str, mail: str) -> str:
    """What the mail server said last to a *mail* (a kind) of request *number*; "" if nothing."""
    said = [
        str(event.details["answer"])
        for event in _events(tx, number)
        if event.details.get("mail") == mail and "answer" in event.details
    ]
    return said[-1] if said else ""


def purge(tx: Transaction, *, before: datetime, unless: str, limit: int) -> int:
    """Delete about *limit* requests older than *before* with all that hangs on them; how many.

    Nothing may have happened to them since: a mail that left late brought a link that lives on.
    *unless* is a subquery for `EXISTS`: it finds what still needs a row of `requests`.
    """
    # The conditions for a few at a time: over all that is old, PostgreSQL joins whole tables.
    delete = sa.text(
        f"DELETE FROM requests WHERE number IN :numbers AND NOT EXISTS ({unless})"
        " AND NOT EXISTS (SELECT 1 FROM events WHERE request = number AND at >= :before)"
    ).bindparams(sa.bindparam("numbers", type_=sa.String, expanding=True))
    purged, last = 0, ""
    while purged < limit:
        old = tx.execute(
            sa.text(
                "SELECT number, created_at FROM requests WHERE created_at > :last"
                " AND created_at < :before ORDER BY created_at LIMIT :limit"
            ),
            {"last": last, "before": stamp(before), "limit": limit},
        ).all()
        if not old:
            break
        last = old[-1].created_at
        numbers = [row.number for row in old]
        purged += tx.execute(delete, {"before": stamp(before), "numbers": numbers}).rowcount
    return purged
