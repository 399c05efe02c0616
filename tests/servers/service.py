"""The service itself as its operator runs it: hosts with web and worker processes of their own."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

import config
from app import create_app
from reset.captcha import answer
from tests.conftest import ADDRESS, ENVIRON, KEY, NEW_PASSWORD
from tests.servers import free_port, wait_for

ROOT = Path(__file__).parents[2]
_SETTINGS = ENVIRON | {
    "FLASK_SKIP_DOTENV": "1",
    "RESET_LIMIT_PER_IP": "100000 per minute",
    "RESET_MAIL_SERVER": "127.0.0.1",
}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass
class Answer:
    """What a visitor got; ``status`` 0 when the line broke before there was an answer."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str = ""

    @property
    def location(self) -> str:
        """Where a redirect leads, without the host."""
        found = dict(self.headers).get("Location", "")
        return re.sub(r"^https?://[^/]*", "", found)


class Client:
    """A visitor over HTTP on one kept-alive connection; ``keys`` solve the captchas."""

    def __init__(self, port: int, keys: Sequence[str] = (KEY,), timeout: float = 30) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self._keys = keys

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self._talk("GET", path, None, headers or {})

    def post(self, path: str, headers: Mapping[str, str] | None = None, **fields: str) -> Answer:
        return self._talk("POST", path, urlencode(fields), {**FORM, **(headers or {})})

    def ask(self, email: str = ADDRESS, headers: Mapping[str, str] | None = None) -> Answer:
        """Open the form, read the letters with the key, and send it."""
        page = self.get("/", headers)
        found = re.search(r'name="challenge" value="([^"]+)"', page.body)
        if found is None:
            return page
        letters = answer(found[1], self._keys)
        return self.post("/", headers, email=email, challenge=found[1], captcha=letters)

    def set_password(self, link: str, password: str = NEW_PASSWORD) -> Answer:
        """Send the form behind *link*, a path `/nueva/...`."""
        token = link.rpartition("/")[2]
        return self.post("/nueva", token=token, password=password, confirm=password)

    def close(self) -> None:
        self._connection.close()

    def _talk(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Answer:
        try:
            self._connection.request(method, path, body, dict(headers))
            got = self._connection.getresponse()
            return Answer(got.status, got.getheaders(), got.read().decode("utf-8", "replace"))
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return Answer(0)


class Host:
    """One machine: a web port, its processes, and the log of both in *folder*.

    Args:
        folder: for the log; must exist.
        environ: settings beside those of `ENVIRON`, such as the addresses of the stores.
        root: where the code is.
    """

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str],
        *,
        web_workers: int = 2,
        root: Path = ROOT,
    ) -> None:
        self._root = root
        self.port = free_port()
        self.log_path = folder / f"host-{self.port}.log"
        self.environ = {
            **{"PATH": os.environ.get("PATH", ""), "PORT": str(self.port)},
            **{"WEB_CONCURRENCY": str(web_workers), "RUNTIME_DIRECTORY": str(folder)},
            **_SETTINGS,
            **environ,
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in list(self.processes):
            self.kill(process)

    def start_web(self) -> subprocess.Popen[bytes]:
        """gunicorn, answering."""
        web = self.start(sys.executable, "-m", "gunicorn")
        wait_for("127.0.0.1", self.port, web)
        self.wait_for_web()  # One killed a moment ago may have taken the connection above.
        return web

    def wait_for_web(self) -> None:
        """Return once the web answers."""
        client = self.client()
        until(lambda: client.get("/healthz").status == 200)
        client.close()

    def web_children(self, web: subprocess.Popen[bytes]) -> list[int]:
        """The processes that answer for *web*; gunicorn starts others in their place."""
        children = Path(f"/proc/{web.pid}/task/{web.pid}/children")
        return [int(child) for child in children.read_text().split()]

    def start_worker(self) -> subprocess.Popen[bytes]:
        """A mail worker; it may not have begun yet."""
        return self.start(sys.executable, "-m", "flask", "--app", "app", "reset", "worker")

    def start(
        self, *command: str, pass_fds: Sequence[int] = (), **environ: str
    ) -> subprocess.Popen[bytes]:
        """Any process with the host's settings, in a process group of its own."""
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self._root,
                env=self.environ | environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        self.processes.append(process)
        return process

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command of the operator, with the host's settings, until it ends."""
        return subprocess.run(
            command, cwd=self._root, env=self.environ, capture_output=True, text=True, check=False
        )

    def kill(self, process: subprocess.Popen[bytes], how: int = signal.SIGKILL) -> None:
        """Send a signal to *process* and its children; waits for the end of it."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        process.wait(120)
        self.processes.remove(process)
        if how == signal.SIGKILL:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def client(self) -> Client:
        """A visitor of this host."""
        return Client(self.port)

    @property
    def log(self) -> str:
        """What all processes of the host have said."""
        return self.log_path.read_text("utf-8", "replace")


def until(what: Callable[[], object], seconds: float = 180) -> None:
    """Wait until *what* is true; fails after *seconds*."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s")
        time.sleep(0.05)


def settings(environ: Mapping[str, str]) -> config.Settings:
    """Those of a host with *environ*."""
    return config.load({**_SETTINGS, **environ}, ROOT)


def work_off(environ: Mapping[str, str], ahead: timedelta) -> None:
    """A worker on a host whose clock is *ahead* does all that is due then."""
    app = create_app(settings(environ), clock=lambda: datetime.now(UTC) + ahead)
    worker = app.extensions["reset"].make_worker()
    with app.app_context():
        for _ in range(10):  # Claims are settled by and by.
            while worker.run_once():
                pass
            worker.housekeeping()
    stopped = threading.Event()
    stopped.set()
    worker.run(stopped)
    app.extensions["reset"].database.close()
