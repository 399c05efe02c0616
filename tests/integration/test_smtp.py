"""Mails over a real SMTP dialogue: what arrives, and what a bad server cannot do to us."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from config import Settings
from reset.errors import MailDeferred, MailRefused
from reset.mail.mime import MimeMessage
from reset.mail.sender import Sender
from reset.tokens import Tokens, new_id
from tests.conftest import ADDRESS, NEW_PASSWORD, START, Visitor, program
from tests.servers.smtp import Sink, scripted, serving


@pytest.fixture
def make_sender(
    make_app: Callable[..., Flask], settings: Settings
) -> Callable[..., tuple[Flask, Sender]]:
    def make(port: int, timeout: float = 20, **mail: Any) -> tuple[Flask, Sender]:
        app = make_app(mail=replace(settings.mail, server="127.0.0.1", port=port, **mail))
        return app, Sender(app, timeout=timeout, ehlo_host="localhost")

    return make


def message(to: str = ADDRESS, **values: Any) -> MimeMessage:
    made = MimeMessage("Asunto ñ", [to], body="Hola", html="<p>Hola</p>" + "x" * 3000, **values)
    made.msgId = "<1@example.com>"
    return made


def test_both_mails_arrive_whole(
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    settings: Settings,
    ana: int,
) -> None:
    """Text and HTML, headers for robots, a name with a comma, lines that no relay breaks."""
    sink = Sink()
    with serving(sink) as port:
        app = make_app(mail=replace(settings.mail, server="127.0.0.1", port=port))
        visitor = make_visitor(app)
        visitor.worker = visitor.parts.make_worker()
        visitor.ask()
        visitor.run_worker()
        text = sink.mail().get_body(("plain",))
        assert text is not None
        token = text.get_content().partition("/nueva/")[2].split()[0]
        visitor.set_password(f"/nueva/{token}")
        visitor.run_worker()
        visitor.worker._sender.close()
    first, second = sink.mail(0), sink.mail(1)
    assert len(sink.sessions) == 1
    assert sink.envelopes[0].rcpt_tos == [ADDRESS]
    assert sink.envelopes[0].mail_from == "no-responder@example.com"
    assert str(first["From"]) == '"Hanna, Soporte" <no-responder@example.com>'
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["Reply-To"] == "ayuda@example.com"
    assert first["Message-ID"].endswith("@example.com>")
    assert first["Message-ID"] != second["Message-ID"]
    assert first["Date"] is not None
    assert first.get_body(("html",)) is not None
    assert second["Subject"] == "Su contraseña fue actualizada"
    for envelope in sink.envelopes:
        assert isinstance(envelope.content, bytes)
        assert envelope.content.isascii()
        assert max(map(len, envelope.content.split(b"\r\n"))) <= 78
        assert NEW_PASSWORD.encode() not in envelope.content


@pytest.mark.parametrize(
    ("answers", "data_answers", "expected"),
    [
        (["450 busy"], [], MailDeferred),
        (["550 no such user"], [], MailRefused),
        ([], ["451 later"], MailDeferred),
        ([], ["554 looks like spam"], MailRefused),
    ],
)
def test_temporary_and_final_answers_are_told_apart(
    make_sender: Callable[..., tuple[Flask, Sender]],
    answers: list[str],
    data_answers: list[str],
    expected: type[Exception],
) -> None:
    """4xx is worth another try, 5xx is not; the server's words are kept."""
    sink = Sink()
    sink.answers, sink.data_answers = answers, data_answers
    said = (answers + data_answers)[0]
    with serving(sink) as port:
        app, sender = make_sender(port)
        with app.app_context(), pytest.raises(expected) as raised:
            sender.send(message())
    assert raised.value.args[0] == said


def test_link_that_a_filter_quotes_stays_out_of_the_trace(
    make_sender: Callable[..., tuple[Flask, Sender]],
) -> None:
    """What the server says is kept, but for the link that it may repeat."""
    sink = Sink()
    sink.data_answers = ["554 5.7.1 blocked URL http://localhost:5000/nueva/abc.def in body"]
    with serving(sink) as port:
        app, sender = make_sender(port)
        with app.app_context(), pytest.raises(MailRefused) as raised:
            sender.send(message())
    assert raised.value.answer == "554 5.7.1 blocked URL … in body"


@pytest.mark.parametrize(
    "said",
    [
        "554-5.7.1 blocked URL http://localhost:5000/nueva/\r\n554 {token}",
        "554-5.7.1 blocked URL http://localhost:5000/nueva/{half}\r\n554 {rest} in body",
        "554 5.7.1 blocked hxxp[:]//localhost[/]nueva[/]{token}",
        "554 5.7.1 spam: http=3A=2F=2Flocalhost=2Fnueva=2F{token}",
    ],
    ids=["wrapped before", "wrapped within", "defanged", "encoded"],
)
def test_token_that_a_filter_quotes_stays_out_of_the_trace(
    make_sender: Callable[..., tuple[Flask, Sender]], said: str
) -> None:
    """However the link was broken: what is left of it and the database do not make it up."""
    token = Tokens(["k" * 40], "reset").make(new_id(), now=START)
    sink = Sink()
    sink.data_answers = [said.format(token=token, half=token[:20], rest=token[20:])]
    with serving(sink) as port:
        app, sender = make_sender(port)
        with app.app_context(), pytest.raises(MailRefused) as raised:
            sender.send(message())
    assert token[-27:] not in raised.value.answer
    assert raised.value.answer.startswith("554 5.7.1 ")


