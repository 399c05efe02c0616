"""Our own database: whether it answers, takes what is written, and keeps it through a power cut."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from reset import engine, migrations
from reset.doctor import Case, command
from reset.doctor.settings import private
from reset.findings import Finding

FULL_BYTES = 50_000_000
LOW_BYTES = 500_000_000
_SMALL_BYTES = 100_000_000  # Checked in a second or two.
NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph", "glusterfs", "afs")
_LOST = "a power cut may lose requests that visitors were told are received"
_DOWN = "every form answers 503, and no mail leaves"


def check(case: Case) -> Iterator[Finding]:
    """Everything about the database of RESET_DATABASE_URL."""
    url = case.state_url
    if url.get_backend_name() == "sqlite":
        path = Path(str(url.database))
        if not path.exists():
            text = f"{path} is not there yet"
            yield Finding(
                "fault", text, f"as the user of web and worker: {command('migrate')}", _DOWN
            )
            return
        yield from _file(path)
        yield from _disk(path.parent)
    try:
        with case.state() as tx:
            yield Finding("ok", f"it answers ({_version(tx)})")
            yield _encryption(tx)
            if not sa.inspect(tx).has_table("schema_version"):
                yield Finding("fault", "it has no tables yet", command("migrate"), _DOWN)
                return
            yield _schema(tx)
            yield from _KINDS[tx.dialect.name](tx)
            yield _writing(tx)
    except sa.exc.SQLAlchemyError as error:
        text = f"it does not answer ({engine.described(error)})"
        remedy = "see that the server runs, and that name, password, host and CA in"
        yield Finding("fault", text, f"{remedy} RESET_DATABASE_URL are right", _DOWN)


def _version(tx: sa.Connection) -> str:
    number = ".".join(map(str, tx.dialect.server_version_info or ()))
    return f"{tx.dialect.name} {number}"


def _schema(tx: sa.Connection) -> Finding:
    newest = migrations.steps()[-1][0]
    found = tx.exec_driver_sql("SELECT MAX(version) FROM schema_version").scalar() or 0
    if found < newest:
        text = f"its tables are at version {found}, this program needs {newest}"
        why = "what is new here finds no place to write to"
        return Finding("fault", text, command("migrate"), why)
    if found > newest:
        text = f"its tables are at version {found}, this program knows {newest}"
        remedy = "install the newer version here, too: docs/several-hosts.md, Upgrading"
        why = "another host runs a newer version"
        return Finding("warning", text, remedy, why)
    return Finding("ok", f"its tables are at version {newest}")


def _writing(tx: sa.Connection) -> Finding:
    """A row is written and taken back."""
    try:
        tx.rollback()
        row = {"nonce": "doctor", "now": ""}
        tx.execute(sa.text("INSERT INTO captcha_spent VALUES (:nonce, :now)"), row)
        tx.execute(sa.text("DELETE FROM captcha_spent WHERE nonce = :nonce"), row)
        tx.rollback()
    except sa.exc.SQLAlchemyError as error:
        text = f"nothing can be written ({engine.described(error)})"
        remedy = (
            "give its user all rights there (docs/several-hosts.md), or see that it is no standby"
        )
        if tx.dialect.name == "sqlite":
            remedy = (
                "give file and folder to the user of web and worker, or end what locks the file"
            )
        return Finding("fault", text, remedy, _DOWN)
    return Finding("ok", "a row can be written (and was taken back)")


def _encryption(tx: sa.Connection) -> Finding:
    if engine.is_local(tx.engine):
        return Finding("ok", "what is said to it stays on this machine")
    if engine.is_encrypted(tx):
        return Finding("ok", "what is said to it is encrypted")
    text = "what is said to it crosses the network unencrypted"
    added = {"postgresql": "sslmode=verify-full&sslrootcert=", "mysql": "ssl_ca="}[tx.dialect.name]
    remedy = f"add ?{added}/etc/restablecer/db-ca.pem to RESET_DATABASE_URL"
    why = "who listens learns its password, and who asks for a new one"
    return Finding("warning", text, remedy, why)


def _owner(file: Path, folder: Path) -> Iterator[Finding]:
    if file.stat().st_uid != folder.stat().st_uid:
        text = f"{file} belongs to another user than its folder: a command ran as root?"
        remedy = f"chown --reference={folder} {file}"
        yield Finding("fault", text, remedy, "web and worker may not write it")


def _file(path: Path) -> Iterator[Finding]:
    why = "it holds addresses, and names of who asked"
    for one in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        # Whoever is the last to leave the database takes the other two away.
        with suppress(FileNotFoundError):
            found = [*private(one, why), *_owner(one, path.parent)]
            yield from found
            if any(finding.level != "ok" for finding in found):
                break  # SQLite makes the other two after the first: theirs is no news.
    if not os.access(path.parent, os.W_OK):
        remedy = f"chown restablecer {path.parent} (the user of web and worker)"
        why = "SQLite writes a journal beside its file"
        yield Finding("fault", f"{path.parent} cannot be written", remedy, why)
    kind = _filesystem(path)
    if kind in NETWORK:
        text = f"{path} lies on a network file system ({kind})"
        remedy = (
            "RESET_DATABASE_URL=sqlite:////var/lib/restablecer/reset.sqlite, on a disk of its own"
        )
        why = "locks do not hold there: the file gets damaged"
        yield Finding("fault", text, remedy, why)


def _filesystem(path: Path) -> str:
    """The kind of file system that *path* lies on; empty where Linux does not tell."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return ""
    found = [line.split()[1:3] for line in mounts.read_text("utf-8", "replace").splitlines()]
    under = [(len(at), kind) for at, kind in found if path.resolve().is_relative_to(at)]
    return max(under, default=(0, ""), key=lambda one: one[0])[1]


