"""The door of the help desk: operators, their passwords and sessions."""

from __future__ import annotations

import json
import logging
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

import argon2
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from reset.help_desk import operators
from tests.conftest import ENVIRON, KEY, Clock, hidden
from tests.desk import acts_in

ROOT = Path(__file__).parent.parent
PASSWORD = "Tres-Canoas-Bajo-Lluvia"
NEXT_KEY = "n3xt-Key-For-Tests_only.9876543210zyxwv"
HEADER = "X-Remote-User"
DESK = ("/ayuda", "/ayuda/", "/ayuda/entrar", "/ayuda/salir", "/ayuda/pendientes", "/ayuda/x")
MakeApp = Callable[..., Flask]


def command(app: Flask, *words: str, typed: str = "") -> tuple[int, str]:
    """`flask reset operators ...` without a terminal: status and output."""
    told = app.test_cli_runner().invoke(args=["reset", "operators", *words], input=typed)
    return told.exit_code, told.output


def add(app: Flask, name: str = "marta", password: str = PASSWORD) -> None:
    status, output = command(app, "add", name, typed=password + "\n")
    assert status == 0, output


def sign_in(
    client: FlaskClient,
    name: str = "marta",
    password: str = PASSWORD,
    address: str = "127.0.0.1",
    **fields: str,
) -> TestResponse:
    """Open the page and send its form."""
    token = hidden(client.get("/ayuda/entrar").text, "csrf_token")
    data = {"name": name, "password": password, "csrf_token": token} | fields
    return client.post("/ayuda/entrar", data=data, environ_base={"REMOTE_ADDR": address})


def is_in(client: FlaskClient) -> bool:
    """Whether the desk's first page is shown; else it leads to the door."""
    answer = client.get("/ayuda/")
    assert answer.status_code == 200 or answer.location == "/ayuda/entrar"
    return answer.status_code == 200


def cookie(client: FlaskClient, name: str = "ayuda") -> str:
    found = client.get_cookie(name)
    return found.value if found else ""


def holding(app: Flask, value: str) -> FlaskClient:
    """Another browser with a cookie of that value."""
    client = app.test_client()
    client.set_cookie("ayuda", value)
    return client


def acts(app: Flask) -> list[tuple[str, str, str]]:
    """Who did what with whom, oldest first."""
    found = acts_in(app.extensions["reset"].database)
    return [(act.operator, act.act, act.subject) for act in found]


@pytest.fixture
def desk(app: Flask) -> FlaskClient:
    """Marta at the help desk."""
    add(app)
    client = app.test_client()
    assert sign_in(client).status_code == 303
    return client


def test_operator_signs_in(app: Flask) -> None:
    """With name and password; the name is the same in capitals."""
    add(app, "Marta")
    client = app.test_client()
    answer = sign_in(client, " MARTA")
    assert (answer.status_code, answer.location) == (303, "/ayuda/")
    assert "marta" in client.get("/ayuda/").text


def test_who_is_in_need_not_sign_in_again(desk: FlaskClient) -> None:
    """The door leads on to the desk."""
    assert desk.get("/ayuda/entrar").location == "/ayuda/"


@pytest.mark.parametrize("path", ["/ayuda/", "/ayuda/pendientes"])
def test_stranger_is_led_to_the_door(app: Flask, path: str) -> None:
    """Whatever was asked for, the way afterwards is to the desk's first page alone."""
    add(app)
    answer = app.test_client().get(path, query_string={"next": "//evil.example"})
    assert (answer.status_code, answer.location) == (303, "/ayuda/entrar")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS"])
def test_no_operator_no_help_desk(app: Flask, method: str) -> None:
    """Its addresses are answered as unknown ones, byte for byte; so again when all are disabled."""
    add(app)
    client = app.test_client()
    assert sign_in(client).status_code == 303
    command(app, "disable", "marta")
    unknown = client.open("/desconocida", method=method)
    for path in DESK:
        answer = client.open(path, method=method)
        assert answer.status_code == 404
        assert (answer.data, answer.headers) == (unknown.data, unknown.headers)


