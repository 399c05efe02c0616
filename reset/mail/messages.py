"""A letter in words: subject, text and HTML from the templates in `templates/email/`."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import copy
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from flask import current_app, template_rendered
from flask_babel import force_locale, get_translations
from markupsafe import Markup

from reset import texts
from reset.mail import Letter
from reset.mail.mime import MimeMessage

_HEADERS = {
    "Auto-Submitted": "auto-generated",  # Source: RFC 3834, 5.
    "X-Auto-Response-Suppress": "All",
}
_Sentences = dict[str, Callable[..., str]]
_LIKE_A_LINK = re.compile(r"[/@:]|\w\.\w\w")


def compose(letter: Letter, *, zone: ZoneInfo, sender: str, reply_to: str = "") -> MimeMessage:
    """The message of *letter*, times in *zone*; needs an application context."""
    with force_locale(letter.language):
        return _composed(letter, zone, sender, reply_to)


def _composed(letter: Letter, zone: ZoneInfo, sender: str, reply_to: str) -> MimeMessage:
    facts = {name: _worded(fact, zone, letter.language) for name, fact in letter.facts.items()}
    # Whoever may choose a name in the portal could have us mail a link of theirs to anybody.
    facts["name"] = "" if _LIKE_A_LINK.search(letter.name) else letter.name
    current_app.update_template_context(facts)
    plain, marked_up = _sentences()
    folder = f"email/{letter.kind}"
    message = copy(_blank(sender, reply_to))
    message.subject = _rendered(f"{folder}/subject.txt", facts | plain).strip()
    message.recipients = [letter.to]
    message.body = _rendered(f"{folder}/body.txt", facts | plain)
    message.alts = {"html": _rendered(f"{folder}/body.html", facts | marked_up)}
    message.msgId = letter.message_id
    return message


@lru_cache
def _blank(sender: str, reply_to: str) -> MimeMessage:
    """What is alike in all: Flask-Mail asks for this host's name, and perhaps a DNS, each time."""
    return MimeMessage(sender=sender, reply_to=reply_to or None, extra_headers=_HEADERS)


def _rendered(name: str, facts: dict[str, Any]) -> str:
    """As Flask's, which would collect what every template may show for each of the three anew."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    template = app.jinja_env.get_template(name)
    text: str = template.render(facts)
    template_rendered.send(app, template=template, context=facts)
    return text


def _sentences() -> tuple[_Sentences, _Sentences]:
    """What `_()` stands for in a plain text and in HTML.

    Flask-Babel's would look for the catalogue at every sentence, and Jinja's for what escapes.
    """
    say = get_translations().ugettext

    def plain(sentence: str, **values: object) -> str:
        return str(say(sentence) % values)

    def marked_up(sentence: str, **values: object) -> Markup:
        return Markup(say(sentence)) % values  # noqa: S704 - ours; the values are escaped

    return {"_": plain, "gettext": plain}, {"_": marked_up, "gettext": marked_up}


def _worded(fact: Any, zone: ZoneInfo, language: str) -> Any:
    if isinstance(fact, list):
        return [
            {name: _worded(value, zone, language) for name, value in line.items()} for line in fact
        ]
    if isinstance(fact, timedelta):
        return texts.duration(fact)
    return _local_time(fact, zone, language) if isinstance(fact, datetime) else fact


@lru_cache
def _local_time(moment: datetime, zone: ZoneInfo, _: str) -> str:
    """As `texts.local_time`, in the language at hand: mails that leave together say the same."""
    return texts.local_time(moment, zone)
