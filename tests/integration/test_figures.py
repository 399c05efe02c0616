"""Figures and log lines of real processes: several of the web, and a worker."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Portal
from tests.servers.service import Client, Host, until
from tests.servers.smtp import Sink, serving

ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Ana is registered; the web has two processes and believes one proxy."""
    folder = tmp_path_factory.mktemp("figures")
    Portal(folder / "portal.sqlite").add()
    with serving(Sink()) as smtp:
        environ = {
            "RESET_DATABASE_URL": f"sqlite:///{folder}/reset.sqlite",
            "RESET_ACCOUNTS_URL": f"sqlite:///{folder}/portal.sqlite",
            "RESET_MAIL_PORT": str(smtp),
            "RESET_METRICS_ALLOW": "127.0.0.1/32",
            "RESET_TRUSTED_PROXIES": "1",
        }
        with Host(folder, environ) as running:
            running.start_web()
            yield running


def scrape(host: Host, name: str) -> set[float]:
    """What several scrapes, by whichever process, show for *name*."""
    seen = set()
    for _ in range(6):
        with Client(host.port) as client:
            text = client.get("/metrics").body
        seen |= {
            float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)
        }
    return seen


def lines(host: Host) -> list[dict[str, str]]:
    """The log, but for what commands print."""
    return [json.loads(line) for line in host.log.splitlines() if line.startswith("{")]


def test_processes_count_together(host: Host) -> None:
    """Whoever is asked tells the figures of all, those of killed ones too; and no files pile up."""
    web, pages = host.processes[0], 'reset_pages_total{page="request",status="2xx"}'
    (before,) = scrape(host, pages)
    for count in (10, 20, 30):
        for _ in range(10):
            with Client(host.port) as client:
                assert client.get("/").status == 200
        assert scrape(host, pages) == {before + count}
        kill_one(host, web)
    assert len([*host.log_path.parent.glob("figures-*/*.db")]) <= 2


def kill_one(host: Host, web: subprocess.Popen[bytes]) -> None:
    """Kill one process of the web; returns when gunicorn has put another in its place."""
    old = {*host.web_children(web)}
    os.kill(min(old), signal.SIGKILL)
    until(lambda: {*host.web_children(web)} - old)
    host.wait_for_web()


def test_worker_shows_itself_to_every_web_process(host: Host) -> None:
    """While it runs, and no longer."""
    worker = host.start_worker()
    until(lambda: scrape(host, "reset_workers ") == {1})
    assert scrape(host, "reset_worker_heartbeat_age_seconds{").pop() < 30
    host.kill(worker, signal.SIGTERM)
    assert scrape(host, "reset_workers ") == {0}


def test_one_id_leads_through_all_logs(host: Host) -> None:
    """From the proxy's header to the worker's lines, and to the trace of the help desk."""
    with host.client() as client:
        answer = client.ask(headers={"X-Request-ID": ID})
    worker = host.start_worker()
    until(lambda: "mail sent" in host.log)
    host.kill(worker, signal.SIGTERM)
    ours = [line["event"] for line in lines(host) if line.get("id") == ID]
    assert ours == ["request stored", "mail sent"]
    number = answer.location.rpartition("/")[2]
    trace = host.run(sys.executable, "-m", "flask", "--app", "app", "reset", "trace", number)
    assert f"id: {ID}" in trace.stdout


def test_web_server_writes_as_we_do(host: Host) -> None:
    """Its lines are JSON, too; of a request that is none, nothing is repeated."""
    with socket.create_connection(("127.0.0.1", host.port), 30) as line:
        line.sendall(b"t0ken / HTTP/1.1\r\n\r\n")
        line.recv(1)
    until(lambda: "Invalid request" in host.log)
    events = [line["event"] for line in lines(host) if line["logger"] == "gunicorn.error"]
    assert any(event.startswith("Booting worker") for event in events)
    assert not re.search(r"^\[\d{4}-", host.log, re.MULTILINE)
    assert "t0ken" not in host.log


def test_log_for_people(host: Host, tmp_path: Path) -> None:
    """RESET_LOG_FORMAT=plain, with the time of the configured zone, is for the web server, too."""
    environ = host.environ | {"RESET_LOG_FORMAT": "plain", "RESET_TIMEZONE": "Asia/Kathmandu"}
    del environ["PORT"], environ["RUNTIME_DIRECTORY"]
    with Host(tmp_path, environ, web_workers=1) as plain:
        web = plain.start_web()
        with plain.client() as client:
            client.ask("nadie@example.com")
        plain.kill(web, signal.SIGTERM)
    assert re.search(r"^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d info Listening at", plain.log, re.M)
    assert re.search(r"^20\d\d\S+ \S+ info request stored request=\d{12} id=", plain.log, re.M)
    assert "{" not in plain.log
    assert [*tmp_path.glob("figures-*")] == []
