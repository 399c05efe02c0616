"""Bad mail servers over a real dialogue: nothing lost, nothing in clear, nobody held for long."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from flask import Flask

from config import Settings
from tests.conftest import ADDRESS, Clock, Portal, Visitor, program
from tests.servers.certificates import Authority, Certificate
from tests.servers.smtp import Sink, scripted, serving, text_of
from tests.servers.wire import Listener

MakeVisitor = Callable[..., Visitor]


@pytest.fixture
def visitor_of(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor], settings: Settings
) -> Iterator[MakeVisitor]:
    """The service with a worker that speaks SMTP to *port* of this machine."""
    made: list[Visitor] = []

    def make(port: int, server: str = "127.0.0.1", **mail: Any) -> Visitor:
        changed = replace(settings.mail, server=server, port=port, **mail)
        visitor = make_visitor(make_app(mail=changed))
        visitor.worker = visitor.parts.make_worker()
        made.append(visitor)
        return visitor

    yield make
    for visitor in made:
        visitor.worker._sender.close()


def attempts(visitor: Visitor) -> int:
    """How often the one mail was tried."""
    with visitor.parts.database.read() as tx:
        return int(tx.exec_driver_sql("SELECT attempts FROM outbox").scalar_one())


@pytest.mark.parametrize("where", ["answers", "data_answers"])
@pytest.mark.parametrize("answer", ["450 4.2.1 busy", "451 4.7.1 greylisted", "421 4.3.2 bye"])
def test_greylisted_mail_arrives_within_ten_minutes(
    visitor_of: MakeVisitor, clock: Clock, ana: int, answer: str, where: str
) -> None:
    """Twice not now, then taken: at the third attempt, once."""
    sink = Sink()
    setattr(sink, where, [answer] * 2)
    with serving(sink) as port:
        visitor = visitor_of(port)
        visitor.ask()
        for _ in range(20):
            visitor.run_worker()
            clock.advance(seconds=30)
    assert len(sink.envelopes) == 1
    assert attempts(visitor) == 3


@pytest.mark.parametrize("where", ["answers", "data_answers"])
@pytest.mark.parametrize("answer", ["550 5.1.1 unknown", "552 5.2.2 full", "553 5.1.3 no"])
def test_refused_mail_is_tried_once(
    visitor_of: MakeVisitor, clock: Clock, ana: int, answer: str, where: str
) -> None:
    """What will never be taken is given up at once, with the server's words."""
    sink = Sink()
    setattr(sink, where, [answer])
    with serving(sink) as port:
        visitor = visitor_of(port)
        visitor.ask()
        visitor.run_worker()
        clock.advance(days=1)
        visitor.run_worker()
    event = visitor.parts.flow.trace(ADDRESS)[0].events[-1]
    assert (event.name, event.details["answer"]) == ("mail_refused", answer)
    assert (attempts(visitor), sink.envelopes) == (1, [])


class Strict(Sink):
    """Says ``sender_answer`` to MAIL unless that is empty, and counts who asks."""

    def __init__(self, sender_answer: str = "") -> None:
        super().__init__()
        self.sender_answer = sender_answer
        self.senders = 0

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any
    ) -> str:
        self.senders += 1
        if self.sender_answer:
            return self.sender_answer
        envelope.mail_from = address
        return "250 OK"


@pytest.mark.parametrize("answer", ["550 5.7.1 not from you", "451 4.3.0 disk full"])
def test_refused_sender_is_a_fault_of_the_set_up(
    visitor_of: MakeVisitor, clock: Clock, ana: int, answer: str
) -> None:
    """No mail is given up for it; one knock shows it for all of them."""
    strict = Strict(answer)
    with serving(strict) as port:
        visitor = visitor_of(port)
        for _ in range(3):
            visitor.ask()
        visitor.run_worker()
        assert strict.senders == 1
        strict.sender_answer = ""
        clock.advance(minutes=1)
        visitor.run_worker()
    assert len(strict.envelopes) == 3


def test_end_of_a_kept_connection_is_no_outage(
    visitor_of: MakeVisitor, portal: Portal, clock: Clock, ana: int
) -> None:
    """Servers take so many mails over one connection; the next ones leave over a new one."""
    portal.add("beto", "beto@example.com")
    portal.add("caro", "caro@example.com")

    class Few(Strict):
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
            self.sender_answer = "421 4.7.0 too many mails" if not self.envelopes else ""
            return await super().handle_DATA(server, session, envelope)

        async def handle_MAIL(self, *args: Any) -> str:
            said = await super().handle_MAIL(*args)
            self.sender_answer = ""
            return said

    few = Few()
    with serving(few) as port:
        visitor = visitor_of(port)
        for person in (ADDRESS, "beto@example.com", "caro@example.com"):
            visitor.ask(person)
        visitor.run_worker()
        got = [envelope.rcpt_tos[0] for envelope in few.envelopes]
        clock.advance(minutes=2)
        visitor.run_worker()
    assert got == [ADDRESS, "caro@example.com"]
    assert len(few.envelopes) == 3


