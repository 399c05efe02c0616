"""Which language a page speaks: `?lang=`, then the browser's, then the first of the setting.

Sentences stand in Spanish in templates and code; the catalogues in `translations/` have the others.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple, cast

from flask import Flask, Request, current_app, has_request_context, request, url_for
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
    app.request_class = _Request
    Babel(app, default_locale=languages[0], locale_selector=current)


class Spoken(NamedTuple):
    """The language of a page, and the one that it had if nothing but the browser were asked."""

    language: str
    browsers: str


class _Request(Request):
    @functools.cached_property
    def spoken(self) -> Spoken:
        """Judged once, because every link of a page asks."""
        languages = configured()
        browsers = _best(self.headers.get("Accept-Language", ""), languages)
        if "lang" in self.args and self.args["lang"] in languages:
            return Spoken(self.args["lang"], browsers)
        return Spoken(browsers, browsers)


def spoken() -> Spoken:
    """What the links of the page at hand follow, and its words."""
    return cast(_Request, request).spoken


def current() -> str:
    """The language of the page at hand; of everything else the setting's first."""
    return spoken().language if has_request_context() else configured()[0]


def use(language: str) -> None:
    """Speak *language*, in which a link was asked for, unless the address names another one."""
    if language in configured() and request.args.get("lang") not in configured():
        cast(_Request, request).spoken = spoken()._replace(language=language)
        refresh()


def carried() -> dict[str, str]:
    """What a URL needs so that the next page speaks the same language; mostly nothing."""
    if not has_request_context():
        return {}
    language, browsers = spoken()
    return {} if language == browsers else {"lang": language}


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


@functools.lru_cache(maxsize=256)
def _best(accepted: str, languages: tuple[str, ...]) -> str:
    """Kept, because browsers say the same few things."""
    return parse_accept_header(accepted, LanguageAccept).best_match(languages) or languages[0]
