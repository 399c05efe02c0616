"""One request to the public address, as a visitor makes it, or as somebody who forges."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from reset import mirror
from reset.doctor import Case

TIMEOUT_SECONDS = 10
HTTP_PORT = 80
FORGED_HOST = "forged.invalid"  # A name that nobody has. Source: RFC 6761.
_LONGEST = 500_000


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        seen: what the service saw of us; None if it was not the service that answered.
        here: our own address on the way there.
        certificate: of the server, as `getpeercert` tells it; empty without TLS.
    """

    status: int
    headers: list[tuple[str, str]]
    body: str
    seen: Mapping[str, str] | None
    here: str
    certificate: Mapping[str, object]

    def all(self, name: str) -> list[str]:
        """The values of a header, which may be there several times."""
        return [value for given, value in self.headers if given.lower() == name.lower()]

    def first(self, name: str) -> str:
        """The value of a header, or ""."""
        return next(iter(self.all(name)), "")


def visit(
    case: Case,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    in_clear: bool = False,
) -> Reply:
    """Ask for *path* at the host of RESET_PUBLIC_URL; redirects are not followed.

    Raises:
        OSError: it cannot be reached, or its certificate is not good.
        http.client.HTTPException: what answered does not speak HTTP.
    """
    url = urlsplit(case.settings.public_url)
    asked = mirror.question(
        case.settings.secret_keys, case.settings.public_url, now=case.parts.clock()
    )
    port = HTTP_PORT if in_clear else url.port
    line = _line(url.hostname or "", port, in_clear=in_clear or url.scheme == "http")
    try:
        line.connect()
        certificate = line.sock.getpeercert() if isinstance(line.sock, ssl.SSLSocket) else {}
        here = str(line.sock.getsockname()[0])
        given = {"Host": url.netloc, mirror.QUESTION: asked, **(headers or {})}
        line.request(method, path, body, given)
        answer = line.getresponse()
        seen = answer.getheader(mirror.ANSWER)
        text = answer.read(_LONGEST).decode("utf-8", "replace")
        return Reply(
            answer.status,
            answer.getheaders(),
            text,
            json.loads(seen) if seen else None,
            here,
            certificate or {},
        )
    finally:
        line.close()


def _line(host: str, port: int | None, *, in_clear: bool) -> http.client.HTTPConnection:
    if in_clear:
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=context)