@pytest.mark.parametrize("who", ["marta", "zoe", "luz", "nadie", "a\0b", "ñ" * 300, "' OR 1=1--"])
def test_refusals_are_all_alike(app: Flask, who: str) -> None:
    """A wrong password, a disabled operator, one without a password, and names that nobody has."""
    add(app)
    add(app, "zoe")
    command(app, "disable", "zoe")
    app.extensions["reset"].operators.add("luz", None, now=app.extensions["reset"].clock())
    client = app.test_client()
    answer = sign_in(client, who, PASSWORD if who == "zoe" else "otra-clave-que-no-es")
    assert answer.status_code == 200
    assert "El usuario o la contraseña no son correctos." in answer.text
    assert not is_in(client)


class Counting:
    """Counts how often a hash was made or compared."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_: object) -> None:
        """Nothing to give back."""


@pytest.mark.parametrize("who", ["marta", "zoe", "luz", "nadie"])
def test_every_name_costs_the_same(app: Flask, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    """One hash of the same parameters and one row in the trail: time does not tell names apart."""
    add(app)
    add(app, "zoe")
    command(app, "disable", "zoe")
    app.extensions["reset"].operators.add("luz", None, now=app.extensions["reset"].clock())
    before, hashes = len(acts(app)), Counting()
    monkeypatch.setattr(operators, "_slots", hashes)
    sign_in(app.test_client(), who, "otra-clave-que-no-es")
    assert (hashes.count, len(acts(app)) - before) == (1, 1)
    dummy, fresh = operators._NOBODYS, stored(app, "marta")
    assert argon2.extract_parameters(dummy) == argon2.extract_parameters(fresh)
    assert len(dummy) == len(fresh)


def test_few_hashes_at_once() -> None:
    """Each takes 19 MiB: two in a process at most."""
    assert operators._slots.acquire(blocking=False)
    assert operators._slots.acquire(blocking=False)
    full = not operators._slots.acquire(blocking=False)
    operators._slots.release(2)
    assert full


def stored(app: Flask, name: str) -> str:
    with app.extensions["reset"].database.read() as tx:
        found = tx.execute(
            sa.text("SELECT password FROM operators WHERE name = :name"), {"name": name}
        )
        return str(found.scalar_one())


def test_password_is_kept_as_argon2id(app: Flask) -> None:
    """Source: OWASP, Password Storage Cheat Sheet: 19 MiB, two rounds, one lane."""
    add(app)
    assert stored(app, "marta").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_hash_of_other_parameters_is_renewed(app: Flask) -> None:
    """At the sign-in, when the password is at hand; the session goes on."""
    add(app)
    old = argon2.PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    with app.extensions["reset"].database.begin() as tx:
        tx.execute(sa.text("UPDATE operators SET password = :old"), {"old": old})
    client = app.test_client()
    sign_in(client)
    assert stored(app, "marta").startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert is_in(client)


def test_cookie_of_a_service_in_clear(app: Flask) -> None:
    """On localhost alone; a browser would not keep a Secure one there."""
    add(app)
    client = app.test_client()
    (kept,) = sign_in(client).headers.getlist("Set-Cookie")
    assert kept.partition("=")[0] == "ayuda"
    assert set(kept.split("; ")[1:]) == {"HttpOnly", "Path=/", "SameSite=Strict"}


def test_cookie_over_tls(make_app: MakeApp) -> None:
    """`__Host-`: no other host can plant it; no script reads it; no other site makes use of it."""
    app = make_app(public_url="https://clave.example/restablecer")
    add(app)
    client = app.test_client()
    site = "https://clave.example"
    page = client.get("/restablecer/ayuda/entrar", base_url=site)
    data = {
        "name": "marta",
        "password": PASSWORD,
        "csrf_token": hidden(page.text, "csrf_token"),
    }
    answer = client.post("/restablecer/ayuda/entrar", data=data, base_url=site)
    (kept,) = answer.headers.getlist("Set-Cookie")
    assert kept.partition("=")[0] == "__Host-ayuda"
    assert set(kept.split("; ")[1:]) == {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"}
    assert client.get(answer.location, base_url=site).status_code == 200


def test_no_session_beside_the_help_desk(desk: FlaskClient) -> None:
    """Neither sent nor looked at, even where the operator asks."""
    for path in ("/", "/lista", "/ayudante", "/marca.css", "/healthz", "/nueva/x"):
        answer = desk.get(path, buffered=True)
        assert "Set-Cookie" not in answer.headers
        assert "Cookie" not in answer.headers.get("Vary", "")


def test_pages_are_kept_by_nobody(desk: FlaskClient) -> None:
    """Neither by the browser nor in between, and shown in no frame."""
    headers = desk.get("/ayuda/").headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Vary"] == "Cookie"
    assert headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_session_ends_when_the_operator_is_disabled(app: Flask, desk: FlaskClient) -> None:
    """At the next request, with a copy of the cookie, too; not even a new start revives it."""
    add(app, "zoe")
    stolen = cookie(desk)
    command(app, "disable", "marta")
    assert not is_in(desk)
    add(app, "marta", "Otra-Guitarra-Sin-Cuerdas")
    assert not is_in(holding(app, stolen))


def test_session_ends_with_its_sign_out(app: Flask, desk: FlaskClient) -> None:
    """A copy of the cookie is worth nothing either."""
    stolen = cookie(desk)
    token = hidden(desk.get("/ayuda/").text, "csrf_token")
    answer = desk.post("/ayuda/salir", data={"csrf_token": token})
    assert (answer.status_code, answer.location) == (303, "/ayuda/entrar")
    assert not is_in(desk)
    assert not is_in(holding(app, stolen))
    assert sign_in(desk).status_code == 303


def test_sign_out_needs_the_pages_own_form(desk: FlaskClient) -> None:
    """Without its token nothing happens."""
    assert desk.post("/ayuda/salir", data={"csrf_token": ""}).status_code == 303
    assert is_in(desk)


def test_session_ends_after_half_an_hour_of_rest(desk: FlaskClient, clock: Clock) -> None:
    """Counted from the last request; and the door says so, once."""
    for _ in range(2):
        clock.advance(minutes=29, seconds=59)
        assert is_in(desk)
    clock.advance(minutes=30)
    assert not is_in(desk)
    assert "Su sesión terminó" in desk.get("/ayuda/entrar").text
    assert "Su sesión terminó" not in desk.get("/ayuda/entrar").text


def test_session_ends_after_ten_hours(desk: FlaskClient, clock: Clock) -> None:
    """However busy the operator is."""
    for _ in range(25):
        clock.advance(minutes=23, seconds=59)
        assert is_in(desk)
    clock.advance(seconds=24)
    assert is_in(desk)
    clock.advance(seconds=1)
    assert not is_in(desk)


def test_sign_in_starts_a_new_session(app: Flask) -> None:
    """A cookie that somebody planted before does not become the operator's."""
    add(app)
    client = app.test_client()
    form = hidden(client.get("/ayuda/entrar").text, "csrf_token")
    planted = cookie(client)
    sign_in(client)
    assert not is_in(holding(app, planted))
    client.post("/ayuda/salir", data={"csrf_token": form})
    assert is_in(client)


