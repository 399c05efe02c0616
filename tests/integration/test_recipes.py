"""The recipes of the manual: the whole flow on each portal's schema, read by its own code."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from passlib.hash import phpass, sha512_crypt

import config
from reset import texts
from reset.accounts import hashes
from reset.accounts.sql.backend import SqlAccounts
from tests.conftest import ADDRESS, ENVIRON, NEW_PASSWORD, OLD_PASSWORD, Ask, Visitor, hash_bcrypt
from tests.recipes import recipe
from tests.servers.sql import SqlServer
from tests.stores import Store, database, grant

if TYPE_CHECKING:  # They need python-ldap.
    from tests.servers.samba import Samba
    from tests.servers.slapd import Slapd

SCHEMAS = Path(__file__).parent.parent / "portals"
OTHERS = {name: value for name, value in ENVIRON.items() if "_ACCOUNTS_" not in name}
Served = Callable[[dict[str, str]], Visitor]
Portal = Callable[..., Any]


@pytest.fixture
def served(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor]
) -> Iterator[Served]:
    """A visitor of the service that has a recipe's settings."""
    opened: list[Any] = []

    def serve(settings: dict[str, str]) -> Visitor:
        source = config.load({**OTHERS, **settings}, Path("/nowhere")).accounts_source
        visitor = make_visitor(make_app(accounts_source=source))
        opened.append(visitor.parts.accounts)
        return visitor

    yield serve
    for accounts in opened:
        if isinstance(accounts, SqlAccounts):
            accounts.close()


@contextmanager
def portal(server: SqlServer, title: str, name: str, schema: str = "") -> Iterator[Store]:
    """The portal of a recipe with its *schema*, and the rights of the recipe."""
    found = recipe(title)
    with database(server, name):
        admin = server.admin(name)
        with admin.connect() as connection:
            for statement in filter(str.strip, schema.split(";\n")):
                connection.exec_driver_sql(statement)
        store = Store(
            admin, {**found.settings, "RESET_ACCOUNTS_URL": server.url("restablecer", name)}
        )
        yield store
        store.close()


def reset(visitor: Visitor, address: str = ADDRESS) -> None:
    """The whole flow for one person."""
    visitor.sender.sent.clear()
    assert visitor.set_password(visitor.link(address)).status_code == 303
    visitor.run_worker()
    assert [mail.subject for mail in visitor.mails(address)][1:]


def gets_no_link(visitor: Visitor, address: str) -> str:
    """Why somebody gets none."""
    visitor.ask(address)
    visitor.run_worker()
    assert visitor.mails(address) == []
    return visitor.trace(address)[-1]


def test_own_table(store: Store, served: Served, php: Ask) -> None:
    """On each database: PHP's password_verify() takes the new password."""
    ana = store.add()
    store.add(usuario="jefa", correo="jefa@example.com", rol="administrador")
    visitor = served(store.settings)
    reset(visitor)
    assert php("php", NEW_PASSWORD, store.row(ana).clave)
    assert not php("php", OLD_PASSWORD, store.row(ana).clave)
    assert gets_no_link(visitor, "jefa@example.com") == "account_excluded"


def test_laravel(sql_server: Callable[[str], SqlServer], served: Served, php: Ask) -> None:
    """Laravel's own hasher takes it; the sessions and the remembered device are gone."""
    schema = (SCHEMAS / "laravel.sql").read_text()
    with portal(sql_server("mysql"), "Laravel", "laravel", schema) as store:
        store.run(
            "INSERT INTO users (id, name, email, password, remember_token)"
            " VALUES (7, 'Ana', :email, :hash, 'abc')",
            email=ADDRESS,
            hash=hash_bcrypt(OLD_PASSWORD),
        )
        store.run("INSERT INTO sessions VALUES ('s', 7, NULL, NULL, '', 0)")
        grant(store.admin, recipe("Laravel").sql)
        reset(served(store.settings))
        (user,) = store.run("SELECT * FROM users")
        assert php("laravel", NEW_PASSWORD, user.password)
        assert user.remember_token is None
        assert user.updated_at is not None
        assert store.run("SELECT id FROM sessions") == []


