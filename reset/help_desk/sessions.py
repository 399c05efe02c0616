"""The one cookie of the service, for operators: it exists below `/ayuda` and nowhere else."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from flask import Flask, Request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from itsdangerous import BadData, URLSafeTimedSerializer

from reset.tokens import keyed_hash

IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=10)


def is_desk(path: str, public_url: str) -> bool:
    """Whether *path* of a request belongs to the help desk."""
    return f"{path}/".startswith(f"{urlsplit(public_url).path}/ayuda/")


def derived(keys: Sequence[str], purpose: str, public_url: str) -> list[str]:
    """A key of its own for each of *keys*, in their order: the last signs, all verify."""
    return [keyed_hash(key, f"help desk: {purpose}", public_url) for key in keys]


class DeskSessions(SecureCookieSessionInterface):
    """Flask's signed cookie, with keys of our own. Its times are ours, too: see `current`."""

    digest_method = staticmethod(hashlib.sha256)

    def __init__(self, keys: Sequence[str], public_url: str) -> None:
        self._keys = derived(keys, "session", public_url)
        self._public_url = public_url
        self._is_secure = public_url.startswith("https:")

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if not is_desk(request.path, self._public_url):
            return None
        signed = request.cookies.get(self.get_cookie_name(app), "")
        try:
            # Without the library's check of the age: it goes by the clock of this host alone.
            return self.session_class(self.get_signing_serializer(app).loads(signed))
        except BadData:
            return self.session_class()

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(
            self._keys,
            salt=self.salt,
            serializer=self.serializer,
            signer_kwargs={
                "key_derivation": self.key_derivation,
                "digest_method": self.digest_method,
            },
        )

    def get_cookie_name(self, app: Flask) -> str:
        # With this prefix no other host can plant a cookie, and no page in clear.
        return "__Host-ayuda" if self._is_secure else "ayuda"

    def get_cookie_path(self, app: Flask) -> str:
        return "/"  # As the prefix demands.

    def get_cookie_secure(self, app: Flask) -> bool:
        return self._is_secure

    def get_cookie_httponly(self, app: Flask) -> bool:
        return True

    def get_cookie_samesite(self, app: Flask) -> str:
        return "Strict"


def begin(name: str, seal: str, *, now: datetime) -> None:
    """A session of *name*; nothing is kept of what the cookie held before."""
    session.clear()
    session.update(operator=name, seal=seal, since=now.timestamp(), seen=now.timestamp())
    # Here, for Flask-WTF: two pages opened at once would each bring one of their own.
    session["csrf_token"] = secrets.token_hex(20)


def current(*, now: datetime) -> tuple[str, str] | None:
    """Name and seal of the session, if it is not over; whether the seal holds is for `Operators`.

    Being asked is a sign of life.
    """
    if "operator" not in session:
        return None
    idle, age = (timedelta(seconds=now.timestamp() - session[at]) for at in ("seen", "since"))
    if idle >= IDLE or age >= LONGEST:
        return None
    session["seen"] = now.timestamp()
    return session["operator"], session["seal"]