@pytest.mark.parametrize(
    "token", ["", "x", "ImFiYyI.abc", None], ids=["empty", "short", "forged", "another's"]
)
def test_form_without_its_token_is_shown_again(app: Flask, token: str | None) -> None:
    """With the name that was typed and a token that is good: never a bare error."""
    add(app)
    client, other = app.test_client(), app.test_client()
    if token is None:
        token = hidden(other.get("/ayuda/entrar").text, "csrf_token")
    answer = sign_in(client, csrf_token=token)
    assert answer.status_code == 200
    assert "Inténtelo de nuevo." in answer.text
    assert 'value="marta"' in answer.text
    assert not is_in(client)
    again = hidden(answer.text, "csrf_token")
    data = {"name": "marta", "password": PASSWORD, "csrf_token": again}
    assert client.post("/ayuda/entrar", data=data).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://e.tld"}],
    ids=["cross", "same", "origin"],
)
def test_form_from_another_site_is_refused(app: Flask, headers: dict[str, str]) -> None:
    """Even with a token that is good."""
    add(app)
    client = app.test_client()
    token = hidden(client.get("/ayuda/entrar").text, "csrf_token")
    data = {"name": "marta", "password": PASSWORD, "csrf_token": token}
    assert client.post("/ayuda/entrar", data=data, headers=headers).status_code == 403
    assert not is_in(client)


@pytest.mark.parametrize(
    "data",
    [
        {"name": ["marta", "zoe"], "password": PASSWORD},
        {"name": "marta"},
        {"name": "marta", "password": PASSWORD, "csrf_token": ["a", "b"]},
    ],
    ids=["twice", "missing", "two tokens"],
)
def test_malformed_form_is_refused(app: Flask, data: dict[str, Any]) -> None:
    """One string a field, as everywhere."""
    add(app)
    assert app.test_client().post("/ayuda/entrar", data=data).status_code == 400


