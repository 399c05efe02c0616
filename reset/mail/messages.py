"""A letter in words: subject, text and HTML from the templates in `templates/email/`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask import render_template
from flask_babel import force_locale

from reset import texts
from reset.mail import Letter
from reset.mail.sender import MimeMessage

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
    facts = {name: _worded(fact, zone) for name, fact in letter.facts.items()}
    # Whoever may choose a name in the portal could have us mail a link of theirs to anybody.
    facts["name"] = "" if _LIKE_A_LINK.search(letter.name) else letter.name
    folder = f"email/{letter.kind}"
    message = MimeMessage(
        subject=render_template(f"{folder}/subject.txt", **facts).strip(),
        recipients=[letter.to],
        body=render_template(f"{folder}/body.txt", **facts),
        html=render_template(f"{folder}/body.html", **facts),
        sender=sender,
        reply_to=reply_to or None,
        extra_headers=_HEADERS,
    )
    message.msgId = letter.message_id
    return message


def _worded(fact: Any, zone: ZoneInfo) -> Any:
    if isinstance(fact, list):
        return [{name: _worded(value, zone) for name, value in line.items()} for line in fact]
    if isinstance(fact, timedelta):
        return texts.duration(fact)
    return texts.local_time(fact, zone) if isinstance(fact, datetime) else fact
