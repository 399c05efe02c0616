"""The files that a page loads: the captcha's picture and sound, the brand, the portal's script."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from flask import Blueprint, Response, abort, current_app, request

from reset.errors import BadToken
from reset.service import service

# Those that pages of any site may load: the portal its script, and a frame whose sandbox leaves it
# no origin what it needs to show a way out.
LENT = ("static", "reset.stylesheet", "reset.brand_logo", "reset.embed_script")
ALL = (*LENT, "reset.captcha_image", "reset.captcha_sound")
_CHALLENGE_KEPT = timedelta(minutes=30)
_SCRIPT_KEPT = timedelta(hours=1)


def add_to(pages: Blueprint) -> None:
    """Serve the files beside *pages*."""
    pages.get("/captcha/<challenge>.png")(captcha_image)
    pages.get("/captcha/<challenge>.wav")(captcha_sound)
    pages.get("/marca.css")(stylesheet)
    pages.get("/marca/logo")(brand_logo)
    pages.get("/embed.js")(embed_script)


def captcha_image(challenge: str) -> Response:
    """The letters of a challenge."""
    service().limits.count_client("picture")
    return _made_of(challenge, service().captcha.picture, "image/png")


def captcha_sound(challenge: str) -> Response:
    """The letters of a challenge, spoken; Safari asks for pieces, of the same bytes each time."""
    service().limits.count_client("sound")
    response = _made_of(challenge, service().captcha.sound, "audio/wav")
    response.add_etag()
    length = response.content_length
    response.make_conditional(request, accept_ranges=True, complete_length=length)
    return response


def stylesheet() -> Response:
    """How every page looks, in the brand's colours."""
    return _kept(Response(service().stylesheet, mimetype="text/css"))


def brand_logo() -> Response:
    """The organisation's logo."""
    logo = service().brand.logo
    if logo is None:
        abort(404)
    kind = "image/svg+xml" if logo.suffix == ".svg" else "image/png"
    return _kept(Response(logo.read_bytes(), mimetype=kind))


def embed_script() -> Response:
    """What a portal's page may load to get the frame; its address never changes."""
    response = current_app.send_static_file("js/embed.js")
    response.cache_control.max_age = int(_SCRIPT_KEPT.total_seconds())
    return response


def _made_of(challenge: str, make: Callable[[str], bytes], kind: str) -> Response:
    """Cached while the form is open, by nobody between."""
    try:
        response = Response(make(challenge), mimetype=kind)
    except BadToken:
        abort(404)
    response.cache_control.private = True
    response.cache_control.max_age = int(_CHALLENGE_KEPT.total_seconds())
    return response


def _kept(response: Response) -> Response:
    """Cached for a year: the page asks for it by a name that changes with its content."""
    response.cache_control.public = True
    response.cache_control.max_age = int(timedelta(days=365).total_seconds())
    return response
