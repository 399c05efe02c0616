"""The commands: what an operator and the help desk see."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from config import Settings
from reset.accounts.sql import Table
from tests.conftest import ADDRESS, ENVIRON, Visitor, links_in

ROOT = Path(__file__).parent.parent


def test_trace_by_number_and_by_address(app: Flask, visitor: Visitor, ana: int) -> None:
    """By the number as it was heard on the telephone, or by the address as it is written."""
    number = visitor.ask().location.rpartition("/")[2]
    visitor.run_worker()
    run = app.test_cli_runner().invoke
    spellings = [number, number.replace("-", ""), *number.split("-")]
    for asked in (spellings[:1], spellings[1:2], spellings[2:], [" ANA@example.com"]):
        told = run(args=["reset", "trace", *asked])
        assert told.exit_code == 0
        assert told.output.splitlines()[0] == f"{number}  {ADDRESS}"
        assert "account found" in told.output
        assert "mail sent" in told.output
        assert "2026-11-22 10:00:00" in told.output  # Colombia's time.


def test_trace_as_json(app: Flask, visitor: Visitor, ana: int) -> None:
    """The same for programs, in UTC."""
    visitor.link()
    told = app.test_cli_runner().invoke(args=["reset", "trace", ADDRESS, "--json"])
    (request,) = json.loads(told.output)
    assert request["address"] == ADDRESS
    assert request["events"][0]["event"] == "requested"
    assert request["events"][0]["at"] == "2026-11-22T15:00:00+00:00"


def test_trace_never_shows_a_link(app: Flask, visitor: Visitor, ana: int) -> None:
    """Neither link, token nor password."""
    link = visitor.link()
    visitor.set_password(link, "Colombia2026")
    told = app.test_cli_runner().invoke(args=["reset", "trace", ADDRESS]).output
    assert "Colombia2026" not in told
    assert link.rpartition("/")[2] not in told
    assert "nueva/" not in told


@pytest.mark.parametrize("asked", ["1234-5678-9012", "nadie@example.com", "nonsense", ""])
def test_trace_of_nothing(app: Flask, asked: str) -> None:
    """Says so and ends with an error."""
    told = app.test_cli_runner().invoke(args=["reset", "trace", asked])
    assert told.exit_code == 1
    assert "nothing found" in told.output


def test_migrate_may_run_twice(app: Flask) -> None:
    """The second time there is nothing to do."""
    told = app.test_cli_runner().invoke(args=["reset", "migrate"])
    assert (told.exit_code, told.output) == (0, "the service's own database is at version 4\n")


def test_migrate_names_what_is_wrong_with_the_accounts(
    make_app: Callable[..., Flask], settings: Settings
) -> None:
    """A wrong column is told at once, in the database's own words, not after the first request."""
    assert isinstance(settings.accounts_source, Table)
    wrong = replace(settings.accounts_source, password="contrasena")
    told = make_app(accounts_source=wrong).test_cli_runner().invoke(args=["reset", "migrate"])
    assert told.exit_code == 1
    assert "no such column: usuarios.contrasena" in told.output


def test_database_that_is_down_is_one_line(app: Flask, visitor: Visitor) -> None:
    """No traceback for what an operator can mend."""
    with visitor.parts.database.begin() as tx:
        tx.exec_driver_sql("DROP TABLE events")
        tx.exec_driver_sql("DROP TABLE requests")
    told = app.test_cli_runner().invoke(args=["reset", "trace", ADDRESS])
    assert told.exit_code == 1
    assert told.output == "Error: the service's database does not answer (OperationalError)\n"


def test_worker_ends_when_it_is_told(tmp_path: Path, visitor: Visitor, ana: int) -> None:
    """SIGTERM ends the real process in good order; its log has no address and no token."""
    visitor.ask()
    environ = ENVIRON | {
        "RESET_DATABASE_URL": f"sqlite:///{tmp_path}/reset.sqlite",
        "RESET_ACCOUNTS_URL": f"sqlite:///{tmp_path}/portal.sqlite",
        "RESET_MAIL_PORT": "1",
        "FLASK_SKIP_DOTENV": "1",
        "PATH": "",
    }
    command = [sys.executable, "-m", "flask", "--app", "app", "reset", "worker"]
    with subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while visitor.trace()[-1] != "mail_deferred" and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=60)[1].decode()
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert process.returncode == 0
    assert events[0] == "worker started"
    assert "mail server unavailable" in events
    assert events[-1] == "worker stopped"
    assert "example.com" not in log


def test_number_in_the_mail_is_the_one_on_the_page(visitor: Visitor, ana: int) -> None:
    """The help desk finds the request by either."""
    number = visitor.ask().location.rpartition("/")[2]
    visitor.run_worker()
    assert number in str(visitor.mails()[0].body)
    assert links_in(visitor.mails()[0])
