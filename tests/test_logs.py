"""Logs: one JSON line an event, and never a secret."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from flask import Flask

from reset.errors import MailDeferred, MailRefused, StoreUnavailable
from reset.logs import JsonLines, PlainLines, take_over
from tests.conftest import ADDRESS, KEY, NEW_PASSWORD, START, Portal, Visitor


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


def test_line_for_people() -> None:
    """The zone's time, then event and fields; what a line could be forged with is escaped."""
    record = logging.makeLogRecord(
        {
            "created": START.timestamp(),
            "levelname": "WARNING",
            "msg": "mail\r\ndeferred\x1b",
            "request": "482109375562",
            "attempt": 2,
            "reason": "a b\n\u2028",
        }
    )
    line = PlainLines(ZoneInfo("America/Bogota")).format(record)
    assert line == (
        r"2026-11-22 10:00:00 warning mail\r\ndeferred\x1b"
        r' request=482109375562 attempt=2 reason="a b\n\u2028"'
    )


def test_libraries_warnings_are_written_as_ours(
    app: Flask, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, without the links, and without the text of an exception."""
    library = logging.getLogger("some.library")
    try:
        raise ValueError(NEW_PASSWORD)
    except ValueError:
        library.warning("gave up on /nueva/t0ken", exc_info=True)
    library.info("talk")
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (line["event"], line["exception"]) == ("gave up on /nueva/-", "ValueError")
    assert NEW_PASSWORD not in str(line)


@pytest.mark.parametrize(("level", "lines"), [("info", 0), ("debug", 2), ("warning", 0)])
def test_requests_are_logged_at_debug_without_their_paths(
    make_app: Callable[..., Flask], capsys: pytest.CaptureFixture[str], level: str, lines: int
) -> None:
    """The rule of a page stands for its path, which may hold a link."""
    client = make_app(log_level=level).test_client()
    for path in ("/nueva/t0ken", "/x/nueva/t0ken"):
        client.get(path)
    log = capsys.readouterr().err
    assert log.count("request done") == lines
    assert log.count('"page": "/nueva/<token>", "status": 410') == bool(lines)
    assert "t0ken" not in log


ID = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("proxies", "given", "taken"),
    [
        (1, ID, True),
        (1, "1b4e28ba-2fa1-11d2-883f-0016d3cca427", True),
        (0, ID, False),
        (1, ID[:15], False),
        (1, ID * 2 + "0", False),
        (1, ID.upper(), False),
        (1, ID + "\u00e9", False),
        (1, "", False),
    ],
)
def test_id_of_a_request_comes_from_a_proxy_or_is_ours(
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    capsys: pytest.CaptureFixture[str],
    proxies: int,
    given: str,
    taken: bool,
) -> None:
    """Every line of a request has it; what a visitor sends as one is not believed."""
    visitor = make_visitor(make_app(trusted_proxies=proxies, log_level="debug"))
    visitor.client.environ_base["HTTP_X_REQUEST_ID"] = given
    visitor.ask()
    written = [json.loads(line)["id"] for line in capsys.readouterr().err.splitlines()]
    assert len(written) == 3
    assert {*written} == {given} if taken else given not in written
    assert all(re.fullmatch("[0-9a-f-]{32,36}", one) for one in written)
    logging.getLogger("reset").warning("outside")
    assert "id" not in json.loads(capsys.readouterr().err)


def test_mails_are_logged_with_the_id_of_their_request(
    visitor: Visitor, ana: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The link with that of the form, the confirmation with that of the new password."""
    link = visitor.link()
    visitor.set_password(link)
    visitor.run_worker()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    ids = {
        line["event"]: [one["id"] for one in lines if one["event"] == line["event"]]
        for line in lines
        if "id" in line
    }
    assert ids["mail sent"] == ids["request stored"] + ids["password changed"]
    assert [*ids["mail sent"]] == [
        event.details["id"]
        for event in visitor.parts.flow.trace(ADDRESS)[0].events
        if event.name in ("requested", "password_changed")
    ]


def test_failed_attempt_is_logged_with_the_id_of_its_request(
    visitor: Visitor, ana: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the worker says of a mail can be found from the visit on."""
    visitor.sender.failures = [MailDeferred("451 later")]
    visitor.ask()
    visitor.run_worker()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines if line.get("id") == lines[0]["id"]] == [
        "request stored",
        "mail deferred",
    ]


@pytest.mark.parametrize("error", [ZeroDivisionError, StoreUnavailable])
def test_error_page_names_the_lines_of_the_log(
    visitor: Visitor,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: type[Exception],
) -> None:
    """The help desk can find what happened to who reads it out."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(visitor.parts.flow, "check_captcha", fail)
    page = visitor.ask().text
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert f"Código: {line['id'][:8]}<" in page
    assert "Código" not in visitor.client.get("/x").text


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
