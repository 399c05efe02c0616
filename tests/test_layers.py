"""Imports point down, and each process loads no more than it uses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ENVIRON

BELOW = (
    "flow, bearer, delivery, letters, settlement, audit, policy, captcha, accounts.source,"
    " mail.outbox, help_desk.operators, help_desk.desk, digest, queue, person, report, pending"
)
STARTS = {
    "web": "from app import create_app; create_app()",
    "worker": (
        "from flask.cli import cli;"
        " cli.main(['--app', 'app', 'reset', 'worker', '--help'], standalone_mode=False)"
    ),
}
FOR_OTHER_SETTINGS = ["psycopg", "pymysql", "redis", "ldap", "sqlparse"]
FOR_COMMANDS = ["reset.doctor", "reset.measurement", "reset.cli.trace"]
FOR_PAGES = [
    *("PIL", "wtforms", "flask_wtf", "prometheus_client"),
    *("reset.web", "reset.views", "reset.bearer", "reset.limits", "reset.metrics"),
    *("reset.help_desk.views", "reset.help_desk.desk", "reset.help_desk.operators"),
]


def loaded(code: str, **environ: str) -> list[str]:
    """The modules that a fresh Python has after *code*."""
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[1],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.splitlines()[-1].split()


def test_use_cases_know_no_flask() -> None:
    """They run in the worker and on the command line as behind a page, in any language."""
    modules = ", ".join(f"reset.{name}" for name in BELOW.replace(" ", "").split(","))
    found = loaded(f"import {modules}")
    assert [name for name in found if name.startswith("flask")] == []


@pytest.mark.parametrize(
    ("process", "others"),
    [("web", FOR_COMMANDS), ("worker", FOR_COMMANDS + FOR_PAGES)],
    ids=["web", "worker"],
)
def test_process_loads_what_it_uses(process: str, others: list[str], tmp_path: Path) -> None:
    """With the stores that come along: no driver of others, and nothing of another process."""
    stores = {
        "RESET_DATABASE_URL": f"sqlite:///{tmp_path}/reset.sqlite",
        "RESET_ACCOUNTS_URL": f"sqlite:///{tmp_path}/portal.sqlite",
    }
    found = loaded(STARTS[process], **ENVIRON, **stores, FLASK_SKIP_DOTENV="1")
    others = FOR_OTHER_SETTINGS + others
    assert "reset.delivery" in found
    assert [name for name in others if name in found] == []
