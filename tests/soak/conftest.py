"""Faults and races: `make test` runs a short form of each, `make soak` the long one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage

import pytest
import sqlalchemy as sa

from reset.engine import parse
from tests.conftest import OLD_PASSWORD, Portal, hash_bcrypt
from tests.servers.service import until
from tests.servers.smtp import Sink, link_in, serving

Rounds = Callable[[int, int], int]
Note = Callable[[str, str, object, str], None]


@dataclass(frozen=True)
class Person:
    """Somebody who is registered."""

    id: int
    address: str


class Site:
    """A portal, a mail server and the state of the service; ``environ`` tells a host of them."""

    def __init__(self, environ: dict[str, str], portal: Portal, sink: Sink) -> None:
        self.environ = environ
        self.portal = portal
        self.sink = sink
        self._present = hash_bcrypt(OLD_PASSWORD)
        self._count = itertools.count()

    def newcomers(self, count: int) -> list[Person]:
        """New accounts."""
        return [self._register(f"persona{next(self._count)}") for _ in range(count)]

    def mails(self, person: Person) -> list[EmailMessage]:
        """What *person* got, in the order of its arrival."""
        return self.sink.to(person.address)

    def link(self, person: Person) -> str:
        """The newest link to set a password."""
        return [link for link in map(link_in, self.mails(person)) if link][-1]

    def confirmations(self, person: Person) -> int:
        """How many mails told of a new password."""
        return sum(not link_in(mail) for mail in self.mails(person))

    def waiting(self, *states: str) -> list[str]:
        """The Message-IDs of what is still to be sent, or stands in *states*."""
        url = parse(self.environ["RESET_DATABASE_URL"])
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT message_id, state FROM outbox").all()
        return [mail for mail, state in rows if state in (states or ("queued", "sending"))]

    def all_sent(self) -> None:
        """Wait until nothing waits any more."""
        until(lambda: not self.waiting())

    def _register(self, login: str) -> Person:
        address = f"{login}@example.com"
        return Person(self.portal.add(login, address, clave=self._present), address)


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Rounds:
    """``rounds(short, long)``: how often, in `make test` and in `make soak`."""
    return lambda short, long: long if request.config.getoption("--soak") else short


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Note:
    """``figure(promise, what, value, bar)`` puts what was measured into the table."""
    properties = request.node.user_properties  # These come through from other processes, too.
    return lambda *line: properties.append(("figure", tuple(map(str, line))))


@pytest.fixture(scope="module")
def site_state_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where all hosts of a module keep their state."""
    return f"sqlite:///{tmp_path_factory.mktemp('state')}/state.sqlite"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, site_state_url: str) -> Iterator[Site]:
    """The surroundings of all hosts of a module; nobody asks too often."""
    portal, sink = Portal(tmp_path_factory.mktemp("portal") / "portal.sqlite"), Sink()
    with serving(sink) as smtp:
        environ = {
            "RESET_DATABASE_URL": site_state_url,
            "RESET_ACCOUNTS_URL": f"sqlite:///{portal.path}",
            "RESET_MAIL_PORT": str(smtp),
            "RESET_LIMIT_PER_ADDRESS": "100000 per hour",
        }
        yield Site(environ, portal, sink)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [one for kind in ("passed", "failed") for one in terminalreporter.getreports(kind)]
    properties = [p for one in reports if one.when == "call" for p in one.user_properties]
    lines = [line for name, line in properties if name == "figure"]
    if not terminalreporter.config.getoption("--soak") or not lines:
        return
    terminalreporter.section("figures")
    terminalreporter.write_line("| promise | what | seen | bar |")
    terminalreporter.write_line("|---|---|---|---|")
    for line in sorted(lines, key=lambda one: one[0]):
        terminalreporter.write_line(f"| {' | '.join(line)} |")
