"""Imports point down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BELOW = (
    "flow, bearer, delivery, letters, settlement, audit, policy, captcha, accounts.source,"
    " mail.outbox, help_desk.operators, help_desk.desk, digest, queue, person, report, pending"
)


def test_use_cases_know_no_flask() -> None:
    """They run in the worker and on the command line as behind a page, in any language."""
    modules = ", ".join(f"reset.{name}" for name in BELOW.replace(" ", "").split(","))
    code = f"import sys, {modules}; print(*(m for m in sys.modules if m.startswith('flask')))"
    command = [sys.executable, "-c", code]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
