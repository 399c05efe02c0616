"""The reference for mails: Flask-Mail as it comes, one connection a mail, in a process of its own.

`python -m bench.one_by_one PORT LETTER MAILS`; *LETTER* is a JSON file with arguments of Message.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

from flask import Flask
from flask_mail import Mail, Message


def main() -> None:
    port, letter, mails = int(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), sys.argv[3]
    # Each connection asks for the name of this host. Where DNS is slow, we would look fast.
    socket.getfqdn = lambda name="": "localhost"
    app = Flask(__name__)
    app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=port)
    mail = Mail(app)
    with app.app_context():
        mail.send(Message(**letter))  # All is imported, compiled and cached now.
        begun, spent = time.perf_counter(), time.process_time()
        for _ in range(int(mails)):
            mail.send(Message(**letter))
        wall, cpu = time.perf_counter() - begun, time.process_time() - spent
    print(json.dumps([wall * 1000 / int(mails), cpu * 1000 / int(mails)]))


if __name__ == "__main__":
    main()
