"""PostgreSQL and MariaDB, as Debian has them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from tests.servers import as_user, folder, free_port, start, stop

PASSWORD = "Servicio:2026/@"


@dataclass
class SqlServer:
    """A running server; ``root`` is its administrator's URL, ``folder`` where it keeps its data."""

    kind: str
    root: sa.URL
    folder: Path
    command: list[str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process that all others of the server are children of."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = start(self.command, self.folder.with_name("log"), self._answers)

    def crash(self) -> None:
        """End it at once, as in a power cut, but for what the kernel has to write."""
        assert self.process is not None
        self.process.send_signal(signal.SIGQUIT if self.kind == "postgresql" else signal.SIGKILL)
        self.process.wait(30)

    def _answers(self) -> bool:
        engine = sa.create_engine(self.root, poolclass=sa.NullPool)
        try:
            with engine.connect():
                return True
        except sa.exc.OperationalError:
            return False

    def admin(self, database: str | None = None) -> sa.Engine:
        """An engine of the administrator, each statement committed at once."""
        url = self.root.set(database=database) if database else self.root
        return sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    def url(self, role: str, database: str) -> str:
        """What an operator would write into RESET_ACCOUNTS_URL for *role*."""
        url = self.root.set(
            drivername=self.kind, username=role, password=PASSWORD, database=database
        )
        return url.render_as_string(hide_password=False)


@contextmanager
def postgresql(programs: Path, *, fsync: str = "off") -> Iterator[SqlServer]:
    """A cluster of locale C, which folds the English alphabet only, with TLS.

    Without *fsync* it is quicker, and loses what a power cut would meet.
    """
    with folder("postgres") as home:
        data, port, user = home / "data", free_port(), as_user("postgres")
        initdb = [programs / "initdb", "-D", data, "-U", "postgres", "--locale=C"]
        _run([*user, *map(str, initdb), "--encoding=UTF8", "--no-sync"])
        _certificate(data, user)
        rules = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (data / "pg_hba.conf").write_text(rules)
        settings = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": fsync,
            "ssl": "on",
            "max_connections": 30,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [*user, str(programs / "postgres"), "-D", str(data), *options]
        root = sa.URL.create(
            "postgresql+psycopg", "postgres", host="127.0.0.1", port=port, database="postgres"
        )
        with _running(SqlServer("postgresql", root, data, command)) as server:
            yield server


@contextmanager
def mariadb(install: str, daemon: str) -> Iterator[SqlServer]:
    """A server that is not strict about what it cuts, as old portals have it."""
    with folder("mysql") as home:
        # Each server deletes what it takes for its own of an earlier run in the temporary folder.
        user = [*as_user("mysql"), "env", f"TMPDIR={home}"]
        data, port = home / "data", free_port()
        options = ["--no-defaults", f"--datadir={data}"]
        normal = "--auth-root-authentication-method=normal"
        _run(
            [
                *user,
                install,
                *options,
                normal,
                "--skip-test-db",
            ]
        )
        command = [
            *(*user, daemon, *options, f"--port={port}", "--bind-address=127.0.0.1"),
            *(
                f"--socket={home / 'socket'}",
                f"--pid-file={home / 'pid'}",
                "--sql-mode=",
                "--character-set-server=utf8mb4",
            ),
            *("--innodb-flush-log-at-trx-commit=2", "--skip-log-bin"),
        ]
        root = sa.URL.create("mysql+pymysql", "root", host="127.0.0.1", port=port, database="mysql")
        with _running(SqlServer("mysql", root, data, command)) as server:
            yield server


@contextmanager
def _running(server: SqlServer) -> Iterator[SqlServer]:
    server.start()
    try:
        yield server
    finally:
        assert server.process is not None
        stop(server.process)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        raise RuntimeError(f"{command} failed:\n{done.stdout}{done.stderr}")


def _certificate(data: Path, user: list[str]) -> None:
    """A certificate for 127.0.0.1 that is its own authority."""
    _run(
        [
            *(*user, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"),
            *("-keyout", str(data / "server.key"), "-out", str(data / "server.crt")),
        ]
    )


@contextmanager
def paused(server: SqlServer) -> Iterator[None]:
    """Every process of the server stands still during the block."""
    everyone = [server.pid, *_children(server.pid)]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    while not all(_stands_still(pid) for pid in everyone):
        time.sleep(0.01)
    try:
        yield
    finally:
        for pid in everyone:
            os.kill(pid, signal.SIGCONT)


def _stands_still(pid: int) -> bool:
    """Whether every thread of a process has stopped: a signal takes its time."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(one.read_text().rpartition(")")[2].split()[0] in "TtZ" for one in threads)


def _children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        fields = status.read_text().rpartition(")")[2].split()
        if int(fields[1]) == parent:
            found.append(int(status.parent.name))
    return found
