"""nginx, as Debian has it, with a site of the test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import start, stop, wait_for

# Everything that Debian's own file would put below /var or /run; as root it must reach the
# folders of the tests.
_CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 256; }}
http {{
    types {{
        text/css css; text/html html; image/png png; image/svg+xml svg; text/javascript js;
    }}
    default_type application/octet-stream;
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""


@contextmanager
def nginx(program: str, folder: Path, site: str, port: int) -> Iterator[Path]:
    """Serve *site*, what stands in `http { }`, which listens on *port* among others.

    The value is the folder with `access.log` and `error.log`. Certificates are made by
    `tests.servers.certificates`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""
    config.write_text(_CONFIG.format(user=user, folder=folder, site=site), encoding="utf-8")
    command = [program, "-c", str(config), "-e", str(folder / "error.log")]
    server = start(command, folder / "said.log", lambda: True)
    try:
        wait_for("127.0.0.1", port, server)
        yield folder
    finally:
        stop(server)
