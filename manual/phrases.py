"""The help desk's sentences, for its guide: out of the code that shows them, in Spanish."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from flask import Flask
from flask_babel import Babel

from reset.audit import Event
from reset.help_desk.acts import ACTS
from reset.help_desk.answers import reading
from reset.help_desk.standing import Judge, Standing

NOW = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)
# What happened to a request up to the line that counts, hours before NOW, and a server's answer.
SENT = "account_found mail_sent"
TRACES = (
    ("requested", 0, ""),
    ("requested", 1, ""),
    (SENT, 1, ""),
    (f"{SENT} link_opened", 1, ""),
    (f"{SENT} link_opened password_refused", 1, ""),
    (f"{SENT} link_opened change_failed", 1, ""),
    (f"{SENT} link_opened password_changed", 1, ""),
    (SENT, 13, ""),
    ("mail_deferred", 1, "451 4.3.0 busy"),
    ("mail_refused", 1, "552 5.2.2 full"),
    ("mail_refused", 1, "550 5.1.1 unknown"),
    ("mail_refused", 1, "550 5.7.1 policy"),
    ("mail_refused sent_again", 0, ""),
    *((event, 1, "") for event in ("no_account", "account_inactive", "account_ambiguous")),
    *((event, 1, "") for event in ("address_ambiguous", "hash_unknown", "account_excluded")),
    *((event, 1, "") for event in ("address_secondary", "limited", "denied", "superseded")),
    *((event, 1, "") for event in ("link_closed", "links_cancelled", "request_closed")),
    ("restored", 1, ""),
)


def table() -> Iterator[str]:
    """How a request can stand, what to say then, and the act that helps."""
    yield from ("| La página dice | Usted dice | Si hace falta |", "|---|---|---|")
    said: dict[tuple[str, str], list[str]] = {}
    for trace in TRACES:
        standing = _stands(*trace)
        helps = f"**{ACTS[standing.helps]['name']}**" if standing.helps else ""
        title = f"{standing.title}. {reading(trace[2])}" if trace[2] else standing.title
        said.setdefault((standing.say, helps), []).append(title)
    for (say, helps), titles in said.items():
        stands = "<br>– ".join(dict.fromkeys(titles))
        yield f"| {'– ' * ('<br>' in stands)}{stands} | {say} | {helps} |"


def _stands(names: str, hours: int, answer: str) -> Standing:
    at = NOW - timedelta(hours=hours)
    details: dict[str, str | int] = {"answer": answer, "attempt": 1} if answer else {}
    if "password_refused" in names:
        details = {"reasons": "too_short"}
    events = [Event(at, "requested", {})]
    events += [Event(at, name, {}) for name in names.split()[:-1]]
    events.append(Event(at, names.split()[-1], details))
    judge = Judge(
        now=NOW,
        zone=ZoneInfo("America/Bogota"),
        link_lifetime=timedelta(hours=12),
        min_length=8,
    )
    return judge.judge(events, None)


def written(page: str) -> str:
    """*page* with the table between its marks."""
    app = Flask(__name__)
    Babel(app, default_locale="es")
    head, mark, rest = page.partition("<!-- frases -->\n")
    _, end, tail = rest.partition("<!-- fin de las frases -->\n")
    if not end:
        raise ValueError("the help desk's guide has no place for its sentences")
    with app.test_request_context():
        return "\n".join([f"{head}{mark}", *table(), "", f"{end}{tail}"])
