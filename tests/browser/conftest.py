"""A real Chromium on the real demo: portal, mailbox, web and worker, as `make run` starts them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Frame, Page, expect
from werkzeug.serving import WSGIRequestHandler, make_server

from demo.run import OPERATOR, OPERATOR_PASSWORD
from reset.captcha import answer

ROOT = Path(__file__).parent.parent.parent
PORTS = (5000, 5001, 8025, 1025)
READY = "  Ctrl-C ends everything.\n"
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 800}
CLAUDIA = "claudia.herrera@example.org"


expect.set_options(timeout=15_000)  # A busy machine is slow, not wrong.


@dataclass(frozen=True)
class Demo:
    """Where the running demo is."""

    portal: str
    service: str
    mailbox: str
    keys: list[str]
    instance: Path

    def letters(self, page: Page | Frame) -> str:
        """The answer to the captcha on *page*, for whoever holds the key."""
        challenge = page.locator("input[name=challenge]").input_value()
        return answer(challenge, self.keys)


@contextmanager
def running_demo(instance: Path, accounts: Mapping[str, str] | None = None) -> Iterator[Demo]:
    """`make run` on free ports, with everything that it stores in *instance*.

    *accounts* are settings for another source of accounts than the demo portal's.
    """
    offset = _free_offset()
    command = [sys.executable, "-m", "demo.run", f"--offset={offset}", f"--instance={instance}"]
    # The whole session is one client; the limits stay on, only wider.
    environ = os.environ | {"RESET_LIMIT_PER_IP": "3000 per minute"} | dict(accounts or {})
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as runner:
        assert runner.stdout is not None
        said = list(takewhile(lambda line: line != READY, runner.stdout))
        if not said or runner.poll() is not None:
            raise RuntimeError("the demo did not start:\n" + "".join(said))
        try:
            yield Demo(
                portal=f"http://127.0.0.1:{5001 + offset}",
                service=f"http://localhost:{5000 + offset}",
                mailbox=f"http://localhost:{8025 + offset}",
                keys=(instance / "secret_keys").read_text().strip().split(","),
                instance=instance,
            )
        finally:
            runner.send_signal(signal.SIGINT)
            ended = runner.wait(20)
    assert ended == 0
    for port in PORTS:
        assert not _answers(port + offset), "Ctrl-C left a process behind"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


def _free_offset() -> int:
    # Several processes test at once: each looks in a range of its own.
    first = 300 + 2000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for offset in range(first, first + 2000, 10):
        if not any(_answers(port + offset) for port in PORTS):
            return offset
    raise RuntimeError("no free ports")


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


Opener = Callable[..., BrowserContext]


@pytest.fixture
def new_context(browser: Browser) -> Iterator[Opener]:
    """A fresh profile (third-party cookies blocked) whose console must stay silent."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def note(kind: str, text: str) -> None:
        if kind == "error":
            complaints.append(text)

    def open_context(*, quiet: bool = True, **options: Any) -> BrowserContext:
        context = browser.new_context(**{"viewport": DESKTOP, "locale": "es-CO", **options})
        context.set_default_timeout(15_000)
        contexts.append(context)
        if quiet:
            context.on("console", lambda message: note(message.type, message.text))
            context.on("weberror", lambda error: note("error", str(error.error)))
        return context

    yield open_context
    for context in contexts:
        context.close()
    assert complaints == []


class _Silent(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        """Nothing: what the browser got is what counts."""


Hosted = Callable[..., str]


@pytest.fixture
def hosted() -> Iterator[Hosted]:
    """Serves an app of this process on a free port, unless one is given; its address."""
    with ExitStack() as stack:

        def host(app: Flask, port: int = 0) -> str:
            server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_Silent)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(server.server_close)
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"http://localhost:{server.port}"

        yield host


@pytest.fixture
def stranger(hosted: Hosted) -> str:
    """A site of somebody else's, with nothing on it."""
    site = Flask("stranger")
    site.add_url_rule("/", view_func=lambda: '<!doctype html><link rel="icon" href="data:,"><body>')
    return hosted(site).replace("localhost", "127.0.0.1")


@contextmanager
def mail_of(context: BrowserContext, demo: Demo, email: str, subject: str) -> Iterator[Page]:
    """The newest mail to *email*, open in the mailbox's web view."""
    page = context.new_page()
    page.goto(demo.mailbox)
    page.locator("a").filter(has_text=email).filter(has_text=subject).first.click()
    yield page
    page.close()


def ask_for_link(demo: Demo, page: Page | Frame, email: str) -> None:
    """Fill in the form that is open on *page* and send it."""
    page.get_by_label("Email").fill(email)
    page.get_by_label("Captcha").fill(demo.letters(page))
    page.get_by_role("button", name="Enviar Solicitud").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Solicitud recibida")


def link_in_mail(context: BrowserContext, demo: Demo, email: str) -> str:
    """The address behind the button of the newest reset mail to *email*."""
    with mail_of(context, demo, email, "Restablecimiento") as page:
        frame = page.frame_locator("iframe")
        button = frame.get_by_role("link", name=re.compile("^Restablecer Contraseña$")).first
        return str(button.get_attribute("href"))


def sign_in(demo: Demo, page: Page) -> None:
    """Enter the help desk as the demo's operator."""
    page.goto(f"{demo.service}/ayuda/")
    page.get_by_label("Usuario").fill(OPERATOR)
    page.get_by_label("Contraseña").fill(OPERATOR_PASSWORD)
    page.get_by_role("button", name="Entrar").click()
    expect(page).to_have_url(f"{demo.service}/ayuda/")


@pytest.fixture(scope="session")
def links(demo: Demo, browser: Browser) -> Iterator[dict[str, str]]:
    """A live link and a "no fui yo" link of Claudia's, and the cookie of an operator."""
    context = browser.new_context(locale="es-CO")
    page = context.new_page()
    page.goto(demo.service)
    ask_for_link(demo, page, CLAUDIA)
    live = link_in_mail(context, demo, CLAUDIA)
    with mail_of(context, demo, CLAUDIA, "Restablecimiento") as mail:
        deny = mail.locator("pre a[href*='no-fui-yo']").get_attribute("href")
    sign_in(demo, page)
    (cookie,) = context.cookies()
    yield {"live": live, "deny": str(deny), "operator": cookie["value"]}
    context.close()
