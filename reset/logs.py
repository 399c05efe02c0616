"""Logs: one JSON object a line, a fixed event with its fields, in UTC.

Of an exception only its class and where it was raised are written: its text may quote an
address, a token or a password.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from datetime import UTC, datetime

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON; control characters come out escaped."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info and record.exc_info[0]:
            frames = traceback.extract_tb(record.exc_info[2])
            line["exception"] = record.exc_info[0].__name__
            line["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-6:]]
        return json.dumps(line, default=str)


def configure(level: int = logging.INFO) -> None:
    """Send the service's log lines to standard error; calling it again changes nothing."""
    logger = logging.getLogger("reset")
    logger.setLevel(level)
    if not any(isinstance(handler.formatter, JsonLines) for handler in logger.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(JsonLines())
        logger.addHandler(handler)


_LINKS = re.compile(r"/(nueva|no-fui-yo)/[^\s'\"?]+")
# A body that is longer than announced is read as the next request: it may hold a password.
_QUOTED = re.compile(r"^(Invalid request[^'\"]*).*", re.DOTALL)


class _MaskLinks(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        said = _LINKS.sub(r"/\1/-", record.getMessage())
        record.msg, record.args = _QUOTED.sub(r"\1", said), ()
        return True


def mask_links(logger: str) -> None:
    """Keep links out of what another program's *logger* writes."""
    logging.getLogger(logger).addFilter(_MaskLinks())
