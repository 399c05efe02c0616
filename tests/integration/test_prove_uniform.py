"""`flask reset prove-uniform` against real web processes, with and without planted leaks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.conftest import ADDRESS, Portal
from tests.servers import free_port, wait_for
from tests.servers.service import Host

Prove = Callable[..., tuple[int, dict[str, Any]]]
UNKNOWN = "nadie@example.com"


@pytest.fixture(scope="module")
def leaky_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A service that treats some addresses in ways of their own."""
    folder = tmp_path_factory.mktemp("leaky")
    register(Portal(folder / "portal.sqlite"))
    with Host(folder, _stores(folder), web_workers=1) as host:
        web = host.start(sys.executable, "-m", "gunicorn", "tests.servers.leaky:leaky()")
        wait_for("127.0.0.1", host.port, web)
        yield host


@pytest.fixture
def leaky(leaky_host: Host) -> str:
    """Its base URL."""
    return f"http://127.0.0.1:{leaky_host.port}"


@pytest.fixture
def prove(app: Flask, portal: Portal) -> Prove:
    """Runs the command over 20 pairs; its status and what it printed for machines."""
    register(portal)

    def run(url: str, known: str, app: Flask = app) -> tuple[int, dict[str, Any]]:
        options = ["--known", known, "--unknown", UNKNOWN, "--n", "20", "--json"]
        told = app.test_cli_runner().invoke(args=["reset", "prove-uniform", url, *options])
        return told.exit_code, json.loads(told.output)

    return run


def register(portal: Portal) -> None:
    """Everybody but UNKNOWN."""
    for login in ("ana", "header", "throttled", "slow", "next"):
        portal.add(login, f"{login}@example.com")


@pytest.mark.parametrize("known", ["nadie2@example.com", UNKNOWN])
def test_two_addresses_of_a_kind_prove_nothing(leaky: str, prove: Prove, known: str) -> None:
    """They would be alike in any case."""
    status, report = prove(leaky, known)
    assert (status, report["verdict"]) == (2, "none")
    assert "--known must be registered" in report["sentence"]


def test_same_answers(leaky: str, prove: Prove) -> None:
    """Where nothing leaks no byte differs; what 20 pairs say about time is no promise."""
    _, report = prove(leaky, ADDRESS)
    assert report["difference"] is None
    # Ten more of each to warm up, and the requests with the planted delay.
    assert report["compared"]["POST"] == {"known": 30, "unknown": 38}
    assert report["compared"]["page"] == {"known": 30, "unknown": 38}
    assert [figure["what"] for figure in report["figures"]] == [
        "POST, AUC",
        "POST, 10th percentile (us)",
        "next request, AUC",
        "next request, 10th percentile (us)",
    ]


@pytest.mark.parametrize(
    ("leak", "told"),
    [
        ("header", "POST: the known address got 'X-Account: 17'"),
        ("throttled", "POST: the known address got '429 TOO MANY REQUESTS'"),
        ("slow", "POST, AUC"),
        ("next", "next request, AUC"),
    ],
)
def test_planted_leak_is_found(leaky: str, prove: Prove, leak: str, told: str) -> None:
    """By the bytes, by the time of the answer, or by that of the next visitor."""
    status, report = prove(leaky, f"{leak}@example.com")
    assert (status, report["verdict"]) == (1, "different")
    assert told in report["sentence"]


def test_planted_delay_is_in_what_is_measured(
    leaky: str, prove: Prove, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes through the same clock as a delay of the service; here long enough to be sure."""
    monkeypatch.setattr("reset.measurement.PLANTED_US", 50_000)
    _, report = prove(leaky, ADDRESS)
    for figure in (report["figures"][0], report["figures"][2]):
        assert figure["what"].endswith("AUC")
        assert figure["planted"][0] > 0.9


def test_limit_that_is_hit(tmp_path: Path, portal: Portal, prove: Prove) -> None:
    """Ends at once, and says what to set for the time of the proof."""
    with Host(tmp_path, {**_stores(tmp_path), "RESET_LIMIT_PER_IP": "9 per hour"}) as host:
        host.start_web()
        status, report = prove(f"http://127.0.0.1:{host.port}", ADDRESS)
    assert (status, report["verdict"]) == (2, "none")
    assert "RESET_LIMIT_PER_IP='1000000 per hour'" in report["sentence"]


def test_connections_that_the_server_ends(tmp_path: Path, portal: Portal, prove: Prove) -> None:
    """gunicorn ends a process after so many requests: the next one is asked, nothing differs."""
    often = {"GUNICORN_CMD_ARGS": "--max-requests=60 --max-requests-jitter=0"}
    with Host(tmp_path, {**_stores(tmp_path), **often}, web_workers=1) as host:
        host.start_web()
        _, report = prove(f"http://127.0.0.1:{host.port}", ADDRESS)
        assert "Autorestarting worker" in host.log
    assert (report["difference"], report["compared"]["POST"]["known"]) == (None, 30)


def test_wrong_key(leaky: str, prove: Prove, make_app: Callable[..., Flask]) -> None:
    """The captcha cannot be solved with the settings of another service."""
    stranger = make_app(secret_keys=("0ther-k3y_For.Tests-only0123456789abcd",))
    status, report = prove(leaky, ADDRESS, stranger)
    assert (status, report["verdict"]) == (2, "none")
    assert "the settings here have another key" in report["sentence"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:{closed}", "does not answer (ConnectionRefusedError"),
        ("{leaky}/elsewhere", "there is no form at /elsewhere/ (status 404)"),
        ("127.0.0.1:5000", "is no http:// or https:// address"),
        ("http://127.0.0.1:port", "is no http:// or https:// address"),
    ],
)
def test_service_out_of_reach(leaky: str, prove: Prove, url: str, told: str) -> None:
    """No verdict, and why."""
    status, report = prove(url.format(closed=free_port(), leaky=leaky), ADDRESS)
    assert (status, report["verdict"]) == (2, "none")
    assert told in report["sentence"]


def test_told_to_people(leaky: str, leaky_host: Host) -> None:
    """As an operator runs it: a small table, and the verdict as its last line."""
    command = [sys.executable, "-m", "flask", "--app", "app", "reset", "prove-uniform", leaky]
    told = leaky_host.run(*command, "--known", "header@example.com", "--unknown", UNKNOWN, "--n=10")
    lines = told.stdout.splitlines()
    assert told.returncode == 1
    assert lines[0].split() == ["seen", "95", "%", "interval", "bar", "planted"]
    assert lines[1].startswith("POST, AUC")
    assert lines[-1].startswith("The accounts can be told apart by POST: the known address got")


def _stores(folder: Path) -> dict[str, str]:
    return {
        "RESET_DATABASE_URL": f"sqlite:///{folder}/served.sqlite",
        "RESET_ACCOUNTS_URL": f"sqlite:///{folder}/portal.sqlite",
    }
