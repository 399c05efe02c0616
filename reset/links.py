"""Reset links as the database knows them: what a link stands for and how far it got.

States: open -> claimed (a password is being set) -> used, closed, or open again; open -> closed.
Every change names the state it leaves, so that two hosts cannot both make it.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from reset.db import Transaction, hold, moment, must_hold, stamp
from reset.tokens import new_id

_COLUMNS = "id, request, account, fingerprint, state, origin"

# Each made once: to read a statement costs SQLAlchemy more than to run it.
_text = functools.cache(sa.text)
_OF_REQUESTS = sa.text(f"SELECT {_COLUMNS} FROM links WHERE request IN :requests").bindparams(
    sa.bindparam("requests", type_=sa.String, expanding=True)
)
_OF_ACCOUNTS: sa.BindParameter[Sequence[str]] = sa.bindparam(
    "accounts", type_=sa.String, expanding=True
)
_LAST_USES = sa.text(
    "SELECT account, MAX(used_at) AS used_at FROM links"
    " WHERE account IN :accounts AND used_at IS NOT NULL GROUP BY account"
).bindparams(_OF_ACCOUNTS)
_LINKED_SINCE = sa.text(
    "SELECT DISTINCT account FROM links WHERE account IN :accounts AND created_at > :since"
).bindparams(_OF_ACCOUNTS)
_CREATED = sa.text(
    "INSERT INTO links (id, request, account, fingerprint, state, created_at)"
    " VALUES (:id, :request, :account, :fingerprint, 'open', :now)"
)


@dataclass(frozen=True)
class Link:
    """One link: ``account`` is the backend's id as JSON, ``origin`` who claimed it, coarsely."""

    id: str
    request: str
    account: str
    fingerprint: str
    state: str
    origin: str | None


def create(tx: Transaction, request: str, account: str, fingerprint: str, *, now: datetime) -> Link:
    """An open link of *request* to *account* as it is now."""
    link = Link(new_id().hex(), request, account, fingerprint, "open", None)
    tx.execute(
        _CREATED,
        {
            "id": link.id,
            "request": request,
            "account": account,
            "fingerprint": fingerprint,
            "now": stamp(now),
        },
    )
    return link


def get(tx: Transaction, link_id: str) -> Link | None:
    """The link of the 32 hex digits *link_id*."""
    row = tx.execute(
        _text(f"SELECT {_COLUMNS} FROM links WHERE id = :id"), {"id": link_id}
    ).one_or_none()
    return Link(*row) if row else None


def get_with_language(tx: Transaction, link_id: str) -> tuple[Link, str] | None:
    """As `get`, and the code of the language that its request was made in."""
    row = tx.execute(
        _text(
            f"SELECT {_COLUMNS}, language FROM links JOIN requests ON number = request"
            " WHERE id = :id"
        ),
        {"id": link_id},
    ).one_or_none()
    return (Link(*row[:-1]), row.language) if row else None


def of_request(tx: Transaction, request: str) -> list[Link]:
    """All links of one request, in whatever state."""
    rows = tx.execute(
        _text(f"SELECT {_COLUMNS} FROM links WHERE request = :request"), {"request": request}
    )
    return [Link(*row) for row in rows]


def of_requests(tx: Transaction, requests: Sequence[str]) -> dict[str, list[Link]]:
    """As `of_request`, for several; those that have none are left out."""
    found: dict[str, list[Link]] = {}
    for row in tx.execute(_OF_REQUESTS, {"requests": list(requests)}):
        found.setdefault(row.request, []).append(Link(*row))
    return found


def accounts_alike(tx: Transaction, request: str) -> list[str]:
    """The accounts that links of *request*, or of others for its address, are to; in order."""
    rows = tx.execute(
        _text(
            "SELECT DISTINCT account FROM links JOIN requests ON requests.number = links.request"
            " WHERE requests.address = (SELECT address FROM requests WHERE number = :request)"
        ),
        {"request": request},
    )
    return sorted(str(row.account) for row in rows)


def note_opened(tx: Transaction, link: Link, *, now: datetime) -> bool:
    """Remember the first time that somebody (or a scanner) opened *link*; True that once."""
    return _changed(
        tx,
        "UPDATE links SET opened_at = :now WHERE id = :id AND opened_at IS NULL",
        id=link.id,
        now=stamp(now),
    )


def claim(tx: Transaction, link: Link, *, until: datetime, origin: str) -> bool:
    """Take an open link for one attempt to set a password; False if somebody else has it.

    One attempt for each account: a directory cannot compare before it sets.
    """
    hold_accounts_of(tx, link.request)
    return not is_claimed(tx, link.account) and _changed(
        tx,
        "UPDATE links SET state = 'claimed', claimed_until = :until, origin = :origin"
        " WHERE id = :id AND state = 'open'",
        id=link.id,
        until=stamp(until),
        origin=origin,
    )


def hold_accounts_of(tx: Transaction, request: str) -> None:
    """Let nobody else claim, use or close a link of the accounts of *request* until *tx* ends."""
    if must_hold(tx):
        hold_accounts(tx, {link.account for link in of_request(tx, request)})


