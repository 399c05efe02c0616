"""A disk that is full or broken at any write, and a process that is killed there."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from app import create_app
from demo import accounts as demo_accounts
from tests.conftest import (
    NEW_PASSWORD,
    OLD_PASSWORD,
    Clock,
    Portal,
    RecordingSender,
    Visitor,
    program,
)
from tests.servers.faulty import BROKEN, FULL, KILL, Faulty
from tests.servers.service import ROOT, Answer, Host, until
from tests.servers.smtp import text_of
from tests.soak.conftest import Note, Rounds, Site
from tests.soak.walk import mail_of, settings

Walk = Callable[..., list[str]]
_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder in it is private.
# The error, whether it lasts, how many writes `make test` tries, and each which `make soak` does.
FAULTS = {
    "fail once": (BROKEN, False, 4, 1),
    "fail from then on": (BROKEN, True, 3, 3),
    "meet a full disk once": (FULL, False, 3, 3),
    "meet a disk full from then on": (FULL, True, 3, 3),
    "end the process": (KILL, False, 10, 1),
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Faulty:
    gcc = program("the tests of faulty disks", "gcc", "gcc")
    return Faulty(tmp_path_factory.mktemp("faulty"), gcc)


@pytest.fixture(scope="module")
def walked(faulty: Faulty) -> Iterator[Walk]:
    """``walked(error, at=n, lasting=...)``: the promises that a walk with this fault broke."""
    # In memory: only the calls matter here, and so many syncs would take minutes.
    with TemporaryDirectory(dir=_MEMORY if _MEMORY.exists() else None) as folder:
        yield from _walking(Path(folder), faulty)


def _walking(folder: Path, faulty: Faulty) -> Iterator[Walk]:
    template, count = folder / "template", itertools.count()
    template.mkdir()
    Portal(template / "portal.sqlite").add()
    create_app(settings(template)).extensions["reset"].database.close()
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tests.soak.walk"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "FLASK_SKIP_DOTENV": "1", **faulty.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdin
        assert process.stdout

        def walk(error: int, *, at: int, lasting: bool = False) -> list[str]:
            place = shutil.copytree(template, folder / f"walk{next(count)}")
            faulty.fail(error, at=at, lasting=lasting)
            print(place, file=process.stdin, flush=True)
            ended = int(process.stdout.readline())  # type: ignore[union-attr]
            faulty.heal()
            broken = _broken_promises(place, ended)
            shutil.rmtree(place)
            return broken

        yield walk
        process.stdin.close()


@pytest.fixture(scope="module")
def writes(walked: Walk, faulty: Faulty) -> int:
    """How many there are on the whole way when none fails."""
    assert walked(BROKEN, at=1_000_000) == []
    return faulty.calls


def _broken_promises(folder: Path, ended: int) -> list[str]:
    """What is not as it should be when a worker on a good disk has settled everything."""
    lines = [json.loads(line) for line in (folder / "told").read_text().splitlines()]
    told = {name: value for line in lines for name, value in line.items() if name != "mail"}
    clock = Clock()
    clock.advance(minutes=10)  # Leases and claims have run out.
    app = create_app(settings(folder), clock=clock)
    visitor = Visitor(app, RecordingSender(app), clock)
    visitor.run_worker()
    visitor.run_worker()
    mails = [line["mail"] for line in lines if "mail" in line]
    mails += [mail_of(mail) for mail in visitor.sender.sent]
    asked = [mail for mail in mails if mail["link"]]
    confirmed = {mail["id"] for mail in mails if not mail["link"]}
    is_new, is_old = (_lets_in(folder, word) for word in (NEW_PASSWORD, OLD_PASSWORD))
    number = str(told.get("location")).rpartition("/")[2]
    pages = {told.get(name) for name in ("asked", "opened", "changed")}
    promises = {
        "accepted is mailed": told.get("asked") != 303 or number in str(asked),
        "a copy is the same mail": len({mail["id"] for mail in asked}) <= 1,
        "success is true": told.get("changed") != 303 or is_new,
        "truth is told by who lives": bool(ended) or is_new == (told.get("changed") == 303),
        "one password is accepted": is_new != is_old,
        "a change is confirmed once": len(confirmed) == is_new,
        "else the link works": is_new or not asked or _works(visitor, asked[-1]["link"]),
        "no page is an error": pages <= {None, 200, 303, 503},
        "heals without a restart": bool(ended) or told.get("healed") == 303,
        "files are intact": _is_intact(folder),
    }
    app.extensions["reset"].database.close()
    return [promise for promise, is_kept in promises.items() if not is_kept]


def _lets_in(folder: Path, password: str) -> bool:
    with closing(sqlite3.connect(folder / "portal.sqlite")) as db:
        (stored,) = db.execute("SELECT clave FROM usuarios").fetchone()
    return demo_accounts.check(password, stored)


def _works(visitor: Visitor, link: str) -> bool:
    return visitor.set_password(link, "Otra-Clave-Lejana-7").status_code == 303


def _is_intact(folder: Path) -> bool:
    for file in folder.glob("*.sqlite"):
        with closing(sqlite3.connect(file)) as db:
            if db.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                return False
    return True


@pytest.mark.parametrize("fault", FAULTS)
def test_any_write_may_fail(
    walked: Walk, writes: int, rounds: Rounds, figure: Note, fault: str
) -> None:
    """Whatever write of the whole way fails: nothing accepted is lost, no success is false."""
    error, lasting, few, step = FAULTS[fault]
    points = range(1, writes + 1, rounds(writes // few, step))
    found = {at: walked(error, at=at, lasting=lasting) for at in points}
    broken = {at: promises for at, promises in found.items() if promises}
    figure(
        "2 nothing lost",
        f"writes {fault}, {len(found)} of {writes}: broke a promise",
        len(broken),
        "0",
    )
    assert broken == {}


def test_full_disk_accepts_nothing_and_heals(
    tmp_path: Path, site: Site, faulty: Faulty, rounds: Rounds, figure: Note
) -> None:
    """503 for everybody alike while nothing can be stored; then all goes on without a restart."""
    (ana,) = site.newcomers(1)
    with Host(tmp_path, site.environ | faulty.environ) as host:
        host.start_web()
        host.start_worker()
        client = host.client()
        before = [client.ask(ana.address) for _ in range(20)]
        faulty.fail(FULL)
        until_healed = time.monotonic() + rounds(1, 60)
        known, unknown = [], []
        while time.monotonic() < until_healed:
            known.append(client.ask(ana.address))
            unknown.append(client.ask("nadie@example.com"))
        faulty.heal()
        healed = time.monotonic()
        until(lambda: client.ask(ana.address).status == 303, 30)
        figure(
            "2 nothing lost",
            f"disk full for {rounds(1, 60)} s: seconds until healthy",
            round(time.monotonic() - healed, 1),
            "30",
        )
        site.all_sent()
        client.close()
    assert {answer.status for answer in before} == {303}
    assert {_seen(answer) for answer in known + unknown} == {_seen(known[0])}
    assert known[0].status == 503
    mails = " ".join(text_of(mail) for mail in site.mails(ana))
    accepted = [answer.location.rpartition("/")[2] for answer in before]
    assert [number for number in accepted if number not in mails] == []
    wrong = sum(answer.status != 503 for answer in known + unknown)
    figure(
        "2 nothing lost",
        f"not refused of {len(known + unknown)} while the disk was full",
        wrong,
        "0",
    )


def test_few_open_files_are_enough(tmp_path: Path, site: Site) -> None:
    """More visitors at once than files that may be opened: they wait, and nobody is turned away."""
    with Host(tmp_path, site.environ) as host:
        limited = f"ulimit -n 64 && exec {sys.executable} -m gunicorn"
        host.start("sh", "-c", limited)
        host.wait_for_web()
        clients = [host.client() for _ in range(120)]
        with ThreadPoolExecutor(len(clients)) as pool:
            answers = list(pool.map(lambda client: client.get("/"), clients))
        # All hold their connections, as browsers do.
        assert {answer.status for answer in answers} == {200}
        client = host.client()
        assert client.ask("nadie@example.com").status == 303
        for one in (client, *clients):
            one.close()
        assert "Too many open files" not in host.log


def _seen(answer: Answer) -> str:
    # gunicorn says "close" to whoever is there when it replaces a process.
    ours = [(name, value) for name, value in answer.headers if name not in ("Date", "Connection")]
    body = re.sub("(Código: )[0-9a-f]{8}<", r"\1<", answer.body)  # Of each request another one.
    return f"{answer.status} {ours} {body}"
