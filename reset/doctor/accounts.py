"""The portal's accounts: what `flask reset accounts check` says of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reset.accounts.survey import findings
from reset.doctor import Case
from reset.findings import Finding

_WHY = {
    "fault": "nobody gets a link, or can set a password with it",
    "warning": "it works, but not for everybody, or not safely",
}


def check(case: Case) -> Iterator[Finding]:
    """Rights, columns, schemes and a rehearsed change, which is undone."""
    parts = case.parts
    for finding in findings(parts.accounts, parts.exclusions, parts.upgrades_to):
        yield replace(finding, why=finding.why or _WHY.get(finding.level, ""))
