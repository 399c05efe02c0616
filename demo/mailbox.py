"""The demo's mailbox: a real SMTP server that keeps every mail in a Maildir, and a view of it."""

import argparse
import mailbox
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from flask import Blueprint, Flask, Response, abort, current_app, render_template
from werkzeug.serving import run_simple

HOST = "127.0.0.1"
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A mail is a stranger's page: it may neither run nor fetch anything, but its links open normally.
MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
    " sandbox allow-popups allow-popups-to-escape-sandbox"
)
MONTHS = ["ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic"]
HEADERS = {
    "From": "De",
    "To": "Para",
    "Reply-To": "Responder a",
    "Date": "Fecha",
    "Message-ID": "Identificador",
}

pages = Blueprint("mailbox", __name__)


@dataclass(frozen=True)
class Mail:
    """One stored mail."""

    key: str
    received: datetime
    source: bytes

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.source, policy=policy.default)

    @property
    def to(self) -> str:
        return self.header("To") or "(sin destinatario)"

    @property
    def subject(self) -> str:
        return self.header("Subject") or "(sin asunto)"

    @property
    def time(self) -> str:
        """When it came, by this machine's clock."""
        return in_spanish(self.received)

    @property
    def headers(self) -> dict[str, str]:
        """The main headers under their Spanish names; only those the mail has."""
        shown = {label: self.header(name) for name, label in HEADERS.items()}
        return {**{label: text for label, text in shown.items() if text}, "Recibido": self.time}

    def header(self, name: str) -> str:
        """The readable text of one header, on one line; empty if the mail has none."""
        try:
            value = self.message[name]
        except Exception:  # On damaged headers the library's parser fails in many ways.
            return "(ilegible)"
        sent = getattr(value, "datetime", None)
        if sent is not None:
            return f"{in_spanish(sent)} {sent.tzname() or ''}".strip()
        # A byte outside ASCII that nobody declared cannot be shown, only marked.
        text = str(value or "").encode("utf-8", "replace").decode()
        return " ".join(text.split())

    @property
    def html(self) -> str | None:
        return self._part("html")

    @property
    def text(self) -> str | None:
        return self._part("plain")

    def _part(self, kind: str) -> str | None:
        try:
            part = self.message.get_body((kind,))
            text = None if part is None else str(part.get_content())
        except Exception:  # As above; an unknown charset ends here, too.
            return "(ilegible)"
        return text and text.encode("utf-8", "replace").decode()


def in_spanish(at: datetime) -> str:
    """A time as "22 nov 2026, 15:04:05", without its zone."""
    return f"{at.day} {MONTHS[at.month - 1]} {at.year}, {at:%H:%M:%S}"


class Keeper:
    """What the SMTP server does with a mail: it keeps it, whoever it is for."""

    def __init__(self, maildir: Path) -> None:
        self.box = mailbox.Maildir(maildir)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        if not isinstance(content, bytes):
            return "554 The mail could not be read"
        try:
            self.box.add(delivery_headers(envelope) + content)
        except OSError as error:
            return f"451 The mail could not be stored: {error.strerror}"
        return "250 The mail is in the mailbox"


def delivery_headers(envelope: Envelope) -> bytes:
    """The envelope, as a mail server notes it on top of what it delivers."""
    lines = [f"Return-Path: <{envelope.mail_from}>"]
    lines += [f"Delivered-To: {recipient}" for recipient in envelope.rcpt_tos]
    return "".join(f"{line}\r\n" for line in lines).encode()


def smtp_server(maildir: Path, port: int) -> Controller:
    """The SMTP server on *port*, not yet started."""
    # The given name spares a look-up of this machine's, which takes seconds on some.
    return Controller(
        Keeper(maildir), HOST, port, server_hostname="localhost", ident="demo mailbox"
    )


def create_app(maildir: Path) -> Flask:
    """The web view of *maildir*, which is created if it is missing."""
    mailbox.Maildir(maildir)
    app = Flask("demo")
    app.config["MAILDIR"] = maildir
    # The mails hold reset links: a page elsewhere must not get at them through a name of its own.
    app.config["TRUSTED_HOSTS"] = ["localhost", HOST]
    app.register_blueprint(pages)
    app.register_error_handler(404, missing)
    app.after_request(add_headers)
    return app


@pages.get("/")
def inbox() -> str:
    return render_template("mailbox/list.html", mails=newest_first(box()))


@pages.get("/mail/<key>")
def show(key: str) -> str:
    return render_template("mailbox/mail.html", mail=find(key))


@pages.get("/mail/<key>/html")
def html_part(key: str) -> Response:
    html = find(key).html
    if html is None:
        abort(404)
    response = Response(links_open_in_new_page(html), content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = MAIL_POLICY
    return response


def box() -> mailbox.Maildir:
    # A new one for each request: threads must not share it, and it sees mail that just came.
    return mailbox.Maildir(current_app.config["MAILDIR"])


def newest_first(stored: mailbox.Maildir) -> Iterable[Mail]:
    mails = [load(stored, key) for key in stored.iterkeys()]
    return sorted(mails, key=lambda mail: (mail.received, mail.key), reverse=True)


def find(key: str) -> Mail:
    try:
        return load(box(), key)
    except KeyError:
        abort(404)


def load(stored: mailbox.Maildir, key: str) -> Mail:
    received = datetime.fromtimestamp(stored.get_message(key).get_date())
    return Mail(key, received, stored.get_bytes(key))


def links_open_in_new_page(html: str) -> str:
    """The page with a `<base>` that takes its links out of the frame."""
    # Behind <head> or the doctype: before them it would put the browser in quirks mode.
    start = re.search(r"<head\b[^>]*>", html, re.IGNORECASE) or re.match(
        r"\s*<!doctype[^>]*>", html, re.IGNORECASE
    )
    at = start.end() if start else 0
    return f'{html[:at]}<base target="_blank">{html[at:]}'


def missing(error: Exception) -> tuple[str, int]:
    return render_template("mailbox/missing.html"), 404


def add_headers(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", PAGE_POLICY)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def main() -> None:
    parser = argparse.ArgumentParser(description="Take mail by SMTP and show it.")
    parser.add_argument("--maildir", type=Path, required=True)
    parser.add_argument("--smtp-port", type=int, default=1025)
    parser.add_argument("--port", type=int, default=8025)
    options = parser.parse_args()
    app = create_app(options.maildir)
    smtp_server(options.maildir, options.smtp_port).start()
    run_simple(HOST, options.port, app, threaded=True)


if __name__ == "__main__":
    main()
