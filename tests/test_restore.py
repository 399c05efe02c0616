"""An old state database is put back: nothing comes to life again."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reset.errors import MailDeferred
from tests.conftest import NEW_PASSWORD, OLD_PASSWORD, Portal, Visitor, hash_bcrypt, links_in


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "backup.sqlite"


def back_up(backup: Path) -> None:
    """As the manual says: SQLite's own copy, while everything runs."""
    with closing(sqlite3.connect(backup.with_name("reset.sqlite"))) as db:
        db.execute("VACUUM INTO ?", [str(backup)])


def put_back(visitor: Visitor, backup: Path, tmp_path: Path) -> None:
    """As the manual says: stopped, the file replaced, its companions removed."""
    visitor.parts.database.close()
    for end in ("-wal", "-shm"):
        (tmp_path / f"reset.sqlite{end}").unlink(missing_ok=True)
    shutil.copy(backup, tmp_path / "reset.sqlite")


def tell(visitor: Visitor) -> str:
    """What the operator reads after `flask reset restored`."""
    return visitor.app.test_cli_runner().invoke(args=["reset", "restored"]).output


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
def test_used_link_stays_dead(
    visitor: Visitor, portal: Portal, ana: int, tmp_path: Path, backup: Path, told: bool
) -> None:
    """Even if the operator forgets to tell: the account is not as it was when the link was made."""
    link = visitor.link()
    back_up(backup)
    assert visitor.set_password(link).status_code == 303
    put_back(visitor, backup, tmp_path)
    if told:
        tell(visitor)
    assert visitor.client.get(link).status_code == 410
    assert visitor.set_password(link, "Otra-Clave-2026-x").status_code == 410
    assert portal.lets_in(ana, NEW_PASSWORD)


def test_denied_link_stays_dead(visitor: Visitor, ana: int, tmp_path: Path, backup: Path) -> None:
    """What was open in the backup was perhaps closed since by "no fui yo"."""
    link = visitor.link()
    back_up(backup)
    token = links_in(visitor.mails()[0], "no-fui-yo")[0].rpartition("/")[2]
    assert visitor.client.post("/no-fui-yo", data={"token": token}).status_code == 200
    put_back(visitor, backup, tmp_path)
    assert tell(visitor).endswith("are void now: 1\n")
    assert visitor.client.get(link).status_code == 410


def test_old_mail_is_not_sent_again(
    visitor: Visitor, ana: int, tmp_path: Path, backup: Path
) -> None:
    """Neither a link nor a confirmation that waited when the backup was made; the trace says so."""
    visitor.set_password(visitor.link())
    visitor.sender.failures = [MailDeferred("451 later")]
    visitor.ask()
    back_up(backup)
    visitor.clock.advance(minutes=5)
    visitor.run_worker()
    visitor.clock.advance(minutes=5)
    visitor.run_worker()
    sent = len(visitor.mails())
    put_back(visitor, backup, tmp_path)
    tell(visitor)
    visitor.clock.advance(days=1)
    visitor.run_worker()
    assert len(visitor.mails()) == sent
    assert visitor.trace()[-1] == "restored"


def test_service_works_on_a_backup(
    visitor: Visitor, portal: Portal, ana: int, tmp_path: Path, backup: Path
) -> None:
    """Who asks again gets a link that works; telling twice is harmless."""
    visitor.link()
    back_up(backup)
    put_back(visitor, backup, tmp_path)
    assert tell(visitor).endswith("are void now: 1\n")
    assert tell(visitor).endswith("are void now: 0\n")
    portal.set(ana, clave=hash_bcrypt(OLD_PASSWORD))
    assert visitor.set_password(visitor.link()).status_code == 303
