"""Real servers for the tests, each in a temporary folder and on a free port of this machine."""

from __future__ import annotations

import socket
import subprocess
import time


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(host: str, port: int, server: subprocess.Popen[bytes], seconds: float = 30) -> None:
    """Return once *server* takes connections; fails at once if it has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if server.poll() is not None:
            break
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"{server.args!r} does not listen on {host}:{port}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """End *server*, gently first."""
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
