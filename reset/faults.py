"""Errors turned into pages, in one place: in Spanish, with what to do next."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from flask import Flask, render_template, request
from flask_babel import gettext
from werkzeug.exceptions import HTTPException, RequestedRangeNotSatisfiable

from reset import logs, metrics, texts
from reset.errors import (
    AccountsUnavailable,
    ChangeUncertain,
    ClientUnknown,
    ForeignOrigin,
    LinkBusy,
    LinkError,
    RateLimited,
    StoreUnavailable,
)

BUSY_SECONDS = 5
DOWN_SECONDS = 30
_PAGES = {400, 403, 404, 405, 410, 413, 429, 500, 503}
log = logging.getLogger(__name__)

Answer = tuple[str, int, dict[str, str]]


def register(app: Flask) -> None:
    """Let every error of *app* end in a page of ours."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(RequestedRangeNotSatisfiable, _past_the_end)
    app.register_error_handler(LinkError, _dead_link)
    app.register_error_handler(LinkBusy, _busy)
    app.register_error_handler(RateLimited, _limited)
    app.register_error_handler(ForeignOrigin, _foreign)
    for error in (StoreUnavailable, AccountsUnavailable):
        app.register_error_handler(error, _store_down)
    app.register_error_handler(ClientUnknown, _misconfigured)
    app.register_error_handler(Exception, _unexpected)


def _http(error: HTTPException) -> Answer:
    status = error.code or 500  # Redirects of the router never come here.
    if status not in _PAGES:
        status = 400 if status < 500 else 500
    headers = {n: v for n, v in error.get_headers() if n in ("Allow", "Retry-After")}
    return _page(status, headers)


def _past_the_end(error: RequestedRangeNotSatisfiable) -> Answer:
    # A player asked, which wants to know how long the file is; no person reads the page.
    headers = {n: v for n, v in error.get_headers() if n == "Content-Range"}
    return _page(400)[0], 416, headers


def _dead_link(error: LinkError) -> Answer:
    return _page(410, reason=error.reason)


def _busy(_: LinkBusy) -> Answer:
    metrics.note("busy")
    return _page(503, {"Retry-After": str(BUSY_SECONDS)}, busy=True)


def _limited(error: RateLimited) -> Answer:
    wait = texts.duration(timedelta(seconds=error.retry_after))
    return _page(429, {"Retry-After": str(error.retry_after)}, wait=wait)


def _foreign(_: ForeignOrigin) -> Answer:
    return _page(403)


def _store_down(error: Exception) -> Answer:
    if isinstance(error, ChangeUncertain):
        metrics.note("uncertain")
    log.error("store unavailable", extra={"error": type(error).__name__, "cause": str(error)})
    return _page(503, {"Retry-After": str(DOWN_SECONDS)}, busy=False)


def _misconfigured(_: ClientUnknown) -> Answer:
    log.error("no client address: behind a proxy, RESET_TRUSTED_PROXIES must count the proxies")
    return _page(503, {"Retry-After": str(DOWN_SECONDS)}, busy=False)


def _unexpected(error: Exception) -> Answer:
    # Not left to Flask: it would log the path, and the path may hold a token.
    log.error("unexpected error", exc_info=error, extra={"endpoint": request.endpoint})
    return _page(500)


def _page(status: int, headers: dict[str, str] | None = None, **values: Any) -> Answer:
    try:
        # For the help desk: with it the lines of the log are found.
        code = logs.current_id()[:8] if status >= 500 else ""
        page = render_template(f"errors/{status}.html", code=code, **values)
        return page, status, headers or {}
    except Exception as error:
        # A template of the operator's. Raised again, Flask would log the path, as above.
        log.error("error page failed", exc_info=error, extra={"status": status})
        plain = {"Content-Type": "text/plain; charset=utf-8"}
        return gettext("Algo falló de nuestro lado"), status, plain | (headers or {})
