"""Hands mails to the SMTP server: Flask-Mail with time-outs, verified TLS and clean MIME.

What is mended here: Flask-Mail waits for ever, verifies no certificate, sends long lines raw,
loses a sender's name that has a comma, and takes a lost QUIT for a lost mail.
"""

from __future__ import annotations

import contextlib
import logging
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from time import monotonic

from flask import Flask
from flask_mail import BadHeaderError, Connection, Mail, Message

from reset.errors import MailDeferred, MailRefused

IDLE_SECONDS = 30
CHECK_AFTER_SECONDS = 1  # A server may hang up on a connection that rests.
log = logging.getLogger(__name__)


class MimeMessage(Message):
    """A message built by the standard library: quoted-printable, lines under 79 characters."""

    def as_bytes(self) -> bytes:
        mime = EmailMessage(policy=SMTP)
        mime["Subject"] = self.subject
        mime["From"] = _address(*parseaddr(str(self.sender)))
        mime["To"] = [_address("", str(recipient)) for recipient in self.recipients]
        if self.reply_to:
            mime["Reply-To"] = _address(*parseaddr(str(self.reply_to)))
        mime["Date"] = format_datetime(datetime.fromtimestamp(self.date or 0, UTC))
        mime["Message-ID"] = self.msgId
        for name, value in (self.extra_headers or {}).items():
            mime[name] = value
        mime.set_content(self.body or "", cte="quoted-printable")
        mime.add_alternative(self.html or "", subtype="html", cte="quoted-printable")
        return mime.as_bytes()


class TimedConnection(Connection):
    """A connection on which no call waits for ever and no certificate goes unread."""

    host: smtplib.SMTP

    def __init__(self, mail: Mail, *, timeout: float, ehlo_host: str) -> None:
        super().__init__(mail)
        self._timeout = timeout
        self._ehlo_host = ehlo_host

    def configure_host(self) -> smtplib.SMTP:
        host = self._connected()
        try:
            if self.mail.use_tls:
                host.starttls(context=ssl.create_default_context())
            if self.mail.username:
                host.login(self.mail.username, self.mail.password)
        except BaseException:
            host.close()
            raise
        return host

    def __exit__(self, *_: object) -> None:
        # After "250 queued" a server may hang up at once: the mail is accepted all the same.
        with contextlib.suppress(smtplib.SMTPException, OSError):
            self.host.quit()
        self.host.close()

    def _connected(self) -> smtplib.SMTP:
        server, port = self.mail.server, self.mail.port
        if not self.mail.use_ssl:
            return smtplib.SMTP(server, port, local_hostname=self._ehlo_host, timeout=self._timeout)
        return smtplib.SMTP_SSL(
            server,
            port,
            local_hostname=self._ehlo_host,
            timeout=self._timeout,
            context=ssl.create_default_context(),
        )


class Sender:
    """Sends messages over one kept connection; for one thread.

    Args:
        app: carries the `MAIL_` settings of Flask-Mail.
        timeout: seconds for one answer of the server; a whole hand-over may take twice as long.
        ehlo_host: the name that we give to the server.
    """

    def __init__(self, app: Flask, *, timeout: float, ehlo_host: str) -> None:
        Mail(app)
        self._app = app
        self._timeout = timeout
        self._ehlo_host = ehlo_host
        self._connection: TimedConnection | None = None
        self._last_used = monotonic()

    def send(self, message: MimeMessage) -> None:
        """Hand *message* over.

        Raises:
            MailRefused: the server will never take it, or it cannot be built.
            MailDeferred: worth another try.
        """
        try:
            connection = self._open()
        except (smtplib.SMTPException, OSError) as error:
            raise MailDeferred(_answer(error), server_down=True) from error
        try:
            with self._deadline(connection):
                connection.send(message)
        except Exception as error:
            self.close()
            raise _judged(error) from error

    def close(self) -> None:
        """End the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with self._deadline(connection):
                connection.__exit__()

    def _open(self) -> TimedConnection:
        """The kept connection if the server still answers on it, else a new one."""
        if self._connection and monotonic() - self._last_used > CHECK_AFTER_SECONDS:
            with self._deadline(self._connection):
                alive = _is_alive(self._connection.host)
            if not alive:
                self.close()
        self._last_used = monotonic()
        if self._connection is None:
            connection = TimedConnection(
                self._app.extensions["mail"], timeout=self._timeout, ehlo_host=self._ehlo_host
            )
            connection.__enter__()
            self._connection = connection
        return self._connection

    @contextlib.contextmanager
    def _deadline(self, connection: TimedConnection) -> Iterator[None]:
        """Cut the connection when the block takes too long: a tarpit never lets a read time out."""
        timer = threading.Timer(2 * self._timeout, _cut, [connection.host])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _is_alive(host: smtplib.SMTP) -> bool:
    try:
        return host.noop()[0] == 250
    except (smtplib.SMTPException, OSError):
        return False


def _cut(host: smtplib.SMTP) -> None:
    if host.sock is not None:
        with contextlib.suppress(OSError):
            host.sock.shutdown(socket.SHUT_RDWR)


def _address(name: str, spec: str) -> Address:
    """One header address, its domain as in DNS; raises ValueError for anything but one."""
    local, _, domain = spec.rpartition("@")
    if not domain.isascii():
        domain = domain.encode("idna").decode("ascii")
    return Address(display_name=name, addr_spec=f"{local}@{domain}")


def _judged(error: Exception) -> MailRefused | MailDeferred:
    """What a failed hand-over means for the message."""
    answer = _answer(error)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        return MailRefused(answer) if min(codes) >= 500 else MailDeferred(answer)
    if isinstance(error, smtplib.SMTPDataError):
        return MailRefused(answer) if error.smtp_code >= 500 else MailDeferred(answer)
    if isinstance(error, (UnicodeError, ValueError, BadHeaderError)):
        return MailRefused(answer)
    return MailDeferred(answer)


def _answer(error: Exception) -> str:
    """What the server said, on one line and not too long; else the kind of the error."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = next(iter(error.recipients.values()))
    elif isinstance(error, smtplib.SMTPResponseException):
        code, said = error.smtp_code, _bytes(error.smtp_error)
    else:
        return type(error).__name__
    plain = said.decode("utf-8", "replace")
    printable = "".join(c if c.isprintable() else " " for c in plain)
    return f"{code} {' '.join(printable.split())}"[:200]


def _bytes(said: bytes | str) -> bytes:
    return said.encode() if isinstance(said, str) else said
