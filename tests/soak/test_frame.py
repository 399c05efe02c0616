"""The form in a frame on the portal's page, which is another site."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from playwright.sync_api import Browser, expect
from werkzeug.serving import make_server

from reset.captcha import answer
from tests.conftest import KEY
from tests.servers import free_port
from tests.soak.conftest import Note, Rounds


@pytest.fixture
def portal_url(make_app: Callable[..., Flask]) -> Iterator[str]:
    """A page at 127.0.0.1 that frames the service at localhost: for a browser, another site."""
    service, portal = free_port(), free_port()
    app = make_app(
        public_url=f"http://localhost:{service}",
        frame_ancestors=(f"http://127.0.0.1:{portal}",),
        limit_per_ip="100000 per minute",
    )
    page = Flask("portal")
    framing = f'<link rel="icon" href="data:,"><iframe src="http://localhost:{service}/"></iframe>'
    page.add_url_rule("/", view_func=lambda: framing, endpoint="page")
    servers = [
        make_server("127.0.0.1", *one, threaded=True) for one in ((service, app), (portal, page))
    ]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    yield f"http://127.0.0.1:{portal}/"
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()


def test_form_is_sent_from_a_frame_of_another_site(
    portal_url: str, browser: Browser, rounds: Rounds, figure: Note
) -> None:
    """Each visitor with a fresh profile gets the answer; the console stays silent."""
    complaints: list[str] = []
    answered = 0
    for number in range(rounds(1, 50)):
        context = browser.new_context(locale="es-CO")
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(portal_url)
        frame = page.frame_locator("iframe")
        challenge = frame.locator("input[name=challenge]").input_value()
        frame.get_by_label("Email").fill(f"p{number}@example.com")
        frame.get_by_label("Captcha").fill(answer(challenge, [KEY]))
        frame.get_by_role("button", name="Enviar Solicitud").click()
        expect(frame.get_by_role("heading", level=1)).to_have_text("Solicitud recibida")
        answered += 1
        context.close()
    figure("5 no cookie", "forms answered in a frame of another site, Chromium", answered, "50")
    assert complaints == []