def _disk(folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    text = f"free on the disk of {folder}: {free // 1_000_000} MB"
    if free >= LOW_BYTES:
        yield Finding("ok", text)
    else:
        level = "fault" if free < FULL_BYTES else "warning"
        remedy = f"make room: df -h {folder}; du -xh {folder} | sort -h | tail"
        yield Finding(level, text, remedy, f"on a full disk {_DOWN}")


def _sqlite(tx: sa.Connection) -> Iterator[Finding]:
    def pragma(name: str) -> object:
        return tx.exec_driver_sql(f"PRAGMA {name}").scalar()

    size = int(str(pragma("page_count"))) * int(str(pragma("page_size")))
    if pragma("journal_mode") != "wal":
        remedy = f"see that its folder is on a local disk, then: {command('migrate')}"
        why = "readers and writers stand in each other's way"
        yield Finding("warning", "its journal is not in WAL mode", remedy, why)
    else:
        yield Finding("ok", f"its size is {size / 1_000_000:.1f} MB; each commit is on the disk")
    if size > _SMALL_BYTES:
        yield Finding("note", "too large to be checked for damage here", "PRAGMA integrity_check")
        return
    damage = tx.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if damage == "ok":
        yield Finding("ok", "its file is not damaged")
    else:
        remedy = "stop web and worker, and put a backup back: docs/backup.md"
        yield Finding("fault", "its file is damaged", remedy, "requests and mails may be lost")


def _postgresql(tx: sa.Connection) -> Iterator[Finding]:
    rows = tx.exec_driver_sql(
        "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes')"
    )
    yield from _durable(
        [
            (name, value, "on", f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();")
            for name, value in sorted(map(tuple, rows))
        ]
    )
    size = tx.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
    yield Finding("ok", f"its size is {size / 1_000_000:.1f} MB")


def _mysql(tx: sa.Connection) -> Iterator[Finding]:
    row = tx.exec_driver_sql(
        "SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite, @@log_bin, @@sync_binlog"
    ).one()
    flush, doublewrite, log_bin, sync_binlog = map(str, row)
    wanted = [
        ("innodb_flush_log_at_trx_commit", flush, "1"),
        ("innodb_doublewrite", "1" if doublewrite in ("ON", "1") else "0", "1"),
    ]
    if log_bin in ("1", "ON"):
        wanted.append(("sync_binlog", sync_binlog, "1"))
    yield from _durable(
        [
            (name, value, good, f"under [mysqld] in /etc/mysql/my.cnf: {name} = {good}; restart it")
            for name, value, good in wanted
        ]
    )
    size = tx.exec_driver_sql(
        "SELECT COALESCE(SUM(data_length + index_length), 0) FROM information_schema.tables"
        " WHERE table_schema = DATABASE()"
    ).scalar_one()
    yield Finding("ok", f"its size is {float(size) / 1_000_000:.1f} MB")


def _durable(found: list[tuple[str, str, str, str]]) -> Iterator[Finding]:
    """For each (name, value, the value that is safe, how to set it)."""
    for name, value, good, remedy in found:
        if value == good:
            yield Finding("ok", f"{name} is {value}")
        else:
            text = f"{name} is {value} on its server"
            yield Finding("fault", text, f"as its administrator: {remedy}", _LOST)


_KINDS = {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql}
