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
from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from reset import texts
from reset.mail import Letter
from reset.mail.mime import MimeMessage

_HEADERS = {
    "Auto-Submitted": "auto-generated",  # Source: RFC 3834, 5.
    "X-Auto-Response-Suppress": "All",
}
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
    facts["gettext"] = _gettext()
    folder = f"email/{letter.kind}"
    message = copy(_blank(sender, reply_to))
    message.subject = _rendered(f"{folder}/subject.txt", facts).strip()
    message.recipients = [letter.to]
    message.body = _rendered(f"{folder}/body.txt", facts)
    message.alts = {"html": _rendered(f"{folder}/body.html", facts)}
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


def _gettext() -> Callable[..., str]:
    """What `_()` stands for: Flask-Babel's would look for the catalogue at every sentence."""
    catalogue = get_translations()

    @pass_context
    def gettext(context: Context, sentence: str, **values: object) -> str:
        said = catalogue.ugettext(sentence)
        return (Markup(said) if context.eval_ctx.autoescape else said) % values  # noqa: S704

    return gettext


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
