"""Text that would rather be code: in every field that is typed and every field that is stored."""

from __future__ import annotations

import email
import email.policy
import json
import logging
import re
import unicodedata
from collections.abc import Callable
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from flask import Flask
from flask_mail import Message

from reset.logs import JsonLines
from tests.conftest import Portal, Visitor
from tests.soak.conftest import Note, Rounds

INJECTIONS = [
    line.encode().decode("unicode_escape")
    for line in (Path(__file__).parent / "injections.txt").read_text().splitlines()
]
LIVING = {"href", "src", "action", "formaction", "style", "content", "data", "srcdoc"}


class Skeleton(HTMLParser):
    """What of a page acts: its tags and where they lead; ``values`` are what fields hold."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.bones: list[object] = []
        self.values: dict[str, str | None] = {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        living = {
            name: re.sub(r"(nueva|no-fui-yo|captcha)/.+", r"\1/-", value or "")
            for name, value in attrs
            if name in LIVING or name.startswith("on")
        }
        self.bones.append((tag, sorted(values), living))
        if tag == "input":
            self.values[str(values.get("name"))] = values.get("value")

    def handle_comment(self, data: str) -> None:
        self.bones.append(("comment", data))

    def handle_decl(self, decl: str) -> None:
        self.bones.append(("declaration", decl))

    def handle_pi(self, data: str) -> None:
        self.bones.append(("instruction", data))

    def unknown_decl(self, data: str) -> None:
        self.bones.append(("declaration", data))


@pytest.fixture
def visitor(make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor]) -> Visitor:
    """Somebody whom no limit of the client stops."""
    return make_visitor(make_app(limit_per_ip="100000 per minute"))


def test_typed_text_stays_text(visitor: Visitor, rounds: Rounds, figure: Note) -> None:
    """A page shows what was typed into the request exactly so, and is otherwise the same page."""
    challenge = visitor.challenge()
    blank = Skeleton(visitor.client.get("/").text).bones
    usual = [
        Skeleton(visitor.ask(address, challenge=challenge, captcha=letters).text).bones
        for address, letters in (("ana", "x"), ("eve@evil.example", "x"), ("", ""))
    ]
    chosen = INJECTIONS[:: rounds(3, 1)]
    for text in chosen:
        challenge = visitor.challenge()
        page = Skeleton(visitor.ask(text, challenge=challenge, captcha=text).text)
        assert page.bones in usual, text
        assert page.values["email"] == text
        assert page.values["captcha"] in (text, "")
        linked = Skeleton(visitor.client.get("/", query_string={"email": text}).text)
        assert linked.bones == blank, text
        assert linked.values["email"] == text
        fields = {"email": "eve@evil.example", "captcha": "x", "challenge": text}
        forged = visitor.client.post("/", data=fields)
        assert Skeleton(forged.text).bones == usual[1], text
    figure("no secret, no injection", "typed strings, alive in a page", f"{len(chosen)}, 0", "0")


def test_forged_tokens_and_paths_are_not_echoed(visitor: Visitor, rounds: Rounds) -> None:
    """Where nothing is found, nothing of what was asked for is shown."""
    unknown = visitor.client.get("/nueva/x").text
    missing = visitor.client.get("/x").text
    for text in INJECTIONS[:: rounds(9, 1)]:
        data = {"token": text, "password": text, "confirm": text}
        assert visitor.client.post("/nueva", data=data).text == unknown, text
        assert visitor.client.post("/no-fui-yo", data=data).text == unknown, text
        for page in ("nueva/", "no-fui-yo/", "enviada/", "captcha/", ""):
            path = f"/{page}{quote(text, safe='')}"
            answer = visitor.client.get(path)
            home = urlsplit(answer.location).netloc == "localhost"  # Double slashes are merged.
            assert home if answer.status_code == 308 else answer.text in (unknown, missing), path


def test_stored_text_stays_text(
    visitor: Visitor, app: Flask, portal: Portal, rounds: Rounds, figure: Note
) -> None:
    """An account's name and login, and a browser's name, live in no mail, page or trace."""
    usual = _seen(visitor, portal, "usual", "Ana María Pérez")
    chosen = INJECTIONS[:: rounds(20, 1)]
    for number, text in enumerate(chosen):
        visitor.clock.advance(minutes=1)
        visitor.client.environ_base["HTTP_USER_AGENT"] = text
        assert _seen(visitor, portal, str(number), text) == usual, text
    figure(
        "no secret, no injection",
        "stored strings, alive in page, mail or trace",
        f"{len(chosen)}, 0",
        "0",
    )


def _seen(visitor: Visitor, portal: Portal, number: str, text: str) -> list[object]:
    """A whole reset by somebody called *text*: what acts in its pages, mails and trace."""
    address = f"ana{number}@example.com"
    portal.add(f"{text}{number}", address, nombre=text)
    link = visitor.link(address)
    page = visitor.client.get(link)
    refused = visitor.set_password(link, "corta")
    assert visitor.set_password(link).status_code == 303
    visitor.run_worker()
    run = visitor.app.test_cli_runner().invoke
    told = run(args=["reset", "trace", address]).output
    (traced,) = json.loads(run(args=["reset", "trace", address, "--json"]).output)
    assert "16807" not in page.text + told
    unseen = [c for c in told if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")]
    assert set(unseen) == {"\n"}
    mails = [_read(mail, address) for mail in visitor.mails(address)]
    bones = [Skeleton(page.text).bones, Skeleton(refused.text).bones, *mails]
    return [*bones, len(told.splitlines()), len(traced["events"])]


def _read(message: Message, address: str) -> list[object]:
    """What a mail program would act on: headers, lines of text, and the HTML's skeleton."""
    mail = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    assert str(mail["To"]) == address
    text, html = (str(part.get_content()) for part in mail.iter_parts())
    assert "16807" not in text + html
    return [mail.keys(), mail["Subject"], len(text.splitlines()), Skeleton(html).bones]


def test_stored_address_is_one_recipient(visitor: Visitor, portal: Portal, rounds: Rounds) -> None:
    """Whatever the portal stores as an address, a mail goes to that one or to none."""
    for number, text in enumerate(INJECTIONS[:: rounds(20, 1)]):
        portal.add(f"behind{number}", f"ana{number}@example.com{text}")
        portal.add(f"before{number}", f"{text}@example.org")
        visitor.ask(f"ana{number}@example.com")
        visitor.ask(f"{text}@example.org")
    visitor.run_worker()
    assert visitor.sender.sent
    for message in visitor.sender.sent:
        mail = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
        (to,) = mail["To"].addresses
        assert [to.addr_spec] == message.recipients
        assert "evil" not in to.domain
        assert mail["Bcc"] is None


def test_log_has_one_line_a_record(visitor: Visitor) -> None:
    """Nothing forges a line: each is an object that a program reads back as it was said."""
    for text in INJECTIONS:
        record = logging.makeLogRecord({"msg": "event: %s", "args": (text,), "said": text})
        line = JsonLines().format(record)
        assert line.isascii()
        assert line.isprintable()
        assert json.loads(line)["said"] == text
        assert json.loads(line)["event"] == f"event: {text}"
