"""Mails as bytes: what the standard library would write, whatever the words and addresses."""

from __future__ import annotations

import email
import email.policy
from email.headerregistry import Address
from email.message import EmailMessage

import pytest
from flask import Flask

from reset.mail.mime import MimeMessage

SENDER = '"Hanna, Soporte" <no-responder@example.com>'
TEXTS = {
    "plain": "Hola",
    "spanish": "Restablecimiento de contraseña: ¿no fue usted? " * 20,
    "dots": ".\n..\n.x\n.",
    "long": "x" * 997 + " \n \t \n" + "á" * 500,
    "line ends": "a\r\nb\rc\n\nd",
    "boundary": "--=_alternative\n--=_alternative--\n= =3D",
    "unseen": "\0\x01\x1b\x0c\u2028\x85",
    "emoji": "☕️\U0001f511 " * 40,
    "empty": "",
}


def message(text: str = "Hola", to: str = "ana@example.com", subject: str = "Hola") -> MimeMessage:
    made = MimeMessage(subject, [to], body=text, html=f"<p>{text}</p>", sender=SENDER)
    made.date, made.msgId = 1_000_000_000, "<1.2@example.com>"
    made.extra_headers = {"Auto-Submitted": "auto-generated"}
    return made


def read(content: bytes) -> EmailMessage:
    parsed = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def written_by_the_library(made: MimeMessage) -> EmailMessage:
    """The same message, built header by header and part by part."""
    mime = EmailMessage(policy=email.policy.SMTP)
    mime["Subject"] = made.subject
    mime["From"] = Address("Hanna, Soporte", addr_spec="no-responder@example.com")
    mime["To"] = Address(addr_spec=str(made.recipients[0]))
    mime["Date"] = "Sun, 09 Sep 2001 01:46:40 +0000"
    mime["Message-ID"] = made.msgId
    mime["Auto-Submitted"] = "auto-generated"
    mime.set_content(made.body or "", cte="quoted-printable")
    mime.add_alternative(made.html or "", subtype="html", cte="quoted-printable")
    return read(mime.as_bytes())


def parts(mail: EmailMessage) -> list[tuple[str, str]]:
    return [(part.get_content_type(), part.get_content()) for part in mail.iter_parts()]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_words_arrive_as_the_library_would_send_them(app: Flask, text: str) -> None:
    """Both parts, in seven bits and short lines that no relay breaks."""
    with app.app_context():
        made = message(text)
    content = made.as_bytes()
    assert parts(read(content)) == parts(written_by_the_library(made))
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 78
    assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")


@pytest.mark.parametrize(
    "to",
    [
        "ana@example.com",
        "ana.maria+x_1@sub.example.co",
        "o'brien!#$%&*/=?^`{|}~-@example.com",
        '"ana maria"@example.com',
        "a" * 40 + "@" + "b" * 40 + ".example",
    ],
)
@pytest.mark.parametrize("subject", ["Hola", "Restablecimiento de contraseña", "ñ" * 90])
def test_headers_are_those_of_the_library(app: Flask, to: str, subject: str) -> None:
    """Written as they stand where nothing is to be folded or encoded, else by the library."""
    with app.app_context():
        made = message(to=to, subject=subject)
    ours, theirs = read(made.as_bytes()), written_by_the_library(made)
    names = [name for name in theirs if name != "Content-Type"]
    assert [name for name in ours if name != "Content-Type"] == names
    assert [str(ours[name]) for name in names] == [str(theirs[name]) for name in names]


def test_domain_of_another_alphabet_is_written_as_in_dns(app: Flask) -> None:
    """In the header, and in the envelope."""
    with app.app_context():
        made = message(to="ana@ñandú.example")
    assert str(read(made.as_bytes())["To"]) == "ana@xn--and-6ma2c.example"
    assert made.envelope == ("no-responder@example.com", ["ana@xn--and-6ma2c.example"])


@pytest.mark.parametrize(
    "to",
    ["ana@example.com\n", "ana@example.com, eve@evil.example", "a@b\r\nBcc: e@e.co"],
)
def test_no_second_recipient_and_no_header_of_others(app: Flask, to: str) -> None:
    """What is not one address is none."""
    with app.app_context():
        made = message(to=to)
    with pytest.raises(ValueError, match=r"."):
        made.as_bytes()


@pytest.mark.parametrize("fault", ["<a@b.co>\r\nBcc: e@e.co", "<a@b.co>\nx"])
def test_header_of_two_lines_is_refused(app: Flask, fault: str) -> None:
    """A damaged Message-ID of a queued mail makes no header of its own."""
    with app.app_context():
        made = message()
    made.msgId = fault
    with pytest.raises(ValueError, match="linefeed"):
        made.as_bytes()
