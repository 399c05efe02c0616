"""What lets a portal frame the forms without cookies: who may send them, and the headers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, request

from reset.errors import ForeignOrigin

_POLICY = (
    "default-src 'none'; style-src {own}; script-src {own}; worker-src {own}; img-src {own} data:; "
    "media-src {own}; connect-src {own}; form-action {own}; base-uri 'none'; "
    "object-src 'none'; frame-ancestors {ancestors}"
)
_EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    # `no-referrer` would turn the Origin of our own forms into "null".
    "Referrer-Policy": "strict-origin",
    "X-Robots-Tag": "noindex",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_YEAR = 31_536_000
_Header = tuple[str, str]


def refuse_foreign_form(public_url: str) -> None:
    """Accept a form only from our own page, judged without any cookie.

    Raises:
        ForeignOrigin: another site's page sent it, or a frame sandboxed to have no origin.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise ForeignOrigin
        return
    origin = request.headers.get("Origin", "null")
    # A browser without the first header and without an origin is old; the form state decides.
    if origin != "null" and origin.lower() != _origin(public_url):
        raise ForeignOrigin


def may_be_framed() -> bool:
    """Whether the page at hand may be shown in a frame; old browsers and plain http do not say."""
    return request.headers.get("Sec-Fetch-Dest") != "document"


class Headers:
    """Adds the security headers to every response of *app*.

    Args:
        framed: endpoints that *ancestors* (origins) may frame; all other pages nobody may.
        lent: endpoints of files that pages of any site may load.
    """

    def __init__(
        self,
        app: Flask,
        *,
        framed: Sequence[str],
        lent: Sequence[str],
        ancestors: Sequence[str],
        public_url: str,
    ) -> None:
        usual, in_frames = page_headers(public_url, ()), page_headers(public_url, ancestors)
        lent_ones = usual | {"Cross-Origin-Resource-Policy": "cross-origin"}
        self._usual = tuple(usual.items())
        self._special = dict.fromkeys(framed, tuple(in_frames.items()))
        self._special |= dict.fromkeys(lent, tuple(lent_ones.items()))
        # Around it: of what it is handed itself, Werkzeug judges each header again and again.
        self._app, app.wsgi_app = app.wsgi_app, self  # type: ignore[method-assign]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            ours = self._special.get(request.endpoint or "", self._usual)
            return start_response(status, _with(ours, headers), *rest)

        return self._app(environ, start)


def _with(ours: Sequence[_Header], headers: list[_Header]) -> list[_Header]:
    """Both, and that an answer is not to be kept where *headers* say nothing else of it."""
    said = [header for header in headers if header[0].lower() == "cache-control"]
    if [value for _, value in said] not in ([], ["no-cache"]):
        return [*headers, *ours]
    others = [header for header in headers if header not in said]
    return [*others, *ours, ("Cache-Control", "no-store")]


def page_headers(public_url: str, ancestors: Sequence[str]) -> dict[str, str]:
    """The security headers of a page that *ancestors* (origins; without any nobody) may frame."""
    # In a sandboxed frame without an origin WebKit takes 'self' for nobody.
    own = f"'self' {_origin(public_url)}"
    may_frame = " ".join(["'self'", *ancestors]) if ancestors else "'none'"
    policy = _POLICY.format(own=own, ancestors=may_frame)
    headers = {"Content-Security-Policy": policy, **_EVERYWHERE}
    if not ancestors:
        headers["X-Frame-Options"] = "DENY"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
    if public_url.startswith("https:"):
        headers["Strict-Transport-Security"] = f"max-age={_YEAR}"
    return headers


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
