"""The same job in Firefox and WebKitGTK, whose rules for cookies and frames are their own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from typing import Any

import pytest

from reset.captcha import answer
from tests.browser.conftest import Demo
from tests.browser.engines import Engine, Firefox, WebKit, screen
from tests.conftest import program

NEW_PASSWORD = " Lluvia-Canoa-Guitarra 7ñ"
CHALLENGE = "//input[@name = 'challenge']"
# How each engine is set. Firefox gives every portal a jar of its own for our cookies unless it
# refuses them all in frames; WebKitGTK does that from the start.
FIREFOX: dict[str, dict[str, bool | int]] = {
    "firefox": {},
    "firefox-refusing-cookies": {"network.cookie.cookieBehavior": 1},
    "firefox-without-scripts": {"javascript.enabled": False},
}
WEBKIT = {"webkit": [], "webkit-without-scripts": ["--enable-javascript=false"]}
both = pytest.mark.parametrize("engine", ["firefox", "webkit"], indirect=True)


@pytest.fixture(scope="session")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    found = program("the Firefox tests", "firefox-esr", "firefox-esr")
    with Firefox.running(found, tmp_path_factory.mktemp("firefox")) as started:
        yield started


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    with screen(program("the WebKitGTK tests", "xvfb", "Xvfb")) as name:
        yield name


@pytest.fixture(params=[*FIREFOX, *WEBKIT])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """An engine that was never here before."""
    if request.param in FIREFOX:
        started: Firefox = request.getfixturevalue("firefox")
        opened = started.opened(FIREFOX[request.param])
    else:
        found = program("the WebKitGTK tests", "webkit2gtk-driver", "WebKitWebDriver")
        folder = tmp_path_factory.mktemp("webkit")
        display = request.getfixturevalue("display")
        opened = WebKit.opened(found, display, folder, WEBKIT[request.param])
    with opened as window:
        yield window


def register(demo: Demo, login: str) -> str:
    """Somebody new at the demo's portal; the address."""
    copied = "clave, nombre, telefono, documento, nacimiento, activo, creado"
    statement = (
        f"INSERT INTO usuarios (usuario, correo, {copied})"
        f" SELECT ?, ?, {copied} FROM usuarios WHERE usuario = 'ana.perez'"
    )
    email = f"{login}@example.com"
    with closing(sqlite3.connect(demo.instance / "portal.sqlite")) as db:
        db.execute(statement, [login, email])
        db.commit()
    return email


def letters(engine: Engine, demo: Demo) -> str:
    """The answer to the captcha on the page, for whoever holds the key."""
    return answer(engine.value(CHALLENGE), demo.keys)


def test_forgotten_password_is_reset_from_within_the_portal(
    demo: Demo, engine: Engine, request: pytest.FixtureRequest
) -> None:
    """Portal, frame on another site, mail, new password, portal; no cookie, silent console."""
    login = request.node.callspec.id
    email = register(demo, login)
    engine.open(demo.portal)
    engine.press("aquí")
    engine.see("Restablecer contraseña")
    with engine.frame():
        engine.fill("Email", email)
        engine.fill("Captcha", letters(engine, demo))
        engine.press("Enviar Solicitud")
        engine.see("Solicitud recibida")
    mail = f"//a[contains(., '{email}')][contains(., 'Restablecimiento')]"
    engine.find_at(demo.mailbox, mail)
    engine.open(engine.value(mail, "href"))
    engine.open(engine.value("//pre/a[contains(@href, '/nueva/')]", "href"))
    engine.fill("Nueva Contraseña", NEW_PASSWORD)
    engine.fill("Confirmar Contraseña", NEW_PASSWORD)
    engine.press("Actualizar Contraseña")
    engine.see("Contraseña actualizada")
    assert engine.cookies() == []
    engine.open(demo.portal)
    engine.fill("Usuario o correo electrónico", login)
    engine.fill("Contraseña", NEW_PASSWORD)
    engine.press("Ingresar")
    engine.find("//button[. = 'Cerrar sesión']")
    assert engine.complaints() == []


def test_refresh_gives_other_letters(demo: Demo, engine: Engine) -> None:
    """Within the frame Refrescar keeps the address that was typed."""
    engine.open(f"{demo.portal}/restablecer")
    with engine.frame():
        engine.fill("Email", "ana@example.com")
        before = engine.value(CHALLENGE)
        engine.press("Refrescar")
        engine.find(f"{CHALLENGE[:-1]} and @value != '{before}']")
        assert engine.value("//input[@name = 'email']") == "ana@example.com"
        engine.fill("Captcha", letters(engine, demo))
        engine.press("Enviar Solicitud")
        engine.see("Solicitud recibida")


@both
def test_nobody_needs_the_letters(demo: Demo, engine: Engine) -> None:
    """Within the frame the browser works in their place; the sound plays where it is asked for."""
    engine.open(f"{demo.portal}/restablecer")
    with engine.frame():
        engine.fill("Email", "ana@example.com")
        engine.press("Escuchar las letras")
        engine.find("//button[normalize-space() = 'Pausar']")
        engine.press("Pausar")
        engine.press("No puedo leer ni oír las letras")
        engine.press("Continuar sin letras")
        engine.find("//*[starts-with(., 'Listo:')]")
        engine.press("Enviar Solicitud")
        engine.see("Solicitud recibida")


def show(engine: Engine, url: str, **attributes: Any) -> None:
    """Show *url* in a frame of the open page, in place of any other."""
    script = """
        const [url, attributes] = arguments;
        document.querySelector('iframe')?.remove();
        const frame = document.createElement('iframe');
        frame.className = 'service';
        for (const [name, value] of Object.entries(attributes)) frame.setAttribute(name, value);
        frame.src = url;
        const loaded = new Promise((done) => frame.addEventListener('load', done));
        document.body.append(frame);
        return loaded.then(() => null);"""
    engine.send("ExecuteScript", script=script, args=[url, attributes])


@both
def test_only_the_portal_frames_the_form(demo: Demo, engine: Engine, stranger: str) -> None:
    """A stranger's page gets none of our pages, the portal's none with a link's password."""
    portal = f"{demo.portal}/restablecer"
    asking, answer = "/", "/enviada/4821-0937-5562"
    shown = []
    for page, path in product((stranger, portal), (asking, answer, "/nueva/x", "/lista")):
        engine.open(page)
        show(engine, demo.service + path)
        with engine.frame():
            if engine.has("//*[contains(., 'Caja de Compensación')]"):
                shown.append((page, path))
    assert shown == [(portal, asking), (portal, answer)]


@both
def test_sandboxed_frame_shows_a_way_out(demo: Demo, engine: Engine) -> None:
    """A frame without an origin cannot be told from a hostile page: it offers a window."""
    engine.open(f"{demo.portal}/restablecer")
    show(engine, f"{demo.service}/", sandbox="allow-forms allow-scripts")
    with engine.frame():
        engine.find("//a[. = 'Abrir en una ventana nueva']")
        assert not engine.has("//form")
