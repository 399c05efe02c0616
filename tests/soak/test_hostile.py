"""Hostile input over the wire: the real web process gets what no browser would send."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, repeat
from pathlib import Path
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import config
from app import create_app
from reset.captcha import answer
from tests.conftest import (
    ENVIRON,
    KEY,
    NEW_PASSWORD,
    Clock,
    Portal,
    RecordingSender,
    Visitor,
    links_in,
)
from tests.servers import wait_for
from tests.servers.service import Host
from tests.soak.conftest import Note, Rounds
from tests.soak.test_injection import INJECTIONS

MB = 1024 * 1024
NASTY = [text.encode() for text in INJECTIONS]
NASTY += [b"", b" ", b"=", b"&", b".", b"..", b"[]", b".eJx", b"A" * 5_000, b"9" * 400]
NASTY += [b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf", b"%ff%fe"]
HEADERS = (
    b"Host Origin Referer Cookie User-Agent Accept Accept-Language Accept-Encoding Content-Type"
    b" Content-Encoding Sec-Fetch-Site Range If-None-Match If-Modified-Since Authorization"
    b" X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Prefix X-Real-IP Forwarded"
    b" X-Original-URL X-HTTP-Method-Override Sec-Purpose Max-Forwards"
).split()
METHODS = ["GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"]
KINDS = ["urlencoded", "multipart", "json", "text", "raw"]
MIME = {
    "urlencoded": b"application/x-www-form-urlencoded",
    "multipart": b"multipart/form-data; boundary=cut",
    "json": b"application/json",
    "text": b"text/plain;charset=utf-7",
    "raw": b"application/x-www-form-urlencoded",
}
Field = tuple[bytes, bytes]


@dataclass(frozen=True)
class Got:
    """An answer as it came; ``status`` 0 when the line was cut before one."""

    status: int
    head: bytes
    body: bytes
    seconds: float


class Wire:
    """Sends bytes to the web process of *host* and reads the answer to its end."""

    def __init__(self, host: Host, web: int) -> None:
        self.host = host
        self._web = web

    def send(self, parts: Iterable[bytes]) -> Got:
        """One connection for one request; a body may stop being read."""
        start = time.perf_counter()
        said = b""
        with socket.create_connection(("127.0.0.1", self.host.port), 60) as line:
            with suppress(OSError):
                for part in parts:
                    line.sendall(part)
                line.shutdown(socket.SHUT_WR)
            with suppress(OSError):
                while more := line.recv(65_536):
                    said += more
        head, _, body = said.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/1.1 ") else 0
        return Got(status, head, body, time.perf_counter() - start)

    @property
    def memory(self) -> int:
        """Resident bytes of the only worker."""
        status = Path(f"/proc/{self._worker}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) * 1024

    @property
    def cpu(self) -> float:
        """Seconds that the worker has computed."""
        fields = Path(f"/proc/{self._worker}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def _worker(self) -> str:
        children = Path(f"/proc/{self._web}/task/{self._web}/children").read_text().split()
        return children[-1]


class Genuine:
    """Forms and links that the service would accept; new ones take the place of used ones."""

    def __init__(self, visitor: Visitor, portal: Portal) -> None:
        self._visitor = visitor
        self._portal = portal
        self._uses = 0
        self.tokens: list[str] = []
        rules = visitor.app.url_map.iter_rules()
        self.paths = [*sorted({rule.rule for rule in rules}), "/x", "", "*", "//evil.example/"]

    def request(self) -> list[Field]:
        captcha = self._visitor.parts.captcha
        challenge = captcha.issue(now=self._visitor.clock())
        letters = answer(challenge, [KEY])
        return _fields(email="ana@example.com", captcha=letters, challenge=challenge)

    def password(self) -> list[Field]:
        return _fields(token=self._token("nueva"), password=NEW_PASSWORD, confirm=NEW_PASSWORD)

    def denial(self) -> list[Field]:
        return _fields(token=self._token("no-fui-yo"))

    def renew(self) -> None:
        """Another account with a link, now and then: one that was used is dead."""
        self._visitor.clock.now = datetime.now(UTC)
        if self._uses % 40 == 0:
            email = f"ana{self._uses}@example.com"
            self._portal.add(email, email)
            self.tokens.append(self._visitor.link(email).rpartition("/")[2])
        self._uses += 1

    def _token(self, page: str) -> str:
        return links_in(self._visitor.sender.sent[-1], page)[0].rpartition("/")[2]


def _fields(**values: str) -> list[Field]:
    return [(name.encode(), value.encode()) for name, value in values.items()]


nasty = st.one_of(
    st.sampled_from(NASTY),
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
)


@st.composite
def mutated(draw: st.DrawFn, value: bytes) -> bytes:
    """*value* with something put in the place of some of its bytes."""
    start = draw(st.integers(0, 80)) % (len(value) + 1)
    end = start + draw(st.integers(0, 3))
    return value[:start] + draw(nasty) + value[end:]


@st.composite
def changed(draw: st.DrawFn, fields: list[Field]) -> list[Field]:
    """A form in which one field is not as a browser would send it."""
    at = draw(st.integers(0, 5)) % len(fields)
    name, value = fields[at]
    how = draw(st.sampled_from(["drop", "double", "replace", "mutate", "rename", "list", "add"]))
    new = {
        "drop": [],
        "double": [(name, value), (name, draw(nasty))],
        "replace": [(name, draw(nasty))],
        "mutate": [(name, draw(mutated(value)))],
        "rename": [(draw(nasty), value)],
        "list": [(name + b"[]", value)],
        "add": [(name, value), (draw(nasty), draw(nasty)), (b"refresh", b"1")],
    }[how]
    return [*fields[:at], *new, *fields[at + 1 :]]


@st.composite
def requests(draw: st.DrawFn, genuine: Genuine) -> bytes:
    """One request: a good one of which some parts are changed."""
    path, made = draw(
        st.sampled_from(
            [
                (b"/", genuine.request),
                (b"/nueva", genuine.password),
                (b"/no-fui-yo", genuine.denial),
                (b"", genuine.password),
            ]
        )
    )
    fields = made()
    target = path or draw(targets(genuine, fields[0][1]))
    for _ in range(draw(st.integers(0, 2))):
        fields = draw(changed(fields or [(b"", b"")]))
    kind = draw(st.sampled_from(KINDS) if not path else st.sampled_from([*KINDS, *KINDS[:1] * 6]))
    usual = "POST" if path else "GET"
    method = draw(st.sampled_from([*METHODS, *[usual] * 20])).encode()
    body = draw(bodies(fields, kind)) if method not in (b"GET", b"HEAD") else b""
    headers = draw(st.lists(st.tuples(st.sampled_from(HEADERS), nasty), max_size=3))
    names = {name for name, _ in headers}
    if b"Host" not in names:
        headers.append((b"Host", b"localhost"))
    if b"Content-Type" not in names:
        headers.append((b"Content-Type", MIME[kind]))
    if draw(st.integers(0, 9)) == 0:
        headers.append((b"Transfer-Encoding", b"chunked"))
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    else:
        headers.append((b"Content-Length", b"%d" % len(body)))
    if draw(st.integers(0, 19)) == 0:
        body = body[: len(body) // 2]
    lines = [name + b": " + re.sub(rb"[\x00-\x1f\x7f]", b"", value) for name, value in headers]
    head = b"\r\n".join([method + b" " + target + b" HTTP/1.1", b"Connection: close", *lines])
    return head + b"\r\n\r\n" + body


@st.composite
def targets(draw: st.DrawFn, genuine: Genuine, token: bytes) -> bytes:
    """A path of the service, perhaps with a genuine token, and a query."""
    path = draw(st.sampled_from(genuine.paths)).encode()
    part = draw(st.one_of(st.just(token), nasty, mutated(token)))
    raw = draw(st.integers(0, 9)) == 0
    target = re.sub(rb"<[^>]*>", lambda _: part if raw else quote(part).encode(), path)
    query = draw(st.one_of(st.just(b""), nasty))
    return target + (b"?email=" + (query if raw else quote(query).encode()) if query else b"")


@st.composite
def bodies(draw: st.DrawFn, fields: list[Field], kind: str) -> bytes:
    """*fields* as one kind of body."""
    if kind == "multipart":
        as_file = draw(st.integers(0, 5))
        parts = []
        for place, (name, value) in enumerate(fields):
            file = b'; filename="a.txt"\r\nContent-Type: text/html' if place == as_file else b""
            parts.append(
                b'--cut\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
                % (name, file, value)
            )
        return b"".join([*parts, b"--cut--\r\n"])
    if kind == "json":
        values = [value.decode("latin1") for _, value in fields]
        return json.dumps({"email": values, "token": values[:1], "x": None}).encode()
    if kind == "urlencoded":
        return b"&".join(
            quote_from_bytes(name).encode() + b"=" + quote_from_bytes(value).encode()
            for name, value in fields
        )
    return b"&".join(name + b"=" + value for name, value in fields)


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Wire, Genuine]]:
    """One web worker, and a visitor of the same databases."""
    folder = tmp_path_factory.mktemp("hostile")
    environ = {
        "RESET_DATABASE_URL": f"sqlite:///{folder}/reset.sqlite",
        "RESET_ACCOUNTS_URL": f"sqlite:///{folder}/portal.sqlite",
        "RESET_LIMIT_PER_IP": "1000000 per minute",
    }
    portal, clock = Portal(folder / "portal.sqlite"), Clock()
    app = create_app(config.load({**ENVIRON, **environ}, folder), clock=clock)
    visitor = Visitor(app, RecordingSender(app), clock)
    visitor.parts.operators.add("marta", None, now=clock())  # Else the help desk hides.
    with Host(folder, environ, web_workers=1) as host:
        web = host.start(sys.executable, "-m", "gunicorn", "--max-requests", "0")
        wait_for("127.0.0.1", host.port, web)
        yield Wire(host, web.pid), Genuine(visitor, portal)
    app.extensions["reset"].database.close()


def test_generated_requests_are_answered_calmly(
    wire: tuple[Wire, Genuine], rounds: Rounds, figure: Note
) -> None:
    """No request, however it is made, ends in an error of the service, or makes it grow."""
    web, genuine = wire
    statuses: Counter[int] = Counter()
    seconds: list[float] = []
    memory: list[int] = []
    calm = settings(
        max_examples=rounds(250, 20_000),
        derandomize=rounds(1, 0) == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

    @calm
    @given(requests(genuine))
    def ask(request: bytes) -> None:
        got = web.send([request])
        genuine.renew()
        statuses[got.status] += 1
        seconds.append(got.seconds)
        memory.append(web.memory)
        assert 200 <= got.status < 500, got
        assert b"Traceback" not in got.body

    genuine.renew()
    ask()
    log, grown = web.host.log, memory[-1] / memory[len(memory) // 10] - 1
    slow = sorted(seconds)[int(0.99 * len(seconds))] * 1000
    count = f"{sum(statuses.values())}: {dict(sorted(statuses.items()))}"
    figure("hostile input", "generated requests, by status", count, "0 x 5xx")
    figure(
        "hostile input",
        "growth of the web process, p99",
        f"{grown:.1%}, {slow:.0f} ms",
        "< 10%, 200 ms",
    )
    assert "Traceback" not in log
    assert "unexpected error" not in log
    told = [line for line in log.splitlines() if any(token in line for token in genuine.tokens)]
    assert told == []
    assert grown < 0.1


def _sizes() -> Iterator[tuple[str, Iterable[bytes]]]:
    part = b'--cut\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    large = {
        "10 MB body": b"email=" + b"a" * 10 * MB,
        "1 MB field": part % (b"email", b"a" * MB) + b"--cut--\r\n",
        "2000 parts": b"".join(part % (b"f%d" % i, b"x") for i in range(2000)) + b"--cut--\r\n",
        "1 MB password": b"token=x&confirm=x&password=" + b"a" * MB,
        "32000 fields": b"a&" * 32_000,
        "64 KB of a boundary": b"--cut\r\n" + b"\r\n--cu" * 9_000,
    }
    for what, body in large.items():
        kind = MIME["multipart" if b"--cut" in body else "urlencoded"]
        yield what, [_head(b"Content-Length: %d" % len(body), kind), body]
    chunk = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
    yield "endless body", chain([_head(b"Transfer-Encoding: chunked")], repeat(chunk, 20_000))


def _head(length: bytes, kind: bytes = MIME["urlencoded"]) -> bytes:
    lines = [b"POST /nueva HTTP/1.1", b"Host: localhost", b"Content-Type: " + kind, length]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def test_hostile_sizes_cost_little(
    wire: tuple[Wire, Genuine], rounds: Rounds, figure: Note
) -> None:
    """What is too large is refused without being kept or worked on."""
    web, times = wire[0], rounds(1, 20)
    web.send([_head(b"Content-Length: 0")])
    memory, costs = web.memory, {}
    for what, _ in _sizes():
        before = web.cpu
        statuses = {web.send(dict(_sizes())[what]).status for _ in range(times)}
        costs[what] = (web.cpu - before) / times
        assert statuses <= {400, 413}, what
    grown = (web.memory - memory) / MB
    dearest = max(costs, key=lambda what: costs[what])
    figure(
        "hostile input", f"CPU of the dearest size ({dearest})", f"{costs[dearest]:.3f} s", "0.05 s"
    )
    figure("hostile input", "growth of the web process", f"{grown:.1f} MB", "20 MB")
    assert grown < 20


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /nueva/%s HTTP/1.1 x\r\n\r\n", 400),
        (b"<script>\x1b[31m\r[INFO] forged / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n/nueva/%s\x1b[31m\xe2\x80\xa8: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n&token=%s&password=%s\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\ntoken=%s&password=%s\r\n\r\n", 400),
        (b"GET /nueva%%2F%s HTTP/1.1 x\r\n\r\n", 400),
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    ],
    ids=[
        *("version", "words", "method", "NUL", "header name", "body too long", "no header"),
        *("quoted", "long line", "many headers"),
    ],
)
def test_web_server_refuses_what_is_no_request(
    wire: tuple[Wire, Genuine], request_: bytes, status: int
) -> None:
    """Its own errors name no version, echo nothing that lives, and leave no link in the log."""
    web, genuine = wire
    genuine.renew()
    token = genuine.tokens[-1]
    got = web.send([request_.replace(b"%s", token.encode())])
    assert got.status == status
    assert b"gunicorn/" not in got.head
    assert b"<script>" not in got.body
    assert token not in web.host.log
    assert "\x1b" not in web.host.log
    assert not re.search("^.INFO. forged", web.host.log, re.MULTILINE)


def test_banner_names_no_version(wire: tuple[Wire, Genuine]) -> None:
    """Who looks for a known hole learns no version of anything."""
    got = wire[0].send([_head(b"Content-Length: 0")])
    assert re.findall(rb"(?mi)^(?:server|x-powered-by|via):\s*(.*?)\r?$", got.head) == [b"gunicorn"]
