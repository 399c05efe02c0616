"""Several hosts over PostgreSQL or MariaDB, and Redis: any serves any step, and any may fail."""

from __future__ import annotations

import math
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from reset import migrations
from reset.captcha import answer
from tests.conftest import KEY, NEW_PASSWORD, program
from tests.servers.redis import RedisServer
from tests.servers.service import ROOT, Answer, Host, until, work_off
from tests.servers.smtp import text_of
from tests.servers.sql import SqlServer
from tests.servers.state import NAME
from tests.soak.conftest import Note, Person, Rounds, Site

NEW_KEY = "an0ther-Key-For_Tests.ZYXWVUTSRQPONMLKJ98"
AFTER_LEASES = timedelta(minutes=6)
UNKNOWN = "nadie{}@example.com"
LATEST = migrations.steps()[-1][0]


@pytest.fixture(
    scope="module", params=["postgresql", pytest.param("mysql", marks=pytest.mark.long)]
)
def server(request: pytest.FixtureRequest, sql_server: Callable[[str], SqlServer]) -> SqlServer:
    return sql_server(request.param)


@pytest.fixture(scope="module")
def site_state_url(server: SqlServer, state_servers: Callable[[str], str]) -> str:
    return state_servers(server.kind)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    redis = RedisServer(program("the Redis tests", "redis-server", "redis-server"), tmp_path)
    with redis.running():
        yield redis


@pytest.fixture
def make_host(
    tmp_path: Path, site: Site, redis: RedisServer, rounds: Rounds
) -> Iterator[Callable[..., Host]]:
    """A host with web and worker; each has a folder of its own, and shares the stores."""
    with ExitStack() as stack:

        def make(root: Path = ROOT, web_workers: int = rounds(1, 2), **environ: str) -> Host:
            folder = tmp_path / f"host{len(hosts)}"
            folder.mkdir()
            shared = {**site.environ, "RESET_RATELIMIT_STORAGE_URI": redis.url}
            host = Host(folder, shared | environ, root=root, web_workers=web_workers)
            hosts.append(stack.enter_context(host))
            host.start_web()
            host.start_worker()
            return host

        hosts: list[Host] = []
        yield make
    work_off(site.environ, AFTER_LEASES)  # What killed workers held is not the next test's.


@dataclass(frozen=True)
class Asked:
    """A request and what came back."""

    address: str
    answer: Answer

    @property
    def number(self) -> str:
        """Its number; empty if it was not accepted."""
        return self.answer.location.rpartition("/")[2] if self.answer.status == 303 else ""


def ask(form_from: Host, sent_to: Host, address: str) -> Asked:
    """The form of one host, sent to another."""
    first, second = form_from.client(), sent_to.client()
    page = first.get("/")
    found = re.search(r'name="challenge" value="([^"]+)"', page.body)
    if found is None:
        return Asked(address, page)
    letters = answer(found[1], [KEY, NEW_KEY])
    got = second.post("/", email=address, challenge=found[1], captcha=letters)
    first.close()
    second.close()
    return Asked(address, got)


