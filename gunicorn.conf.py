"""gunicorn's settings; PORT and WEB_CONCURRENCY come from the environment."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile

wsgi_app = "app:create_app()"
bind = f"127.0.0.1:{os.environ.get('PORT', '5000')}"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = 4
# A process that may open no file for one more connection would end, and its visitors with it.
_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
worker_connections = min(1000, _files // 2) if _files != resource.RLIM_INFINITY else 1000
timeout = 30
graceful_timeout = 20
max_requests = 20_000
max_requests_jitter = 2_000
# Instances of one user would overwrite each other's socket.
control_socket_disable = True
# No header may say where the service is mounted: RESET_PUBLIC_URL does.
forwarder_headers = ""

_FIGURES = "PROMETHEUS_MULTIPROC_DIR"
_CANNOT_START = 3  # As in app.py, which is not imported here: a reload (HUP) must read it anew.


def on_starting(_: object) -> None:
    """Migrate and check the settings once; workers that refuse would be started for ever."""
    os.environ.pop(_FIGURES, None)
    migrate = [sys.executable, "-m", "flask", "--app", "app", "reset", "migrate"]
    if subprocess.run(migrate, check=False).returncode == _CANNOT_START:  # noqa: S603 - constant
        raise SystemExit(_CANNOT_START)
    _make_folder_for_figures()


def on_exit(_: object) -> None:
    """Take away what was made at the start."""
    shutil.rmtree(os.environ.get(_FIGURES, ""), ignore_errors=True)


def _make_folder_for_figures() -> None:
    """A fresh one at each start: there the worker processes count for `/metrics`."""
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or None
    try:
        os.environ[_FIGURES] = tempfile.mkdtemp(prefix="figures-", dir=runtime)
    except OSError as error:
        # Each process then shows its own: a full disk must not keep the service from starting.
        print(f"no folder for the figures of all processes: {error}", file=sys.stderr)


def post_worker_init(_: object) -> None:
    """A malformed request is logged as it came: without the link or password that it may hold."""
    from reset.logs import mask_links

    mask_links("gunicorn.error")
