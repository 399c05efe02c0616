"""What the service sees of its caller, told to who holds its keys: for `flask reset doctor`.

Only so can the doctor, who comes in through the proxies as visitors do, learn what reached us of
it. The question is a signed token that soon expires; to all others nothing is different.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, request

from reset.errors import BadToken
from reset.tokens import Tokens, new_id

QUESTION = "X-Reset-Doctor"
ANSWER = "X-Reset-Seen"
_QUESTION = "HTTP_X_RESET_DOCTOR"  # As the web server hands it over.
LIFETIME = timedelta(minutes=2)  # Either way: two clocks may differ.
_LONGEST = 200


def question(keys: Sequence[str], public_url: str, *, now: datetime) -> str:
    """The value of the header ``QUESTION``."""
    return Tokens(keys, "doctor", public_url).make(new_id(), now=now)


def register(
    app: Flask,
    keys: Sequence[str],
    public_url: str,
    *,
    user_header: str,
    clock: Callable[[], datetime],
) -> None:
    """Let every answer of *app* to a genuine question say what was seen.

    A proxy names the help desk's operator in *user_header*; empty if none does.
    """
    tokens = Tokens(keys, "doctor", public_url)
    inner = app.wsgi_app

    def wsgi_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        asked = environ.get(_QUESTION)
        if asked is None:
            return inner(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            if _is_fresh(tokens, asked, clock()):
                headers = [*headers, (ANSWER, json.dumps(_seen(user_header)))]
            return start_response(status, headers, *rest)

        return inner(environ, start)

    app.wsgi_app = wsgi_app  # type: ignore[method-assign]


def _is_fresh(tokens: Tokens, asked: str, now: datetime) -> bool:
    try:
        _, made_at = tokens.read(asked)
    except BadToken:
        return False
    return abs(now - made_at) <= LIFETIME


def _seen(user_header: str) -> dict[str, str]:
    """The address, scheme, host and user that count, and what came with the connection."""
    before = request.environ.get("werkzeug.proxy_fix.orig", request.environ)
    seen = {
        "address": request.remote_addr or "",
        "scheme": request.scheme,
        "host": request.environ.get("HTTP_HOST", ""),
        "peer": before.get("REMOTE_ADDR") or "",
        "forwarded_for": request.headers.get("X-Forwarded-For", ""),
        "user": request.headers.get(user_header, "") if user_header else "",
    }
    return {name: str(value)[:_LONGEST] for name, value in seen.items()}
