"""The service as an operator runs it: gunicorn and the mail worker, in a folder of their own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.load import Line, get
from bench.table import Missing
from demo import accounts
from demo.run import Ports, prepare, service_environment

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
START_SECONDS = 120  # Under valgrind, on a busy machine.
# As many as a bench may ask, in as many windows as the limits that are shipped.
_UNLIMITED = "10000000 per minute; 10000000 per hour"
_SETTINGS = {
    "RESET_LIMIT_PER_IP": _UNLIMITED,
    "RESET_LIMIT_PER_ADDRESS": "10000000 per hour",
    "WEB_CONCURRENCY": "1",
    # A process is looked at from its first request to its last.
    "GUNICORN_CMD_ARGS": "--max-requests=0 --max-requests-jitter=0",
}


class System:
    """One host with the demo's portal: nothing runs until it is started.

    Args:
        out: where its folder is made; on a disk, as `/tmp` may be memory.
        smtp_port: where its mails go.
        settings: in place of those of the demo.
    """

    def __init__(
        self, out: Path, *, smtp_port: int = 9, settings: Mapping[str, str] | None = None
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="system-", dir=out))
        prepare(self.folder)
        ports = Ports(free_port(), free_port(), smtp_port, free_port())
        self.port = ports.service
        given = {name: value for name, value in os.environ.items() if not _is_setting(name)}
        self.environ = service_environment(
            {**given, **_SETTINGS, **(settings or {})}, self.folder, ports
        )
        self.portal = self.folder / "portal.sqlite"
        self.database = self.folder / "demo.sqlite"
        self.keys = (self.folder / "secret_keys").read_text().split()
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in list(self._processes):
            self.stop(process)
        if kind and issubclass(kind, Exception):
            print(f"its state and logs are kept: {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder)

    def start_web(self) -> subprocess.Popen[bytes]:
        """gunicorn, which has answered once; `worker_of` names the process that does the work."""
        web = self.start("web", sys.executable, "-m", "gunicorn")
        self.wait_for_web(web)
        return web

    def start_hello(self) -> subprocess.Popen[bytes]:
        """The reference in place of the service, on the same gunicorn with the same settings."""
        hello = self.start("hello", sys.executable, "-m", "gunicorn", "bench.hello:app")
        self.wait_for_web(hello)
        return hello

    def start_worker(self) -> subprocess.Popen[bytes]:
        """The mail worker; it may not have begun yet."""
        reset = ("-m", "flask", "--app", "app", "reset")
        return self.start("worker", sys.executable, *reset, "worker")

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Any process with the settings of this host; it writes to `logs/NAME.log`."""
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own commands
                command,
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def wait_for_web(self, web: subprocess.Popen[bytes]) -> None:
        """Return as soon as a page was answered."""
        until = time.monotonic() + START_SECONDS
        while web.poll() is None and time.monotonic() < until:
            with suppress(OSError), Line(self.port) as line:
                if line.ask(get("/")).startswith(b"HTTP/1.1 200"):
                    return
            time.sleep(0.005)
        raise RuntimeError(f"the web does not answer; see {self.folder}/logs")

    def wait_for_worker(self) -> None:
        """Return once the mail worker says that it works."""
        log = self.folder / "logs" / "worker.log"
        until = time.monotonic() + START_SECONDS
        while b"worker started" not in log.read_bytes():
            if time.monotonic() > until:
                raise RuntimeError(f"the mail worker does not begin; see {log}")
            time.sleep(0.01)

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End *process* and what it started, gently first."""
        self._processes.remove(process)
        process.send_signal(signal.SIGCONT)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def add_accounts(
        self, addresses: Iterable[str], hasher: Callable[[str], str] = accounts.HASHERS["bcrypt"]
    ) -> None:
        """Open an account of the portal for each; all have the password of the demo."""
        stored = hasher(accounts.DEMO_PASSWORD)
        rows = [
            (address, address, stored, "Ana Bench", "3005550142", "52418637", "1957-08-21")
            for address in addresses
        ]
        with closing(sqlite3.connect(self.portal)) as connection, connection:
            connection.executemany(
                "INSERT INTO usuarios (usuario, correo, clave, nombre, telefono, documento,"
                " nacimiento, creado) VALUES (?, ?, ?, ?, ?, ?, ?, '2019-03-04 08:15:00')",
                rows,
            )


def worker_of(web: subprocess.Popen[bytes]) -> int:
    """The process that answers: gunicorn's only child."""
    (worker,) = Path(f"/proc/{web.pid}/task/{web.pid}/children").read_text().split()
    return int(worker)


def cpu_ms(pid: int) -> float:
    """The processor time that *pid* has taken, with its threads that have ended.

    Source: Linux, include/linux/posix-timers.h, CPUCLOCK_SCHED of a process.
    """
    return time.clock_gettime((~pid << 3) | 2) * 1000


def pss_mib(pid: int) -> float:
    """The memory of *pid*, with its share of what it shares."""
    return _kib(Path(f"/proc/{pid}/smaps_rollup"), "Pss") / 1024


def rss_mib(pid: int) -> float:
    """The resident memory of *pid*."""
    return _kib(Path(f"/proc/{pid}/status"), "VmRSS") / 1024


def peak_mib(pid: int) -> float:
    """The most resident memory of *pid* since the last `forget_peak`."""
    return _kib(Path(f"/proc/{pid}/status"), "VmHWM") / 1024


def forget_peak(pid: int) -> None:
    """The peak is what *pid* has now. Source: Linux, proc(5), clear_refs."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def require(program: str, package: str) -> str:
    """The path of *program*.

    Raises:
        Missing: it is not here.
    """
    found = shutil.which(program)
    if found is None:
        raise Missing(f"no {program} here (Debian package {package})")
    return found


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_setting(name: str) -> bool:
    return name.startswith(("RESET_", "GUNICORN_", "FLASK_")) or name in ("PORT", "WEB_CONCURRENCY")


def _kib(file: Path, field: str) -> float:
    for line in file.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return float(line.split()[1])
    raise ValueError(f"no {field} in {file}")
