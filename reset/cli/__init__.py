"""The commands of the operator: `flask reset ...`, a module for each subject."""

from __future__ import annotations

from reset.cli import accounts, mail, operators, processes, trace, uniform
from reset.cli.root import commands

__all__ = ["accounts", "commands", "mail", "operators", "processes", "trace", "uniform"]
