"""Asks a running service, from outside, for a known and for an unknown address in random order.

POST goes over one kept-alive connection; right after it another one opens the form, as the next
visitor would. Whatever else happens on the machines falls on both addresses alike.
"""

from __future__ import annotations

import gc
import http.client
import random
import re
import select
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from time import perf_counter_ns
from urllib.parse import SplitResult, urlencode, urlsplit

from reset.errors import BadToken, Unmeasurable
from reset.uniformity import KNOWN, NEXT, PLANTED, PLANTED_US, POST, UNKNOWN, Samples

PAGES = 200  # So many pages behind the answers are compared for each address.
BLOCK = 50
WARM_UP = 10
TIMEOUT_SECONDS = 30
_CHALLENGE = re.compile(r'name="challenge" value="([^"]+)" data-work="([^"]+)"')
_MOVING = {"Date", "Connection"}  # gunicorn ends a connection after so many requests.
_LIMITED = (
    "the limit per client was reached (429): for the time of the proof, start the service with"
    " RESET_LIMIT_PER_IP='1000000 per hour'"
)


def measure(url: str, known: str, unknown: str, n: int, solve: Callable[[str], str]) -> Samples:
    """Ask *n* times for each address; *solve* reads the letters of a challenge.

    Raises:
        Unmeasurable: the service does not answer, or refuses both addresses.
    """
    parts = urlsplit(url)
    samples = Samples()
    with closing(_Line(parts)) as line, closing(_Line(parts)) as next_line, _no_collection():
        visit = _Visit(line, next_line, {KNOWN: known, UNKNOWN: unknown}, solve, samples)
        for label in [KNOWN, UNKNOWN] * WARM_UP:
            visit.ask(label)
        while (done := sum(len(block[POST, KNOWN]) for block in samples.blocks)) < n:
            # Never a block of one request, which would have no variance.
            size = n - done if n - done < 2 * BLOCK else BLOCK
            plan = [(KNOWN, ""), (UNKNOWN, "")] * size
            plan += [(UNKNOWN, POST), (UNKNOWN, NEXT)] * max(2, size // 5)
            random.shuffle(plan)
            block = samples.block()
            for label, planted in plan:
                for what, microseconds in visit.ask(label, planted).items():
                    if planted in ("", what):
                        block[what, PLANTED if planted else label].append(microseconds)
    return samples


@dataclass(frozen=True)
class _Answer:
    status: int
    reason: str
    headers: Sequence[tuple[str, str]]
    body: str
    microseconds: float

    def masked(self, *drawn: str) -> str:
        """All of it but *drawn*, the number, or challenge and work, that differ each time."""
        lines = [f"{n}: {'...' if n in _MOVING else value}" for n, value in self.headers]
        whole = "\n".join([f"{self.status} {self.reason}", *lines, self.body])
        for text in drawn:
            whole = whole.replace(text, "...")
        return whole


class _Visit:
    """A visitor who asks again and again, and the next one, who opens the form after each."""

    def __init__(
        self,
        line: _Line,
        next_line: _Line,
        addresses: Mapping[str, str],
        solve: Callable[[str], str],
        samples: Samples,
    ) -> None:
        self._line = line
        self._next_line = next_line
        self._addresses = addresses
        self._solve = solve
        self._answers = samples.answers
        self._refused: set[str] = set()
        self._pages: Counter[str] = Counter()
        self._challenge, _ = self._open_form(UNKNOWN)

    def ask(self, label: str, planted: str = "") -> dict[str, float]:
        """Ask once; the microseconds of each request, that of *planted* made longer."""
        try:
            letters = self._solve(self._challenge)
        except BadToken as error:
            raise Unmeasurable("the settings here have another key than the service") from error
        form = {"email": self._addresses[label], "challenge": self._challenge, "captcha": letters}
        post = self._line.request("POST", self._line.form, urlencode(form), planted == POST)
        self._challenge, next_time = self._open_form(label, planted == NEXT)
        location = dict(post.headers).get("Location", "")
        number = location.rpartition("/")[2] or "..."
        self._answers[POST][label][post.masked(number)] += 1
        if post.status != 303:
            self._refuse(label, post.status)
        elif self._pages[label] < PAGES:
            self._pages[label] += 1
            page = self._line.request("GET", urlsplit(location).path)
            self._answers["page"][label][page.masked(number)] += 1
        return {POST: post.microseconds, NEXT: next_time}

    def _open_form(self, label: str, planted: bool = False) -> tuple[str, float]:
        form = self._next_line.request("GET", self._line.form, planted=planted)
        found = _CHALLENGE.search(form.body)
        if not found:
            raise Unmeasurable(f"there is no form at {self._line.form} (status {form.status})")
        self._answers["form"][label][form.masked(*found.groups())] += 1
        return found[1], form.microseconds

    def _refuse(self, label: str, status: int) -> None:
        """A refusal of one address tells them apart; of both, it says nothing."""
        self._refused.add(label)
        if self._refused == {KNOWN, UNKNOWN}:
            raise Unmeasurable(_LIMITED if status == 429 else f"POST is answered with {status}")


class _Line:
    """One connection, opened anew when the server closed it; its first requests do not count."""

    def __init__(self, parts: SplitResult) -> None:
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        try:
            # It sets TCP_NODELAY itself.
            self._http = kinds[parts.scheme](parts.netloc, timeout=TIMEOUT_SECONDS)
        except (KeyError, http.client.InvalidURL) as error:
            raise Unmeasurable(f"{parts.geturl()} is no http:// or https:// address") from error
        self.form = parts.path.rstrip("/") + "/"

    def request(
        self, method: str, path: str, body: str | None = None, planted: bool = False
    ) -> _Answer:
        try:
            try:
                return self._kept_alive(method, path, body, planted)
            except ConnectionError:
                # The server ended the connection, perhaps while this was on its way.
                self._http.close()
                return self._kept_alive(method, path, body, planted)
        except (OSError, http.client.HTTPException) as error:
            raise Unmeasurable(f"the service does not answer ({error!r})") from error

    def close(self) -> None:
        self._http.close()

    def _kept_alive(self, method: str, path: str, body: str | None, planted: bool) -> _Answer:
        if self._http.sock is None:
            self._http.connect()
            for _ in range(3):
                self._timed("GET", self.form, None, False)
        return self._timed(method, path, body, planted)

    def _timed(self, method: str, path: str, body: str | None, planted: bool) -> _Answer:
        """From sending to the first byte received; the planted delay comes after that."""
        self._http.putrequest(method, path)
        if body:
            self._http.putheader("Content-Type", "application/x-www-form-urlencoded")
            self._http.putheader("Content-Length", str(len(body)))
        # Not after sending: on a busy machine the answer may be there before the clock is read.
        start = perf_counter_ns()
        self._http.endheaders(body.encode() if body else None)
        if not select.select([self._http.sock], [], [], TIMEOUT_SECONDS)[0]:
            raise TimeoutError
        until = perf_counter_ns() + PLANTED_US * 1000 * planted
        while perf_counter_ns() < until:
            pass
        microseconds = (perf_counter_ns() - start) / 1000
        got = self._http.getresponse()
        body = got.read().decode("utf-8", "replace")
        return _Answer(got.status, got.reason, got.getheaders(), body, microseconds)


@contextmanager
def _no_collection() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
