"""The help desk: whether anybody may use it."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from reset.doctor import Case, command
from reset.findings import Finding


def check(case: Case) -> Iterator[Finding]:
    """How many operators there are; a database that is away is told elsewhere."""
    try:
        with case.state() as tx:
            count = tx.exec_driver_sql(
                "SELECT COUNT(*) FROM operators WHERE disabled_at IS NULL"
            ).scalar_one()
    except sa.exc.SQLAlchemyError:
        yield Finding("note", "who may use the help desk is not known: see the database")
        return
    if count:
        yield Finding("ok", f"operators of the help desk: {count}")
    else:
        remedy = command("operators add NAME")
        yield Finding("note", "nobody may use the help desk (/ayuda/) yet", remedy)
