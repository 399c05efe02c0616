"""What is kept about one person, to show it or to erase it.

Source: Ley 1581 de 2012 (Colombia), art. 8: the right to know, and to have erased.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from reset import audit, links, trail
from reset.audit import ResetRequest
from reset.db import Database, Transaction, stamp
from reset.errors import LinkBusy
from reset.links import Link

_MAILS = (
    "SELECT kind, state, attempts, created_at, due_at, sent_at, overdue_at, message_id, content"
    " FROM outbox WHERE request = :number ORDER BY id"
)
_LINKS = (
    "SELECT account, state, created_at, opened_at, claimed_until, used_at, origin"
    " FROM links WHERE request = :number ORDER BY created_at"
)
_WAITING = (
    "SELECT COUNT(*) FROM outbox JOIN requests ON number = request"
    " WHERE address = :address AND outbox.state IN ('queued', 'sending')"
)
# The life of a link counts from the hand-over of its mail.
_LIVE = (
    "SELECT COUNT(*) FROM links JOIN requests ON number = request"
    " WHERE address = :address AND links.state IN ('open', 'claimed')"
    " AND (links.created_at > :since OR EXISTS (SELECT 1 FROM outbox"
    " WHERE outbox.request = number AND sent_at > :since))"
)


@dataclass(frozen=True)
class Kept:
    """How much is kept; ``waiting`` mails and ``live`` links still are to come true."""

    requests: int
    acts: int
    waiting: int
    live: int


def told(database: Database, address: str, logins: Sequence[str]) -> dict[str, Any]:
    """All that our own database has about a normalised *address*; times are in UTC.

    *logins* are the names to sign in with that the portal knows the person by now.
    """
    with database.read() as tx:
        requests = audit.all_of(tx, address)
        return {
            "requests": [_request(tx, request) for request in requests],
            "acts": [
                {
                    "at": act.at.isoformat(),
                    "operator": act.operator,
                    "act": act.act,
                    "subject": act.subject,
                    "details": act.details,
                }
                for act in trail.of_subjects(tx, _subjects(address, logins, requests))
            ],
        }


def kept(database: Database, address: str, logins: Sequence[str], *, live_since: datetime) -> Kept:
    """How much that is; links of mails that left *live_since* still work."""
    with database.read() as tx:
        requests = audit.all_of(tx, address)
        values = {"address": address, "since": stamp(live_since)}
        waiting, live = (
            int(tx.execute(sa.text(query), values).scalar_one()) for query in (_WAITING, _LIVE)
        )
        acts = trail.of_subjects(tx, _subjects(address, logins, requests))
        return Kept(len(requests), len(acts), waiting, live)


def erase(
    database: Database, address: str, logins: Sequence[str], *, now: datetime
) -> tuple[int, int]:
    """Delete the requests of a normalised *address* with all that hangs on them, and acts on it.

    Returns how many requests and acts; one line in the trail tells that, too, and not whose. Their
    links and waiting mails are void then. A second time there is nothing.

    Raises:
        LinkBusy: a password is being set with one of the links; its confirmation would be lost.
    """
    with database.begin() as tx:
        requests = audit.all_of(tx, address)
        numbers = [request.number for request in requests]
        links.hold_accounts(tx, {link.account for link in _links(tx, numbers)})
        for number in numbers[:1]:
            audit.hold_alike(tx, number)
        if any(link.state == "claimed" for link in _links(tx, numbers)):
            raise LinkBusy
        acts = trail.erase(tx, _subjects(address, logins, requests))
        audit.erase(tx, address)
        if requests or acts:
            counts = {"requests": len(requests), "acts": acts}
            trail.note(tx, trail.CONSOLE, "person_erased", "", now=now, **counts)
    return len(requests), acts


def _links(tx: Transaction, numbers: Sequence[str]) -> list[Link]:
    return [link for number in numbers for link in links.of_request(tx, number)]


def _subjects(address: str, logins: Sequence[str], requests: Sequence[ResetRequest]) -> list[str]:
    """By what operators may have looked for this person: address, numbers, names to sign in."""
    seen = {
        str(event.details["login"])
        for request in requests
        for event in request.events
        if event.details.get("login")
    }
    typed = {name for login in logins for name in (login, login.lower())}
    return sorted({address, *typed, *seen, *(request.number for request in requests)})


def _request(tx: Transaction, request: ResetRequest) -> dict[str, Any]:
    number = {"number": request.number}
    mails = tx.execute(sa.text(_MAILS), number).mappings()
    opened = tx.execute(sa.text(_LINKS), number).mappings()
    return {
        "number": audit.spoken(request.number),
        "address": request.address,
        "language": audit.language_of(tx, request.number),
        "created_at": request.created_at.isoformat(),
        "closed": not audit.is_open(tx, request.number),
        "events": [
            {"at": event.at.isoformat(), "event": event.name, **event.details}
            for event in request.events
        ],
        "mails": [{**mail, "content": json.loads(mail["content"])} for mail in mails],
        "links": [dict(link) for link in opened],
    }
