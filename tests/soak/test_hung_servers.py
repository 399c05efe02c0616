"""Directory and mail server take connections and say nothing: the form does not wait for them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reset import audit, links
from reset.db import Database
from reset.tokens import Tokens
from tests.conftest import ENVIRON, FOR_LDAP, KEY, library
from tests.servers import free_port
from tests.servers.service import Host
from tests.soak.conftest import Note, Rounds


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[Host]:
    """A host, web and worker, whose directory and mail server have fallen silent."""
    library("the tests of hung directories", FOR_LDAP, "ldap")
    directory, mail = ("127.0.0.1", free_port()), ("127.0.0.1", free_port())
    settings = dict.fromkeys((name for name in ENVIRON if "_ACCOUNTS_" in name), "") | {
        "RESET_DATABASE_URL": f"sqlite:///{tmp_path}/reset.sqlite",
        "RESET_ACCOUNTS_URL": f"ldap://127.0.0.1:{directory[1]}",
        "RESET_ACCOUNTS_LDAP_BASE": "dc=example",
        "RESET_ACCOUNTS_LDAP_BIND_DN": "cn=restablecer,dc=example",
        "RESET_ACCOUNTS_LDAP_BIND_PASSWORD": "clave-de-servicio",
        "RESET_MAIL_PORT": str(mail[1]),
    }
    with Host(tmp_path, settings) as host:
        host.start_web()
        # Whoever connects waits in the queue of a server that takes nobody out of it.
        with socket.create_server(directory), socket.create_server(mail):
            host.start_worker()
            yield host


def link_to_nobody(folder: Path) -> str:
    """A live link, as the worker would have made it before the directory fell silent."""
    now = datetime.now(UTC)
    database = Database(f"sqlite:///{folder}/reset.sqlite")
    with database.begin() as tx:
        audit.open_request(tx, "123456789012", "ana@example.com", "es", now=now)
        link = links.create(tx, "123456789012", '["x"]', "f" * 64, now=now)
    database.close()
    signer = Tokens([KEY], "link", ENVIRON["RESET_PUBLIC_URL"])
    return f"/nueva/{signer.make(bytes.fromhex(link.id), now=now)}"


def test_form_waits_for_nobody(hung: Host, tmp_path: Path, rounds: Rounds, figure: Note) -> None:
    """Requests are taken at once; who has a link hears within seconds that it must wait."""
    link = link_to_nobody(tmp_path)
    waited: list[tuple[int, float]] = []

    def open_link() -> None:
        before = time.monotonic()
        status = bearers.get(link).status
        waited.append((status, time.monotonic() - before))

    client, bearers, taken = hung.client(), hung.client(), []
    assert client.get("/healthz").status == bearers.get("/healthz").status == 200
    bearer = threading.Thread(target=open_link)
    bearer.start()
    for number in range(rounds(5, 500)):
        before = time.monotonic()
        assert client.ask(f"p{number}@example.com").status == 303
        taken.append(time.monotonic() - before)
    bearer.join()
    client.close()
    bearers.close()
    slow = sorted(taken)[int(len(taken) * 0.99)]
    figure(
        "nobody waits", "form and answer, p99, directory and SMTP hung", f"{slow:.3f} s", "0.3 s"
    )
    figure("nobody waits", "a link's page, directory hung", f"{waited[0][1]:.1f} s", "5 s")
    assert waited[0][0] == 503
    assert sorted(taken)[len(taken) // 2] < waited[0][1] / 2
