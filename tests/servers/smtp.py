"""SMTP servers on this machine: one that keeps what it takes, and ones that misbehave."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.servers import free_port


class Sink:
    """Keeps what it takes; ``answers`` are given to RCPT first, ``data_answers`` after DATA."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.sessions: set[int] = set()
        self.answers: list[str] = []
        self.data_answers: list[str] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any
    ) -> str:
        if self.answers:
            return self.answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.data_answers:
            return self.data_answers.pop(0)
        self.envelopes.append(envelope)
        self.sessions.add(id(session))
        return "250 OK"

    def mail(self, index: int = -1) -> EmailMessage:
        """One mail as its reader gets it."""
        content = self.envelopes[index].content
        assert isinstance(content, bytes)
        parsed = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    def mails(self) -> list[EmailMessage]:
        """All mails, in the order of their arrival."""
        return [self.mail(index) for index in range(len(self.envelopes))]

    def to(self, address: str) -> list[EmailMessage]:
        """The mails to *address*, in the order of their arrival."""
        taken = enumerate(list(self.envelopes))
        return [self.mail(index) for index, one in taken if one.rcpt_tos == [address]]


class _Controller(Controller):
    """Hangs up on whoever is still there at the end."""

    def __init__(self, sink: Sink, **options: Any) -> None:
        self._made: list[Any] = []
        super().__init__(sink, **options)

    def factory(self) -> SMTP:
        self._made.append(super().factory())  # type: ignore[no-untyped-call]
        return self._made[-1]  # type: ignore[no-any-return]

    def stop(self, no_assert: bool = False) -> None:
        asyncio.run_coroutine_threadsafe(self._hang_up(), self.loop).result(30)
        super().stop(no_assert)

    async def _hang_up(self) -> None:
        assert self.server is not None
        # Python 3.11 waits for the connections only if it is asked before the server is closed.
        closed = asyncio.ensure_future(self.server.wait_closed())
        await asyncio.sleep(0)
        self.server.close()
        for made in self._made:
            if made.transport is not None:
                made.transport.abort()
        with suppress(TimeoutError):  # It may lose count of those that ended in TLS.
            await asyncio.wait_for(closed, 2)


@contextmanager
def serving(sink: Sink, port: int | None = None, **options: Any) -> Iterator[int]:
    """A real SMTP server on *port* of this machine, or a free one."""
    port = port or free_port()
    controller = _Controller(sink, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


@contextmanager
def scripted(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that says what *talk* says to each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    talk(connection)
                except OSError:
                    continue

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.close()


def text_of(mail: EmailMessage) -> str:
    """The plain text of *mail*."""
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def link_in(mail: EmailMessage, page: str = "nueva") -> str:
    """The path of the first link to *page* in *mail*; empty if there is none."""
    found = re.search(rf"/{page}/\S+", text_of(mail))
    return found[0] if found else ""
