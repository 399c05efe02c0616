"""gunicorn's settings; PORT and WEB_CONCURRENCY come from the environment."""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
from contextlib import suppress
from datetime import tzinfo
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from zoneinfo import ZoneInfo

from dotenv import dotenv_values
from gunicorn.glogging import Logger

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

_ROOT = Path(__file__).parent
_FIGURES = "PROMETHEUS_MULTIPROC_DIR"
_CANNOT_START = 3  # As in reset/cli/root.py; a reload (HUP) reads this file, not that one, first.
_OURS = ("app", "config", "reset")


def on_starting(_: object) -> None:
    """Read all code once for all workers, then migrate and check the settings once.

    Workers that refuse the settings would be started for ever, and slow migrations cut off.
    """
    os.environ.pop(_FIGURES, None)
    _import_for_all()
    # In a process of its own: no connection may be shared, and a reload reads the settings anew.
    migrate = multiprocessing.get_context("fork").Process(target=_migrate)
    migrate.start()
    migrate.join()
    if migrate.exitcode == _CANNOT_START:
        raise SystemExit(_CANNOT_START)
    _make_folder_for_figures()


def on_reload(_: object) -> None:
    """Forget our own code: the new workers read that of now, with the settings of now."""
    for name in [*sys.modules]:
        if name.partition(".")[0] in _OURS:
            del sys.modules[name]


def _import_for_all() -> None:
    """Workers share what is loaded before they part, and start at once."""
    gc.disable()  # Nothing of this is garbage, and looking for some takes a fifth of the time.
    for name in ("app", "reset.web", "reset.bearer", "reset.limits"):
        import_module(name)
    sys.modules["reset.web"].read_ahead()
    gc.freeze()  # Nor later: pages that nobody writes to stay shared.
    gc.enable()


def _migrate() -> None:
    cli = import_module("flask.cli").cli
    cli.main(["--app", "app", "reset", "migrate"])


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
    """In a worker what gunicorn says of a request also carries its id."""
    from reset import logs

    logs.take_over("gunicorn.error", *_log_form())


def _log_form() -> tuple[str, tzinfo]:
    """The form of log lines, and the zone of their times; what is wrong is told by the app."""
    settings: dict[str, str | None] = {}
    with suppress(OSError, UnicodeError):
        if not os.environ.get("FLASK_SKIP_DOTENV"):
            settings |= dotenv_values(_ROOT / ".env", interpolate=False)
    settings |= os.environ
    try:
        zone = ZoneInfo(settings.get("RESET_TIMEZONE") or "America/Bogota")
    except (OSError, ValueError, KeyError):
        zone = ZoneInfo("UTC")
    return settings.get("RESET_LOG_FORMAT") or "json", zone


class _Lines(Logger):  # type: ignore[misc]  # gunicorn ships no types.
    """What gunicorn says, in the form of the service's own lines.

    A malformed request is logged as it came, so without the link or password that it may hold.
    """

    def setup(self, cfg: object) -> None:
        super().setup(cfg)
        # Not imported by its name: a reload (HUP) must find it anew.
        spec = spec_from_file_location("gunicorn_lines", _ROOT / "reset" / "logs.py")
        if spec and spec.loader:
            logs = module_from_spec(spec)
            spec.loader.exec_module(logs)
            logs.take_over("gunicorn.error", *_log_form())


logger_class = _Lines