def test_wrong_mail_password_costs_no_mail(
    visitor_of: MakeVisitor, clock: Clock, ana: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing lost, one log-in for all that wait, one alarm; then all arrive."""
    right = threading.Event()
    tries: list[str] = []

    def check(server: SMTP, session: Session, envelope: Envelope, how: str, what: Any) -> Any:
        tries.append(how)
        return AuthResult(success=right.is_set(), handled=False)

    sink = Sink()
    with serving(
        sink, authenticator=check, auth_require_tls=False, auth_exclude_mechanism=["LOGIN"]
    ) as port:
        visitor = visitor_of(port, username="hanna", password="x")
        for _ in range(5):
            visitor.ask()
        for _ in range(5):
            visitor.run_worker()
            clock.advance(seconds=20)
        assert len(tries) == 2
        right.set()
        clock.advance(minutes=2)
        visitor.run_worker()
    alarms = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [vars(alarm)["reason"] for alarm in alarms] == ["535"]
    assert len(sink.envelopes) == 5


def test_server_that_cannot_have_that_name_is_an_outage(
    visitor_of: MakeVisitor, ana: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever fails before a mail is spoken of is no fault of that mail."""
    visitor = visitor_of(25, "mail..example")
    visitor.ask()
    visitor.run_worker()
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == [
        "mail server unavailable"
    ]


def reset(connection: socket.socket) -> None:
    """Break the line without a farewell."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def greet(connection: socket.socket, *answers: bytes) -> None:
    """The banner, then one answer a command."""
    connection.sendall(b"220 sink\r\n")
    for answer in answers:
        connection.recv(100_000)
        connection.sendall(answer + b"\r\n")


def byte_by_byte(connection: socket.socket) -> None:
    for byte in b"220 " + b"x" * 8000:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def huge_banner(connection: socket.socket) -> None:
    connection.sendall(b"220 " + b"x" * 1_000_000 + b"\r\n")
    connection.recv(1000)


def endless_data_answer(connection: socket.socket) -> None:
    greet(connection, b"250 ok", b"250 ok", b"250 ok")
    connection.recv(1000)
    while True:
        connection.sendall(b"354-go\r\n")
        time.sleep(0.02)


def silent_after_starttls(connection: socket.socket) -> None:
    greet(connection, b"250-sink\r\n250 STARTTLS", b"220 go")
    while connection.recv(1000):
        pass


def drip_after_starttls(connection: socket.socket) -> None:
    greet(connection, b"250-sink\r\n250 STARTTLS", b"220 go")
    connection.recv(1000)
    connection.sendall(b"\x16\x03\x03\x40\x00")  # A long record of a handshake begins.
    while True:
        connection.sendall(b"\x02")
        time.sleep(0.1)


def reset_in_data(connection: socket.socket) -> None:
    greet(connection, b"250 ok", b"250 ok", b"250 ok", b"354 go")
    connection.recv(100)
    reset(connection)


BAD: dict[Callable[[socket.socket], None], dict[str, bool]] = {
    byte_by_byte: {},
    huge_banner: {},
    endless_data_answer: {},
    silent_after_starttls: {"use_tls": True},
    drip_after_starttls: {"use_tls": True},
    reset_in_data: {},
}


@pytest.mark.parametrize("talk", BAD)
def test_bad_server_keeps_the_worker_no_longer_than_its_deadline(
    visitor_of: MakeVisitor,
    ana: int,
    settings: Settings,
    talk: Callable[[socket.socket], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever it does, the worker is free again and the mail is kept."""
    monkeypatch.setattr("reset.mail.sender.AFTER_DATA_SECONDS", 1)
    with scripted(talk) as port:
        visitor = visitor_of(port, timeout=settings.mail.timeout / 30, **BAD[talk])
        visitor.ask()
        is_freed(visitor)
    assert visitor.trace()[-1] == "mail_deferred"


def test_address_that_swallows_everything_is_given_up_soon(
    visitor_of: MakeVisitor, ana: int, settings: Settings
) -> None:
    """A server that does not even refuse holds the worker for one time-out."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        with suppress(TimeoutError):
            while True:  # Until its queue is full, and further calls get no answer.
                calling = socket.create_connection(full.getsockname(), timeout=0.5)
                stack.enter_context(calling)
        visitor = visitor_of(full.getsockname()[1], timeout=settings.mail.timeout / 30)
        visitor.ask()
        is_freed(visitor)
    assert visitor.trace()[-1] == "mail_deferred"


def is_freed(visitor: Visitor) -> None:
    """One round of the worker; only without a deadline it takes so long."""
    work = threading.Thread(target=visitor.run_worker, daemon=True)
    work.start()
    work.join(30)
    assert not work.is_alive()


class Tarpit(Listener):
    """Good certificate, good manners, and an answer over TLS that never ends."""

    def serve(self, client: socket.socket) -> None:
        client.sendall(b"220 sink\r\n")
        while client.recv(1000):
            while True:
                client.sendall(b"250-slow\r\n")
                time.sleep(0.02)


def test_deadline_holds_over_tls(
    visitor_of: MakeVisitor,
    authority: Authority,
    settings: Settings,
    ana: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is encrypted is cut like what is not."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert))
    with Tarpit(authority.sign("DNS:localhost")) as tarpit:
        timeout = settings.mail.timeout / 30
        visitor = visitor_of(tarpit.port, "localhost", use_ssl=True, timeout=timeout)
        visitor.ask()
        is_freed(visitor)
    assert visitor.trace()[-1] == "mail_deferred"


def test_other_worker_delivers_while_one_is_held(
    visitor_of: MakeVisitor, portal: Portal, clock: Clock, ana: int
) -> None:
    """A slow server holds one worker; the mails of the other flow, and the held one is not lost."""
    portal.add("beto", "beto@example.com")
    held, free = threading.Event(), threading.Event()
    sink = Sink()

    def hold(connection: socket.socket) -> None:
        held.set()
        free.wait(30)

    with scripted(hold) as holding, serving(sink) as port:
        slow, quick = visitor_of(holding), visitor_of(port)
        slow.ask()
        work = threading.Thread(target=slow.run_worker, daemon=True)
        work.start()
        assert held.wait(30)
        quick.ask("beto@example.com")
        quick.run_worker()
        assert work.is_alive()
        assert [envelope.rcpt_tos for envelope in sink.envelopes] == [["beto@example.com"]]
        free.set()
        work.join(30)
        clock.advance(minutes=2)
        quick.run_worker()
    assert [envelope.rcpt_tos[0] for envelope in sink.envelopes] == ["beto@example.com", ADDRESS]


def test_answer_lost_after_the_mail_costs_a_copy_not_the_mail(
    visitor_of: MakeVisitor, clock: Clock, ana: int
) -> None:
    """Nobody can know whether it was taken: the same mail again, and the links of both work."""

    class Rude(Sink):
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
            said = await super().handle_DATA(server, session, envelope)
            if len(self.envelopes) == 1:
                server.transport.abort()  # type: ignore[union-attr]
            return said

    rude = Rude()
    with serving(rude) as port:
        visitor = visitor_of(port)
        visitor.ask()
        visitor.run_worker()
        clock.advance(minutes=2)
        visitor.run_worker()
        clock.advance(days=1)
        visitor.run_worker()
    first, second = rude.mails()
    assert first["Message-ID"] == second["Message-ID"]
    clock.now -= clock.now - visitor.parts.flow.trace(ADDRESS)[0].events[-1].at
    for mail in (first, second):
        link = re.search(r"/nueva/\S+", text_of(mail))
        assert link
        assert visitor.client.get(link[0]).status_code == 200


@pytest.mark.parametrize("fault", ["stripped", "wrong name", "expired", "self-signed", "none"])
@pytest.mark.parametrize("mode", ["use_tls", "use_ssl"])
def test_nothing_travels_in_clear(
    visitor_of: MakeVisitor,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    ana: int,
    fault: str,
    mode: str,
) -> None:
    """With TLS asked for, a server that cannot prove who it is gets neither mail nor password."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert))
    certificate = None if fault == "stripped" else certificate_with(fault, authority)
    with Talker(certificate, from_start=mode == "use_ssl") as talker:
        account: dict[str, Any] = {"timeout": timedelta(seconds=4)}
        if fault != "none":
            account |= {"username": "hanna", "password": "secreta-42"}
        visitor = visitor_of(talker.port, "localhost", **{mode: True}, **account)
        visitor.ask()
        visitor.run_worker()
        visitor.worker._sender.close()
    assert talker.connections == 1
    heard = talker.received if fault == "none" else talker.received + talker.in_tls
    assert not re.search(rb"MAIL|AUTH|RCPT|example\.com", heard, re.IGNORECASE)
    assert talker.mails == (fault == "none")
    assert visitor.trace()[-1] == ("mail_sent" if fault == "none" else "mail_deferred")


class Talker(Listener):
    """A polite server; keeps what reaches it in clear apart from the rest, and counts mails."""

    def __init__(self, certificate: Certificate | None, *, from_start: bool) -> None:
        super().__init__()
        self._certificate, self._from_start = certificate, from_start
        self.in_tls = b""
        self.mails = 0

    def serve(self, client: socket.socket) -> None:
        if self._from_start:
            self.received += client.recv(1000, socket.MSG_PEEK)
            client = self._encrypted(client)
        client.sendall(b"220 sink\r\n")
        while said := client.recv(100_000):
            if isinstance(client, ssl.SSLSocket):
                self.in_tls += said
            else:
                self.received += said
            if said.startswith(b"STARTTLS"):
                client.sendall(b"220 go\r\n")
                client = self._encrypted(client)
            elif said.startswith(b"ehlo"):
                offered = b"250-sink\r\n250-STARTTLS\r\n" if self._certificate else b"250-sink\r\n"
                client.sendall(offered + b"250 AUTH PLAIN\r\n")
            elif said.startswith(b"data"):
                client.sendall(b"354 go\r\n")
                while not said.endswith(b"\r\n.\r\n"):
                    said += client.recv(100_000)
                self.mails += 1
                client.sendall(b"250 ok\r\n")
            else:
                client.sendall(b"250 ok\r\n")

    def _encrypted(self, plain: socket.socket) -> socket.socket:
        if self._certificate is None:
            raise ConnectionAbortedError
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate.cert, self._certificate.key)
        client = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._open.append(client)
        client.do_handshake()
        return client


