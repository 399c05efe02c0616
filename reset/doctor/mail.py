"""The mail server: the dialogue of a hand-over, up to the point where a mail would be sent."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from email.utils import parseaddr
from typing import Any

from flask_mail import Mail

from reset.doctor import Case, command
from reset.findings import Finding
from reset.loopback import is_loopback
from reset.mail.sender import TimedConnection, answer_of

WARN_DAYS = 14
_WAIT = "no mail leaves: people wait for links that do not come"


def check(case: Case) -> Iterator[Finding]:
    """Each step, and where it ends: DATA is never said."""
    yield from dialogue(case)


def dialogue(case: Case, content: bytes = b"") -> Iterator[Finding]:
    """Each step of a hand-over; of *content*, if there is some: then the last one tells of it."""
    mail = case.settings.mail
    try:
        socket.getaddrinfo(mail.server, mail.port)
    except OSError as error:
        text = f"the name {mail.server} is not known ({error.strerror or type(error).__name__})"
        yield Finding(
            "fault", text, f"correct RESET_MAIL_SERVER; getent hosts {mail.server}", _WAIT
        )
        return
    connection = TimedConnection(
        Mail(case.app), timeout=mail.timeout.total_seconds(), ehlo_host=case.settings.host
    )
    try:
        with connection.deadline, closing(connection.configure_host()) as host:
            host.ehlo_or_helo_if_needed()
            yield Finding("ok", f"{mail.server}:{mail.port} answers")
            yield from _encryption(host, mail.server)
            if mail.username:
                yield Finding("ok", "it accepts RESET_MAIL_USERNAME and its password")
            connection.deadline.extend(2 * mail.timeout.total_seconds())
            yield from _envelope(case, host, content)
            with suppress(smtplib.SMTPException, OSError):
                host.quit()
    except (smtplib.SMTPException, OSError) as error:
        yield _refusal(error, f"{mail.server}:{mail.port}", mail.server)


def certificate_days(certificate: Any) -> int:
    """The days until *certificate*, as `getpeercert` tells it, expires."""
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    return (until - datetime.now(UTC)).days


def _encryption(host: smtplib.SMTP, server: str) -> Iterator[Finding]:
    line = host.sock
    if not isinstance(line, ssl.SSLSocket):
        if is_loopback(server):
            yield Finding("ok", "what is said to it stays on this machine")
            return
        text = "mails travel to it unencrypted"
        remedy = "RESET_MAIL_USE_TLS=1 (and RESET_MAIL_PORT=587, where it offers that)"
        why = "who listens on the way can use the links in them"
        yield Finding("warning", text, remedy, why)
        return
    cipher = (line.cipher() or ("?",))[0]
    yield Finding(
        "ok", f"encrypted with {line.version()}, {cipher}; its certificate is for {server}"
    )
    days = certificate_days(line.getpeercert())
    text = f"days until its certificate expires: {days}"
    if days >= WARN_DAYS:
        yield Finding("ok", text)
    else:
        remedy = "have it renewed on the mail server; see that its renewal runs by itself"
        yield Finding("warning", text, remedy, f"then {_WAIT}")


def _handed_over(host: smtplib.SMTP, content: bytes) -> Finding:
    code, said = host.data(content)
    answer = answer_of(smtplib.SMTPResponseException(code, said))
    if code == 250:
        return Finding("ok", f"it took the mail: {answer}")
    remedy = "see the log of the mail server, or ask who runs it what it dislikes"
    return Finding("fault", f"it refuses the mail itself: {answer}", remedy, _WAIT)


def _envelope(case: Case, host: smtplib.SMTP, content: bytes) -> Iterator[Finding]:
    sender = parseaddr(case.settings.mail.default_sender)[1]
    code, said = host.mail(sender)
    answer = answer_of(smtplib.SMTPResponseException(code, said))
    if code != 250:
        text = f"it refuses the sender {sender}: {answer}"
        remedy = (
            "use one that this login may send as in RESET_MAIL_DEFAULT_SENDER, or ask who runs it"
        )
        if code == 530:  # RFC 4954, 6: authentication required.
            text = f"it takes mails only after a login: {answer}"
            remedy = (
                "set RESET_MAIL_USERNAME and RESET_MAIL_PASSWORD, with RESET_MAIL_USE_TLS=1 and"
                " RESET_MAIL_PORT=587"
            )
        yield Finding("fault", text, remedy, _WAIT)
        return
    yield Finding("ok", f"it accepts the sender {sender}")
    address = case.mail_to or case.settings.brand.support_email
    if not address:
        yield Finding("note", "no address was tried", command("doctor --mail-to you@elsewhere"))
        host.rset()
        return
    code, said = host.rcpt(address)
    if code in (250, 251):
        yield Finding("ok", f"it accepts mails for {address}")
        if content:
            yield _handed_over(host, content)
            return
    else:
        answer = answer_of(smtplib.SMTPResponseException(code, said))
        text = f"it refuses mails for {address}: {answer}"
        remedy = "if it knows the address: let it relay for this host, or set RESET_MAIL_USERNAME"
        level = "fault" if code >= 500 else "warning"
        yield Finding(level, text, remedy, "people elsewhere may get no mail, either")
    host.rset()


def _refusal(error: Exception, place: str, server: str) -> Finding:
    """What a step that failed means."""
    text, remedy = (
        f"{place} ends the dialogue ({answer_of(error)})",
        "see the log of the mail server",
    )
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"the certificate of {place} is not good: {error.verify_message}"
        remedy = (
            "renew it, or write the name that stands in it into RESET_MAIL_SERVER:"
            f" openssl s_client -connect {place} -starttls smtp"
        )
    elif isinstance(error, ssl.SSLError):
        text = f"{place} does not speak TLS as we do ({error.reason})"
        remedy = (
            "RESET_MAIL_USE_SSL=1 is for port 465, RESET_MAIL_USE_TLS=1 for 587; TLS 1.2 or newer"
        )
    elif isinstance(error, smtplib.SMTPNotSupportedError):
        offer = "STARTTLS" if "STARTTLS" in str(error) else "AUTH"
        text = f"{place} does not offer {offer}"
        remedy = (
            "RESET_MAIL_PORT=587, or RESET_MAIL_USE_SSL=1 with 465"
            if offer == "STARTTLS"
            else "take out RESET_MAIL_USERNAME and _PASSWORD, or set RESET_MAIL_USE_TLS=1"
        )
    elif isinstance(error, smtplib.SMTPAuthenticationError):
        text = f"{place} refuses the login: {answer_of(error)}"
        remedy = f"correct RESET_MAIL_USERNAME and RESET_MAIL_PASSWORD; ask who runs {server}"
    elif isinstance(error, ConnectionRefusedError):
        text = f"nobody listens on {place}"
        remedy = "systemctl status postfix; or correct RESET_MAIL_SERVER and RESET_MAIL_PORT"
    elif isinstance(error, TimeoutError):
        text = f"{place} does not answer in time"
        remedy = "a firewall may stop it: ask whether port 25 or 587 is open from here"
    return Finding("fault", text, remedy, _WAIT)
