"""The commands of the operator: `flask reset ...`, a module for each subject."""

from __future__ import annotations

from reset.cli.root import REFUSED, commands, refuse_to_start

__all__ = ["REFUSED", "commands", "refuse_to_start"]
