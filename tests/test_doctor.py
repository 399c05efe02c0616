"""`flask reset doctor`: planted mistakes are found and explained; a healthy system is a line."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import Result
from flask import Flask

import config
from config import Settings
from reset import doctor as package
from reset import engine, heartbeat, migrations, mirror
from reset.accounts.sql import Table
from reset.db import Database, stamp
from reset.doctor import clock as clock_check
from reset.doctor import mail as mail_check
from reset.doctor import settings as settings_check
from reset.doctor import state as state_check
from reset.findings import Finding
from reset.tokens import Tokens, new_id
from tests.conftest import ENVIRON, KEY, START, Portal, leave_out
from tests.servers.smtp import Sink, scripted, serving

ROOT = Path(config.__file__).parent
URL = "https://clave.caja.test/restablecer"
NEWEST = migrations.steps()[-1][0]
PORTAL = "https://hanna.caja.test"


class Clinic:
    """A healthy service; ``examine`` tells what the doctor finds after *changes* of settings."""

    def __init__(self, settings: Settings, make_app: Callable[..., Flask]) -> None:
        self.settings = settings
        self._make_app = make_app

    def app(self, **changes: Any) -> Flask:
        """The service; `mail` and `brand` are changes of parts of the settings."""
        for name in ("mail", "brand"):
            changes[name] = replace(getattr(self.settings, name), **changes.get(name, {}))
        changed = replace(self.settings, **changes)
        return self._make_app(**{name: getattr(changed, name) for name in vars(changed)})

    def run(self, *arguments: str, **changes: Any) -> Result:
        """The command as it is typed."""
        return doctor(self.app(**changes), *arguments)

    def examine(self, **changes: Any) -> list[dict[str, str]]:
        """Its findings."""
        return findings(self.app(**changes))


def doctor(app: Flask, *arguments: str) -> Result:
    """The command, over *app* as it is now."""
    return app.test_cli_runner().invoke(args=["reset", "doctor", *arguments])


def findings(app: Flask, *arguments: str) -> list[dict[str, str]]:
    """What the command finds."""
    found: list[dict[str, str]] = json.loads(doctor(app, "--json", *arguments).stdout)
    return found


@pytest.fixture
def mailbox() -> Iterator[int]:
    """A mail server on this machine; its port."""
    with serving(Sink()) as port:
        yield port


@pytest.fixture
def clinic(
    settings: Settings,
    make_app: Callable[..., Flask],
    portal: Portal,
    ana: int,
    mailbox: int,
    monkeypatch: pytest.MonkeyPatch,
) -> Clinic:
    """Everything as it should be: a worker lives, and nobody is root."""
    monkeypatch.setattr(settings_check, "geteuid", lambda: 1000)
    # Whether the clock of the machine that runs the tests is right is not to matter.
    monkeypatch.setattr(clock_check, "TIMEDATECTL", "/nowhere/timedatectl")
    healthy = replace(
        settings,
        secret_keys=(secrets.token_urlsafe(48),),
        public_url=URL,
        frame_ancestors=(PORTAL,),
        brand=replace(
            # A real name, although one label of it is that of our examples.
            settings.brand,
            portal_url=f"{PORTAL}/",
            support_email="ayuda@hanna.example.org",
        ),
        mail=replace(settings.mail, server="127.0.0.1", port=mailbox),
    )
    clinic = Clinic(healthy, make_app)
    make_app()  # Makes the tables.
    beat(settings, datetime.now(UTC))
    return clinic


def beat(settings: Settings, at: datetime) -> None:
    """A worker shows that it lives."""
    database = Database(settings.database_url)
    with database.begin() as tx:
        heartbeat.beat(tx, "worker-1", {}, started_at=at, now=at)
    database.close()


def execute(settings: Settings, *statements: str) -> None:
    """As somebody who works at the service's own SQLite file."""
    with closing(sqlite3.connect(settings.database_url.removeprefix("sqlite:///"))) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def the_one(found: list[dict[str, str]], *levels: str) -> dict[str, str]:
    """The only finding of these levels, which explains itself and says what to do."""
    (finding,) = [one for one in found if one["level"] in (levels or ("fault", "warning"))]
    assert finding["why"]
    assert finding["remedy"]
    return finding


