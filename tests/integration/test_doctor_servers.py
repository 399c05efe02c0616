"""`flask reset doctor` over real servers that are set up wrongly: databases, mail, LDAP, Redis."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult

import config
from reset import engine
from reset.doctor import limiter
from tests.conftest import ENVIRON, FOR_LDAP, library, program
from tests.servers import redis as redis_servers
from tests.servers.certificates import Authority, Certificate
from tests.servers.redis import RedisServer
from tests.servers.service import Host
from tests.servers.smtp import Sink, serving
from tests.servers.sql import SqlServer
from tests.servers.state import NAME
from tests.test_doctor import Clinic, beat, clinic, findings, mailbox, the_one

__all__ = ["clinic", "mailbox"]
SqlServers = Callable[[str], SqlServer]
# How the tests' own servers are set up, to be quick.
UNSAFE = {
    "postgresql": ("fsync is off on its server", "ALTER SYSTEM SET fsync = on;"),
    "mysql": (
        "innodb_flush_log_at_trx_commit is 2 on its server",
        "innodb_flush_log_at_trx_commit = 1",
    ),
}


@pytest.fixture
def on_server(
    clinic: Clinic, state_servers: Callable[[str], str]
) -> Callable[[str], tuple[Clinic, str]]:
    """The healthy service with its state on a server of a kind, and the address of it."""

    def make(kind: str) -> tuple[Clinic, str]:
        url = state_servers(kind)
        settings = replace(clinic.settings, database_url=url)
        clinic.app(database_url=url)
        beat(settings, datetime.now(UTC))
        return Clinic(settings, clinic._make_app), url

    return make


OnServer = Callable[[str], tuple[Clinic, str]]


def other_than(found: list[dict[str, str]], kind: str) -> dict[str, str]:
    """The only fault or warning beside how the tests' own server is set up."""
    return the_one([one for one in found if one["text"] != UNSAFE[kind][0]])


@pytest.mark.parametrize("kind", UNSAFE)
def test_server_that_may_lose_what_it_took(on_server: OnServer, kind: str) -> None:
    """What was accepted must survive a power cut."""
    there, _ = on_server(kind)
    finding = the_one(there.examine())
    text, remedy = UNSAFE[kind]
    assert finding["text"] == text
    assert remedy in finding["remedy"]
    assert "a power cut may lose requests" in finding["why"]


@pytest.mark.parametrize("kind", UNSAFE)
def test_server_that_is_down(clinic: Clinic, kind: str) -> None:
    """One fault, not one for each check that needs it; the password is not told."""
    url = f"{kind}://restablecer:s3creta@127.0.0.1:1/estado"
    found = findings(clinic.app(database_url=url))
    finding = the_one(found)
    assert finding["subject"] == "database"
    assert "it does not answer (OperationalError" in finding["text"]
    assert "s3creta" not in str(found)


