"""What leaks: nothing from a log at its most talkative, nothing from a stolen database."""

from __future__ import annotations

import io
import json
import logging
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import sqlalchemy as sa
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from flask import Flask
from itsdangerous.encoding import base64_decode

import config
from app import create_app
from config import Settings
from reset.captcha import answer
from reset.errors import MailDeferred, StoreUnavailable
from reset.logs import JsonLines
from reset.tokens import Tokens
from tests.conftest import ENVIRON, KEY, NEW_PASSWORD, Clock, Portal, Visitor
from tests.servers.smtp import Sink, serving, text_of
from tests.soak.conftest import Note, Rounds

SMTP_PASSWORD, DB_PASSWORD = "Correo-Clave-9911", "Base-Clave-7733"
WEAK = "Colombia2026"
OTHER_KEY = "An0ther-Key_that.signs-nothing-0123456789"
NO_LIMIT = "100000 per minute"
PURPOSES = ("link", "deny")


class Chatty(Sink):
    """Refuses mails and logins in turn, and quotes in its answers all that it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: object
    ) -> str:
        if self.answers:
            return f"{self.answers.pop()} <{address}> {self.links}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        words = text_of(self.mail())
        self.links = re.findall(r"http\S+/(?:nueva|no-fui-yo)/\S+", words)
        if self.data_answers:
            return f"{self.data_answers.pop()} {envelope.rcpt_tos} {self.links}"
        return "250 OK"

    def admit(self, *_: object) -> AuthResult:
        return AuthResult(success=True)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that the service and its libraries say: SQL statements, and the rest at DEBUG."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    # The test's own SMTP server, and the event loop that it runs in, speak of what they got.
    handler.addFilter(lambda record: not record.name.startswith(("mail.", "asyncio")))
    levels = {"": logging.DEBUG, "reset": logging.DEBUG, "sqlalchemy.engine": logging.INFO}
    before = {name: logging.getLogger(name).level for name in levels}
    root = logging.getLogger()
    root.handlers, others = [handler], root.handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    with redirect_stderr(stream):  # Where smtplib would print a dialogue.
        yield stream
    root.handlers = others
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def chatty(
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    settings: Settings,
    log: io.StringIO,
) -> Iterator[tuple[Visitor, Chatty]]:
    """Somebody whose mails leave through a server that quotes them."""
    sink = Chatty()
    with serving(sink, authenticator=sink.admit, auth_require_tls=False) as port:
        mail = replace(settings.mail, server="127.0.0.1", port=port, username="hanna")
        mail = replace(mail, password=SMTP_PASSWORD)
        visitor = make_visitor(make_app(mail=mail, limit_per_ip=NO_LIMIT, log_level="debug"))
        visitor.worker = visitor.parts.make_worker()
        yield visitor, sink
        visitor.worker._sender.close()


@pytest.fixture
def broken(tmp_path: Path, clock: Clock, make_visitor: Callable[[Flask], Visitor]) -> list[Visitor]:
    """Visitors of services of which one store refuses connections."""
    own, accounts = f"sqlite:///{tmp_path}/other.sqlite", f"sqlite:///{tmp_path}/portal.sqlite"
    dead = f"://portal:{DB_PASSWORD}@127.0.0.1:1/portal"
    stores = [
        ("sqlite:////dev/null/reset.sqlite", accounts),
        (own, f"postgresql{dead}"),
        (own, f"mysql{dead}"),
    ]
    environ = ENVIRON | {"RESET_LIMIT_PER_IP": NO_LIMIT, "RESET_LOG_LEVEL": "debug"}
    return [
        make_visitor(
            create_app(
                config.load(
                    {**environ, "RESET_DATABASE_URL": one, "RESET_ACCOUNTS_URL": other}, tmp_path
                ),
                clock=clock,
            )
        )
        for one, other in stores
    ]


def test_debug_log_holds_no_secret(
    chatty: tuple[Visitor, Chatty],
    broken: list[Visitor],
    portal: Portal,
    log: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
    rounds: Rounds,
    figure: Note,
) -> None:
    """Requests good and bad, stores that are gone, a mail server that quotes: no secret is told."""
    visitor, sink = chatty
    size, found = 0, set()
    for number in range(rounds(3, 140)):
        secrets = _round(visitor, sink, broken, portal, number, monkeypatch)
        said = log.getvalue()
        log.seek(0)
        log.truncate()
        size += len(said)
        found |= {secret for secret in secrets if secret in said}
        assert all(json.loads(line) for line in said.splitlines())
        assert "unexpected error" in said
        assert "request done" in said
    figure(
        "no secret, no injection",
        "log at DEBUG, secrets in it",
        f"{size / 1e6:.0f} MB, {len(found)}",
        "50 MB, 0",
    )
    assert not found


def _round(
    visitor: Visitor,
    sink: Chatty,
    broken: list[Visitor],
    portal: Portal,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> set[str]:
    """One person's way through every fault; returns what no log may tell."""
    visitor.clock.advance(minutes=1)
    address, login = f"persona{number}@correo.example", f"usuario-{number}-x"
    account = portal.add(login, address, nombre=f"Nombre{number}")
    old = portal.stored(account)
    challenge = visitor.challenge()
    letters = answer(challenge, [KEY])
    visitor.client.get(f"/captcha/{challenge}.png")
    visitor.client.get(f"/captcha/{challenge}.wav")
    visitor.client.get("/", query_string={"email": address})
    visitor.ask(address, captcha="AAAAaaaa")
    visitor.ask(address, challenge=challenge)
    for code in ("451", "554"):
        sink.data_answers.append(code)
        visitor.run_worker()
        visitor.clock.advance(minutes=2)
        sink.answers.append("451")
        visitor.ask(address)
        visitor.run_worker()
        visitor.clock.advance(minutes=2)
    visitor.run_worker()
    link, denial = (url.rpartition("/")[2] for url in sink.links)
    secrets = {address, login, f"Nombre{number}", old, link, denial, challenge, letters}
    secrets |= {KEY, WEAK, NEW_PASSWORD, SMTP_PASSWORD, DB_PASSWORD}
    _misuse(visitor, f"/nueva/{link}", challenge)
    for other in broken:
        other.ask(address)
        other.client.get(f"/nueva/{link}")
        other.set_password(link)
        with suppress(StoreUnavailable):
            other.run_worker()

    def fail(*_: object, **__: object) -> NoReturn:
        raise RuntimeError(" ".join(secrets))

    for part, name in (("bearer", "open_link"), ("flow", "request"), ("limits", "count_client")):
        with monkeypatch.context() as patch:
            patch.setattr(getattr(visitor.parts, part), name, fail)
            assert visitor.client.get(f"/nueva/{link}").status_code == 500 or part == "flow"
            visitor.ask(address)
    with portal.down():
        assert visitor.set_password(link).status_code == 503
        visitor.ask(address)
        visitor.run_worker()
    visitor.set_password(link, WEAK)
    assert visitor.set_password(link).status_code == 303
    visitor.client.post("/no-fui-yo", data={"token": denial})
    visitor.clock.advance(minutes=5)
    visitor.run_worker()
    return secrets | {portal.stored(account)}