def test_healthy_system_is_one_line(clinic: Clinic) -> None:
    """And ends with 0; nothing of what is well is listed."""
    told = clinic.run()
    assert told.stdout.splitlines() == [told.stdout.strip()]
    assert told.stdout.startswith("all is well: ")
    assert told.exit_code == 0


def test_verbose_shows_every_check(clinic: Clinic) -> None:
    """What is well, and what is not known."""
    told = clinic.run("--verbose").stdout
    for line in (
        "ok       settings: secret keys: 1, each random",
        "ok       database: a row can be written (and was taken back)",
        "ok       accounts: a change of the password was rehearsed and undone",
        "ok       mail: it accepts the sender no-responder@example.com",
        "ok       mail: it accepts mails for ayuda@hanna.example.org",
        "ok       worker: workers that are alive: 1",
        "note     help desk: nobody may use the help desk (/ayuda/) yet",
    ):
        assert line in told


def test_nothing_is_changed_and_nothing_sent(
    clinic: Clinic, portal: Portal, tmp_path: Path
) -> None:
    """No row of ours or the portal's, no password, no file."""
    clinic.run()
    before = (portal.rows(), _dump(clinic.settings), sorted(tmp_path.iterdir()))
    sink = Sink()
    with serving(sink) as port:
        assert clinic.run("--mail-to", "ana@example.com", mail={"port": port}).exit_code == 0
    assert (portal.rows(), _dump(clinic.settings), sorted(tmp_path.iterdir())) == before
    assert sink.envelopes == []


def _dump(settings: Settings) -> list[str]:
    with closing(sqlite3.connect(settings.database_url.removeprefix("sqlite:///"))) as db:
        return list(db.iterdump())


