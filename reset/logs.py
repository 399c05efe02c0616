"""Logs: one line an event, as JSON in UTC or plain for people, with the id of its request.

Of an exception only its class and where it was raised are written: its text may quote an
address, a token or a password.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, tzinfo
from typing import Any

FORMATS = ("json", "plain")
LEVELS = ("info", "debug", "warning")
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_ID = re.compile(r"[0-9a-f-]{16,64}")
_WORD = re.compile(r"[\w.:/@+-]+", re.ASCII)
_id: ContextVar[str] = ContextVar("id", default="")


def current_id() -> str:
    """The id of the request that is being served, or whose mail is being sent; or nothing."""
    return _id.get()


def of_request() -> dict[str, str]:
    """`current_id` as a detail of what is kept with a request; empty where there is none."""
    return {"id": current_id()} if current_id() else {}


@contextmanager
def carrying(request_id: str) -> Iterator[None]:
    """All lines written in the block are of this request."""
    token = _id.set(request_id)
    try:
        yield
    finally:
        _id.reset(token)


class RequestIds:
    """Gives every request that a WSGI application serves an id, or takes that of a proxy.

    Args:
        trusted: whether a proxy stands in front, which sets the header anew for each request.
    """

    def __init__(self, app: Callable[..., Iterable[bytes]], *, trusted: bool) -> None:
        self._app = app
        self._trusted = trusted

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID", "") if self._trusted else ""
        with carrying(given if _ID.fullmatch(given) else secrets.token_hex(16)):
            return self._app(environ, start_response)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON; control characters come out escaped."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        return json.dumps(line | _fields(record), default=str)


class PlainLines(logging.Formatter):
    """Formats a record for people: the time in *zone*, the event, and its fields."""

    def __init__(self, zone: tzinfo) -> None:
        super().__init__()
        self._zone = zone

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, self._zone).strftime("%Y-%m-%d %H:%M:%S")
        event = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in record.getMessage())
        fields = [f"{name}={_word(value)}" for name, value in _fields(record).items()]
        return " ".join([time, record.levelname.lower(), event, *fields])


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = {name: value for name, value in vars(record).items() if name not in _OWN}
    if current_id():
        fields["id"] = current_id()
    if record.exc_info and record.exc_info[0]:
        frames = traceback.extract_tb(record.exc_info[2])
        fields["exception"] = record.exc_info[0].__name__
        fields["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-6:]]
    return fields


def _word(value: object) -> str:
    text = str(value)
    return text if _WORD.fullmatch(text) else json.dumps(value, default=str)


def formatter(form: str, zone: tzinfo) -> logging.Formatter:
    """What writes lines in the *form* of that name; times of plain ones are in *zone*."""
    return PlainLines(zone) if form == "plain" else JsonLines()


class _Output(logging.Handler):
    """Ours among the handlers of the root logger: writes to what is standard error then."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


def configure(form: str = "json", level: str = "info", *, zone: tzinfo = UTC) -> None:
    """Send log lines to standard error; the last call counts.

    *level* is that of our own lines. Of libraries only warnings are written, in the same form.
    """
    root = logging.getLogger()
    outputs = [one for one in root.handlers if isinstance(one, _Output)]
    if not outputs:
        outputs = [_Output()]
        outputs[0].addFilter(_MaskLinks())
        root.addHandler(outputs[0])
    outputs[0].setFormatter(formatter(form, zone))
    logging.getLogger("reset").setLevel(level.upper())


_LINKS = re.compile(r"/(nueva|no-fui-yo)/[^\s'\"?]+")
# A body that is longer than announced is read as the next request: it may hold a password.
_QUOTED = re.compile(r"^(Invalid request[^'\"]*).*", re.DOTALL)


class _MaskLinks(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        said = _LINKS.sub(r"/\1/-", record.getMessage())
        record.msg, record.args = _QUOTED.sub(r"\1", said), ()
        return True


def take_over(logger: str, form: str, zone: tzinfo) -> None:
    """Let another program's *logger* write as we do, and keep links out of what it writes."""
    for handler in logging.getLogger(logger).handlers:
        handler.setFormatter(formatter(form, zone))
        handler.addFilter(_MaskLinks())
