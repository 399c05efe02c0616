"""Which language a page speaks: `?lang=`, then the browser's, then the first of the setting.

Sentences stand in Spanish in templates and code; the catalogues in `translations/` have the others.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import cast

from flask import Flask, current_app, g, has_request_context, request, url_for
from flask_babel import Babel, refresh
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

# What each calls itself: who looks for a language reads no other one.
NAMES = {"es": "Español", "en": "English", "pt": "Português"}
SPANISH = "es"
# Pages that show the same when they are opened again in another language.
_SWITCHED = {
    "reset.request_reset": "reset.request_reset",
    "reset.submit_request": "reset.request_reset",
    "reset.request_sent": "reset.request_sent",
    "reset.done": "reset.done",
}


def register(app: Flask, languages: Sequence[str]) -> None:
    """Let *app* speak *languages*; the first is for those who understand none of them."""
    app.extensions["languages"] = tuple(languages)
    Babel(app, default_locale=languages[0], locale_selector=current)


def current() -> str:
    """The language of the page at hand; of everything else the setting's first."""
    if not has_request_context():
        return configured()[0]
    if "language" not in g:
        g.language = _asked_for() or _browsers()
    return str(g.language)


def use(language: str) -> None:
    """Speak *language*, in which a link was asked for, unless the address names another one."""
    if language in configured() and not _asked_for():
        g.language = language
        refresh()


def carried() -> dict[str, str]:
    """What a URL needs so that the next page speaks the same language; mostly nothing."""
    if not has_request_context() or current() == _browsers():
        return {}
    return {"lang": current()}


def others() -> list[dict[str, str]]:
    """The other languages of this page: code, name and address; may be empty."""
    endpoint = _SWITCHED.get(request.endpoint or "")
    if endpoint is None:
        return []
    values = request.view_args or {}
    return [
        {"code": code, "name": NAMES[code], "url": url_for(endpoint, **values, lang=code)}
        for code in configured()
        if code != current()
    ]


def configured() -> tuple[str, ...]:
    """The codes of the setting, in its order."""
    return cast(tuple[str, ...], current_app.extensions["languages"])


def _asked_for() -> str:
    asked = request.args.get("lang", "")
    return asked if asked in configured() else ""


def _browsers() -> str:
    return _best(request.headers.get("Accept-Language", ""), configured())


@functools.lru_cache(maxsize=256)
def _best(accepted: str, languages: tuple[str, ...]) -> str:
    """Kept, because every link of a page asks, and browsers say the same few things."""
    return parse_accept_header(accepted, LanguageAccept).best_match(languages) or languages[0]