def test_link_from_another_site_leaves_the_session_alone(desk: FlaskClient) -> None:
    """The browser keeps the cookie back then: to give out a new one would end the session."""
    kept = cookie(desk)
    desk.delete_cookie("ayuda")
    foreign = {"Sec-Fetch-Site": "cross-site"}
    first = desk.get("/ayuda/pendientes", headers=foreign)
    arrival = desk.get(first.location, headers=foreign)
    assert "Set-Cookie" not in {**first.headers, **arrival.headers}
    assert arrival.headers["Refresh"] == "0; url=/ayuda/"
    assert 'href="/ayuda/"' in arrival.text
    desk.set_cookie("ayuda", kept)
    assert is_in(desk)


def test_keys_are_rotated_under_open_sessions(make_app: MakeApp) -> None:
    """The new key signs, the old one verifies, for cookies and for forms that are open."""
    old, both, new = (make_app(secret_keys=keys) for keys in ((KEY,), (KEY, NEXT_KEY), (NEXT_KEY,)))
    add(old)
    client = old.test_client()
    sign_in(client)
    form = hidden(client.get("/ayuda/").text, "csrf_token")
    later = holding(both, cookie(client))
    assert is_in(later)
    assert later.post("/ayuda/salir", data={"csrf_token": form}).location == "/ayuda/entrar"
    assert not is_in(later)
    sign_in(later)
    assert is_in(holding(new, cookie(later)))
    assert not is_in(holding(new, cookie(client)))


def test_session_of_another_service_is_none(make_app: MakeApp) -> None:
    """Of the same keys and operators, at another address."""
    one, other = make_app(), make_app(public_url="http://localhost:5100")
    add(one)
    client = one.test_client()
    sign_in(client)
    assert not is_in(holding(other, cookie(client)))


def test_forged_cookie_is_none(app: Flask) -> None:
    """Whatever it says."""
    add(app)
    for value in ("", "x", ".eJw", "eyJvcGVyYXRvciI6Im1hcnRhIn0.aaaa.bbbb", "ñ"):
        assert not is_in(holding(app, value))


def test_client_may_try_so_often(app: Flask, clock: Clock) -> None:
    """Twenty times in a quarter of an hour, with whatever name; then words, and time to wait."""
    add(app)
    client = app.test_client()
    for attempt in range(20):
        assert sign_in(client, f"nadie{attempt}").status_code == 200
    over = sign_in(client)
    assert over.status_code == 429
    assert over.headers["Retry-After"] == "900"
    assert "Espere 15 minutos" in over.text
    assert sign_in(client, address="192.0.2.9").status_code == 303
    clock.advance(minutes=15, seconds=1)
    assert sign_in(app.test_client()).status_code == 303


@pytest.mark.parametrize("name", ["marta", "nadie"])
@pytest.mark.parametrize("clients", [1, 10], ids=["one client", "many clients"])
def test_name_may_be_tried_so_often(app: Flask, clock: Clock, name: str, clients: int) -> None:
    """In a quarter of an hour, alike for names that nobody has; from one client ten times."""
    add(app)
    for attempt in range(10 * clients):
        address = f"192.0.2.{attempt % clients}"
        answer = sign_in(app.test_client(), name.upper(), "mala", address)
        assert answer.status_code == 200
    address = "192.0.2.0" if clients == 1 else "192.0.2.77"
    over = sign_in(app.test_client(), name, PASSWORD, address)
    assert (over.status_code, over.headers["Retry-After"]) == (429, "900")
    assert "Espere 15 minutos" in over.text
    clock.advance(minutes=15, seconds=1)
    expected = 303 if name == "marta" else 200
    assert sign_in(app.test_client(), name).status_code == expected


def test_stranger_who_knows_a_name_locks_nobody_out(app: Flask) -> None:
    """As often as one client may try; the operator, who comes from another, gets in."""
    add(app)
    for _ in range(20):
        sign_in(app.test_client(), "marta", "mala", "203.0.113.9")
    assert sign_in(app.test_client(), "marta", PASSWORD, "192.0.2.1").status_code == 303


