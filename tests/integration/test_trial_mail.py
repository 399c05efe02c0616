"""`flask reset mail send-test`: one real mail, and each step of its hand-over."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult
from click.testing import Result
from flask import Flask

from config import Settings
from tests.servers.certificates import Authority
from tests.servers.smtp import Sink, serving, text_of

TO = "tecnica@example.com"
PASSWORD = "Secreto-del-correo-9"


@pytest.fixture
def send_test(make_app: Callable[..., Flask], settings: Settings) -> Callable[..., Result]:
    """`flask reset mail send-test` with the server at a port."""

    def send(port: int, *args: str, **mail: Any) -> Result:
        server = replace(settings.mail, server="localhost", port=port, **mail)
        runner = make_app(mail=server).test_cli_runner()
        return runner.invoke(args=["reset", "mail", "send-test", TO, *args])

    return send


def test_mail_arrives_marked_as_a_test(send_test: Callable[..., Result]) -> None:
    """To that address alone, with nothing in it that can be opened, each step told."""
    sink = Sink()
    with serving(sink) as port:
        told = send_test(port)
    assert told.exit_code == 0
    assert told.output.splitlines()[-2:] == [
        f"ok       it accepts mails for {TO}",
        "ok       it took the mail: 250 OK",
    ]
    (mail,) = sink.to(TO)
    assert str(mail["Subject"]).startswith("PRUEBA: ")
    page = mail.get_body(("html",))
    assert page is not None
    assert re.findall(r'href="(?!tel:|mailto:)', page.get_content()) == []
    assert "http" not in text_of(mail)


def test_encryption_and_sign_in_are_told(
    send_test: Callable[..., Result], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the version of TLS and whose certificate it is; never the password."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert))
    signed = authority.sign("DNS:localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed.cert, signed.key)
    right = AuthResult(success=True)
    options: dict[str, Any] = {"authenticator": lambda *_: right, "auth_required": True}
    with serving(Sink(), tls_context=context, require_starttls=True, **options) as port:
        told = send_test(port, use_tls=True, username="hanna", password=PASSWORD)
    assert told.exit_code == 0, told.output
    assert re.search(r"encrypted with TLSv1\.[23], .*its certificate is for localhost", told.output)
    assert "it accepts RESET_MAIL_USERNAME and its password" in told.output
    assert PASSWORD not in told.output


@pytest.mark.parametrize(
    ("answers", "data_answers", "said"),
    [
        (["550 no such user"], [], f"it refuses mails for {TO}: 550 no such user"),
        (["451 later"], [], f"it refuses mails for {TO}: 451 later"),
        ([], ["554 looks like spam"], "it refuses the mail itself: 554 looks like spam"),
    ],
)
def test_refusal_is_told_in_the_servers_words(
    send_test: Callable[..., Result], answers: list[str], data_answers: list[str], said: str
) -> None:
    """The step at which it ended, and an exit status for programs."""
    sink = Sink()
    sink.answers, sink.data_answers = answers, data_answers
    with serving(sink) as port:
        told = send_test(port, "--json")
    assert told.exit_code == 1
    assert json.loads(told.output)[-1]["text"] == said
    assert sink.envelopes == []


def test_wrong_password_is_told_and_not_shown(send_test: Callable[..., Result]) -> None:
    """Nor anything else that was sent to sign in."""
    wrong = AuthResult(success=False, handled=False)
    with serving(Sink(), authenticator=lambda *_: wrong, auth_require_tls=False) as port:
        told = send_test(port, username="hanna", password=PASSWORD)
    assert told.exit_code == 1
    assert "refuses the login: 535" in told.output
    assert PASSWORD not in told.output


def test_server_that_is_away_is_told(send_test: Callable[..., Result]) -> None:
    """With what to do about it."""
    told = send_test(1)
    assert told.exit_code == 1
    assert "nobody listens on localhost:1" in told.output
    assert "-> " in told.output


def test_address_that_is_none_is_not_tried(send_test: Callable[..., Result], app: Flask) -> None:
    """One address, and nothing smuggled in."""
    for address in (
        "ana",
        "ana@example.com, eve@evil.example",
        "a@example.com\r\nRCPT TO:<b@x.co>",
    ):
        told = app.test_cli_runner().invoke(args=["reset", "mail", "send-test", address])
        assert told.exit_code == 2
        assert "is no e-mail address" in told.output
