"""The service's own state on a database server, made as the manual says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from reset.db import Database
from tests.recipes import recipe
from tests.servers.sql import PASSWORD, SqlServer

NAME = "restablecer_estado"
# Each before those that it refers to.
TABLES = (
    *("events", "links", "outbox", "requests", "captcha_spent", "limits"),
    *("operators", "acts", "workers", "digests", "schema_version"),
)
_TITLES = {"postgresql": "State in PostgreSQL", "mysql": "State in MariaDB or MySQL"}


@contextmanager
def state_database(server: SqlServer) -> Iterator[str]:
    """A database with our tables and a role that owns it; its address as a setting."""
    found = recipe(_TITLES[server.kind], "several-hosts.md")
    with server.admin().connect() as root:
        for statement in found.sql:
            # The tests come from this machine, by whatever name it has.
            here = statement.replace("10.0.0.%", "%").replace("change-me", PASSWORD)
            root.execute(sa.text(here))
    url = server.url(NAME, NAME)
    state = Database(url)
    state.migrate()
    state.close()
    yield url


def empty(server: SqlServer) -> None:
    """Forget everything in the state."""
    with server.admin(NAME).connect() as root:
        present = sa.inspect(root).get_table_names()
        for table in TABLES[:-1]:
            if table in present:
                root.exec_driver_sql(f"DELETE FROM {table}")


def drop_tables(server: SqlServer) -> None:
    """As if the service had never been there."""
    with server.admin(NAME).connect() as root:
        for table in TABLES:
            root.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")


@contextmanager
def locked_out(server: SqlServer) -> Iterator[None]:
    """The service may not connect during the block."""
    account = f"ROLE {NAME}" if server.kind == "postgresql" else f"USER '{NAME}'@'%%'"
    no, yes = (
        ("NOLOGIN", "LOGIN") if server.kind == "postgresql" else ("ACCOUNT LOCK", "ACCOUNT UNLOCK")
    )
    with server.admin().connect() as root:
        root.exec_driver_sql(f"ALTER {account} {no}")
        try:
            yield
        finally:
            root.exec_driver_sql(f"ALTER {account} {yes}")
