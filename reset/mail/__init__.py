"""Mails: what one says, before it has words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Letter:
    """One mail to one person; ``kind`` names its templates, ``facts`` is what they say.

    ``language`` is the code of the language to say it in.
    """

    kind: str
    to: str
    name: str
    language: str
    message_id: str
    facts: Mapping[str, Any] = field(repr=False)  # May hold links.