def _misuse(visitor: Visitor, link: str, challenge: str) -> None:
    """What is refused, with a genuine token wherever one can stand."""
    for path in (link, link + "%ff", f"/x{link}", f"/captcha{link}", f"/enviada{link}", f"/{link}"):
        for method in ("GET", "HEAD", "TRACE", "DELETE"):
            visitor.client.open(path, method=method, headers={"Referer": link, "Cookie": link})
    for headers in ({"Host": f"evil{link}"}, {"Sec-Fetch-Site": "cross-site", "Origin": link}):
        visitor.client.post("/nueva", headers=headers, data={"token": link})
    visitor.client.post("/nueva", json={"token": link, "password": NEW_PASSWORD})
    visitor.client.post("/", data={"email": ["a", "b"], "challenge": challenge})


def test_stolen_data_reset_nothing(
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    settings: Settings,
    portal: Portal,
    log: io.StringIO,
    tmp_path: Path,
    rounds: Rounds,
    figure: Note,
) -> None:
    """Database, its log, outbox and logs without the key open nothing; nor does the key alone."""
    visitor = make_visitor(make_app(limit_per_ip=NO_LIMIT))
    count = rounds(20, 500)
    _ask_many(visitor, portal, count)
    before = portal.rows()
    dump = tmp_path / "dump.sqlite"
    stolen = log.getvalue().encode()
    for end in ("", "-wal"):
        shutil.copy(tmp_path / f"reset.sqlite{end}", f"{dump}{end}")
        stolen += Path(f"{dump}{end}").read_bytes()
    with visitor.parts.database.read() as tx:
        ids = [bytes.fromhex(row.id) for row in tx.execute(sa.text("SELECT id FROM links"))]
    now, url = visitor.clock(), visitor.parts.public_url
    mailed = [Tokens([KEY], what, url).make(id, now=now) for what in PURPOSES for id in ids]
    assert count - 5 <= len(ids) <= count
    assert not _shared(mailed, stolen)

    guesses = set(re.findall(r"[\w-]{8,}\.[\w-]{6}\.[\w-]{8,}", stolen.decode("latin1")))
    guesses |= {
        Tokens([key], what, url).make(id, now=now)
        for what in PURPOSES
        for id in ids
        for key in (OTHER_KEY, "", id.hex())
    }
    thief, holder = (
        make_visitor(make_app(secret_keys=(key,), database_url=kept, limit_per_ip=NO_LIMIT))
        for key, kept in ((OTHER_KEY, f"sqlite:///{dump}"), (KEY, f"sqlite:///{tmp_path}/empty"))
    )
    answers = Counter(visitor.set_password(token).status_code for token in guesses)
    answers += Counter(thief.client.get(f"/nueva/{token}").status_code for token in guesses)
    answers += Counter(holder.set_password(token).status_code for token in mailed)
    figure(
        "3 rests nowhere",
        f"{count} live links, guesses from all but the key, or the key alone: resets",
        f"{dict(answers)}: 0",
        "0",
    )
    assert set(answers) == {410}
    assert portal.rows() == before
    assert visitor.client.get(f"/nueva/{mailed[0]}").status_code == 200


def _ask_many(visitor: Visitor, portal: Portal, count: int) -> None:
    """Links of which two thirds are mailed, and the rest wait for the server."""
    for number in range(count):
        portal.add(f"ana{number}", f"ana{number}@example.com")
        visitor.ask(f"ana{number}@example.com")
        if number % 3 == 2:
            visitor.sender.failures = [MailDeferred("451 later")]
        visitor.run_worker()


def _shared(tokens: Sequence[str], stolen: bytes) -> set[str]:
    """What of the signatures stands there: twelve characters, or all of it as bytes or hex."""
    signatures = [token.rpartition(".")[2] for token in tokens]
    raw = [base64_decode(signature) for signature in signatures]
    found = {s for s, r in zip(signatures, raw, strict=True) if r in stolen}
    found |= {s for s, r in zip(signatures, raw, strict=True) if r.hex().encode() in stolen}
    windows = {signature[at : at + 12] for signature in signatures for at in range(16)}
    for run in re.findall(r"[\w-]{12,}", stolen.decode("latin1"), re.ASCII):
        found |= {run[at : at + 12] for at in range(len(run) - 11)} & windows
    return found