def test_state_without_the_right_to_write(
    on_server: OnServer, sql_server: SqlServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role that may only read; all looks well until the first request."""
    there, _ = on_server("postgresql")
    app = there.app()
    with sql_server("postgresql").admin(NAME).connect() as root:
        root.exec_driver_sql(f"REVOKE INSERT, UPDATE, DELETE ON captcha_spent FROM {NAME}")
        try:
            finding = other_than(findings(app), "postgresql")
        finally:
            root.exec_driver_sql(f"GRANT ALL ON captcha_spent TO {NAME}")
    assert "permission denied for table captcha_spent" in finding["text"]
    assert "give its user all rights there" in finding["remedy"]


def test_state_on_a_standby(on_server: OnServer, sql_server: SqlServers) -> None:
    """A server that takes no writes at all."""
    there, _ = on_server("postgresql")
    app = there.app()
    app.extensions["reset"].database.close()
    with sql_server("postgresql").admin(NAME).connect() as root:
        root.exec_driver_sql(f"ALTER ROLE {NAME} SET default_transaction_read_only = on")
        try:
            finding = other_than(findings(app), "postgresql")
        finally:
            root.exec_driver_sql(f"ALTER ROLE {NAME} RESET default_transaction_read_only")
    assert finding["text"] == "nothing can be written (ReadOnlySqlTransaction)"
    assert "or see that it is no standby" in finding["remedy"]


@pytest.mark.parametrize(
    ("kind", "option", "added"),
    [
        ("postgresql", "?sslmode=disable", "?sslmode=verify-full&sslrootcert="),
        ("mysql", "", "?ssl_ca="),
    ],
)
def test_state_over_an_open_line(
    on_server: OnServer, monkeypatch: pytest.MonkeyPatch, kind: str, option: str, added: str
) -> None:
    """To another machine; here this one is taken for another."""
    there, url = on_server(kind)
    monkeypatch.setattr(engine, "is_local", lambda _: False)
    finding = other_than(there.examine(database_url=url + option), kind)
    assert finding["text"] == "what is said to it crosses the network unencrypted"
    assert added in finding["remedy"]


def test_clocks_that_are_apart(on_server: OnServer, tmp_path: Path) -> None:
    """This host's clock runs a minute ahead of the database's."""
    _, url = on_server("postgresql")
    faketime = program("the tests of clocks", "faketime", "faketime")
    stores = {
        "RESET_DATABASE_URL": url,
        "RESET_ACCOUNTS_URL": f"sqlite:///{tmp_path}/portal.sqlite",
    }
    flask = [faketime, "-f", "+60s", sys.executable, "-m", "flask", "--app", "app"]
    with Host(tmp_path, stores) as host:
        told = host.run(*flask, "reset", "doctor").stdout
    assert "clock: the clock of the database's server and this host's are 60 s apart" in told
    assert "timedatectl set-ntp true" in told


@contextmanager
def mail_server(certificate: Certificate, **options: Any) -> Iterator[int]:
    """A mail server that wants STARTTLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    with serving(Sink(), tls_context=context, require_starttls=True, **options) as port:
        yield port


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The tests' own authority, which clients trust."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert))
    return authority


def test_certificate_of_the_mail_server_for_another_name(
    clinic: Clinic, trusted: Authority
) -> None:
    """No mail goes there; the reason is OpenSSL's own."""
    with mail_server(trusted.sign("DNS:correo.caja.test")) as port:
        mail = {"server": "localhost", "port": port, "use_tls": True}
        finding = the_one(clinic.examine(mail=mail))
    assert "Hostname mismatch" in finding["text"]
    assert f"openssl s_client -connect localhost:{port} -starttls smtp" in finding["remedy"]


def test_certificate_of_the_mail_server_that_expired(clinic: Clinic, trusted: Authority) -> None:
    """It was good in 2020."""
    faketime = program("the tests with certificates that expired", "faketime", "faketime")
    with mail_server(trusted.sign("DNS:localhost", before=[faketime, "2020-01-01"])) as port:
        mail = {"server": "localhost", "port": port, "use_tls": True}
        finding = the_one(clinic.examine(mail=mail))
    assert "certificate has expired" in finding["text"]
    assert finding["remedy"].startswith("renew it")


def test_certificate_of_the_mail_server_that_soon_expires(
    clinic: Clinic, trusted: Authority
) -> None:
    """The certificates of the tests last two days."""
    with mail_server(trusted.sign("DNS:localhost")) as port:
        mail = {"server": "localhost", "port": port, "use_tls": True}
        found = clinic.examine(mail=mail)
    finding = the_one(found)
    assert finding["level"] == "warning"
    assert finding["text"] == "days until its certificate expires: 1"
    assert any(one["text"].startswith("encrypted with TLSv1.3, ") for one in found)


def test_login_that_the_mail_server_refuses(clinic: Clinic, trusted: Authority) -> None:
    """In its own words, and without the password."""

    def refuse(*_: object) -> AuthResult:
        return AuthResult(success=False, handled=False)

    certificate = trusted.sign("DNS:localhost")
    with mail_server(certificate, authenticator=refuse, auth_required=True) as port:
        mail = {"server": "localhost", "port": port, "use_tls": True}
        login = {"username": "hanna", "password": "s3creta-clave"}
        found = clinic.examine(mail=mail | login)
    finding = the_one(found)
    assert "refuses the login: 535 5.7.8" in finding["text"]
    assert "correct RESET_MAIL_USERNAME and RESET_MAIL_PASSWORD" in finding["remedy"]
    assert "s3creta-clave" not in str(found)


def test_directory_that_refuses_us(clinic: Clinic, request: pytest.FixtureRequest) -> None:
    """A wrong password of the service's own account there."""
    library("the LDAP tests", FOR_LDAP, "ldap")
    slapd = request.getfixturevalue("slapd")
    login = {"RESET_ACCOUNTS_LDAP_BIND_PASSWORD": "otra-clave"}
    plain = {name: value for name, value in ENVIRON.items() if "_ACCOUNTS_" not in name}
    source = config.load({**plain, **slapd.settings, **login}, Path("/nowhere")).accounts_source
    found = clinic.examine(accounts_source=source)
    finding = the_one(found)
    assert finding["subject"] == "accounts"
    assert "it does not accept the service account's name and password" in finding["text"]
    assert "docs/portals.md" in finding["remedy"]
    assert "otra-clave" not in str(found)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(program("the Redis tests", "redis-server", "redis-server"), tmp_path)
    with server.running():
        yield server


def test_redis_that_answers(
    clinic: Clinic, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is well."""
    monkeypatch.setattr(limiter, "REDIS_TIMEOUT_SECONDS", 60)
    assert clinic.run(ratelimit_storage_uri=redis.url).stdout.startswith("all is well: ")


def test_redis_that_forgets(
    clinic: Clinic, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache, whose memory may be full of other things."""
    monkeypatch.setattr(limiter, "REDIS_TIMEOUT_SECONDS", 60)
    redis.admin.config_set("maxmemory-policy", "allkeys-lru")
    found = clinic.examine(ratelimit_storage_uri=redis.url)
    finding = the_one([one for one in found if one["subject"] == "limits"], "note")
    assert "maxmemory-policy allkeys-lru" in finding["text"]
    assert "CONFIG SET maxmemory-policy noeviction" in finding["remedy"]


def test_redis_that_is_slow(
    clinic: Clinic, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slower than the service waits for it."""
    monkeypatch.setattr(limiter, "REDIS_TIMEOUT_SECONDS", 0)
    finding = the_one(clinic.examine(ratelimit_storage_uri=redis.url))
    assert finding["text"].startswith("Redis answers in ")
    assert "use one that is near" in finding["remedy"]


def test_redis_that_hangs(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections, and says nothing."""
    monkeypatch.setattr(limiter, "_TIMEOUT_SECONDS", 0.2)
    with redis_servers.silent() as url:
        finding = the_one(clinic.examine(ratelimit_storage_uri=url))
    assert finding["text"] == "Redis does not answer (TimeoutError)"


def test_redis_over_an_open_line(
    clinic: Clinic, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To another machine; here this one is taken for another."""
    monkeypatch.setattr(limiter, "REDIS_TIMEOUT_SECONDS", 60)
    monkeypatch.setattr(limiter, "is_loopback", lambda _: False)
    finding = the_one(clinic.examine(ratelimit_storage_uri=redis.url))
    assert finding["text"] == "what is said to Redis crosses the network unencrypted"
    assert finding["remedy"].startswith("rediss:// in RESET_RATELIMIT_STORAGE_URI")