def test_trail_tells_who_came_and_went(app: Flask, desk: FlaskClient) -> None:
    """And who was refused: by name where there is such an operator; else it may be a password."""
    sign_in(app.test_client(), "Marta", "mala")
    sign_in(app.test_client(), "Clave-En-Mal-Sitio", "marta")
    desk.post("/ayuda/salir", data={"csrf_token": hidden(desk.get("/ayuda/").text, "csrf_token")})
    command(app, "disable", "marta")
    assert acts(app) == [
        ("console", "operator_added", "marta"),
        ("marta", "signed_in", "marta"),
        ("marta", "sign_in_failed", "marta"),
        ("-", "sign_in_failed", "-"),
        ("marta", "signed_out", "marta"),
        ("console", "operator_disabled", "marta"),
    ]


def test_log_tells_neither_password_nor_wrong_name(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """People type one into the field of the other."""
    caplog.set_level(logging.DEBUG)
    add(app)
    client = app.test_client()
    sign_in(client, "Clave-En-Mal-Sitio", "otra-clave-que-no-es")
    sign_in(client)
    lines = " ".join(str(vars(record)) for record in caplog.records)
    assert "operator refused" in lines
    assert "operator signed in" in lines
    for secret in ("Clave-En-Mal-Sitio".lower(), "otra-clave-que-no-es", PASSWORD.lower()):
        assert secret not in lines.lower()


@pytest.mark.parametrize("name", ["a", "x" * 65, "ma rta", "mártha", "console", "", "a/b"])
def test_unfit_names_are_refused(app: Flask, name: str) -> None:
    """2 to 64 signs that can be read out; "console" stands for the command line in the trail."""
    status, output = command(app, "add", "--", name, typed=PASSWORD)
    assert status == 1
    assert "a name has 2 to 64 of the signs" in output


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("", "at least 12"),
        ("Lluvia-7-ña", "at least 12"),
        ("contraseña123", "easy to guess"),
        ("Password12345", "easy to guess"),
        ("marta.rodriguez.7", "contain the name"),
        ("x7-Canoa" * 20, "at most 128"),
    ],
)
def test_weak_passwords_are_refused(app: Flask, password: str, why: str) -> None:
    """With a sentence; nobody is added."""
    status, output = command(app, "add", "marta.rodriguez", typed=password)
    assert status == 1
    assert why in output
    assert command(app, "list") == (0, "")


def test_active_operator_is_not_added_again(app: Flask) -> None:
    """Nobody changes another's password by mistake."""
    add(app)
    status, output = command(app, "add", "MARTA", typed="Otra-Guitarra-Sin-Cuerdas")
    assert status == 1
    assert "is an operator already" in output
    assert sign_in(app.test_client()).status_code == 303


def test_disabled_operator_comes_back_with_a_new_password(app: Flask) -> None:
    """And with that alone."""
    add(app)
    assert command(app, "disable", "Marta") == (0, "marta may no longer use the help desk\n")
    add(app, "marta", "Otra-Guitarra-Sin-Cuerdas")
    assert sign_in(app.test_client()).status_code == 200
    assert sign_in(app.test_client(), password="Otra-Guitarra-Sin-Cuerdas").status_code == 303