def test_wordpress(sql_server: Callable[[str], SqlServer], served: Served, php: Ask) -> None:
    """Hashes of both ages; administrators are left alone; every session ends."""
    schema = (SCHEMAS / "wordpress.sql").read_text()
    with portal(sql_server("mysql"), "WordPress", "wordpress", schema) as store:
        people = {
            "ana": hashes.renew(OLD_PASSWORD, "$wp" + hash_bcrypt("x")),
            "beto": phpass.using(rounds=7).hash(OLD_PASSWORD),
            "jefa": hash_bcrypt(OLD_PASSWORD),
        }
        for number, (login, stored) in enumerate(people.items(), 1):
            store.run(
                "INSERT INTO wp_users (ID, user_login, user_email, user_pass)"
                " VALUES (:id, :login, :email, :hash)",
                id=number,
                login=login,
                email=f"{login}@example.com",
                hash=stored,
            )
        store.run(
            "INSERT INTO wp_usermeta (user_id, meta_key, meta_value) VALUES"
            " (1, 'wp_capabilities', 'a:1:{s:10:\"subscriber\";b:1;}'),"
            " (1, 'session_tokens', 'x'), (2, 'session_tokens', 'x'),"
            " (3, 'wp_capabilities', 'a:1:{s:13:\"administrator\";b:1;}')"
        )
        grant(store.admin, recipe("WordPress").sql)
        visitor = served(store.settings)
        reset(visitor)
        reset(visitor, "beto@example.com")
        ana, beto, _ = store.run("SELECT user_pass FROM wp_users ORDER BY ID")
        assert php("wordpress", NEW_PASSWORD, ana.user_pass)
        assert beto.user_pass.startswith("$P$5")
        assert phpass.verify(NEW_PASSWORD, beto.user_pass)
        assert gets_no_link(visitor, "jefa@example.com") == "account_excluded"
        assert len(store.run("SELECT * FROM wp_usermeta WHERE meta_key = 'session_tokens'")) == 0
        assert len(store.run("SELECT * FROM wp_usermeta")) == 2


def test_moodle(sql_server: Callable[[str], SqlServer], served: Served, php: Ask) -> None:
    """Hashes of both ages; accounts of other sign-ins and deleted ones get no link."""
    schema = (SCHEMAS / "moodle.sql").read_text()
    with portal(sql_server("mysql"), "Moodle", "moodle", schema) as store:
        stored = [hash_bcrypt(OLD_PASSWORD), sha512_crypt.using(rounds=1000).hash(OLD_PASSWORD)]
        people: list[tuple[str, dict[str, Any]]] = [
            ("ana", {"password": stored[0]}),
            ("beto", {"password": stored[1]}),
            ("cas", {"auth": "cas", "password": "not cached"}),
            ("ida", {"deleted": 1, "password": stored[0]}),
        ]
        for login, columns in people:
            row = {"username": login, "email": f"{login}@example.com", "confirmed": 1} | columns
            marks = ", ".join(f":{name}" for name in row)
            store.run(f"INSERT INTO mdl_user ({', '.join(row)}) VALUES ({marks})", **row)
        store.run(
            "INSERT INTO mdl_user_preferences (userid, name, value) VALUES"
            " (1, 'auth_forcepasswordchange', '1'), (1, 'theme', 'x')"
        )
        store.run(
            "INSERT INTO mdl_sessions (userid, timecreated, timemodified)"
            " VALUES (1, 0, 0), (4, 0, 0)"
        )
        grant(store.admin, recipe("Moodle").sql)
        visitor = served(store.settings)
        reset(visitor)
        reset(visitor, "beto@example.com")
        ana, beto, *_ = store.run("SELECT * FROM mdl_user ORDER BY id")
        assert php("php", NEW_PASSWORD, ana.password)
        assert php("php", NEW_PASSWORD, beto.password)
        assert beto.password.startswith("$6$rounds=1000$")
        assert ana.timemodified > 1_700_000_000
        assert store.run("SELECT name FROM mdl_user_preferences") == [("theme",)]
        assert store.run("SELECT userid FROM mdl_sessions") == [(4,)]
        for login in ("cas", "ida"):
            assert gets_no_link(visitor, f"{login}@example.com") == "account_excluded"


def test_django(sql_server: Callable[[str], SqlServer], served: Served) -> None:
    """Tables by Django's own migrations; its authenticate() takes the new password only."""
    with portal(sql_server("postgresql"), "Django", "django") as store:
        django(store, "migrate")
        ana = {"username": "ana", "email": ADDRESS, "password": OLD_PASSWORD}
        sso = {"username": "sso", "email": "sso@example.com"}
        jefa = {"username": "jefa", "email": "jefa@example.com", "is_staff": True}
        django(store, "add", [ana, sso, jefa | {"password": OLD_PASSWORD}])
        grant(store.admin, recipe("Django").sql)
        visitor = served(store.settings)
        reset(visitor)
        tried = [{"username": "ana", "password": word} for word in (NEW_PASSWORD, OLD_PASSWORD)]
        assert json.loads(django(store, "log-in", tried)) == [True, False]
        for login in ("sso", "jefa"):
            assert gets_no_link(visitor, f"{login}@example.com") == "account_excluded"