@contextmanager
def crowd(hosts: Sequence[Host], people: Sequence[Person], a_second: int) -> Iterator[list[Asked]]:
    """Registered and unknown in turn ask at any host, *a_second* times a second."""
    asked: list[Asked] = []
    stop = threading.Event()

    def come(turn: int) -> None:
        known = people[turn // 2 % len(people)].address
        address = known if turn % 2 else UNKNOWN.format(turn)
        asked.append(ask(hosts[turn // 2 % len(hosts)], hosts[turn // 4 % len(hosts)], address))

    def send(pool: ThreadPoolExecutor) -> None:
        turn = 0
        while not stop.wait(1 / a_second):
            pool.submit(come, turn)
            turn += 1

    with ThreadPoolExecutor(24) as pool:
        clock = threading.Thread(target=send, args=[pool])
        clock.start()
        try:
            yield asked
        finally:
            stop.set()
            clock.join()


def is_unknown(asked: Asked) -> bool:
    return asked.address.startswith("nadie")


def mailed(site: Site) -> Counter[str]:
    """How often each request was mailed."""
    texts = (text_of(mail) for mail in site.sink.mails())
    return Counter(
        number for text in texts for number in re.findall(r"\d{4}-\d{4}-\d{4}", text)[:1]
    )


def lost(site: Site, asked: Sequence[Asked]) -> list[str]:
    """What was accepted for somebody registered and never mailed."""
    arrived = mailed(site)
    return [a.number for a in asked if a.number and not is_unknown(a) and not arrived[a.number]]


def fisher(errors: tuple[int, int], totals: tuple[int, int]) -> float:
    """The two-sided p of Fisher's exact test: are the *errors* among both *totals* as many?

    Source: R. A. Fisher, Statistical Methods for Research Workers, 21.02.
    """
    both, all_errors = sum(totals), sum(errors)

    def chance(first: int) -> float:
        return (
            math.comb(totals[0], first)
            * math.comb(totals[1], all_errors - first)
            / math.comb(both, all_errors)
        )

    seen = chance(errors[0])
    possible = range(max(0, all_errors - totals[1]), min(all_errors, totals[0]) + 1)
    return min(1.0, sum(c for c in map(chance, possible) if c <= seen * (1 + 1e-9)))


def test_fishers_test_is_fishers() -> None:
    """His own example: of 13 and 17 twins of convicts, 10 and 2 were convicted."""
    assert fisher((10, 2), (13, 17)) == pytest.approx(0.000537, abs=5e-6)


def test_any_host_serves_any_step(
    site: Site, make_host: Callable[..., Host], rounds: Rounds, figure: Note
) -> None:
    """Form, answer, link, change and denial at different hosts; each mail is sent once."""
    one, two = make_host(), make_host()
    people = site.newcomers(rounds(6, 200))
    for turn, person in enumerate(people):
        here, there = (one, two) if turn % 2 else (two, one)
        assert ask(here, there, person.address).number
    until(lambda: all(site.mails(person) for person in people))
    for turn, person in enumerate(people):
        here, there = (one, two) if turn % 2 else (two, one)
        link = site.link(person)
        assert get(here, link).status == 200
        assert change(there, link).location == "/lista"
        assert change(here, link).status == 410
    site.all_sent()
    figure(
        "2 nothing lost", f"{len(people)} ways over two hosts: mails sent twice", twice(site), "0"
    )
    assert twice(site) == 0
    assert [site.confirmations(person) for person in people] == [1] * len(people)


def get(host: Host, path: str) -> Answer:
    with host.client() as visitor:
        return visitor.get(path)


def change(host: Host, link: str, password: str = NEW_PASSWORD) -> Answer:
    with host.client() as visitor:
        return visitor.set_password(link, password)


def twice(site: Site) -> int:
    """How many mails arrived more than once."""
    copies = Counter(str(mail["Message-ID"]) for mail in site.sink.mails())
    return sum(count > 1 for count in copies.values())


def test_host_that_dies_loses_nothing(
    site: Site, make_host: Callable[..., Host], rounds: Rounds, figure: Note
) -> None:
    """One of two is killed again and again at 20 requests a second; the other goes on."""
    one, two = make_host(), make_host()
    people, kills = site.newcomers(60), rounds(2, 12)
    with crowd([one, two], people, 20) as asked:
        for turn in range(kills):
            time.sleep(1)
            victim = (one, two)[turn % 2]
            for process in list(victim.processes):
                victim.kill(process)
            time.sleep(1)
            victim.start_web()
            victim.start_worker()
    drain(site, one, two)
    report(site, asked, f"{kills} times all of a host killed", figure)


def drain(site: Site, *hosts: Host) -> None:
    """Let everything out, what killed workers held included."""
    for host in hosts:
        for process in list(host.processes):
            host.kill(process)
    work_off(site.environ, AFTER_LEASES)


def report(site: Site, asked: Sequence[Asked], what: str, figure: Note) -> None:
    """Nothing accepted was lost, and registered and unknown met errors alike."""
    totals = Counter(map(is_unknown, asked))
    errors = Counter(is_unknown(a) for a in asked if not a.number)
    odds = fisher((errors[False], errors[True]), (totals[False], totals[True]))
    kind = site.environ["RESET_DATABASE_URL"].partition(":")[0]
    what = f"{kind}, {what}, {len(asked)} requests"
    figure("2 nothing lost", f"{what}: lost", len(lost(site, asked)), "0")
    share = f"{errors[False]} of {totals[False]} / {errors[True]} of {totals[True]}, p = {odds:.2f}"
    figure("2 nothing lost", f"{what}: errors registered / unknown", share, "alike (p > 0.01)")
    figure("2 nothing lost", f"{what}: mails twice", twice(site), "only of killed workers")
    assert lost(site, asked) == []
    assert len(asked) > errors.total()
    assert odds > 0.0001  # Of a right product one run in ten thousand.
    assert {a.answer.status for a in asked if not a.number} <= {0, 503}


def test_database_that_crashes_loses_nothing(
    site: Site, make_host: Callable[..., Host], server: SqlServer, rounds: Rounds, figure: Note
) -> None:
    """The server ends as in a crash and starts again, at 20 requests a second."""
    hosts, people = [make_host(), make_host()], site.newcomers(60)
    with crowd(hosts, people, 20) as asked:
        for _ in range(rounds(1, 6)):
            time.sleep(2)
            server.crash()
            server.start()
            time.sleep(2)
        until(lambda: asked[-1].number)
    drain(site, *hosts)
    report(site, asked, "server crashed", figure)


def test_lines_to_the_database_that_break_lose_nothing(
    site: Site, make_host: Callable[..., Host], server: SqlServer, rounds: Rounds, figure: Note
) -> None:
    """All our connections are ended by the administrator once a second."""
    hosts, people = [make_host(), make_host()], site.newcomers(60)
    with crowd(hosts, people, 20) as asked, server.admin().connect() as root:
        for _ in range(rounds(3, 60)):
            time.sleep(1)
            if server.kind == "postgresql":
                root.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE usename = 'restablecer_estado'"
                )
            else:
                root.exec_driver_sql("KILL CONNECTION USER restablecer_estado")
        time.sleep(1)
    drain(site, *hosts)
    report(site, asked, "lines cut each second", figure)
    errors = sum(not a.number for a in asked)
    figure(
        "2 nothing lost",
        "lines cut each second: share of errors",
        f"{errors / len(asked):.1%}",
        "<= 2 %",
    )
    assert errors <= rounds(60, 2) / 100 * len(asked)


@pytest.fixture(scope="module")
def skew(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that gives a process a wrong wall clock."""
    compiler = program("the tests of clocks", "gcc", "gcc")
    library = tmp_path_factory.mktemp("skew") / "skew.so"
    source = ROOT / "tests" / "servers" / "skew.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def test_clocks_that_differ_refuse_nobody(
    site: Site, make_host: Callable[..., Host], skew: Path, rounds: Rounds, figure: Note
) -> None:
    """One host two minutes ahead, one behind: form, link and change at either, and once more."""
    wrong = {"LD_PRELOAD": str(skew)}
    ahead, behind = (make_host(**wrong, SKEW=seconds) for seconds in ("120", "-120"))
    people = site.newcomers(rounds(4, 100))
    refused = 0
    for password in (NEW_PASSWORD, "Otra-Clave-Lejana-7"):
        for turn, person in enumerate(people):
            here, there = (ahead, behind) if turn % 2 else (behind, ahead)
            before = len(site.mails(person))
            refused += not ask(here, there, person.address).number
            until(lambda: len(site.mails(person)) > before)  # noqa: B023 - called at once
            refused += get(here, site.link(person)).status != 200
            refused += change(there, site.link(person), password).location != "/lista"
            until(lambda: site.confirmations(person) and len(site.mails(person)) > before + 1)  # noqa: B023
    figure("several hosts", f"{2 * len(people)} ways, clocks 240 s apart: refused", refused, "0")
    assert refused == 0


def test_new_key_leaves_all_that_is_open_alive(
    tmp_path: Path, site: Site, make_host: Callable[..., Host], rounds: Rounds, figure: Note
) -> None:
    """Hosts are reloaded one by one, as the manual says, while people are on their way."""
    file = tmp_path / "keys"
    rotate([], file, KEY)
    from_file = {"RESET_SECRET_KEYS": "", "RESET_SECRET_KEYS_FILE": str(file)}
    hosts, people = [make_host(**from_file) for _ in range(2)], site.newcomers(40)
    early = site.newcomers(rounds(2, 10))
    for person in early:
        assert ask(hosts[0], hosts[1], person.address).number
    until(lambda: all(site.mails(person) for person in early))
    with crowd(hosts, people, 20) as asked:
        for keys in [f"{NEW_KEY},{KEY}", f"{KEY},{NEW_KEY}"] * rounds(1, 5):
            rotate(hosts, file, keys)
    used = [change(hosts[turn % 2], site.link(p)).location for turn, p in enumerate(early)]
    refused = [a for a in asked if not a.number]
    what = f"{len(asked)} requests, hosts reloaded with other keys {4 * rounds(1, 5)} times"
    figure("several hosts", f"{what}: refused", len(refused), "0")
    figure("several hosts", f"{what}: not answered", sum(not a.answer.status for a in refused), "0")
    assert refused == []
    assert used == ["/lista"] * len(early)
    drain(site, *hosts)
    assert lost(site, asked) == []


def rotate(hosts: Sequence[Host], file: Path, keys: str) -> None:
    """Give all hosts other keys, one after the other, while they serve."""
    file.write_text(keys)
    file.chmod(0o600)
    for host in hosts:
        web, worker = host.processes
        before = set(host.web_children(web))
        web.send_signal(signal.SIGHUP)
        host.kill(worker, signal.SIGTERM)
        host.start_worker()
        until(lambda: before.isdisjoint(host.web_children(web)))  # noqa: B023 - called at once


def test_upgrade_of_one_host_after_the_other_refuses_nobody(
    tmp_path: Path, site: Site, make_host: Callable[..., Host], server: SqlServer
) -> None:
    """The next version migrates while this one goes on; forms and links pass between them."""
    present = make_host()
    early, late = site.newcomers(2)
    assert ask(present, present, early.address).number
    until(lambda: site.mails(early))
    try:
        coming = make_host(root=next_version(tmp_path))
        migrated = coming.run(sys.executable, "-m", "flask", "--app", "app", "reset", "migrate")
        assert f"version {LATEST + 1}" in migrated.stdout
        assert ask(present, coming, late.address).number
        until(lambda: site.mails(late))
        assert change(coming, site.link(early)).location == "/lista"
        assert change(present, site.link(late)).location == "/lista"
        assert ask(coming, present, early.address).number
        assert "Traceback" not in present.log + coming.log
    finally:
        with server.admin(NAME).connect() as root:
            root.exec_driver_sql("ALTER TABLE requests DROP COLUMN remark")
            root.exec_driver_sql(f"DELETE FROM schema_version WHERE version = {LATEST + 1}")


def next_version(folder: Path) -> Path:
    """The service with one migration more, of the kind that migrations are."""
    root = folder / "next"
    for part in ("reset", "templates", "translations", "static"):
        shutil.copytree(ROOT / part, root / part)
    for part in ("app.py", "config.py", "gunicorn.conf.py"):
        shutil.copy(ROOT / part, root / part)
    step = root / "reset" / "migrations" / f"{LATEST + 1:04}_remark.sql"
    step.write_text("ALTER TABLE requests ADD COLUMN remark VARCHAR(8);\n")
    return root


def test_limits_hold_whatever_becomes_of_redis(
    site: Site, make_host: Callable[..., Host], redis: RedisServer, rounds: Rounds, figure: Note
) -> None:
    """A flood in all spellings from many addresses: few mails, no error, and the owner gets in."""
    limits = {"RESET_LIMIT_PER_ADDRESS": "5 per hour", "RESET_TRUSTED_PROXIES": "1"}
    hosts = [make_host(**limits) for _ in range(2)]
    (victim,) = site.newcomers(1)
    posts, statuses = rounds(40, 1000), Counter[int]()

    def flood(turn: int) -> None:
        came_from = {"X-Forwarded-For": f"203.0.{turn % 200}.7"}
        client = hosts[turn % 2].client()
        statuses[client.ask(spelling(victim.address, turn % 64), came_from).status] += 1
        client.close()

    with ThreadPoolExecutor(8) as pool:
        for part in range(4):
            list(pool.map(flood, range(part * posts // 4, (part + 1) * posts // 4)))
            if part == 1:
                redis.admin.flushall()
            if part == 2:
                redis.admin.shutdown(nosave=True)
    until(lambda: site.mails(victim))
    site.all_sent()
    mails = len(site.mails(victim))
    figure("limits", f"{posts} posts from 200 addresses in 64 spellings: mails", mails, "<= 5")
    figure("limits", "Redis emptied, then ended, meanwhile: answers 5xx", statuses[503], "0")
    assert statuses == {303: posts}
    assert 1 <= mails <= 5
    assert change(hosts[0], site.link(victim)).location == "/lista"


@pytest.mark.parametrize("redis_is", ["there", "away"])
def test_limit_is_exact_over_all_processes(
    make_host: Callable[..., Host], redis: RedisServer, redis_is: str, figure: Note
) -> None:
    """Two hosts with two processes each let as many through as one would."""
    hosts = [make_host(web_workers=2, RESET_LIMIT_PER_IP="30 per hour") for _ in range(2)]
    if redis_is == "away":
        redis.admin.shutdown(nosave=True)

    def post(turn: int) -> int:
        client = hosts[turn % 2].client()
        status = client.post("/").status
        client.close()
        return status

    with ThreadPoolExecutor(8) as pool:
        statuses = Counter(pool.map(post, range(100)))
    figure(
        "limits", f"limit 30, four processes, Redis {redis_is}: let through", statuses[400], "30"
    )
    # A Redis that once took longer than it may is away for that process: the count begins anew.
    most = 60 if "redis unavailable" in hosts[0].log + hosts[1].log and redis_is == "there" else 30
    assert 30 <= statuses[400] <= most
    assert statuses.total() == statuses[400] + statuses[429]


def spelling(address: str, turn: int) -> str:
    """One of 64 ways to write *address*: by the capitals of its first letters."""
    capitals = {place for place in range(6) if turn >> place & 1}
    return "".join(c.upper() if place in capitals else c for place, c in enumerate(address))
