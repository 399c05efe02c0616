"""Real parts for the tests: a portal table in SQLite, the whole app, a worker that records."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE
from typing import Any, NoReturn

import bcrypt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from jinja2.bccache import Bucket, BytecodeCache
from werkzeug.test import TestResponse

import config
from app import create_app
from config import Settings
from demo import accounts as demo_accounts
from reset.accounts import AccountBackend
from reset.accounts.sql import Table
from reset.captcha import answer
from reset.errors import MailDeferred, MailRefused
from reset.judgement import Found
from reset.mail import Letter
from reset.mail.outbox import Message as QueuedMessage
from reset.mail.sender import Sender
from reset.service import Service
from reset.worker import Worker

pytest_plugins = ["tests.servers.fixtures"]
FOR_LDAP = "gcc python3-dev libldap2-dev libsasl2-dev"
READERS = Path(__file__).parent / "readers"
ILLUMINATE = Path("/usr/share/php/Illuminate/Hashing/autoload.php")
Ask = Callable[[str, str, str], bool]
LEFT_OUT = "left out: "
KEY = "k3y-For-Tests_only.0123456789abcdefGHIJ"
OLD_PASSWORD = "Viejita-2019"
NEW_PASSWORD = "Mesa-Verde-Lluvia-42"
ADDRESS = "ana@example.com"
START = datetime(2026, 11, 22, 15, 0, 0, tzinfo=UTC)

ENVIRON = {
    "RESET_SECRET_KEYS": KEY,
    "RESET_PUBLIC_URL": "http://localhost:5000",
    "RESET_ACCOUNTS_TABLE": "usuarios",
    "RESET_ACCOUNTS_LOGIN": "usuario",
    "RESET_ACCOUNTS_EMAIL": "correo",
    "RESET_ACCOUNTS_PASSWORD": "clave",
    "RESET_ACCOUNTS_NAME": "nombre",
    "RESET_ACCOUNTS_ACTIVE": "activo",
    "RESET_ACCOUNTS_PERSONAL": "telefono,documento,nacimiento",
    "RESET_MAIL_DEFAULT_SENDER": "Hanna, Soporte <no-responder@example.com>",
    "RESET_FRAME_ANCESTORS": "http://127.0.0.1:5001",
    "RESET_PORTAL_URL": "http://127.0.0.1:5001/",
    "RESET_BRAND_NAME": "Hanna",
    "RESET_BRAND_ORGANISATION": "Caja de Compensación Familiar",
    "RESET_SUPPORT_PHONE": "(605) 371 4545",
    "RESET_SUPPORT_EMAIL": "ayuda@example.com",
}


TABLE = Table(
    url="",
    table="usuarios",
    id="id",
    email="correo",
    password="clave",
    login="usuario",
    name="nombre",
    active="activo",
    personal=("telefono", "documento", "nacimiento"),
)


class Compiled(BytecodeCache):
    """Templates, compiled once for all the applications of a run: that costs more than a page."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._known:
            bucket.bytecode_from_string(self._known[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._known[bucket.key] = bucket.bytecode_to_string()


COMPILED = Compiled()


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


class Portal:
    """The portal's own accounts, and its own log-in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with closing(sqlite3.connect(path)) as db:
            db.execute(demo_accounts.TABLE)
            db.commit()

    @property
    def table(self) -> Table:
        """How the service is told about these accounts."""
        return replace(TABLE, url=f"sqlite:///{self.path}")

    def add(self, login: str = "ana.perez", email: str = ADDRESS, **columns: Any) -> int:
        """An account; its id. The hash is the cheapest bcrypt of OLD_PASSWORD unless given."""
        row = {
            "usuario": login,
            "correo": email,
            "clave": hash_bcrypt(OLD_PASSWORD),
            "nombre": "Ana María Pérez",
            "telefono": "3005550142",
            "documento": "52418637",
            "nacimiento": "1957-08-21",
            "activo": 1,
            "creado": "2019-01-01",
        } | columns
        names = ", ".join(row)
        marks = ", ".join("?" for _ in row)
        with closing(sqlite3.connect(self.path)) as db:
            cursor = db.execute(f"INSERT INTO usuarios ({names}) VALUES ({marks})", [*row.values()])
            db.commit()
            return int(cursor.lastrowid or 0)

    def set(self, account: int, **columns: Any) -> None:
        """Change columns of a row, as the portal itself would."""
        changes = ", ".join(f"{name} = ?" for name in columns)
        with closing(sqlite3.connect(self.path)) as db:
            db.execute(f"UPDATE usuarios SET {changes} WHERE id = ?", [*columns.values(), account])
            db.commit()

    def execute(self, statement: str) -> None:
        """Any statement, as the portal's owner."""
        with closing(sqlite3.connect(self.path)) as db:
            db.execute(statement)
            db.commit()

    def rows(self) -> list[tuple[Any, ...]]:
        """The whole table."""
        with closing(sqlite3.connect(self.path)) as db:
            return db.execute("SELECT * FROM usuarios ORDER BY id").fetchall()

    def stored(self, account: int) -> str:
        """The stored hash of a row."""
        with closing(sqlite3.connect(self.path)) as db:
            row = db.execute("SELECT clave FROM usuarios WHERE id = ?", [account]).fetchone()
        return str(row[0])

    @contextmanager
    def down(self) -> Iterator[None]:
        """The portal's database does not answer during the block."""
        away = self.path.with_suffix(".away")
        self.path.rename(away)
        yield
        away.rename(self.path)

    def lets_in(self, account: int, password: str) -> bool:
        """Whether the portal's own log-in, which is not our code, accepts *password*."""
        return demo_accounts.check(password, self.stored(account))


def hash_bcrypt(password: str) -> str:
    """A `$2y$` hash as PHP writes it, at the cheapest cost."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$", 1)


class RecordingSender(Sender):
    """Takes mails as an SMTP server would; ``failures`` are raised first, one a mail."""

    def __init__(self, app: Flask) -> None:
        super().__init__(app, timeout=1, ehlo_host="localhost")
        self.sent: list[Message] = []
        self.failures: list[MailDeferred | MailRefused] = []

    def send(self, message: Message) -> None:
        message.as_bytes()
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(message)


def prepared(parts: Service, message: QueuedMessage, *, now: datetime) -> Letter | None:
    """What the worker would send of one mail that it has claimed."""
    (found,) = parts.delivery.letters.look_up([message])
    assert isinstance(found, Found)
    (letter,) = parts.delivery.letters.prepare([found], now=now)
    return letter if isinstance(letter, Letter) else None


class Visitor:
    """Somebody at the pages: a client, the captcha's key and the mailbox."""

    def __init__(self, app: Flask, sender: RecordingSender, clock: Clock) -> None:
        self.app = app
        self.client: FlaskClient = app.test_client()
        self.sender = sender
        self.clock = clock
        parts: Service = app.extensions["reset"]
        self.parts = parts
        real = parts.make_worker()
        self.worker = Worker(
            parts.flow,
            parts.settlement,
            parts.delivery,
            real._digest,
            real._compose,
            sender,
            clock,
        )

    def challenge(self) -> str:
        """The challenge of a fresh form."""
        return hidden(self.client.get("/").text, "challenge")

    def ask(self, email: str = ADDRESS, **fields: str) -> TestResponse:
        """Fill the form in, with the right letters unless *fields* say otherwise."""
        challenge = fields.pop("challenge", None) or self.challenge()
        data = {"email": email, "challenge": challenge, "captcha": answer(challenge, [KEY])}
        return self.client.post("/", data=data | fields)

    def run_worker(self) -> None:
        """Let the worker do all that is due."""
        with self.app.app_context():
            while self.worker.run_once():
                pass
            self.worker.housekeeping()

    def mails(self, email: str = ADDRESS) -> list[Message]:
        """What arrived at *email*."""
        return [mail for mail in self.sender.sent if mail.recipients == [email]]

    def link(self, email: str = ADDRESS) -> str:
        """Ask, wait for the mail, and return the path of its link."""
        assert self.ask(email).status_code == 303
        self.run_worker()
        return links_in(self.mails(email)[-1])[0]

    def set_password(
        self, link: str, password: str = NEW_PASSWORD, confirm: str | None = None
    ) -> TestResponse:
        """Send the form behind *link*."""
        data = {
            "token": link.rpartition("/")[2],
            "password": password,
            "confirm": password if confirm is None else confirm,
        }
        return self.client.post("/nueva", data=data)

    def trace(self, email: str = ADDRESS) -> list[str]:
        """The names of the events of the latest request for *email*."""
        return [event.name for event in self.parts.flow.trace(email)[0].events]


def hidden(page: str, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found, page
    return found[1]


def links_in(mail: Message, page: str = "nueva") -> list[str]:
    """The paths of the links in a mail's text."""
    return re.findall(rf"http://localhost:5000(/{page}/\S+)", mail.body or "")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def portal(tmp_path: Path) -> Portal:
    return Portal(tmp_path / "portal.sqlite")


@pytest.fixture
def state_url(tmp_path: Path) -> str:
    """Where the service keeps its own state."""
    return f"sqlite:///{tmp_path}/reset.sqlite"


@pytest.fixture
def settings(tmp_path: Path, state_url: str) -> Settings:
    environ = {
        **ENVIRON,
        "RESET_DATABASE_URL": state_url,
        "RESET_ACCOUNTS_URL": f"sqlite:///{tmp_path}/portal.sqlite",
    }
    return config.load(environ, tmp_path)


@pytest.fixture
def make_app(settings: Settings, portal: Portal, clock: Clock) -> Iterator[Callable[..., Flask]]:
    """create_app over the test's portal or *accounts*; keywords change single settings."""
    made: list[Flask] = []

    def make(accounts: AccountBackend | None = None, **changes: Any) -> Flask:
        changed = replace(settings, **changes)
        made.append(create_app(changed, accounts=accounts, clock=clock))
        made[-1].jinja_env.bytecode_cache = COMPILED
        return made[-1]

    yield make
    for app in made:
        app.extensions["reset"].database.close()


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app()


@pytest.fixture
def make_visitor(clock: Clock) -> Iterator[Callable[[Flask], Visitor]]:
    made: list[Visitor] = []

    def make(app: Flask) -> Visitor:
        made.append(Visitor(app, RecordingSender(app), clock))
        return made[-1]

    yield make
    for visitor in made:
        visitor.worker._handover.end()


@pytest.fixture
def visitor(app: Flask, make_visitor: Callable[[Flask], Visitor]) -> Visitor:
    return make_visitor(app)


@pytest.fixture
def ana(portal: Portal) -> int:
    """Ana is registered."""
    return portal.add()


@pytest.fixture(scope="session")
def php() -> Iterator[Ask]:
    """PHP and what is written in it; one process answers whether a password fits a hash."""
    binary = program("the PHP tests", "php-cli", "php")
    # Debian's Laravel is older than its PHP.
    command = [binary, "-d", "error_reporting=E_ALL&~E_DEPRECATED", str(READERS / "verify.php")]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        questions, answers = process.stdin, process.stdout

        def ask(reader: str, password: str, stored: str) -> bool:
            if reader == "laravel" and not ILLUMINATE.exists():
                leave_out("the Laravel tests", "install the Debian package php-illuminate-hashing")
            print(json.dumps([reader, password, stored]), file=questions, flush=True)
            return bool(json.loads(answers.readline()))

        yield ask
        questions.close()


def program(what: str, package: str, *names: str) -> str:
    """The path of a program that *what* needs; without it they are left out, but never in CI."""
    # Servers live where the path of an ordinary user does not lead.
    postgresql = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", *postgresql])
    found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
    return found or leave_out(what, f"install the Debian package {package}")


def library(what: str, packages: str, module: str) -> Any:
    """A module that `make test` builds with Debian's *packages*; without it as with `program`."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        leave_out(what, f"install the Debian packages {packages}")


def leave_out(what: str, remedy: str) -> NoReturn:
    """Skip *what*, and say so in one line at the end; in CI nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} cannot run: {remedy}")
    pytest.skip(f"{LEFT_OUT}{what} ({remedy})", allow_module_level=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="faults and races in full length")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`make test` leaves out what is long as a whole, or needs a machine that does nothing else."""
    if not config.getoption("--soak"):
        long = ("long", "times")
        items[:] = [item for item in items if not any(map(item.get_closest_marker, long))]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = (report.longrepr[2] for report in terminalreporter.getreports("skipped"))
    for line in sorted(
        {reason.removeprefix("Skipped: ") for reason in reasons if LEFT_OUT in reason}
    ):
        terminalreporter.write_line(line)