def test_password_that_is_replaced_meanwhile_opens_no_session(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the moment between its check and the session, either."""
    add(app)
    fits = operators._fits

    def slow(stored: str, password: str) -> bool:
        fitted = fits(stored, password)
        monkeypatch.setattr(operators, "_fits", fits)
        command(app, "disable", "marta")
        add(app, password="Otras-Tres-Palabras-Largas")
        return fitted

    monkeypatch.setattr(operators, "_fits", slow)
    client = app.test_client()
    assert sign_in(client).status_code == 200
    assert not is_in(client)


@pytest.mark.parametrize("name", ["nadie", "marta"])
def test_only_active_operators_are_disabled(app: Flask, name: str) -> None:
    """Anything else is told: it may be a slip of the pen."""
    add(app)
    command(app, "disable", "marta")
    status, output = command(app, "disable", name)
    assert (status, "no active operator of that name" in output) == (1, True)


def test_operators_are_listed(app: Flask, clock: Clock) -> None:
    """For people in the local time, for programs in UTC; never with a hash."""
    add(app, "zoe")
    add(app)
    clock.advance(days=1)
    command(app, "disable", "zoe")
    assert command(app, "list")[1].splitlines() == [
        "marta                    since 2026-11-22, active",
        "zoe                      since 2026-11-22, disabled 2026-11-23 10:00",
    ]
    marta, zoe = json.loads(command(app, "list", "--json")[1])
    assert marta == {
        "name": "marta",
        "active": True,
        "password": True,
        "created_at": "2026-11-22T15:00:00+00:00",
        "disabled_at": None,
    }
    assert zoe["disabled_at"] == clock().isoformat()


def test_password_is_typed_twice_and_never_shown(tmp_path: Path) -> None:
    """At a terminal; what does not match is asked for again."""
    once, again = "Password: ", "Once more: "
    dialogue = [(once, PASSWORD), (again, "Tres-Canoas"), (once, PASSWORD), (again, PASSWORD)]
    leader, follower = pty.openpty()
    env = os.environ | ENVIRON | {"RESET_DATABASE_URL": f"sqlite:///{tmp_path}/reset.sqlite"}
    env |= {"RESET_ACCOUNTS_URL": f"sqlite:///{tmp_path}/portal.sqlite", "FLASK_SKIP_DOTENV": "1"}
    words = [sys.executable, "-m", "flask", "--app", "app", "reset", "operators", "add", "marta"]
    with (
        subprocess.Popen(
            words,
            cwd=ROOT,
            env=env,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
        ) as process,
        os.fdopen(leader, "r+b", buffering=0) as terminal,  # Closed first: then nobody waits.
    ):
        os.close(follower)
        said = ""
        for asked, typed in dialogue:
            said += _until(terminal, asked)
            terminal.write(f"{typed}\n".encode())
        said += _until(terminal, "/ayuda/")
        assert process.wait(20) == 0
    assert "Canoas" not in said
    assert "do not match" in said


def _until(terminal: FileIO, end: str) -> str:
    said = b""
    while not said.endswith(end.encode()):
        assert select.select([terminal], [], [], 60)[0], said
        said += terminal.read(1) or b""
    return said.decode()


def test_proxy_may_vouch(make_app: MakeApp) -> None:
    """The operator in the header is in; there is no door, and nothing to sign out of."""
    app = make_app(help_desk_user_header=HEADER, trusted_proxies=1)
    assert command(app, "add", "marta", "--no-password")[0] == 0
    client = app.test_client()
    page = client.get("/ayuda/", headers={HEADER: "Marta"})
    assert page.status_code == 200
    assert "marta" in page.text
    assert "Salir" not in page.text
    assert client.get("/ayuda/entrar", headers={HEADER: "marta"}).status_code == 404
    assert client.post("/ayuda/entrar", headers={HEADER: "marta"}).status_code == 404
    assert client.post("/ayuda/salir", headers={HEADER: "marta"}).status_code == 404


@pytest.mark.parametrize("name", ["", "zoe", "nadie", "marta,zoe", "a\u00f1o"])
def test_proxy_vouches_for_nobody_else(make_app: MakeApp, name: str) -> None:
    """No name, a disabled or an unknown one, two at once: a page that says what to do."""
    app = make_app(help_desk_user_header=HEADER, trusted_proxies=1)
    for one in ("marta", "zoe"):
        command(app, "add", one, "--no-password")
    command(app, "disable", "zoe")
    answer = app.test_client().get("/ayuda/", headers={HEADER: name} if name else {})
    assert answer.status_code == 403
    assert "no está registrado para atender solicitudes" in answer.text


def test_header_counts_for_nothing_by_default(app: Flask) -> None:
    """Whoever sends it is led to the door."""
    add(app)
    answer = app.test_client().get("/ayuda/", headers={HEADER: "marta"})
    assert answer.location == "/ayuda/entrar"


def test_cookie_counts_for_nothing_where_a_proxy_vouches(make_app: MakeApp) -> None:
    """The header alone does."""
    plain = make_app()
    add(plain)
    client = plain.test_client()
    sign_in(client)
    app = make_app(help_desk_user_header=HEADER, trusted_proxies=1)
    assert holding(app, cookie(client)).get("/ayuda/").status_code == 403


def test_operator_without_password_needs_the_proxy(app: Flask) -> None:
    """Else nobody could ever come in."""
    status, output = command(app, "add", "marta", "--no-password")
    assert status == 1
    assert "RESET_HELP_DESK_USER_HEADER" in output
