"""Databases that are started once and used by many tests, each with tables of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.conftest import program
from tests.servers.sql import SqlServer, mariadb, postgresql
from tests.stores import Store, store_of


@pytest.fixture(scope="session")
def sql_server() -> Iterator[Callable[[str], SqlServer | None]]:
    """The server of a kind, started when first asked for; SQLite has none."""
    started: dict[str, SqlServer] = {}
    with ExitStack() as stack:

        def server(kind: str) -> SqlServer | None:
            if kind != "sqlite" and kind not in started:
                started[kind] = stack.enter_context(_start(kind))
            return started.get(kind)

        yield server


def _start(kind: str) -> AbstractContextManager[SqlServer]:
    if kind == "postgresql":
        postgres = program("the PostgreSQL tests", "postgresql", "postgres")
        return postgresql(Path(postgres).resolve().parent)
    install = program("the MariaDB tests", "mariadb-server", "mariadb-install-db")
    return mariadb(install, program("the MariaDB tests", "mariadb-server", "mariadbd"))


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def store(
    request: pytest.FixtureRequest,
    sql_server: Callable[[str], SqlServer | None],
    tmp_path: Path,
) -> Iterator[Store]:
    """The portal in each kind of database."""
    with store_of(request.param, sql_server(request.param), tmp_path) as made:
        yield made
