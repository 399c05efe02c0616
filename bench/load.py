"""Visitors that cost little: kept-alive sockets and requests whose bytes are made beforehand."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import quote_plus

from reset.captcha import answer

# What a browser in Colombia sends.
_BROWSER = (
    "Host: localhost\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: es-CO,es;q=0.8,en-US;q=0.5,en;q=0.3\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHALLENGE = re.compile(rb'name="challenge" value="([^"]+)"')
_SENT_CHALLENGE = re.compile(rb"challenge=([^&]+)")
NEW_PASSWORD = "Frailejon-2026"  # noqa: S105 - of people who are made up


class Line:
    """One kept-alive connection, one request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._got = b""
        self._length = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def ask(self, request: bytes) -> bytes:
        """Send *request*; head and body of the answer."""
        self.send(request)
        while (got := self.receive()) is None:
            pass
        return got

    def send(self, request: bytes) -> None:
        self._got, self._length = b"", -1
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """One read; the answer, once it is whole.

        Raises:
            ConnectionError: the server hung up.
        """
        chunk = self.socket.recv(262_144)
        if not chunk:
            raise ConnectionError("the server hung up")
        self._got += chunk
        if self._length < 0 and (end := self._got.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self._got, 0, end + 2)
            self._length = end + 4 + int(found[1] if found else 0)
        return self._got if 0 <= self._length <= len(self._got) else None


@dataclass(frozen=True)
class Run:
    """How a closed loop went: all of it in seconds, and each answer in milliseconds."""

    seconds: float
    latencies: list[float]

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds


def get(path: str) -> bytes:
    """A GET as a browser sends it."""
    return f"GET {path} HTTP/1.1\r\n{_BROWSER}\r\n".encode()


def post(path: str, **fields: str) -> bytes:
    """A form as a browser sends it."""
    body = "&".join(f"{name}={quote_plus(value)}" for name, value in fields.items())
    return (
        f"POST {path} HTTP/1.1\r\n{_BROWSER}"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def new_password(token: str) -> bytes:
    """The form behind the link with *token*, ready to be sent."""
    return post("/nueva", token=token, password=NEW_PASSWORD, confirm=NEW_PASSWORD)


def challenge_of(form: bytes) -> str:
    """The challenge of one of `forms`."""
    found = _SENT_CHALLENGE.search(form)
    if found is None:
        raise RuntimeError("the form has no challenge")
    return found[1].decode()


def forms(port: int, addresses: Iterable[str], keys: Sequence[str]) -> list[bytes]:
    """A request for each of *addresses*, ready to be sent, each with a challenge of its own."""
    made = []
    with Line(port) as line:
        for address in addresses:
            found = _CHALLENGE.search(line.ask(get("/")))
            if found is None:
                raise RuntimeError("the form has no challenge")
            challenge = found[1].decode()
            fields = {"challenge": challenge, "proof": "", "email": address}
            made.append(post("/", **fields, captcha=answer(challenge, keys)))
    return made


def closed_loop(
    port: int, requests: Sequence[bytes], *, connections: int, expect: bytes = b"303"
) -> Run:
    """Send all *requests*; each connection sends its next one when its last was answered.

    Raises:
        RuntimeError: an answer had another status.
    """
    waiting = iter(requests)
    sent_at: dict[Line, float] = {}
    latencies: list[float] = []
    lines = [Line(port) for _ in requests[:connections]]
    clock = time.perf_counter
    with selectors.DefaultSelector() as selector:
        begun = clock()
        for line, request in zip(lines, waiting, strict=False):
            selector.register(line.socket, selectors.EVENT_READ, line)
            sent_at[line] = clock()
            line.send(request)
        while len(latencies) < len(requests):
            for key, _ in selector.select(60):
                line = key.data
                got = line.receive()
                if got is None:
                    continue
                latencies.append((clock() - sent_at[line]) * 1000)
                if got[9:12] != expect:
                    raise RuntimeError(f"not accepted: {got[:200]!r}")
                if following := next(waiting, None):
                    sent_at[line] = clock()
                    line.send(following)
                else:  # The server would soon close it, too.
                    selector.unregister(line.socket)
                    line.socket.close()
        seconds = clock() - begun
    return Run(seconds, latencies)
