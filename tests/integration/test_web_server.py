"""gunicorn as the Procfile starts it: what it lets through, and what it serves."""

from __future__ import annotations

import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.service import ROOT, Answer, Host, until


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("web")
    stores = {
        "RESET_DATABASE_URL": f"sqlite:///{folder}/reset.sqlite",
        "RESET_ACCOUNTS_URL": f"sqlite:///{folder}/portal.sqlite",
    }
    with Host(folder, stores, web_workers=1) as running:
        running.start_web()
        yield running


def said(host: Host, request: str) -> str:
    """Everything that is answered to *request*, its lines as they are sent."""
    with socket.create_connection(("127.0.0.1", host.port), 30) as line:
        line.sendall(request.replace("\n", "\r\n").encode())
        line.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: line.recv(65536), b"")).decode("utf-8", "replace")


def page(host: Host) -> Answer:
    """The form, over a connection of its own."""
    with host.client() as client:
        return client.get("/")


HEADS = [
    "GET / HTTP/1.1\nHost: localhost\nHost: evil.example\n",
    "GET / HTTP/1.1\nHost: evil.example\nHost: localhost\n",
    "GET http://evil.example/ HTTP/1.1\nHost: localhost\n",
    "GET http://localhost/ HTTP/1.1\nHost: evil.example\n",
    "GET //evil.example/%2e%2e HTTP/1.1\nHost: localhost\n",
    "GET / HTTP/1.1\nHost: localhost\nX_Forwarded_Host: evil.example\n",
    "GET / HTTP/1.1\nHost: localhost\nX-Forwarded-Prefix: //evil.example\n",
    "GET / HTTP/1.1\nHost:localhost:80@evil.example\n",
    "GET / HTTP/1.0\n",
]
PATHS = [
    *("/.git/config", "/.env", "/.htaccess", "/app.py", "/instance/reset.sqlite"),
    *(
        "/static/",
        "/static/app.py",
        "/static/.env",
        "/static/..%2fapp.py",
        "/static/../app.py",
        "/static/%2e%2e/.env",
    ),
    *("/static/....//app.py", "/static//etc/passwd", "/static/css/../../app.py"),
    *("/debug", "/console", "/docs", "/openapi.json", "/swagger", "/metrics", "/status"),
    *("/admin", "/login", "/phpinfo.php", "/trace", "/actuator", "/graphql", "/server-status"),
]


def test_address_of_a_request_is_in_no_answer(host: Host) -> None:
    """Two hosts, or one in the line of the request: refused, or not repeated."""
    for head in HEADS:
        answer = said(host, f"{head}Connection: close\n\n")
        assert answer.split(" ")[1] in ("200", "400", "404"), head
        assert "evil" not in answer, head


def test_nothing_is_served_but_the_pages(host: Host) -> None:
    """No source, no state, no list of files, no page for developers or operators."""
    for path in PATHS:
        answer = said(host, f"GET {path} HTTP/1.1\nHost: localhost\nConnection: close\n\n")
        assert answer.split(" ")[1] == "404", path


def test_trace_gives_nothing_back(host: Host) -> None:
    """A header of the browser's is not readable by scripts of the page."""
    answer = said(
        host, "TRACE / HTTP/1.1\nHost: localhost\nX-Secret: s3cr3t\nConnection: close\n\n"
    )
    assert answer.split(" ")[1] == "405"
    assert "s3cr3t" not in answer


def test_reload_reads_code_and_settings_anew(tmp_path: Path) -> None:
    """Though the first processes were given the code that their parent had read."""
    root = tmp_path / "service"
    for part in ("reset", "templates", "translations", "static"):
        shutil.copytree(ROOT / part, root / part)
    for part in ("app.py", "config.py", "gunicorn.conf.py"):
        shutil.copy(ROOT / part, root / part)
    settings, code = root / ".env", root / "reset" / "embed.py"
    settings.touch(mode=0o600)
    environ = {
        "FLASK_SKIP_DOTENV": "",
        "RESET_DATABASE_URL": f"sqlite:///{tmp_path}/reset.sqlite",
        "RESET_ACCOUNTS_URL": f"sqlite:///{tmp_path}/portal.sqlite",
    }
    with Host(tmp_path, environ, web_workers=1, root=root) as host:
        web = host.start_web()
        before, old = page(host), host.web_children(web)
        code.write_text(code.read_text("utf-8").replace('"noindex"', '"noindex, nofollow"'))
        settings.write_text("RESET_NOTICE='Hoy cerramos a las 15:00'\n")
        web.send_signal(signal.SIGHUP)
        until(lambda: (now := host.web_children(web)) and not {*now} & {*old})
        after = page(host)
    headers = [dict(answer.headers)["X-Robots-Tag"] for answer in (before, after)]
    assert headers == ["noindex", "noindex, nofollow"]
    assert ["Hoy cerramos" in answer.body for answer in (before, after)] == [False, True]


def test_processes_share_no_connection(host: Host) -> None:
    """The one that starts the others, and gives them what it has open, has no store open."""
    (web,) = host.processes
    assert page(host).status == 200
    links = [link.readlink().name for link in Path(f"/proc/{web.pid}/fd").iterdir()]
    assert [name for name in links if "sqlite" in name] == []
