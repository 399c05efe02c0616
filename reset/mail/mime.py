"""A message as it travels: by the standard library's rules, what is alike in all mails only once.

The library parses and folds every header anew and encodes letter by letter in Python; a header that
was written before is kept here, and one that has nothing to fold or encode is written as it is.
"""

from __future__ import annotations

import re
from binascii import b2a_qp
from datetime import UTC, datetime
from email.headerregistry import Address
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from functools import lru_cache

from flask_mail import Message

# "=_" stands in no quoted-printable text. Source: RFC 2045, 6.7.
_BOUNDARY = b"=_alternative"
_ATOMS = r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*"
_DOMAIN = r"[a-z0-9-]+(?:\.[a-z0-9-]+)*"
# What the library writes as it stands: an address without quotes, comments or other alphabets, and
# without "=?", which many read as the beginning of an encoded word.
_PLAIN = re.compile(rf"(?!.*=\?){_ATOMS}@{_DOMAIN}", re.ASCII | re.IGNORECASE)
_PLAIN_ID = re.compile(rf"<{_ATOMS}@{_DOMAIN}>", re.ASCII | re.IGNORECASE)
_ONE_LINE = 78 - len("Message-ID: ")


class MimeMessage(Message):
    """A message of text and HTML: quoted-printable, lines under 79 characters."""

    @property
    def envelope(self) -> tuple[str, list[str]]:
        """Sender and recipients as SMTP takes them.

        Raises:
            ValueError: one of them is no address, or more than one.
        """
        return _envelope_sender(str(self.sender)), [_spec(str(one)) for one in self.recipients]

    def as_bytes(self) -> bytes:
        lines = [_header("Subject", self.subject), _mailbox("From", str(self.sender))]
        lines.append(_recipients(self.envelope[1]))
        if self.reply_to:
            lines.append(_mailbox("Reply-To", str(self.reply_to)))
        date = format_datetime(datetime.fromtimestamp(self.date or 0, UTC))
        lines += [f"Date: {date}\r\n".encode("ascii"), _message_id(self.msgId)]
        lines += [_header(name, value) for name, value in (self.extra_headers or {}).items()]
        return b"".join(
            [
                *lines,
                b'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="%s"\r\n\r\n'
                % _BOUNDARY,
                _part(b"plain", self.body or ""),
                _part(b"html", self.html or ""),
                b"--%s--\r\n" % _BOUNDARY,
            ]
        )


@lru_cache
def _header(name: str, value: str) -> bytes:
    """One header in words; raises ValueError if it is more than one line."""
    return SMTP.fold_binary(*SMTP.header_store_parse(name, value))


@lru_cache
def _mailbox(name: str, value: str) -> bytes:
    """One header with somebody's name and address."""
    return _addresses(name, [_address(*parseaddr(value))])


@lru_cache
def _envelope_sender(value: str) -> str:
    return _spec(parseaddr(value)[1])


def _recipients(specs: list[str]) -> bytes:
    if len(specs) == 1 and _PLAIN.fullmatch(specs[0]) and len(specs[0]) <= _ONE_LINE:
        return f"To: {specs[0]}\r\n".encode("ascii")
    return _addresses("To", [_address("", spec) for spec in specs])


def _addresses(name: str, addresses: list[Address]) -> bytes:
    return SMTP.fold_binary(name, SMTP.header_factory(name, addresses))


def _message_id(value: str) -> bytes:
    if len(value) <= _ONE_LINE and _PLAIN_ID.fullmatch(value):
        return f"Message-ID: {value}\r\n".encode("ascii")
    return SMTP.fold_binary(*SMTP.header_store_parse("Message-ID", value))


def _spec(address: str) -> str:
    """*address* with its domain as in DNS; raises ValueError for anything but one address."""
    return address if _PLAIN.fullmatch(address) else _address("", address).addr_spec


def _address(name: str, spec: str) -> Address:
    """One header address, its domain as in DNS; raises ValueError for anything but one."""
    local, _, domain = spec.rpartition("@")
    if not domain.isascii():
        domain = domain.encode("idna").decode("ascii")
    return Address(display_name=name, addr_spec=f"{local}@{domain}")


def _part(subtype: bytes, text: str) -> bytes:
    lines = b"".join(b"%s\r\n" % line for line in text.encode().splitlines() or [b""])
    return (
        b'--%s\r\nContent-Type: text/%s; charset="utf-8"\r\n'
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n%s\r\n"
        % (_BOUNDARY, subtype, b2a_qp(lines, istext=True))
    )
