"""Real servers for the tests, each in a temporary folder and on a free port."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 120


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def folder(user: str) -> Iterator[Path]:
    """A temporary folder that belongs to *user*, who runs the server when root tests."""
    path = Path(tempfile.mkdtemp(prefix="server-"))
    if os.geteuid() == 0:
        os.chown(path, pwd.getpwnam(user).pw_uid, -1)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def as_user(user: str) -> list[str]:
    """What to put before a command that must not run as root."""
    return ["setpriv", f"--reuid={user}", "--clear-groups"] if os.geteuid() == 0 else []


@contextmanager
def running(
    command: Sequence[str], log: Path, is_up: Callable[[], bool]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run *command* until the end of the block; starts when *is_up* says so."""
    one = start(command, log, is_up)
    try:
        yield one
    finally:
        stop(one)


def start(command: Sequence[str], log: Path, is_up: Callable[[], bool]) -> subprocess.Popen[bytes]:
    """Run *command*; returns when *is_up* says so."""
    with log.open("ab") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _wait(server, log, is_up)
    except BaseException:
        stop(server)
        raise
    return server


def wait_for(host: str, port: int, server: subprocess.Popen[bytes]) -> None:
    """Return once *server* takes connections; fails at once if it has ended."""
    until = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"{server.args!r} does not listen on {host}:{port}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """End *server*, gently first."""
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _wait(server: subprocess.Popen[bytes], log: Path, is_up: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_up():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)