def django(store: Store, command: str, people: list[dict[str, Any]] | None = None) -> str:
    """Let the portal's own code do something."""
    return subprocess.run(
        [sys.executable, "-m", "tests.readers.django_portal", store.admin_url, command],
        input=json.dumps(people or []),
        capture_output=True,
        text=True,
        check=True,
        cwd=SCHEMAS.parent.parent,
    ).stdout


def test_openldap(slapd: Slapd, served: Served) -> None:
    """Whole flow with the manual's rights; members of the group and services get no link."""
    ana = slapd.person("ana")
    jefa = slapd.person("jefa")
    slapd.person("respaldo", employeeType="servicio")
    group = slapd.settings["RESET_ACCOUNTS_LDAP_EXCLUDE_GROUPS"]
    slapd.add(group, objectClass="groupOfNames", member=jefa)
    visitor = served(slapd.settings)
    visitor.parts.accounts.check()
    reset(visitor)
    assert slapd.lets_in(ana, NEW_PASSWORD)
    assert not slapd.lets_in(ana, OLD_PASSWORD)
    for login in ("jefa", "respaldo"):
        assert gets_no_link(visitor, f"{login}@example.com") == "account_excluded"


def test_active_directory(samba: Samba, served: Served) -> None:
    """Whole flow with the manual's rights; administrators and members of the group get no link."""
    samba.person("ana")
    jefa = samba.person("jefa")
    samba.person("admin", adminCount="1")
    group = samba.settings["RESET_ACCOUNTS_LDAP_EXCLUDE_GROUPS"].partition(";")[0]
    samba.add(group, objectClass="group", member=jefa)
    visitor = served(samba.settings)
    visitor.parts.accounts.check()
    reset(visitor)
    assert samba.lets_in("ana", NEW_PASSWORD)
    assert not samba.lets_in("ana", OLD_PASSWORD)
    for login in ("jefa", "admin"):
        assert gets_no_link(visitor, f"{login}@example.com") == "account_excluded"


@pytest.mark.parametrize("password", ["Mesa-Verde-Lluvia-42", "Viejita-2019"])
def test_refusal_of_a_directory_is_told(slapd: Slapd, served: Served, password: str) -> None:
    """What its policy refuses is told in words; the link goes on working."""
    slapd.person("ana")
    slapd.add(
        slapd.settings["RESET_ACCOUNTS_LDAP_EXCLUDE_GROUPS"],
        objectClass="groupOfNames",
        member=slapd.settings["RESET_ACCOUNTS_LDAP_BIND_DN"],
    )
    visitor = served(slapd.settings)
    reset(visitor)
    visitor.clock.advance(minutes=1)
    link = visitor.link()
    answer = visitor.set_password(link, password)
    assert answer.status_code == 200
    assert texts.text("in_history") in answer.text
    assert "password_refused" in visitor.trace()
    assert visitor.set_password(link, "Otra-Canoa-Sube-99").status_code == 303


def test_two_links_at_once_set_one_password(slapd: Slapd, served: Served) -> None:
    """A directory cannot compare before it sets: still one page succeeds, and that one is true."""
    ana = slapd.person("ana")
    settings = {**slapd.settings, "RESET_ACCOUNTS_LDAP_EXCLUDE_GROUPS": ""}
    visitor = served(settings)
    for number in range(8):
        visitor.clock.advance(hours=2)
        first = visitor.link()
        visitor.clock.advance(seconds=1)
        tokens = [link.rpartition("/")[2] for link in (first, visitor.link())]
        words = [f"Mesa-Verde-Lluvia-{number}{letter}" for letter in "ab"]
        start = threading.Barrier(2)

        def send(token: str, word: str, start: threading.Barrier = start) -> int:
            data = {"token": token, "password": word, "confirm": word}
            start.wait(10)
            return visitor.app.test_client().post("/nueva", data=data).status_code

        with ThreadPoolExecutor(2) as pool:
            codes = list(pool.map(send, tokens, words))
        assert sorted(code == 303 for code in codes) == [False, True]
        assert slapd.lets_in(ana, words[codes.index(303)])
        visitor.run_worker()
