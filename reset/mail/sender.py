"""Hands mails to the SMTP server: Flask-Mail with time-outs and verified TLS.

What is mended here: Flask-Mail waits for ever, verifies no certificate, encodes the same addresses
for each mail anew, and takes a lost QUIT for a lost mail. What it sends, `mime` makes.
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
from time import monotonic, time
from typing import Any

from flask import Flask
from flask_mail import BadHeaderError, Connection, Mail

from reset.errors import MailDeferred, MailRefused
from reset.mail.deadline import Deadline
from reset.mail.mime import MimeMessage

IDLE_SECONDS = 30
AFTER_DATA_SECONDS = 120  # Less than the lease of a message.
CHECK_AFTER_SECONDS = 1  # A server may hang up on a connection that rests.
# Filters quote what they dislike, and a link must not rest in the trace. They wrap and encode it,
# too: a long run of letters and digits is no word, but a piece of a token.
_LINKS = re.compile(r"\S*(?:https?:|/nueva|/no-fui-yo)\S*|[\w.-]*[\w-]{20,}[\w.-]*", re.IGNORECASE)
_LONGEST_READ = 1000  # The patterns take long over a megabyte without a blank.


class _Smtp(smtplib.SMTP):
    """Shows its socket to the deadline before the first byte is read from it."""

    def __init__(self, deadline: Deadline, *args: Any, **kwargs: Any) -> None:
        self._deadline = deadline
        super().__init__(*args, **kwargs)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = socket.create_connection((host, port), timeout)
        self._deadline.watch(plain)
        return plain

    def data(self, msg: Any) -> tuple[int, bytes]:
        # Once a mail is handed over, giving up early would send it twice: its answer may take
        # long while the server scans it. Source: RFC 5321, 4.5.3.2.6.
        self._deadline.extend(AFTER_DATA_SECONDS)
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected
        before = self.sock.gettimeout()
        self.sock.settimeout(AFTER_DATA_SECONDS)
        code, said = super().data(msg)
        self.sock.settimeout(before)
        return code, said


class _SmtpOverTls(_Smtp):
    """TLS from the start, within the deadline, too."""

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = super()._get_socket(host, port, timeout)
        return _verifying(self._deadline).wrap_socket(plain, server_hostname=host)


class TimedConnection(Connection):
    """A connection on which no call waits for ever and no certificate goes unread."""

    host: smtplib.SMTP

    def __init__(self, mail: Mail, *, timeout: float, ehlo_host: str) -> None:
        super().__init__(mail)
        self.deadline = Deadline(2 * timeout)
        self._timeout = timeout
        self._ehlo_host = ehlo_host

    def configure_host(self) -> smtplib.SMTP:
        kind = _SmtpOverTls if self.mail.use_ssl else _Smtp
        host = kind(
            self.deadline,
            self.mail.server,
            self.mail.port,
            local_hostname=self._ehlo_host,
            timeout=self._timeout,
        )
        try:
            if self.mail.use_tls:
                host.starttls(context=_verifying(self.deadline))
            if self.mail.username:
                host.login(self.mail.username, self.mail.password)
        except BaseException:
            host.close()
            raise
        return host

    def send(self, message: MimeMessage, envelope_from: object = None) -> None:  # type: ignore[override]
        """As Flask-Mail's, but that the message itself knows its envelope."""
        if message.has_bad_headers():
            raise BadHeaderError
        message.date = message.date or time()
        content = message.as_bytes()
        self.host.sendmail(*message.envelope, content)
        self.num_emails += 1

    def __exit__(self, *_: object) -> None:
        # After "250 queued" a server may hang up at once: the mail is accepted all the same.
        with contextlib.suppress(smtplib.SMTPException, OSError):
            self.host.quit()
        self.host.close()


