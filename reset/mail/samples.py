"""Letters to nobody about nothing: each mail as it could look, for the operator's eyes."""

from __future__ import annotations

from datetime import datetime, timedelta

from flask_babel import force_locale

from reset.mail import Letter
from reset.origin import coarse

_TO = "muestra@example.com"
_LOGIN, _NAME = "ana.muestra", "Ana María Muestra"
_NUMBER = "0000-0000-0000"
# As long as a real one, and plainly none.
_TOKEN = "muestra-" * 7 + "0"


def letters(
    public_url: str, lifetime: timedelta, language: str, *, now: datetime
) -> dict[str, Letter]:
    """Every mail that the service sends, by a name for a file."""

    def link_to(*logins: str, name: str = "") -> Letter:
        facts = {
            "links": [{"login": login, "url": f"{public_url}/nueva/{_TOKEN}"} for login in logins],
            "valid_until": now + lifetime,
            "number": _NUMBER,
            "deny_url": f"{public_url}/no-fui-yo/{_TOKEN}",
        }
        return Letter("reset_link", _TO, name, language, "<muestra@example.com>", facts)

    with force_locale(language):
        origin = coarse("203.0.113.7", "Android Chrome")
    changed = {
        "login": _LOGIN,
        "origin": origin,
        "when": now,
        "number": _NUMBER,
    }
    return {
        "reset_link": link_to(_LOGIN, name=_NAME),
        "reset_link-several": link_to(_LOGIN, "beto.muestra"),
        "reset_link-nameless": link_to(_LOGIN),
        "password_changed": Letter(
            "password_changed", _TO, _NAME, language, "<muestra@example.com>", changed
        ),
        "digest": Letter(
            "digest",
            "mesa@example.com",
            "",
            language,
            "<muestra@example.com>",
            {
                "not_accepted": [{"number": _NUMBER, "age": timedelta(hours=14)}],
                "unused": [
                    {"number": _NUMBER, "age": timedelta(hours=13)},
                    {"number": _NUMBER, "age": timedelta(days=3)},
                ],
                "not_accepted_count": 1,
                "unused_count": 2,
                "url": f"{public_url}/ayuda",
            },
        ),
        "test": trial(_TO, language, "<muestra@example.com>", now=now),
    }


def trial(to: str, language: str, message_id: str, *, now: datetime) -> Letter:
    """A mail that shows that mails arrive, and how they look; nothing in it can be opened."""
    return Letter("test", to, "", language, message_id, {"when": now})
