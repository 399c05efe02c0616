"""The group that every command belongs to."""

from __future__ import annotations

from flask.cli import AppGroup

commands = AppGroup("reset", help="Operate the password reset service.")
