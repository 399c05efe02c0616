"""Who may use the help desk: names, and argon2id hashes of their passwords, in our own database."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import argon2
import sqlalchemy as sa

from reset import trail
from reset.db import Database, Transaction, moment, stamp
from reset.errors import OperatorRefused
from reset.policy import Policy, Profile
from reset.tokens import fingerprint, has_fingerprint

UNKNOWN = "-"  # In the trail: a name that no operator has, which may be a password.
PROFILE = Profile(min_length=12, classes=False)
_NAME = re.compile(r"[a-z0-9._@-]{2,64}")
# Source: OWASP, Password Storage Cheat Sheet.
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# A hash of today's cost that no password has: names that nobody has take as long as others.
_NOBODYS = f"$argon2id$v=19$m=19456,t=2,p=1${'A' * 22}${'A' * 43}"
# Each takes 19 MiB: a few at a time, so that a rush for the door takes no memory from the others.
_slots = threading.BoundedSemaphore(2)


@dataclass(frozen=True)
class Operator:
    """One who may, or might once, use the help desk; with no password a proxy vouches for them."""

    name: str
    has_password: bool
    created_at: datetime
    disabled_at: datetime | None


class Operators:
    """All operators of one service; *context* are words that a password must not be made of."""

    def __init__(
        self, database: Database, keys: Sequence[str], context: Collection[str] = ()
    ) -> None:
        self._db = database
        self._keys = keys
        self._policy = Policy(PROFILE, context)

    def may_anybody(self) -> bool:
        """Whether there is an operator at all; asked for each request to the help desk."""
        with self._db.read() as tx:
            found = tx.execute(sa.text("SELECT 1 FROM operators WHERE disabled_at IS NULL LIMIT 1"))
            return found.scalar() is not None

    def all(self) -> list[Operator]:
        """By name, the disabled ones among them."""
        with self._db.read() as tx:
            rows = tx.execute(
                sa.text(
                    "SELECT name, password, created_at, disabled_at FROM operators ORDER BY name"
                )
            )
            return [
                Operator(
                    row.name,
                    bool(row.password),
                    moment(row.created_at),
                    moment(row.disabled_at) if row.disabled_at else None,
                )
                for row in rows
            ]

    def add(self, name: str, password: str | None, *, now: datetime) -> str:
        """Let *name* in with *password* (None: a proxy vouches), perhaps again; returns the name.

        Raises:
            OperatorRefused: an unfit name, a weak password, or an operator of that name is active.
        """
        name = _folded(name)
        if not _NAME.fullmatch(name) or name == trail.CONSOLE:
            raise OperatorRefused(["bad_name"])
        weaknesses = [] if password is None else self._policy.violations(password, [name])
        if weaknesses:
            raise OperatorRefused(weaknesses)
        stored = "" if password is None else _hash(password)
        with self._db.begin() as tx:
            row = _row(tx, name)
            if row and not row.disabled_at:
                raise OperatorRefused(["taken"])
            tx.execute(
                sa.text(
                    "UPDATE operators SET password = :password, disabled_at = NULL"
                    " WHERE name = :name AND disabled_at IS NOT NULL"
                    if row
                    else "INSERT INTO operators (name, password, created_at)"
                    " VALUES (:name, :password, :now)"
                ),
                {"name": name, "password": stored, "now": stamp(now)},
            )
            trail.note(tx, trail.CONSOLE, "operator_added", name, now=now)
        return name

    def disable(self, name: str, *, now: datetime) -> str:
        """Let *name* in no more, and end the sessions that are open; returns the name.

        Raises:
            OperatorRefused: there is no active operator of that name.
        """
        name = _folded(name)
        with self._db.begin() as tx:
            changed = tx.execute(
                sa.text(
                    "UPDATE operators SET disabled_at = :now"
                    " WHERE name = :name AND disabled_at IS NULL"
                ),
                {"name": name, "now": stamp(now)},
            )
            if not changed.rowcount:
                raise OperatorRefused(["unknown"])
            trail.note(tx, trail.CONSOLE, "operator_disabled", name, now=now)
        return name

    def sign_in(self, name: str, password: str, *, origin: str, now: datetime) -> tuple[str, str]:
        """Return the name and the seal of a new session.

        The same work for every name, so that nobody learns which there are.

        Raises:
            OperatorRefused: the name, the password, or both are wrong.
        """
        name = _folded(name)
        with self._db.read() as tx:
            row = _row(tx, name)
        stored = row.password if row and not row.disabled_at else ""
        if not _fits(stored or _NOBODYS, password):
            who = name if row else UNKNOWN
            with self._db.begin() as tx:
                trail.note(tx, who, "sign_in_failed", who, now=now, origin=origin)
            raise OperatorRefused(["wrong"])
        renewed = _hash(password) if _HASHER.check_needs_rehash(stored) else stored
        with self._db.begin() as tx:
            row = _row(tx, name)
            if row is None or row.disabled_at or row.password != stored:
                raise OperatorRefused(["wrong"])  # Disabled, or replaced, since it was checked.
            trail.note(tx, name, "signed_in", name, now=now, origin=origin)
            if renewed != stored:
                tx.execute(
                    sa.text(
                        "UPDATE operators SET password = :renewed"
                        " WHERE name = :name AND password = :stored"
                    ),
                    {"name": name, "stored": stored, "renewed": renewed},
                )
            return name, fingerprint(self._keys, *_sealed(_row(tx, name)))

    def sign_out(self, name: str, *, origin: str, now: datetime) -> None:
        """End every session of *name*: a stolen cookie is worth nothing, either."""
        with self._db.begin() as tx:
            tx.execute(
                sa.text("UPDATE operators SET signed_out_at = :now WHERE name = :name"),
                {"name": name, "now": stamp(now)},
            )
            trail.note(tx, name, "signed_out", name, now=now, origin=origin)

    def holds(self, name: str, seal: str) -> bool:
        """Whether a session with *seal* is still good: not since a new password or a sign-out."""
        with self._db.read() as tx:
            row = _row(tx, name)
        if row is None or row.disabled_at:
            return False
        return has_fingerprint(self._keys, seal, *_sealed(row))

    def vouched(self, name: str) -> str:
        """The active operator whom a proxy calls *name*.

        Raises:
            OperatorRefused: there is none.
        """
        name = _folded(name)
        with self._db.read() as tx:
            row = _row(tx, name)
        if row is None or row.disabled_at:
            raise OperatorRefused(["unknown"])
        return name


def _folded(name: str) -> str:
    return name.strip().lower()


def _row(tx: Transaction, name: str) -> sa.Row[tuple[str, ...]] | None:
    """What is typed may be anything: the database is asked for names alone, NUL would upset it."""
    return tx.execute(
        sa.text(
            "SELECT name, password, disabled_at, signed_out_at FROM operators WHERE name = :name"
        ),
        {"name": name if _NAME.fullmatch(name) else ""},
    ).one_or_none()


def _sealed(row: sa.Row[tuple[str, ...]] | None) -> tuple[str, ...]:
    """What a session depends on: none outlives a change of it."""
    return ("operator", row.name, row.password, row.signed_out_at or "") if row else ()


def _hash(password: str) -> str:
    with _slots:
        return _HASHER.hash(password)


def _fits(stored: str, password: str) -> bool:
    try:
        with _slots:
            return _HASHER.verify(stored, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
