"""Our own database: durable where promised, private, migrated once."""

from __future__ import annotations

import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from reset import migrations
from reset.db import Database
from reset.errors import StoreUnavailable
from tests.conftest import Visitor

LATEST = migrations.steps()[-1][0]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path}/deep/reset.sqlite")


def test_file_is_private(database: Database, tmp_path: Path) -> None:
    """Nobody else on the machine can read the state."""
    database.migrate()
    with database.begin() as tx:
        tx.exec_driver_sql("INSERT INTO requests VALUES ('1', 'a', 'b', NULL, 'es')")
        for file in (tmp_path / "deep").iterdir():
            assert file.stat().st_mode & 0o077 == 0


def test_commits_are_durable(database: Database) -> None:
    """WAL with a sync at every commit, but for what nobody was promised."""
    database.migrate()
    levels = {}
    for durable in (True, False, True):
        with database.begin(durable=durable) as tx:
            levels[durable] = tx.exec_driver_sql("PRAGMA synchronous").scalar()
            assert tx.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    assert levels == {True: 2, False: 1}  # FULL and NORMAL.


@pytest.mark.parametrize("attempt", range(5))
def test_migrating_twice_and_at_once_is_harmless(tmp_path: Path, attempt: int) -> None:
    """Several processes may start together on a fresh file; each step is applied by one of them."""
    url = f"sqlite:///{tmp_path}/reset.sqlite"
    versions: list[int] = []
    start = threading.Barrier(8)

    def migrate() -> None:
        start.wait()
        versions.append(Database(url).migrate())

    threads = [threading.Thread(target=migrate) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert versions == [LATEST] * 8
    with Database(url).read() as tx:
        applied = tx.exec_driver_sql("SELECT version FROM schema_version").scalars().all()
    assert applied == list(range(1, LATEST + 1))


def test_reading_before_writing_never_fails_as_locked(database: Database) -> None:
    """Many writers that look first wait for one another."""
    database.migrate()

    def add() -> None:
        for _ in range(20):
            with database.begin(durable=False) as tx:
                count = tx.exec_driver_sql("SELECT COUNT(*) FROM requests").scalar()
                tx.exec_driver_sql(f"INSERT INTO requests VALUES ('{count}', 'a', 'b', NULL, 'es')")

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as tx:
        assert tx.exec_driver_sql("SELECT COUNT(*) FROM requests").scalar() == 80


def test_failed_step_leaves_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that fails half-way is undone as a whole."""
    steps = [(1, ["CREATE TABLE half (x INTEGER)", "CREATE TABLE half (x INTEGER)"])]
    monkeypatch.setattr("reset.migrations.steps", lambda: steps)
    with pytest.raises(StoreUnavailable):
        database.migrate()
    with closing(sqlite3.connect(tmp_path / "deep" / "reset.sqlite")) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == []


def test_driver_may_be_named(tmp_path: Path) -> None:
    """SQLAlchemy's own way to write the address of a file."""
    database = Database(f"sqlite+pysqlite:///{tmp_path}/reset.sqlite")
    with database.begin() as tx:
        assert tx.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    database.close()


def test_error_names_no_value(database: Database) -> None:
    """The text of an error holds neither statement nor values."""
    database.migrate()
    with pytest.raises(StoreUnavailable) as raised, database.begin() as tx:
        tx.execute(sa.text("INSERT INTO nowhere VALUES (:v)"), {"v": "s3cr3t"})
    assert str(raised.value) == "OperationalError"


def test_place_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    """A file where a folder should be is a store that is down, no crash."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable):
        Database(f"sqlite:///{tmp_path}/file/reset.sqlite").migrate()


def test_store_that_is_down_answers_all_alike(visitor: Visitor, ana: int) -> None:
    """A database that cannot write is 503 for everybody, and what was not stored is not claimed."""
    challenges = [visitor.challenge(), visitor.challenge()]
    with visitor.parts.database.begin() as tx:
        tx.exec_driver_sql("DROP TABLE requests")
    answers = [
        visitor.ask(email, challenge=challenge)
        for email, challenge in zip(
            ("ana@example.com", "nadie@example.com"), challenges, strict=True
        )
    ]
    assert [answer.status_code for answer in answers] == [503, 503]
    texts = [re.sub(r"Código: [0-9a-f]{8}", "", answer.text) for answer in answers]
    assert texts[0] == texts[1]
    assert answers[0].headers == answers[1].headers
