"""Headers on every answer: every route of the application, with every status it can have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import pytest
from flask import Flask
from werkzeug.exceptions import BadRequest, MethodNotAllowed, NotFound, RequestEntityTooLarge
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from config import Settings
from reset.errors import (
    AccountsUnavailable,
    ClientUnknown,
    ForeignOrigin,
    LinkBusy,
    LinkExpired,
    LinkReplaced,
    LinkUnknown,
    LinkUsed,
    RateLimited,
    StoreUnavailable,
)
from tests.conftest import START, Visitor

PORTAL = "http://127.0.0.1:5001"
FRAMED = {
    "reset.request_reset",
    "reset.submit_request",
    "reset.request_sent",
}
LENT = {"static", "reset.stylesheet", "reset.brand_logo", "reset.embed_script"}
CAPTCHA = {"reset.captcha_image": "png", "reset.captcha_sound": "wav"}
KEPT = LENT | set(CAPTCHA)
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE")
ERRORS = {
    BadRequest(): 400,
    ForeignOrigin(): 403,
    NotFound(): 404,
    MethodNotAllowed(["GET"]): 405,
    LinkUnknown(): 410,
    LinkExpired(): 410,
    LinkUsed(): 410,
    LinkReplaced(): 410,
    RequestEntityTooLarge(): 413,
    RateLimited(60): 429,
    ZeroDivisionError(): 500,
    StoreUnavailable(): 503,
    AccountsUnavailable(): 503,
    LinkBusy(): 503,
    ClientUnknown(): 503,
}
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin",
    "X-Robots-Tag": "noindex",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
POLICY = {
    "default-src": "'none'",
    "style-src": "'self' {origin}",
    "script-src": "'self' {origin}",
    "worker-src": "'self' {origin}",
    "img-src": "'self' {origin} data:",
    "media-src": "'self' {origin}",
    "connect-src": "'self' {origin}",
    "form-action": "'self' {origin}",
    "base-uri": "'none'",
    "object-src": "'none'",
}


@pytest.fixture(params=["http://localhost:5000", "https://localhost/restablecer"])
def mounted(
    make_app: Callable[..., Flask],
    settings: Settings,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Flask:
    """The service with a logo and an operator, in clear at the root and over TLS under a path."""
    logo = tmp_path / "logo.svg"
    logo.write_text("<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'/>")
    app = make_app(brand=replace(settings.brand, logo=logo), public_url=request.param)
    app.extensions["reset"].operators.add("marta", None, now=START)
    return app


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_route_fails_in_the_same_armour(mounted: Flask, error: Exception) -> None:
    """Whatever a view raises ends in a page of ours, with every header, kept by nobody."""

    def fail(**_: str) -> NoReturn:
        raise error

    for rule in mounted.url_map.iter_rules():
        mounted.view_functions[rule.endpoint] = fail
        for method in (rule.methods or set()) - {"OPTIONS"}:
            answer = mounted.test_client().open(_path(rule), method=method)
            assert answer.status_code == ERRORS[error], rule
            _check(mounted, answer, rule.endpoint, kept=False)
            if method != "HEAD":
                assert '<html lang="es">' in answer.text
                assert "(605) 371 4545" in answer.text


def test_every_route_answers_every_method_in_armour(mounted: Flask) -> None:
    """Pages, pictures, files, redirects, refused methods and malformed forms."""
    seen = set()
    for rule in mounted.url_map.iter_rules():
        for method in METHODS:
            answer = mounted.test_client().open(_path(rule), method=method, buffered=True)
            matching = mounted.url_map.bind("")
            found = matching.test(_path(rule), method)
            endpoint = matching.match(_path(rule), method)[0] if found else ""
            kept = endpoint in KEPT and answer.status_code == 200 and method != "OPTIONS"
            _check(mounted, answer, endpoint, kept=kept)
            seen.add(answer.status_code)
    assert seen == {200, 302, 303, 400, 404, 405, 410}


def test_answers_before_any_route_wear_the_armour(mounted: Flask) -> None:
    """Unknown pages, a foreign Host, a file that the browser has already."""
    home = urlsplit(mounted.extensions["reset"].public_url).path
    client = mounted.test_client()
    file = f"{home}/static/css/reset.css"
    tag = client.get(file, buffered=True).headers["ETag"]
    answers = {
        404: client.get("/x"),
        400: client.get(f"{home}/", headers={"Host": "evil.example"}),
        304: client.get(file, headers={"If-None-Match": tag}, buffered=True),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        _check(mounted, answer, "static" if status == 304 else "", kept=status == 304)


def test_good_answers_wear_the_armour(visitor: Visitor, ana: int) -> None:
    """What a person sees who asks, opens the link, and sets a password."""
    link = visitor.link()
    sent = visitor.ask()
    steps = [
        (visitor.client.get("/"), "reset.request_reset"),
        (sent, "reset.submit_request"),
        (visitor.client.get(sent.location), "reset.request_sent"),
        (visitor.client.get(link), "reset.open_link"),
        (visitor.set_password(link, "corta"), "reset.new_password"),
        (visitor.set_password(link), "reset.new_password"),
        (visitor.client.post("/", data={"email": "a" * 70_000}), "reset.submit_request"),
    ]
    assert [answer.status_code for answer, _ in steps] == [200, 303, 200, 200, 200, 303, 413]
    for answer, endpoint in steps:
        _check(visitor.app, answer, endpoint, kept=False)


@pytest.mark.parametrize("endpoint", CAPTCHA)
def test_picture_and_sound_of_a_challenge_are_kept(visitor: Visitor, endpoint: str) -> None:
    """The browser keeps them while the form is open; nobody between does."""
    answer = visitor.client.get(f"/captcha/{visitor.challenge()}.{CAPTCHA[endpoint]}")
    assert answer.headers["Cache-Control"] == "private, max-age=1800"
    _check(visitor.app, answer, endpoint, kept=True)


def test_no_embedding_until_a_portal_is_named(make_app: Callable[..., Flask]) -> None:
    """RESET_FRAME_ANCESTORS empty means that nobody may frame anything."""
    answer = make_app(frame_ancestors=()).test_client().get("/")
    assert answer.headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")
    assert answer.headers["X-Frame-Options"] == "DENY"


def _path(rule: Rule) -> str:
    files = {"filename": "css/reset.css"}
    built = rule.build({name: files.get(name, "4821-0937-5562") for name in rule.arguments})
    assert built
    return built[1]


def _check(app: Flask, answer: TestResponse, endpoint: str, *, kept: bool) -> None:
    """All security headers of one answer; *kept* if a browser may store it."""
    what = (answer.request.method, answer.request.path, answer.status_code)
    headers = answer.headers
    framed = endpoint in FRAMED
    parts = headers["Content-Security-Policy"].split("; ")
    policy = dict(part.split(" ", 1) for part in parts)
    ancestors = f"'self' {PORTAL}" if framed else "'none'"
    origin = app.extensions["reset"].public_url.removesuffix("/restablecer")
    expected = POLICY | {"frame-ancestors": ancestors}
    assert policy == {name: text.format(origin=origin) for name, text in expected.items()}, what
    assert {name: headers.get(name) for name in SECURITY} == SECURITY, what
    assert headers.get("X-Frame-Options") == (None if framed else "DENY"), what
    opener = headers.get("Cross-Origin-Opener-Policy")
    assert opener == (None if framed else "same-origin"), what
    lent = "cross-origin" if endpoint in LENT else "same-origin"
    assert headers.get("Cross-Origin-Resource-Policy") == lent, what
    https = app.extensions["reset"].public_url.startswith("https:")
    pinned = headers.get("Strict-Transport-Security")
    assert pinned == ("max-age=31536000" if https else None), what
    assert ("no-store" in headers["Cache-Control"]) is not kept, what
    assert not {"Server", "X-Powered-By"} & set(headers.keys()), what
    if "/ayuda" not in answer.request.path:
        assert "Set-Cookie" not in headers, what
        assert "Cookie" not in headers.get("Vary", ""), what
