"""Databases, directories and a browser that are started once and used by many tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.conftest import FOR_LDAP, leave_out, library, program
from tests.servers.certificates import Authority
from tests.servers.sql import SqlServer, mariadb, postgresql
from tests.servers.state import empty, state_database
from tests.stores import Store, store_of

if TYPE_CHECKING:  # They need python-ldap.
    from tests.servers.samba import Samba
    from tests.servers.slapd import Slapd

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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


@pytest.fixture(scope="session")
def state_servers(
    sql_server: Callable[[str], SqlServer | None],
) -> Iterator[Callable[[str], str]]:
    """The address of an empty database for the service's own state, on a server of a kind."""
    made: dict[str, str] = {}
    with ExitStack() as stack:

        def state(kind: str) -> str:
            server = sql_server(kind)
            assert server is not None
            if kind not in made:
                made[kind] = stack.enter_context(state_database(server))
            empty(server)
            return made[kind]

        yield state


def _start(kind: str) -> AbstractContextManager[SqlServer]:
    if kind == "postgresql":
        postgres = program("the PostgreSQL tests", "postgresql", "postgres")
        return postgresql(Path(postgres).resolve().parent)
    install = program("the MariaDB tests", "mariadb-server", "mariadb-install-db")
    return mariadb(install, program("the MariaDB tests", "mariadb-server", "mariadbd"))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs the certificates of the servers; the clients trust it."""
    openssl = program("the tests with certificates", "openssl", "openssl")
    return Authority(tmp_path_factory.mktemp("authority"), openssl)


@pytest.fixture(scope="session")
def slapd_server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """OpenLDAP with the manual's rights."""
    library("the LDAP tests", FOR_LDAP, "ldap")
    from tests.servers.slapd import Slapd

    found = program("the LDAP tests", "slapd", "slapd")
    with Slapd(tmp_path_factory.mktemp("slapd"), found, authority).running() as server:
        yield server


@pytest.fixture(scope="session")
def samba_server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    """A domain of Samba with the manual's rights."""
    what, packages = "the Active Directory tests", "samba, samba-ad-provision, samba-vfs-modules"
    library(what, FOR_LDAP, "ldap")
    from tests.servers.samba import Samba

    tool, found = (program(what, packages, name) for name in ("samba-tool", "samba"))
    if os.geteuid() != 0:
        leave_out(what, "run as root: a domain's ports are below 1024")
    with Samba(tmp_path_factory.mktemp("samba"), found, tool, authority).running() as server:
        yield server


@pytest.fixture
def slapd(slapd_server: Slapd) -> Iterator[Slapd]:
    """A server without people."""
    yield slapd_server
    slapd_server.clear()


@pytest.fixture
def samba(samba_server: Samba) -> Iterator[Samba]:
    """A domain without people."""
    yield samba_server
    samba_server.clear()


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def store(
    request: pytest.FixtureRequest,
    sql_server: Callable[[str], SqlServer | None],
    tmp_path: Path,
) -> Iterator[Store]:
    """The portal in each kind of database."""
    with store_of(request.param, sql_server(request.param), tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; Playwright runs once in a process."""
    chromium = program("the browser tests", "chromium", "chromium", "chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield browser
        browser.close()