class Sender:
    """Sends messages over one kept connection; for one thread at a time.

    ``took_seconds`` is what the last hand-over took, without that of connecting.

    Args:
        app: carries the `MAIL_` settings of Flask-Mail.
        timeout: seconds for one answer of the server; connecting, and a whole hand-over, may
            take twice as long.
        ehlo_host: the name that we give to the server.
    """

    def __init__(self, app: Flask, *, timeout: float, ehlo_host: str) -> None:
        Mail(app)
        self._app = app
        self._timeout = timeout
        self._ehlo_host = ehlo_host
        self._connection: TimedConnection | None = None
        self._last_used = monotonic()
        self.took_seconds = 0.0

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None

    def another(self) -> Sender:
        """One of the same kind, for another connection and another thread."""
        return Sender(self._app, timeout=self._timeout, ehlo_host=self._ehlo_host)

    def send(self, message: MimeMessage) -> None:
        """Hand *message* over.

        Raises:
            MailRefused: the server will never take it, or it cannot be built.
            MailDeferred: worth another try.
        """
        try:
            connection = self._open()
        except Exception as error:
            raise _outage(error) from error
        begun = monotonic()
        try:
            with connection.deadline:
                connection.send(message)
            self.took_seconds = monotonic() - begun
        except smtplib.SMTPSenderRefused as error:
            self.close()
            # Our address is the same in every mail; but a kept connection may be due for its end.
            raise _judged(error) if connection.num_emails else _outage(error) from error
        except Exception as error:
            self.close()
            raise _judged(error) from error

    def close(self) -> None:
        """End the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with connection.deadline:
                connection.__exit__()

    def _open(self) -> TimedConnection:
        """The kept connection if the server still answers on it, else a new one."""
        if self._connection and monotonic() - self._last_used > CHECK_AFTER_SECONDS:
            with self._connection.deadline:
                alive = _is_alive(self._connection.host)
            if not alive:
                self.close()
        self._last_used = monotonic()
        if self._connection is None:
            connection = TimedConnection(
                self._app.extensions["mail"], timeout=self._timeout, ehlo_host=self._ehlo_host
            )
            with connection.deadline:
                connection.__enter__()
            self._connection = connection
        return self._connection


def _verifying(deadline: Deadline) -> ssl.SSLContext:
    """Checks certificate and name; the deadline cuts what is encrypted, too."""

    class Watched(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            deadline.watch(self)  # The plain socket is an empty shell from here on.
            super().do_handshake(block)

    context = ssl.create_default_context()
    context.sslsocket_class = Watched
    return context


def _is_alive(host: smtplib.SMTP) -> bool:
    try:
        return host.noop()[0] == 250
    except (smtplib.SMTPException, OSError):
        return False


def _outage(error: Exception) -> MailDeferred:
    """What was refused to no mail in particular, so that none is given up for it."""
    final = isinstance(error, smtplib.SMTPResponseException) and error.smtp_code >= 500
    return MailDeferred(answer_of(error), server_down=True, refuses_us=final)


def _judged(error: Exception) -> MailRefused | MailDeferred:
    """What a failed hand-over means for the message."""
    answer = answer_of(error)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        return MailRefused(answer) if min(codes) >= 500 else MailDeferred(answer)
    if isinstance(error, smtplib.SMTPDataError):
        return MailRefused(answer) if error.smtp_code >= 500 else MailDeferred(answer)
    if isinstance(error, (UnicodeError, ValueError, BadHeaderError)):
        return MailRefused(answer)
    return MailDeferred(answer)


def answer_of(error: Exception) -> str:
    """What the server said, on one line and not too long; else the kind of the error."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = next(iter(error.recipients.values()))
    elif isinstance(error, smtplib.SMTPResponseException):
        code, said = error.smtp_code, _bytes(error.smtp_error)
    else:
        return type(error).__name__
    plain = said[:_LONGEST_READ].decode("utf-8", "replace")
    printable = "".join(c if c.isprintable() else " " for c in _LINKS.sub("…", plain))
    return f"{code} {' '.join(printable.split())}"[:200]


def _bytes(said: bytes | str) -> bytes:
    return said.encode() if isinstance(said, str) else said
