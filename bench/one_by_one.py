"""The hand-over alone, in a process of its own: Flask-Mail as it comes, and our sender.

`python -m bench.one_by_one PORT MAILS LETTER` opens a connection for each mail; *LETTER* is a JSON
file with arguments of Message. Without it our parts compose a letter each time, and keep their
connection.
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

from flask import Flask
from flask_mail import Mail, Message


def main() -> None:
    port, mails, letter = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    # Each connection asks for the name of this host. Where DNS is slow, we would look fast.
    socket.getfqdn = lambda name="": "localhost"
    context, send = _flask_mail(port, Path(letter[0])) if letter else _ours()
    with context:
        send()  # All is imported, compiled and cached now.
        begun, spent = time.perf_counter(), time.process_time()
        for _ in range(mails):
            send()
        wall, cpu = time.perf_counter() - begun, time.process_time() - spent
    print(json.dumps([wall * 1000 / mails, cpu * 1000 / mails]))


def _flask_mail(port: int, file: Path) -> tuple[AbstractContextManager[object], Callable[[], None]]:
    app, letter = Flask(__name__), json.loads(file.read_text())
    app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=port)
    mail = Mail(app)
    return app.app_context(), lambda: mail.send(Message(**letter))


def _ours() -> tuple[AbstractContextManager[object], Callable[[], None]]:
    """As the environment names host and mail server; imported here, to keep it from the other."""
    import config
    from app import create_app
    from bench.system import ROOT
    from reset.mail.samples import letters
    from reset.mail.sender import Sender

    app = create_app(config.load(os.environ, ROOT))
    parts = app.extensions["reset"]
    with app.app_context():
        made = letters(parts.public_url, timedelta(hours=12), "es", now=parts.clock())
    sender = Sender(app, timeout=15, ehlo_host="localhost")
    return app.app_context(), lambda: sender.send(parts.compose(made["reset_link"]))


if __name__ == "__main__":
    main()