KEYS = tuple(secrets.token_urlsafe(48) for _ in range(5))
# How the settings are changed, and what is said of it: the finding, and the remedy.
MISTAKES: Mapping[str, tuple[dict[str, Any], str, str, str]] = {
    "key with a row of signs": (
        {"secret_keys": (KEY, KEYS[0])},
        "fault",
        "key 1 of 2 in RESET_SECRET_KEYS was typed by a person, or copied",
        "secrets.token_urlsafe(48)",
    ),
    "key made of one piece": (
        {"secret_keys": (KEYS[0][:16] * 3,)},
        "fault",
        "key 1 of 1 in RESET_SECRET_KEYS was typed by a person, or copied",
        "secrets.token_urlsafe(48)",
    ),
    "key with a word": (
        {"secret_keys": ("change-me-" + KEYS[0],)},
        "fault",
        "key 1 of 1 in RESET_SECRET_KEYS was typed by a person, or copied",
        "drop it a day later",
    ),
    "same key twice": (
        {"secret_keys": (KEYS[0], KEYS[1], KEYS[0])},
        "warning",
        "key 3 of 3 in RESET_SECRET_KEYS stands there twice",
        "take it out once",
    ),
    "old keys kept": (
        {"secret_keys": KEYS},
        "warning",
        "RESET_SECRET_KEYS holds 5 keys",
        "keep the last one",
    ),
    "address for trials": (
        {"public_url": "http://localhost:5000"},
        "warning",
        "RESET_PUBLIC_URL is http://localhost:5000: for trials on this machine",
        "RESET_PUBLIC_URL=https://",
    ),
    "names of the example": (
        {"brand": {"support_email": "ayuda@oficina.example", "support_phone": "1"}},
        "fault",
        "still as in .env.example: RESET_SUPPORT_EMAIL",
        "write your own names there",
    ),
    "portal on another port": (
        {"brand": {"portal_url": f"{PORTAL}:8443/"}},
        "warning",
        f"RESET_FRAME_ANCESTORS lacks the portal, {PORTAL}:8443",
        f"RESET_FRAME_ANCESTORS={PORTAL},{PORTAL}:8443",
    ),
    "frame in clear": (
        {"frame_ancestors": (PORTAL, "http://vieja.caja.test")},
        "warning",
        "RESET_FRAME_ANCESTORS lets in http://vieja.caja.test",
        "https://vieja.caja.test",
    ),
    "no way back": (
        {"brand": {"portal_url": ""}},
        "warning",
        "RESET_PORTAL_URL is missing",
        "RESET_PORTAL_URL=https://",
    ),
    "nobody to call": (
        {"brand": {"support_phone": "", "support_email": ""}},
        "warning",
        "neither RESET_SUPPORT_PHONE nor RESET_SUPPORT_EMAIL is set",
        "RESET_SUPPORT_PHONE='(605) 000 0000'",
    ),
    "figures for everybody": (
        {"metrics_allow": (ip_network("0.0.0.0/0"),)},
        "warning",
        "RESET_METRICS_ALLOW lets everybody read the figures (0.0.0.0/0)",
        "RESET_METRICS_ALLOW=127.0.0.1/32",
    ),
    "nobody listens for mail": (
        {"mail": {"port": 1}},
        "fault",
        "nobody listens on 127.0.0.1:1",
        "systemctl status postfix",
    ),
    "STARTTLS that is not offered": (
        {"mail": {"use_tls": True}},
        "fault",
        "does not offer STARTTLS",
        "RESET_MAIL_PORT=587",
    ),
    "TLS where there is none": (
        {"mail": {"use_ssl": True}},
        "fault",
        "does not speak TLS as we do",
        "RESET_MAIL_USE_SSL=1 is for port 465",
    ),
    "login that is not wanted": (
        {"mail": {"username": "hanna", "password": "s3creta-clave"}},
        "fault",
        "does not offer AUTH",
        "take out RESET_MAIL_USERNAME",
    ),
    "mail server of no name": (
        {"mail": {"server": "correo.invalid"}},
        "fault",
        "the name correo.invalid is not known",
        "getent hosts correo.invalid",
    ),
    "Redis that is down": (
        {"ratelimit_storage_uri": "redis://:s3creta-clave@127.0.0.1:1/0"},
        "fault",
        "Redis does not answer (ConnectionError)",
        "systemctl status redis-server",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_in_the_settings_is_found(clinic: Clinic, mistake: str) -> None:
    """It alone is told, with why it matters and what to do, and without any secret."""
    changes, level, text, remedy = MISTAKES[mistake]
    told = clinic.run("--json", **changes)
    finding = the_one(json.loads(told.stdout))
    assert finding["level"] == level
    assert text in finding["text"]
    assert remedy in finding["remedy"]
    assert told.exit_code == (level == "fault")
    secret = [*KEYS, KEY, "s3creta-clave", "change-me-"]
    assert not [one for one in secret if one in told.output]


def test_fault_says_what_why_and_what_to_do(clinic: Clinic) -> None:
    """For people: three lines, and a count at the end."""
    told = clinic.run(mail={"port": 1})
    assert told.exit_code == 1
    assert told.stdout.splitlines()[:3] == [
        "fault    mail: nobody listens on 127.0.0.1:1",
        "         no mail leaves: people wait for links that do not come",
        "         -> systemctl status postfix; or correct RESET_MAIL_SERVER and RESET_MAIL_PORT",
    ]
    assert told.stdout.splitlines()[3].startswith("faults: 1, warnings: 0, of ")


def test_root_is_told_to_be_somebody_else(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root reads and writes everything: what the service may not, he does not see."""
    monkeypatch.setattr(settings_check, "geteuid", lambda: 0)
    finding = the_one(clinic.examine(), "warning")
    assert "started as root" in finding["text"]
    assert finding["remedy"].startswith("sudo -u restablecer")


def test_clock_that_nobody_sets(
    clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As systemd tells it."""
    command = tmp_path / "timedatectl"
    command.write_text("#!/bin/sh\necho no\n")
    command.chmod(0o755)
    monkeypatch.setattr(clock_check, "TIMEDATECTL", str(command))
    finding = the_one(clinic.examine())
    assert finding["text"] == "this host's clock is not synchronised (NTP)"
    assert finding["remedy"] == "timedatectl set-ntp true"


@pytest.mark.parametrize("mode", [0o644, 0o620])
def test_file_with_secrets_that_others_reach(clinic: Clinic, tmp_path: Path, mode: int) -> None:
    """Readable by all, or written by others than its owner."""
    file = tmp_path / "keys"
    file.touch()
    file.chmod(mode)
    finding = the_one(clinic.examine(files=(file,)), "fault")
    assert finding["text"].startswith(f"{file} can be ")
    assert finding["remedy"] == f"chmod 600 {file}"


def test_file_with_secrets_in_a_web_root(
    clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A web server would hand it out."""
    monkeypatch.setattr(settings_check, "WEB_ROOTS", (tmp_path / "www",))
    (tmp_path / "www").mkdir()
    file = tmp_path / "www/.env"
    file.touch(mode=0o600)
    finding = the_one(clinic.examine(files=(file,)))
    assert f"{file} lies in a folder that web servers publish" in finding["text"]
    assert "/etc/restablecer" in finding["remedy"]


def test_state_that_everybody_may_read(clinic: Clinic, tmp_path: Path) -> None:
    """It holds addresses."""
    (tmp_path / "reset.sqlite").chmod(0o644)
    finding = the_one(clinic.examine())
    assert finding["subject"] == "database"
    assert finding["remedy"] == f"chmod 600 {tmp_path}/reset.sqlite"


def test_state_is_not_there(clinic: Clinic, tmp_path: Path) -> None:
    """The doctor does not make it: as another user, root say, it would be in the way."""
    path = tmp_path / "gone.sqlite"
    app = clinic.app(database_url=f"sqlite:///{path}")
    for file in tmp_path.glob("gone.sqlite*"):
        file.unlink()
    finding = the_one(findings(app))
    assert finding["text"] == f"{path} is not there yet"
    assert finding["remedy"].endswith(".venv/bin/flask reset migrate")
    assert not path.exists()


def test_state_of_an_older_version(clinic: Clinic) -> None:
    """The service migrates on start; the doctor does not, and says how to."""
    app = clinic.app()
    execute(clinic.settings, "DELETE FROM schema_version WHERE version > 2")
    finding = the_one(findings(app))
    assert finding["text"] == f"its tables are at version 2, this program needs {NEWEST}"
    assert finding["remedy"] == ".venv/bin/flask reset migrate"


def test_state_of_a_newer_version(clinic: Clinic) -> None:
    """Another host was upgraded, and this one not."""
    execute(clinic.settings, "INSERT INTO schema_version VALUES (99)")
    finding = the_one(clinic.examine(), "warning")
    assert finding["text"] == f"its tables are at version 99, this program knows {NEWEST}"


def test_state_in_hands_of_another_user(clinic: Clinic, tmp_path: Path) -> None:
    """As after a command that ran as root."""
    app = clinic.app()
    if tmp_path.stat().st_uid != 0:
        leave_out("the doctor's look at whose files they are", "run as root: it gives one away")
    os.chown(tmp_path / "reset.sqlite", 65534, -1)
    with closing(sqlite3.connect(tmp_path / "reset.sqlite")) as neighbour:
        neighbour.execute("SELECT * FROM requests")  # SQLite's other two files are told no extra.
        finding = the_one(findings(app))
    assert "belongs to another user than its folder" in finding["text"]
    assert finding["remedy"] == f"chown --reference={tmp_path} {tmp_path}/reset.sqlite"


def test_state_that_is_locked(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody works at the file with another program, and never ends."""
    monkeypatch.setattr(engine, "TIMEOUT_SECONDS", 0.2)
    app = clinic.app()
    with closing(sqlite3.connect(clinic.settings.database_url[10:], isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        finding = the_one(findings(app))
        assert "nothing can be written" in finding["text"]
        assert "end what locks the file" in finding["remedy"]


def test_state_that_is_damaged(clinic: Clinic) -> None:
    """A backup is needed."""
    app = clinic.app()
    path = Path(clinic.settings.database_url[10:])
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("PRAGMA writable_schema=ON")
        page = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'requests_by_age'")
        (root,) = page.fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    finding = the_one(findings(app))
    assert finding["text"] == "its file is damaged"
    assert "docs/backup.md" in finding["remedy"]


@pytest.mark.parametrize(("full", "level"), [(0, "warning"), (1 << 60, "fault")])
def test_disk_that_is_filling_up(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, full: int, level: str
) -> None:
    """A warning first, a fault before nothing can be written any more."""
    monkeypatch.setattr(state_check, "LOW_BYTES", 1 << 60)
    monkeypatch.setattr(state_check, "FULL_BYTES", full)
    finding = the_one(clinic.examine())
    assert finding["level"] == level
    assert "free on the disk of" in finding["text"]
    assert finding["remedy"].startswith("make room: df -h ")


def test_state_on_a_network_file_system(
    clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks do not hold there; here this file system is taken for one."""
    kind = state_check._filesystem(tmp_path)
    monkeypatch.setattr(state_check, "NETWORK", (kind,))
    finding = the_one(clinic.examine())
    assert f"lies on a network file system ({kind})" in finding["text"]
    assert "sqlite:////var/lib/restablecer" in finding["remedy"]


def test_accounts_that_cannot_be_read(clinic: Clinic) -> None:
    """What `accounts check` says, and why it matters."""
    source = clinic.settings.accounts_source
    assert isinstance(source, Table)
    finding = the_one(clinic.examine(accounts_source=replace(source, password="contrasena")))
    assert finding["subject"] == "accounts"
    assert "no such column: usuarios.contrasena" in finding["text"]
    assert finding["why"] == "nobody gets a link, or can set a password with it"


def test_no_worker(clinic: Clinic) -> None:
    """Nothing that is asked for would be mailed."""
    execute(clinic.settings, "DELETE FROM workers")
    finding = the_one(clinic.examine())
    assert finding["text"] == "no worker runs"
    assert "systemctl status restablecer-worker" in finding["remedy"]


def test_worker_that_is_dead(clinic: Clinic) -> None:
    """It was killed, and nobody started it again."""
    beat(clinic.settings, datetime.now(UTC) - timedelta(hours=2, minutes=5))
    finding = the_one(clinic.examine())
    assert finding["text"] == "no worker is alive; the last one was, 2 h 5 min ago"


def _queue(settings: Settings, age: timedelta, state: str, due: timedelta) -> None:
    now = datetime.now(UTC)
    times = [stamp(now - age), stamp(now + due)]
    execute(
        settings,
        f"INSERT INTO requests VALUES ('482109375562', 'ana@example.com', '{times[0]}', NULL, '')",
        "INSERT INTO outbox (id, request, kind, message_id, content, state, attempts, due_at,"
        f" created_at) VALUES ('1', '482109375562', 'reset_link', '<1@x>', '{{}}', '{state}', 3,"
        f" '{times[1]}', '{times[0]}')",
    )


def test_mails_that_nobody_attends_to(clinic: Clinic) -> None:
    """A worker that hangs still may have shown that it lives."""
    _queue(clinic.settings, timedelta(minutes=7), "queued", timedelta(minutes=-6))
    finding = the_one(clinic.examine())
    assert finding["text"] == "mails that wait: 1, and nobody attends to them"
    assert "systemctl restart restablecer-worker" in finding["remedy"]


def test_mails_that_wait_for_twelve_hours(clinic: Clinic) -> None:
    """The manual tells people to call then."""
    _queue(clinic.settings, timedelta(hours=13), "queued", timedelta(minutes=20))
    finding = the_one(clinic.examine(), "warning")
    assert finding["text"] == "mails that wait: 1, the oldest for 13 h 0 min"
    assert ".venv/bin/flask reset outbox list" in finding["remedy"]


def test_mails_that_were_refused(clinic: Clinic) -> None:
    """Those people wait for nothing."""
    _queue(clinic.settings, timedelta(hours=2), "abandoned", timedelta(0))
    finding = the_one(clinic.examine(), "warning")
    assert finding["text"] == "mails of the last day that were refused, or given up: 1"


def test_recipient_that_is_no_address_is_refused(clinic: Clinic) -> None:
    """Not asked about: some servers take anything."""
    told = clinic.run("--mail-to", "ana")
    assert told.exit_code == 2
    assert "'ana' is no e-mail address" in told.stderr


def _said(sock: socket.socket, answers: Mapping[str, str]) -> None:
    """An SMTP server that says what *answers* say to a command, and yes to all others."""
    sock.sendall(b"220 correo.caja.test\r\n")
    for line in sock.makefile():
        command = line.split()[0].upper()
        sock.sendall(f"{answers.get(command, '250 OK')}\r\n".encode())


@pytest.mark.parametrize(
    ("answers", "text", "remedy"),
    [
        (
            {"MAIL": "550 5.7.1 not from you"},
            "it refuses the sender no-responder@example.com: 550 5.7.1 not from you",
            "RESET_MAIL_DEFAULT_SENDER",
        ),
        (
            {"MAIL": "530 5.7.0 Authentication required"},
            "it takes mails only after a login: 530 5.7.0 Authentication required",
            "RESET_MAIL_USERNAME",
        ),
        (
            {"RCPT": "554 5.7.1 Relay access denied"},
            "it refuses mails for you@lejos.test: 554 5.7.1 Relay access denied",
            "let it relay for this host",
        ),
        (
            {"EHLO": "421 4.7.0 too many from you", "HELO": "421 4.7.0 too many from you"},
            "ends the dialogue (421 4.7.0 too many from you)",
            "see the log of the mail server",
        ),
    ],
    ids=["sender", "login", "relay", "greeting"],
)
def test_mail_server_that_refuses_us(
    clinic: Clinic, answers: dict[str, str], text: str, remedy: str
) -> None:
    """In the server's own words."""
    with scripted(partial(_said, answers=answers)) as port:
        told = findings(clinic.app(mail={"port": port}), "--mail-to", "you@lejos.test")
    finding = the_one(told)
    assert text in finding["text"]
    assert remedy in finding["remedy"]


def test_mail_that_travels_in_clear(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """To another machine; here this one is taken for another."""
    monkeypatch.setattr(mail_check, "is_loopback", lambda host: False)
    finding = the_one(clinic.examine(), "warning")
    assert finding["text"] == "mails travel to it unencrypted"
    assert finding["remedy"].startswith("RESET_MAIL_USE_TLS=1")


def test_check_that_hangs_holds_nobody_up(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never answers is told; all else is told, too."""
    monkeypatch.setattr(package, "DEADLINE_SECONDS", 2)
    held = threading.Event()
    with scripted(lambda _: [held.wait(60)].clear()) as port:
        app = clinic.app(mail={"port": port, "timeout": timedelta(seconds=20)})
        found = findings(app)
        held.set()
    finding = the_one(found)
    assert (finding["subject"], finding["text"]) == ("mail", "no answer within 2 s")
    assert {"settings", "database", "accounts", "clock"} <= {one["subject"] for one in found}


def test_check_that_fails_does_not_end_the_others(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the doctor's own is told by its kind, and the rest as always."""

    def fail(*_: object) -> NoReturn:
        raise ValueError("ana@example.com")

    monkeypatch.setattr(mail_check, "_encryption", fail)
    told = clinic.run("--json")
    assert "this check ended early (ValueError)" in the_one(json.loads(told.stdout))["text"]
    assert "ana@example.com" not in told.stdout


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_words_of_a_server_do_not_command_the_terminal(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, form: list[str]
) -> None:
    """What came over the network is shown, but for what cannot be seen."""
    hostile = Finding("fault", "to \x1b]0;x\x07\x9b2J\u202eñ", "\x1b[2J", "\x7fwhy")
    monkeypatch.setattr(mail_check, "_encryption", lambda *_: [hostile])
    told = clinic.run(*form).stdout
    assert "to  ]0;x  2J ñ" in told
    assert not [sign for sign in told if not sign.isprintable() and sign != "\n"]
    assert "u001b" not in told


BAD = {
    "RESET_SECRET_KEYS": "0123456789",
    "RESET_PUBLIC_URL": "http://clave.caja.test",
    "RESET_PUBLIK_URL": "https://clave.caja.test",
}


def flask(folder: Path, *command: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """A command as an operator types it, with the settings of the tests and *changes*."""
    environ = ENVIRON | {
        "RESET_DATABASE_URL": f"sqlite:///{folder}/reset.sqlite",
        "RESET_ACCOUNTS_URL": f"sqlite:///{folder}/portal.sqlite",
        "FLASK_SKIP_DOTENV": "1",
        "PATH": "",
        **changes,
    }
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "reset", *command],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_settings_that_allow_no_start_are_explained(tmp_path: Path) -> None:
    """Nothing else of the service answers then; each fault has a line to paste."""
    told = flask(tmp_path, "doctor", "--json", **BAD)
    remedies = {one["text"]: one["remedy"] for one in json.loads(told.stdout)}
    assert remedies == {
        "RESET_SECRET_KEYS: a key is weak (32 random characters are the least)": (
            'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
        ),
        "RESET_PUBLIC_URL: must begin with https:// (http is for localhost only)": (
            "correct RESET_PUBLIC_URL; see .env.example"
        ),
        "RESET_PUBLIK_URL: there is no such setting": (
            "write RESET_PUBLIC_URL, or take the line out"
        ),
    }
    assert {one["level"] for one in json.loads(told.stdout)} == {"fault"}
    assert told.returncode == 1


def test_other_commands_refuse_bad_settings_as_before(tmp_path: Path) -> None:
    """gunicorn and systemd know the status; nothing was created."""
    told = flask(tmp_path, "migrate", **BAD)
    assert told.returncode == 3
    assert told.stderr.splitlines()[0] == "The settings do not allow a start:"
    assert list(tmp_path.iterdir()) == []


def test_doctor_creates_nothing_on_a_new_machine(tmp_path: Path) -> None:
    """Before the first start, and as root perhaps: a file of root's would be in the way."""
    told = flask(tmp_path, "doctor")
    assert "reset.sqlite is not there yet" in told.stdout
    assert told.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_question_of_a_stranger_is_not_answered(app: Flask) -> None:
    """What the service sees of its callers it tells to who has its keys, for two minutes."""
    now = START
    good = mirror.question([KEY], "http://localhost:5000", now=now)
    old = mirror.question([KEY], "http://localhost:5000", now=now - timedelta(seconds=121))
    other = mirror.question(["x" * 40], "http://localhost:5000", now=now)
    link = Tokens([KEY], "link", "http://localhost:5000").make(new_id(), now=now)
    for asked in (old, other, link, "", "x" * 10_000):
        answer = app.test_client().get("/", headers={mirror.QUESTION: asked})
        assert mirror.ANSWER not in answer.headers
    answer = app.test_client().get("/", headers={mirror.QUESTION: good})
    assert json.loads(answer.headers[mirror.ANSWER])["address"] == "127.0.0.1"
