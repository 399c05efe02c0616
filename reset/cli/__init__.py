"""The commands of the operator: `flask reset ...`, a module for each subject."""

from __future__ import annotations

from reset.cli import (
    accounts,
    audit,
    keys,
    limits,
    mail,
    operators,
    outbox,
    person,
    processes,
    trace,
    uniform,
)
from reset.cli.root import commands

__all__ = [
    "accounts",
    "audit",
    "commands",
    "keys",
    "limits",
    "mail",
    "operators",
    "outbox",
    "person",
    "processes",
    "trace",
    "uniform",
]
