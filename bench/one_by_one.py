"""The hand-over alone, in a process of its own: Flask-Mail as it comes, and our sender.

`python -m bench.one_by_one PORT MAILS HOW`, where *HOW* is

- the path of a JSON file with arguments of Message: Flask-Mail, a connection for each mail;
- `facts`: the same, but each mail is rendered from the facts of a letter of ours, by Flask;
- `ours`: our parts compose such a letter each time, and keep their connection.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask, render_template
from flask_mail import Mail, Message

if TYPE_CHECKING:
    from reset.mail import Letter
    from reset.service import Service

_Way = tuple[AbstractContextManager[object], Callable[[], None]]


def main() -> None:
    port, mails, how = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    # Each connection asks for the name of this host. Where DNS is slow, we would look fast.
    socket.getfqdn = lambda name="": "localhost"
    ways = {"facts": _from_facts, "ours": _ours}
    context, send = ways[how]() if how in ways else _from_letter(port, Path(how))
    with context:
        send()  # All is imported, compiled and cached now.
        begun, spent = time.perf_counter(), time.process_time()
        for _ in range(mails):
            send()
        wall, cpu = time.perf_counter() - begun, time.process_time() - spent
    print(json.dumps([wall * 1000 / mails, cpu * 1000 / mails]))


def _from_letter(port: int, file: Path) -> _Way:
    app, letter = Flask(__name__), json.loads(file.read_text())
    app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=port)
    mail = Mail(app)
    return app.app_context(), lambda: mail.send(Message(**letter))


def _from_facts() -> _Way:
    """With our application's templates and filters, what Flask, Flask-Babel and Flask-Mail take."""
    from flask_babel import force_locale

    from reset import texts

    app, parts, letter = _service()
    mail, settings = Mail(app), parts.settings

    def send() -> None:
        with force_locale(letter.language):
            end = texts.local_time(letter.facts["valid_until"], settings.timezone)
            facts = {**letter.facts, "name": letter.name, "valid_until": end}
            subject, body, html = (
                render_template(f"email/{letter.kind}/{part}", **facts)
                for part in ("subject.txt", "body.txt", "body.html")
            )
        message = Message(
            subject.strip(),
            recipients=[letter.to],
            body=body,
            html=html,
            sender=settings.mail.default_sender,
            reply_to=settings.brand.support_email or None,
            extra_headers={"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"},
        )
        mail.send(message)

    return app.app_context(), send


def _ours() -> _Way:
    from reset.mail.sender import Sender

    app, parts, letter = _service()
    sender = Sender(app, timeout=15, ehlo_host="localhost")
    return app.app_context(), lambda: sender.send(parts.compose(letter))


def _service() -> tuple[Flask, Service, Letter]:
    """As the environment names host and mail server; imported here, to keep it from the others."""
    import config
    from app import create_app
    from bench.system import ROOT
    from reset.mail.samples import letters

    app = create_app(config.load(os.environ, ROOT))
    parts: Service = app.extensions["reset"]
    with app.app_context():
        made = letters(parts.public_url, timedelta(hours=12), "es", now=parts.clock())
    return app, parts, made["reset_link"]


if __name__ == "__main__":
    main()