def test_refused_connection_is_a_server_that_is_down(
    make_sender: Callable[..., tuple[Flask, Sender]],
) -> None:
    """Nothing listens: worth a try later, for all mails."""
    app, sender = make_sender(1)
    with app.app_context(), pytest.raises(MailDeferred) as raised:
        sender.send(message())
    assert raised.value.server_down


def silent(connection: socket.socket) -> None:
    connection.recv(1)


def tarpit(connection: socket.socket) -> None:
    connection.sendall(b"220 sink\r\n")
    connection.recv(1000)
    while True:
        connection.sendall(b"250-slow\r\n")
        time.sleep(0.02)


def endless_banner(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"220-slow\r\n")
        time.sleep(0.02)


def garbage(connection: socket.socket) -> None:
    connection.sendall(bytes(range(256)) * 8 + b"\r\n")
    connection.recv(1000)


@pytest.mark.parametrize("talk", [silent, endless_banner, tarpit, garbage])
def test_bad_server_holds_nobody_for_long(
    make_sender: Callable[..., tuple[Flask, Sender]], talk: Callable[[socket.socket], None]
) -> None:
    """Silence, an endless answer and rubbish all end by the deadline, and the mail is kept."""
    outcomes: list[Exception] = []

    def send() -> None:
        with app.app_context():
            try:
                sender.send(message())
            except MailDeferred as error:
                outcomes.append(error)

    with scripted(talk) as port:
        app, sender = make_sender(port, timeout=0.5)
        attempt = threading.Thread(target=send, daemon=True)
        attempt.start()
        attempt.join(20)  # Only a hand-over without a deadline takes so long.
    assert len(outcomes) == 1


def take_one(connection: socket.socket, pause: float = 0) -> None:
    """Take one mail, think for *pause* seconds, say so, and hang up."""
    connection.sendall(b"220 sink\r\n")
    for answer in (b"250 ok", b"250 ok", b"250 ok", b"354 go"):
        connection.recv(100_000)
        connection.sendall(answer + b"\r\n")
    data = b""
    while not data.endswith(b"\r\n.\r\n"):
        data += connection.recv(100_000)
    time.sleep(pause)
    connection.sendall(b"250 queued\r\n")


def test_hanging_up_after_the_mail_is_no_failure(
    make_sender: Callable[..., tuple[Flask, Sender]],
) -> None:
    """A server that answers 250 and goes has taken the mail; the next one is sent afresh."""
    with scripted(take_one) as port:
        app, sender = make_sender(port)
        with app.app_context():
            sender.send(message())
            sender._last_used -= 10
            sender.send(message())
            sender.close()


def test_slow_answer_after_the_mail_is_waited_for(
    make_sender: Callable[..., tuple[Flask, Sender]],
) -> None:
    """A server that scans for longer than the time-out gets the mail once, not again and again."""
    with scripted(partial(take_one, pause=3.5)) as port:
        app, sender = make_sender(port, timeout=1.5)
        with app.app_context():
            sender.send(message())
            sender.close()


@pytest.mark.parametrize(
    "to",
    ["josé@example.com", "ana@example.com, eve@evil.example", "ana@example.com\r\nBcc: e@e.co"],
)
def test_address_that_cannot_be_written_is_refused(
    make_sender: Callable[..., tuple[Flask, Sender]], to: str
) -> None:
    """No second recipient, no header of somebody else's, no crash."""
    sink = Sink()
    with serving(sink) as port:
        app, sender = make_sender(port)
        with app.app_context(), pytest.raises(MailRefused):
            sender.send(message(to))
        sender.close()
    assert sink.envelopes == []


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for `localhost`."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    openssl = program("the tests of certificates", "openssl", "openssl")
    command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    extension = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run([openssl, *command.split(), *extension, *files], check=True, capture_output=True)
    return cert, key


@pytest.mark.parametrize(
    ("server", "trusted", "arrives"),
    [("localhost", True, True), ("localhost", False, False), ("127.0.0.1", True, False)],
    ids=["verified", "unknown authority", "wrong name"],
)
def test_certificate_is_verified(
    make_sender: Callable[..., tuple[Flask, Sender]],
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    server: str,
    trusted: bool,
    arrives: bool,
) -> None:
    """With STARTTLS set, nothing is sent to a server whose certificate does not hold."""
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    sink = Sink()
    with serving(sink, tls_context=context, require_starttls=True) as port:
        app, sender = make_sender(port, use_tls=True)
        app.extensions["mail"].server = server
        with app.app_context():
            if arrives:
                sender.send(message())
                sender.close()
            else:
                with pytest.raises(MailDeferred):
                    sender.send(message())
    assert len(sink.envelopes) == int(arrives)


def test_stripped_starttls_sends_nothing_in_clear(
    make_sender: Callable[..., tuple[Flask, Sender]],
) -> None:
    """A server (or somebody on the way) that offers no TLS gets no mail."""
    sink = Sink()
    with serving(sink) as port:
        app, sender = make_sender(port, use_tls=True)
        with app.app_context(), pytest.raises(MailDeferred):
            sender.send(message())
    assert sink.envelopes == []
