"""nginx with the files of `deploy/nginx` in front of the service on its UNIX socket."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tests.conftest import KEY
from tests.servers import free_port
from tests.servers.certificates import Authority
from tests.servers.nginx import nginx
from tests.servers.service import ROOT, Answer, Client, Host

FILES = ROOT / "deploy" / "nginx"
OWN_HOST = (FILES / "site.conf").read_text() + (FILES / "foreign-names.conf").read_text()
# A portal's server, with lines of its own for all files, and an operator's for the help desk.
PORTAL = """
server {
    listen 443 ssl;
    server_name clave.oficina.example;
    ssl_certificate /etc/letsencrypt/live/clave.oficina.example/fullchain.pem;
    ssl_certificate_key /etc/letsencrypt/live/clave.oficina.example/privkey.pem;
    access_log /var/log/nginx/portal.log restablecer;
    error_log /var/log/nginx/portal-error.log;
    add_header Content-Security-Policy "default-src 'none'";
    location / { return 200 portal; }
    location ~* \\.(css|js|png|svg)$ { root /nonexistent; expires 30d; }
    include snippets/restablecer.conf;
    location ^~ /restablecer/ayuda/ {
        auth_basic "Ayuda";
        auth_basic_user_file operators;
        include snippets/restablecer-proxy.conf;
        proxy_set_header X-Remote-User $remote_user;
    }
}
"""


class Front:
    """nginx on free ports; the test holds the service's socket, as systemd does.

    Until `start_web` whoever connects there waits.

    Args:
        folder: for all that is written.
        path: where the service is mounted: "" or "/restablecer".
        site: the servers.
        patience: how long nginx waits for whoever is slow, in its words.
    """

    def __init__(
        self, folder: Path, authority: Authority, *, path: str, site: str, patience: str = ""
    ) -> None:
        folder.mkdir()
        self.folder = folder
        self.path = path
        self.port, self.http_port = free_port(), free_port()
        self.url = f"https://localhost:{self.port}{path}"
        self.tls = ssl.create_default_context(cafile=authority.cert)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(f"{folder}/web.sock")
        self.socket.listen(1000)
        certificate = authority.sign("DNS:localhost")
        live = "/etc/letsencrypt/live/clave.oficina.example"
        changes = {
            "https://clave.oficina.example$": f"https://localhost:{self.port}$",
            f"{live}/fullchain.pem": str(certificate.cert),
            f"{live}/privkey.pem": str(certificate.key),
            "clave.oficina.example": "localhost",
            " /restablecer": f" {path}",
            "snippets/restablecer-proxy.conf": f"{folder}/proxy.conf",
            "snippets/restablecer.conf": f"{folder}/locations.conf",
            "/opt/restablecer/current": str(ROOT),
            "/run/restablecer": str(folder),
            "/var/log/nginx": str(folder),
            "/var/www/html": str(folder),
            "listen 80": f"listen 127.0.0.1:{self.http_port}",
            "listen 443": f"listen 127.0.0.1:{self.port}",
        }
        if patience:
            changes |= {"timeout 20s": f"timeout {patience}", "timeout 60s": f"timeout {patience}"}
        self._changes = changes
        for name in ("proxy.conf", "locations.conf"):
            (folder / name).write_text(self._changed((FILES / name).read_text()))
        (folder / "operators").write_text("ana:{PLAIN}secreta\n")
        self._site = self._changed((FILES / "http.conf").read_text() + site)

    def _changed(self, text: str) -> str:
        text = re.sub(r".*listen \[::\].*\n", "", text)
        if not self.path:
            text = re.sub(r".*# only under a path\n", "", text)
        for old, new in self._changes.items():
            text = text.replace(old, new)
        return text

    @contextmanager
    def running(self, program: str) -> Iterator[Self]:
        """nginx, answering."""
        with self.socket, nginx(program, self.folder, self._site, self.port):
            yield self

    def start_web(self, host: Host) -> subprocess.Popen[bytes]:
        """gunicorn on the socket, as systemd hands it over."""
        number = self.socket.fileno()
        take = f'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@" 3<&{number}'
        gunicorn = [sys.executable, "-m", "gunicorn"]
        return host.start("bash", "-c", take, "bash", *gunicorn, pass_fds=[number])

    def client(self, address: str = "127.0.0.1") -> Client:
        """A visitor whose machine has *address*; paths begin where the service is mounted."""
        return Visitor(self.port, self.tls, self.path, address)

    def said(self, request: str, port: int = 0) -> str:
        """What is answered to *request*, its lines as they are sent, without TLS to a *port*.

        That is everything until the line is closed, or a page is whole.
        """
        got = b""
        with self.line(port) as line:
            line.sendall(request.replace("\n", "\r\n").encode())
            while b"</html>" not in got and (more := line.recv(65536)):
                got += more
        return got.decode("utf-8", "replace")

    def line(self, port: int = 0) -> socket.socket:
        """A connection, with TLS unless a *port* is given."""
        line = socket.create_connection(("127.0.0.1", port or self.port), 60)
        return line if port else self.tls.wrap_socket(line, server_hostname="localhost")

    @contextmanager
    def echo(self) -> Iterator[None]:
        """In the service's place somebody answers with the request's head, as it arrived."""
        thread = threading.Thread(target=self._echo)
        thread.start()
        yield
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(f"{self.folder}/web.sock")
        thread.join()

    def _echo(self) -> None:
        while True:
            one, _ = self.socket.accept()
            with one:
                head = one.recv(65536)
                if not head:
                    return
                one.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + head)

    @property
    def logs(self) -> str:
        """All that nginx has written."""
        return "\n".join(path.read_text("utf-8", "replace") for path in self.folder.glob("*.log"))


class Visitor(Client):
    """Somebody at *address* who asks localhost over HTTPS; paths begin at *path*."""

    def __init__(
        self, port: int, tls: ssl.SSLContext, path: str, address: str, keys: Sequence[str] = (KEY,)
    ) -> None:
        super().__init__(port, keys)
        self._path = path
        self._connection = http.client.HTTPSConnection(
            "localhost", port, timeout=300, context=tls, source_address=(address, 0)
        )

    def _talk(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Answer:
        return super()._talk(method, self._path + path, body, headers)
