"""Logs: one JSON line an event, and never a secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path

import pytest
from flask import Flask

from reset.errors import MailRefused
from reset.logs import JsonLines, take_over
from tests.conftest import ADDRESS, KEY, NEW_PASSWORD, Portal, Visitor


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Everything that any logger writes, at DEBUG."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logging.getLogger("reset").setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)


def test_one_line_an_event(lines: io.StringIO) -> None:
    """Control characters are escaped; a forged line stays within its own."""
    logging.getLogger("reset.x").info("event", extra={"said": "a\r\n[INFO] forged\x1b[31m\u2028"})
    (line,) = lines.getvalue().splitlines()
    assert json.loads(line)["event"] == "event"
    assert "\x1b" not in line


def test_web_servers_log_is_masked() -> None:
    """What the web server says of a request is kept, but no link and nothing it quotes."""
    stream = io.StringIO()
    logger = logging.getLogger("some.web.server")
    logger.addHandler(logging.StreamHandler(stream))
    take_over("some.web.server", "plain", UTC)
    logger.warning("Error handling request %s", "GET /a/nueva/abc.def-ghi /no-fui-yo/xyz")
    logger.warning("Invalid request from ip=::1: Invalid HTTP method: %r", f"a={NEW_PASSWORD}")
    assert [line.partition("warning ")[2] for line in stream.getvalue().splitlines()] == [
        "Error handling request GET /a/nueva/- /no-fui-yo/-",
        "Invalid request from ip=::1: Invalid HTTP method: ",
    ]


def test_exception_text_is_left_out(lines: io.StringIO) -> None:
    """Of an exception the class and the place are written; its text may quote a secret."""
    try:
        raise ValueError(NEW_PASSWORD)
    except ValueError:
        logging.getLogger("reset.x").exception("event")
    line = json.loads(lines.getvalue())
    assert line["exception"] == "ValueError"
    assert "test_logs.py" in line["at"][0]
    assert NEW_PASSWORD not in lines.getvalue()


def test_no_secret_reaches_a_log(
    visitor: Visitor,
    portal: Portal,
    ana: int,
    lines: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A whole reset with faults, at DEBUG: no address, token, captcha, password or key."""
    challenge = visitor.challenge()
    visitor.ask(challenge=challenge)
    visitor.sender.failures = [
        MailRefused(f"550 <{ADDRESS}> unknown"),
        RuntimeError(ADDRESS),  # type: ignore[list-item]
    ]
    visitor.ask()
    visitor.run_worker()
    link = visitor.link()
    visitor.set_password(link, "Colombia2026")
    with monkeypatch.context() as patch:
        patch.setattr(visitor.parts.bearer, "open_link", _fail)
        assert visitor.client.get(link).status_code == 500
    with portal.down():
        assert visitor.set_password(link).status_code == 503
    assert visitor.set_password(link).status_code == 303
    visitor.client.get("/", headers={"Host": "evil\x1b.example"})
    log = lines.getvalue()
    token = link.rpartition("/")[2]
    assert "unexpected error" in log
    for secret in (ADDRESS, token, challenge, NEW_PASSWORD, "Colombia2026", KEY):
        assert secret not in log


def _fail(*_: object, **__: object) -> None:
    raise RuntimeError(NEW_PASSWORD)


def test_unexpected_error_is_a_calm_page(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, ana: int
) -> None:
    """No traceback, in Spanish, with the help desk's number."""
    link = visitor.link()
    monkeypatch.setattr(visitor.parts.bearer, "open_link", _fail)
    answer = visitor.client.get(link)
    assert answer.status_code == 500
    assert "Traceback" not in answer.text
    assert "(605) 371 4545" in answer.text


@pytest.mark.parametrize("page", ["nueva", "no"])
def test_template_that_fails_everywhere_tells_no_token(
    make_app: Callable[..., Flask], tmp_path: Path, lines: io.StringIO, page: str
) -> None:
    """An operator's own may break the error pages, too: a sentence is left, with all headers."""
    (tmp_path / "plantillas").mkdir()
    (tmp_path / "plantillas" / "base.html").write_text("{{ brand.nombre.x }}")
    app = make_app(templates=tmp_path / "plantillas")
    answer = app.test_client().get(f"/{page}/t0ken")
    assert answer.text == "Algo falló de nuestro lado"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "error page failed" in lines.getvalue()
    assert "t0ken" not in lines.getvalue()
