"""Processes that are killed at any moment: what was accepted arrives."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from app import create_app
from tests.conftest import NEW_PASSWORD, OLD_PASSWORD
from tests.servers.service import Answer, Host, settings, until, work_off
from tests.servers.smtp import Sink, serving, text_of
from tests.soak.conftest import Note, Person, Rounds, Site

AT_ONCE = 4  # So many are with the mail server, or taken and noted in the next milliseconds.
AFTER_LEASES = timedelta(minutes=6)


@pytest.fixture
def host(tmp_path: Path, site: Site) -> Iterator[Host]:
    with Host(tmp_path, site.environ) as host:
        yield host


def test_whole_flow_over_real_processes(host: Host, site: Site) -> None:
    """Asked, mailed, changed, confirmed: web and worker as the Procfile starts them."""
    (ana,) = site.newcomers(1)
    host.start_web()
    host.start_worker()
    assert _ask(host, ana).status == 303
    until(lambda: len(site.mails(ana)) == 1)
    assert _use(host, site.link(ana)).location == "/lista"
    until(lambda: site.confirmations(ana) == 1)
    assert site.portal.lets_in(ana.id, NEW_PASSWORD)


def test_kill_at_any_moment_loses_no_request(
    host: Host, site: Site, rounds: Rounds, figure: Note
) -> None:
    """Each accepted request is mailed; twice only if a worker died before it noted the mail."""
    everybody, kills, doubtful = site.newcomers(rounds(20, 200)), rounds(4, 200), set[str]()
    web, worker = host.start_web(), host.start_worker()
    with _asking(host, everybody) as accepted:
        for turn in range(kills):
            _let_pass(accepted, site.sink.envelopes)
            if turn % 3 != 1:
                web = _kill_web(host, web, whole=turn % 6 == 0)
            if turn % 3 != 0:
                host.kill(worker)
                doubtful.update(site.waiting("sending"))
                worker = host.start_worker()
    host.kill(worker)
    doubtful.update(site.waiting("sending"))
    work_off(site.environ, AFTER_LEASES)
    mails = [mail for person in everybody for mail in site.mails(person)]
    numbers = {_number(text_of(mail)) for mail in mails}
    copies = Counter(str(mail["Message-ID"]) for mail in mails)
    twice = {mail for mail, count in copies.items() if count > 1}
    figure(
        "2 nothing lost",
        f"{kills} kills, {len(accepted)} accepted: lost",
        len({*accepted} - numbers),
        "0",
    )
    figure(
        "2 nothing lost",
        f"{kills} kills: mails sent twice",
        len(twice),
        f"at most {AT_ONCE * kills}",
    )
    assert {*accepted} <= numbers
    assert len(copies) == len(numbers)
    assert twice <= doubtful
    assert len(mails) - len(copies) <= AT_ONCE * kills
    host.wait_for_web()
    for person in filter(site.mails, everybody[:10]):
        assert _use(host, site.link(person)).location == "/lista"


@pytest.mark.parametrize("takes", [False, True], ids=["before it is taken", "after it is taken"])
def test_kill_in_the_hand_over_repeats_the_same_mail(
    tmp_path: Path, site: Site, takes: bool
) -> None:
    """A mail that was perhaps taken is sent again with its Message-ID; one that was not, once."""
    work_off(site.environ, AFTER_LEASES)  # What other tests left.
    (ana,) = site.newcomers(1)
    sink = _Deadly(takes=takes)
    with serving(sink) as smtp:
        environ = site.environ | {"RESET_MAIL_PORT": str(smtp)}
        parts = create_app(settings(environ)).extensions["reset"]
        parts.flow.request(
            ana.address, allowed=True, origin="", language="es", now=datetime.now(UTC)
        )
        parts.database.close()
        with Host(tmp_path, environ) as host:
            sink.victim = host.start_worker()
            sink.victim.wait(60)
        sink.victim = None
        work_off(environ, AFTER_LEASES)
    assert len(sink.envelopes) == 1 + takes
    assert len({mail["Message-ID"] for mail in sink.mails()}) == 1


def test_kill_in_the_middle_of_a_change_is_settled(
    tmp_path: Path, site: Site, rounds: Rounds, figure: Note
) -> None:
    """The new password is in place and confirmed once, or the old one is and the link works."""
    somebody, *everybody = site.newcomers(1 + rounds(4, 200))
    with Host(tmp_path, site.environ, web_workers=1) as host:
        web = host.start_web()
        for person in (somebody, *everybody):
            assert _ask(host, person).status == 303
        work_off(site.environ, timedelta())
        started = time.monotonic()
        assert _use(host, site.link(somebody)).location == "/lista"
        usual = time.monotonic() - started
        told = [_kill_during(host, web, site.link(person), usual) for person in everybody]
        work_off(site.environ, AFTER_LEASES)
        changed = [site.portal.lets_in(person.id, NEW_PASSWORD) for person in everybody]
        kept = [site.portal.lets_in(person.id, OLD_PASSWORD) for person in everybody]
        again = [_use(host, site.link(person), "Otra-Clave-Lejana-7") for person in everybody]
    what = f"{len(everybody)} kills during a change: changed, and of these told"
    figure("7 no false success", what, f"{sum(changed)}, {sum(told)}", "any")
    assert [site.confirmations(person) for person in everybody] == changed
    assert [not is_new for is_new in changed] == kept
    assert [answer.status == 303 for answer in again] == kept
    assert all(is_new for is_new, was_told in zip(changed, told, strict=True) if was_told)


class _Deadly(Sink):
    """Kills its client at the end of a mail, which it *takes* or not."""

    victim: subprocess.Popen[bytes] | None = None

    def __init__(self, *, takes: bool) -> None:
        super().__init__()
        self._takes = takes

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.victim is None:
            return await super().handle_DATA(server, session, envelope)
        if self._takes:
            await super().handle_DATA(server, session, envelope)
        self.victim.kill()
        return "451 too late"


def _ask(host: Host, person: Person) -> Answer:
    with host.client() as visitor:
        return visitor.ask(person.address)


def _use(host: Host, link: str, password: str = NEW_PASSWORD) -> Answer:
    with host.client() as visitor:
        return visitor.set_password(link, password)


def _let_pass(accepted: Sequence[object], mailed: Sequence[object]) -> None:
    """Until both go on, and then any moment."""
    before = len(accepted), len(mailed)
    until(lambda: len(accepted) > before[0] and len(mailed) > before[1])
    time.sleep(secrets.randbelow(300) / 1000)


@contextmanager
def _asking(host: Host, everybody: Sequence[Person]) -> Iterator[list[str]]:
    """Three visitors ask for *everybody*, over and over; the numbers of what was accepted."""
    accepted: list[str] = []
    stop = threading.Event()

    def ask(first: int) -> None:
        client, turn = host.client(), first
        while not stop.is_set():
            got = client.ask(everybody[turn % len(everybody)].address)
            if got.status == 303:
                accepted.append(got.location.rpartition("/")[2])
            turn += 1
            stop.wait(0.1)
        client.close()

    with ThreadPoolExecutor(3) as pool:
        visitors = [pool.submit(ask, first) for first in range(3)]
        try:
            yield accepted
        finally:
            stop.set()
    for visitor in visitors:
        visitor.result()


def _kill_web(host: Host, web: subprocess.Popen[bytes], *, whole: bool) -> subprocess.Popen[bytes]:
    """End gunicorn and start it again, or end one of its processes, which it replaces itself."""
    if whole:
        host.kill(web)
        return host.start_web()
    until(lambda: host.web_children(web))
    with suppress(ProcessLookupError):
        os.kill(secrets.choice(host.web_children(web)), signal.SIGKILL)
    return web


def _kill_during(host: Host, web: subprocess.Popen[bytes], link: str, usual: float) -> bool:
    """Kill the only process that answers at some moment of a change; was success told?"""
    host.wait_for_web()
    (child,) = host.web_children(web)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(_use, host, link)
        time.sleep(secrets.randbelow(1200) / 1000 * usual)
        os.kill(child, signal.SIGKILL)
        return answer.result().location == "/lista"


def _number(text: str) -> str:
    found = re.search(r"\d{4}-\d{4}-\d{4}", text)
    assert found
    return found[0]
