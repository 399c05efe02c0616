"""A visitor's whole way and the worker's part in it, in a process that may fail at any write.

Reads the names of folders; walks in each in a fork of its own, which imports nothing anew, writes
to `told` there what was seen outside, line by line, and says how the fork ended.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from flask import Flask
from flask_mail import Message

import config
from app import create_app
from reset.errors import AccountsUnavailable, StoreUnavailable
from tests.conftest import ENVIRON, NEW_PASSWORD, Clock, RecordingSender, Visitor, links_in
from tests.servers.faulty import heal


def settings(folder: Path) -> config.Settings:
    """The service over the files in *folder*."""
    environ = {
        "RESET_DATABASE_URL": f"sqlite:///{folder}/state.sqlite",
        "RESET_ACCOUNTS_URL": f"sqlite:///{folder}/portal.sqlite",
    }
    return config.load(ENVIRON | environ, folder)


class _Telling(RecordingSender):
    def __init__(self, app: Flask, told: Callable[..., None]) -> None:
        super().__init__(app)
        self._told = told

    def send(self, message: Message) -> None:
        super().send(message)
        self._told(mail=mail_of(message))


def mail_of(message: Message) -> dict[str, str]:
    """What a reader of *message* sees."""
    links = links_in(message)
    return {"id": str(message.msgId), "body": str(message.body), "link": links[0] if links else ""}


def walk(folder: Path) -> None:
    """Ask, be mailed, open the link, change, be confirmed; then the disk is well again: ask."""
    with (folder / "told").open("a", buffering=1) as file:

        def told(**what: object) -> None:
            print(json.dumps(what), file=file)

        clock = Clock()
        app = create_app(settings(folder), clock=clock)
        sender = _Telling(app, told)
        visitor = Visitor(app, sender, clock)
        asked = visitor.ask()
        told(asked=asked.status_code, location=asked.location)
        _work(visitor)
        for mail in visitor.mails()[:1]:
            link = links_in(mail)[0]
            told(opened=visitor.client.get(link).status_code)
            told(changed=visitor.set_password(link, NEW_PASSWORD).status_code)
            visitor.parts.database.close()  # SQLite moves its log into the file.
            _work(visitor)
        heal(Path(os.environ["FAULTY_ORDERS"]))
        told(healed=visitor.ask("nadie@example.com").status_code)


def _work(visitor: Visitor) -> None:
    """As `Worker.run` does, which waits a second after a failure and tries again."""
    for _ in range(2):
        with suppress(StoreUnavailable, AccountsUnavailable):
            visitor.run_worker()


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            walk(Path(line.strip()))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