def certificate_with(fault: str, authority: Authority) -> Certificate:
    if fault == "self-signed":
        return authority.leave_unsigned("DNS:localhost")
    if fault == "expired":
        faketime = program("the tests with certificates that expired", "faketime", "faketime")
        return authority.sign("DNS:localhost", before=[faketime, "2020-01-01"])
    return authority.sign("DNS:mail.example" if fault == "wrong name" else "DNS:localhost")


def test_oldest_of_servers_gets_plain_mail(visitor_of: MakeVisitor, portal: Portal) -> None:
    """No EHLO, no 8BITMIME, no SIZE: seven bits, short lines, and the words are still right."""
    got: list[bytes] = []

    def old(connection: socket.socket) -> None:
        greet(connection, b"502 what?", b"250 hello", b"250 ok", b"250 ok", b"354 go")
        data = b""
        while not data.endswith(b"\r\n.\r\n"):
            data += connection.recv(100_000)
        got.append(data)
        connection.sendall(b"250 taken\r\n")

    portal.add(nombre="Ñusta Ibáñez \u2066☕️")
    with scripted(old) as port:
        visitor = visitor_of(port)
        visitor.ask()
        visitor.run_worker()
        visitor.worker._sender.close()
    (data,) = got
    assert data.isascii()
    assert max(map(len, data.split(b"\r\n"))) <= 78
    sink = Sink()
    sink.envelopes = [Envelope()]
    sink.envelopes[0].content = data
    assert "Ñusta Ibáñez" in text_of(sink.mail())


@pytest.mark.parametrize(
    "name", ["Ana\0María", "Ana\r\nBcc: eve@evil.example", "{{7*7}}", "Ana\x1b[2J\u202e", "." * 900]
)
def test_name_of_an_account_stays_in_the_text(
    visitor_of: MakeVisitor, portal: Portal, name: str
) -> None:
    """What stands in the portal's table makes no header, no recipient and no end of the mail."""
    portal.add(nombre=name, usuario=name)
    sink = Sink()
    with serving(sink) as port:
        visitor = visitor_of(port)
        visitor.ask()
        visitor.run_worker()
    (envelope,) = sink.envelopes
    mail = sink.mail()
    assert envelope.rcpt_tos == [ADDRESS]
    assert (mail["To"], mail["Bcc"]) == (ADDRESS, None)
    assert "Número de su solicitud" in text_of(mail)
    assert isinstance(envelope.content, bytes)
    assert b"\0" not in envelope.content