def hold_accounts(tx: Transaction, accounts: Collection[str]) -> None:
    """As `hold_accounts_of`, for *accounts*."""
    for account in sorted(accounts):
        hold(tx, "SELECT id FROM links WHERE account = :account ORDER BY id", account=account)


def give_back(tx: Transaction, link: Link) -> bool:
    """End a claim without a new password: the link is good again."""
    return _changed(
        tx,
        "UPDATE links SET state = 'open', claimed_until = NULL"
        " WHERE id = :id AND state = 'claimed'",
        id=link.id,
    )


def use(tx: Transaction, link: Link, *, now: datetime) -> bool:
    """Mark a link whose password was set; True for the one caller who did.

    A link given back meanwhile (its claim had run out) is used up all the same.
    """
    return _changed(
        tx,
        "UPDATE links SET state = 'used', claimed_until = NULL, used_at = :now"
        " WHERE id = :id AND state IN ('claimed', 'open')",
        id=link.id,
        now=stamp(now),
    )


def close(tx: Transaction, link: Link) -> bool:
    """End a claim by closing its link for good."""
    return _changed(
        tx, "UPDATE links SET state = 'closed' WHERE id = :id AND state = 'claimed'", id=link.id
    )


def is_closed(tx: Transaction, link: Link) -> bool:
    """Whether a link was closed, by "no fui yo" for one."""
    now = get(tx, link.id)
    return now is not None and now.state == "closed"


def used_since(tx: Transaction, account: str, request: str) -> bool:
    """Whether a password of *account* was set after *request* was made."""
    found = tx.execute(
        _text(
            "SELECT 1 FROM links JOIN requests ON requests.number = :request"
            " WHERE links.account = :account AND links.used_at > requests.created_at LIMIT 1"
        ),
        {"account": account, "request": request},
    )
    return found.scalar() is not None


def last_uses(tx: Transaction, accounts: Sequence[str]) -> dict[str, datetime]:
    """When a password of each of *accounts* was last set; those that had none set are left out."""
    rows = tx.execute(_LAST_USES, {"accounts": list(accounts)})
    return {row.account: moment(row.used_at) for row in rows}


def linked_since(tx: Transaction, accounts: Sequence[str], *, since: datetime) -> set[str]:
    """Those of *accounts* for which any link was made since *since*."""
    rows = tx.execute(_LINKED_SINCE, {"accounts": list(accounts), "since": stamp(since)})
    return {row.account for row in rows}


def is_claimed(tx: Transaction, account: str) -> bool:
    """Whether a password of *account* is being set right now."""
    found = tx.execute(
        _text("SELECT 1 FROM links WHERE account = :account AND state = 'claimed' LIMIT 1"),
        {"account": account},
    )
    return found.scalar() is not None


def has_open(tx: Transaction, account: str) -> bool:
    """Whether *account* has a link that is open, be it past its lifetime."""
    found = tx.execute(
        _text("SELECT 1 FROM links WHERE account = :account AND state = 'open' LIMIT 1"),
        {"account": account},
    )
    return found.scalar() is not None


def open_since(tx: Transaction, account: str, *, since: datetime) -> list[Link]:
    """The open links of *account* made since *since*."""
    rows = tx.execute(
        _text(
            f"SELECT {_COLUMNS} FROM links WHERE account = :account AND state = 'open'"
            " AND created_at > :since"
        ),
        {"account": account, "since": stamp(since)},
    )
    return [Link(*row) for row in rows]


def mailed_since(tx: Transaction, account: str, since: datetime, *, but: str) -> int:
    """For how many requests, *but* not that one, links of *account* were made since *since*."""
    found = tx.execute(
        _text(
            "SELECT COUNT(DISTINCT request) FROM links WHERE account = :account"
            " AND created_at > :since AND request <> :but"
        ),
        {"account": account, "since": stamp(since), "but": but},
    )
    return int(found.scalar_one())


def close_all(tx: Transaction, account: str) -> list[str]:
    """Close every open link of *account*; returns the requests they belonged to."""
    rows = tx.execute(
        _text("SELECT DISTINCT request FROM links WHERE account = :account AND state = 'open'"),
        {"account": account},
    )
    requests = [str(row.request) for row in rows]
    if requests:
        tx.execute(
            _text("UPDATE links SET state = 'closed' WHERE account = :account AND state = 'open'"),
            {"account": account},
        )
    return requests


def close_everything(tx: Transaction) -> list[str]:
    """Close all links that are open or claimed; returns the requests they belonged to."""
    pending = "state IN ('open', 'claimed')"
    rows = tx.execute(_text(f"SELECT DISTINCT request FROM links WHERE {pending}")).all()
    tx.execute(_text(f"UPDATE links SET state = 'closed' WHERE {pending}"))
    return [str(row.request) for row in rows]


def with_lapsed_claim(tx: Transaction, *, now: datetime) -> list[Link]:
    """Links claimed by somebody who never came back (a crash in the middle)."""
    rows = tx.execute(
        _text(
            f"SELECT {_COLUMNS} FROM links WHERE state = 'claimed' AND claimed_until < :now"
            " LIMIT 50"
        ),
        {"now": stamp(now)},
    )
    return [Link(*row) for row in rows]


def _changed(tx: Transaction, statement: str, **values: str) -> bool:
    return tx.execute(_text(statement), values).rowcount == 1
