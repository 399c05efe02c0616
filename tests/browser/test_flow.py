"""The whole job in a real browser, as the portal's manual tells it."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
from playwright.sync_api import BrowserContext, Frame, Page, Route, expect

from tests.browser.conftest import (
    DESKTOP,
    PHONE,
    Demo,
    Opener,
    ask_for_link,
    link_in_mail,
    mail_of,
)

NEW_PASSWORD = " Lluvia-Canoa-Guitarra 7ñ"


def sign_in(page: Page, demo: Demo, login: str, password: str) -> None:
    page.goto(demo.portal)
    page.get_by_label("Usuario o correo electrónico").fill(login)
    page.get_by_label("Contraseña").fill(password)
    page.get_by_role("button", name="Ingresar").click()


def service_frame(page: Page) -> Frame:
    """The service inside the portal's page."""
    element = page.locator("iframe").element_handle()
    frame = element.content_frame()
    assert frame is not None
    frame.wait_for_load_state()
    return frame


def cookies_of_the_service(context: BrowserContext, demo: Demo) -> list[object]:
    return list(context.cookies([demo.service, demo.service + "/nueva"]))


@pytest.mark.parametrize(
    ("size", "login", "email", "old"),
    [
        (DESKTOP, "ana.perez", "ana@example.com", "Viejita-2019"),
        (PHONE, "camila.torres", "camila.torres@example.com", "Mariposa-07"),
    ],
    ids=["desktop", "phone"],
)
def test_forgotten_password_is_reset_from_within_the_portal(
    demo: Demo, new_context: Opener, size: dict[str, int], login: str, email: str, old: str
) -> None:
    """Portal, frame on another origin, mail, new password, portal; no cookie, silent console."""
    context = new_context(viewport=size)
    page = context.new_page()
    page.goto(demo.portal)
    expect(page.get_by_text("¿Olvidaste tu contraseña?")).to_be_visible()
    page.get_by_role("link", name="aquí").click()
    frame = service_frame(page)
    ask_for_link(demo, frame, email)
    expect(frame.locator("body")).to_contain_text("12 horas")
    with mail_of(context, demo, email, "Restablecimiento") as mail, context.expect_page() as opened:
        mail.frame_locator("iframe").get_by_role(
            "link", name="Restablecer Contraseña"
        ).first.click()
    reset = opened.value
    expect(reset).to_have_url(f"{demo.service}/nueva")
    reset.get_by_label("Nueva Contraseña", exact=True).fill(NEW_PASSWORD)
    reset.get_by_label("Confirmar Contraseña", exact=True).fill(NEW_PASSWORD)
    reset.get_by_role("button", name="Actualizar Contraseña").click()
    expect(reset.get_by_role("heading", level=1)).to_have_text("Contraseña actualizada")
    with mail_of(context, demo, email, "actualizada") as mail:
        expect(mail.frame_locator("iframe").locator("body")).to_contain_text(login)
    assert cookies_of_the_service(context, demo) == []
    reset.locator("main").get_by_role("link", name="Volver a la Plataforma Web").click()
    expect(reset).to_have_url(f"{demo.portal}/")
    sign_in(reset, demo, login, old)
    expect(reset.get_by_role("alert")).to_be_visible()
    sign_in(reset, demo, login, NEW_PASSWORD)
    expect(reset.get_by_role("button", name="Cerrar sesión")).to_be_visible()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_everything_works_without_javascript(
    demo: Demo, new_context: Opener, size: dict[str, int]
) -> None:
    """Wrong letters, Refrescar, mail, refused and accepted password: all by plain forms."""
    email = "andres.gomez@example.org" if size is DESKTOP else "valentina.diaz@example.com"
    password = "Nube-Tinto-Bicicleta 4"
    context = new_context(viewport=size, java_script_enabled=False)
    page = context.new_page()
    page.goto(demo.service)
    page.get_by_label("Email").fill(email)
    page.get_by_label("Captcha").fill("AAAAaaaa")
    page.get_by_label("Captcha").press("Enter")
    expect(page).to_have_title(re.compile("^Error: "))
    expect(page.get_by_label("Email")).to_have_value(email)
    before = demo.letters(page)
    page.get_by_role("button", name="Refrescar").click()
    expect(page.get_by_label("Email")).to_have_value(email)
    assert demo.letters(page) != before
    ask_for_link(demo, page, email)
    link = link_in_mail(context, demo, email)
    page.goto(link)
    page.get_by_label("Nueva Contraseña", exact=True).fill("Colombia2026")
    page.get_by_label("Confirmar Contraseña", exact=True).fill("Colombia2026")
    page.get_by_role("button", name="Actualizar Contraseña").click()
    expect(page.get_by_role("alert")).to_contain_text("común")
    page.get_by_label("Nueva Contraseña", exact=True).fill(password)
    page.get_by_label("Confirmar Contraseña", exact=True).fill(password)
    page.get_by_role("button", name="Actualizar Contraseña").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Contraseña actualizada")
    assert cookies_of_the_service(context, demo) == []


def test_form_is_comfortable(demo: Demo, new_context: Opener) -> None:
    """Enter sends; Refrescar swaps the picture, empties the field, keeps the address."""
    page = new_context().new_page()
    page.goto(f"{demo.service}/?email=gloria@example.com")
    page.get_by_label("Captcha").fill("abc")
    before = page.locator("#captcha-picture").get_attribute("src")
    page.get_by_role("button", name="Refrescar").click()
    expect(page.locator("#captcha-picture")).not_to_have_attribute("src", str(before))
    expect(page.get_by_label("Captcha")).to_be_focused()
    expect(page.get_by_label("Captcha")).to_have_value("")
    expect(page.get_by_label("Email")).to_have_value("gloria@example.com")
    expect(page.locator("#status")).to_have_text("Hay letras nuevas.")
    page.get_by_label("Captcha").fill(demo.letters(page))
    page.get_by_label("Captcha").press("Enter")
    expect(page).to_have_url(re.compile("/enviada/"))


def test_refresh_falls_back_to_the_form(demo: Demo, new_context: Opener) -> None:
    """If the script cannot fetch new letters, the button does what it does without it."""
    context = new_context(quiet=False)
    page = context.new_page()
    page.goto(demo.service)
    page.get_by_label("Email").fill("gloria@example.com")
    before = demo.letters(page)
    page.route("**/*", _refuse_fetch)
    page.get_by_role("button", name="Refrescar").click()
    expect(page.get_by_label("Email")).to_have_value("gloria@example.com")
    page.wait_for_function("old => document.readyState === 'complete'", arg=before)
    assert demo.letters(page) != before


def _refuse_fetch(route: Route) -> None:
    if route.request.resource_type == "fetch":
        route.abort()
    else:
        route.continue_()


def test_double_click_asks_once(demo: Demo, new_context: Opener) -> None:
    """A person who clicks everything twice gets one answer and one mail."""
    page = new_context().new_page()
    page.goto(demo.service)
    page.get_by_label("Email").fill("hernan.castro@example.com")
    page.get_by_label("Captcha").fill(demo.letters(page))
    page.get_by_role("button", name="Enviar Solicitud").dblclick()
    expect(page.get_by_role("heading", level=1)).to_have_text("Solicitud recibida")
    assert page.reload() is not None
    expect(page.get_by_role("heading", level=1)).to_have_text("Solicitud recibida")
    with closing(sqlite3.connect(demo.instance / "demo.sqlite")) as db:
        count = "SELECT COUNT(*) FROM requests WHERE address = 'hernan.castro@example.com'"
        assert db.execute(count).fetchone() == (1,)


def test_another_mail_is_offered_after_two_minutes(demo: Demo, new_context: Opener) -> None:
    """Not before, so that nobody asks again while the first one is on its way; without a script."""
    page = new_context(java_script_enabled=False).new_page()
    page.goto(f"{demo.service}/enviada/4821-0937-5562")
    again = page.get_by_role("link", name="Pedir otro correo")
    for seconds, is_offered in ((119, False), (121, True)):
        page.evaluate(
            "ms => document.getAnimations().forEach((one) => { one.currentTime = ms; })",
            seconds * 1000,
        )
        assert again.is_visible() == is_offered
    again.click()
    expect(page.get_by_label("Email")).to_be_visible()


def test_password_page_helps_while_typing(demo: Demo, new_context: Opener) -> None:
    """Rules tick, the password can be shown, the token leaves the address bar."""
    context = new_context()
    page = context.new_page()
    page.goto(demo.service)
    ask_for_link(demo, page, "oscar.martinez@example.org")
    link = link_in_mail(context, demo, "oscar.martinez@example.org")
    seen: list[str] = []
    page.on("request", lambda request: seen.append(str(request.headers.get("referer", ""))))
    page.goto(link)
    expect(page).to_have_url(f"{demo.service}/nueva")
    password = page.get_by_label("Nueva Contraseña", exact=True)
    password.fill("abc")
    met = page.locator("[data-rule].met")
    expect(met).to_have_count(1)
    password.fill("Ñandú-canoa")
    expect(met).to_have_count(3)
    password.fill("Ñandú-canoa7")
    expect(met).to_have_count(4)
    expect(password).to_have_attribute("type", "password")
    page.get_by_role("button", name="Mostrar").first.click()
    expect(password).to_have_attribute("type", "text")
    expect(password).to_have_attribute("autocomplete", "new-password")
    page.get_by_role("link", name="Volver a la Plataforma Web").first.click()
    token = link.rpartition("/")[2]
    assert not any(token in referer for referer in seen)


def test_two_accounts_on_one_mailbox(demo: Demo, new_context: Opener) -> None:
    """One mail names each login and has a button for each."""
    context = new_context()
    page = context.new_page()
    page.goto(demo.service)
    ask_for_link(demo, page, "familia.rojas@example.org")
    with mail_of(context, demo, "familia.rojas@example.org", "Restablecimiento") as mail:
        body = mail.frame_locator("iframe")
        expect(body.locator("body")).to_contain_text("jorge.rojas")
        expect(body.locator("body")).to_contain_text("lucia.rojas")
        expect(body.get_by_role("link", name="Restablecer Contraseña")).to_have_count(2)


def add_frame(page: Page, url: str, **attributes: str) -> Frame:
    """Show *url* in a frame on *page*, in place of any other."""
    page.evaluate(
        """([url, attributes]) => {
            document.querySelector('iframe')?.remove();
            const frame = document.createElement('iframe');
            for (const [name, value] of Object.entries(attributes)) frame.setAttribute(name, value);
            frame.src = url;
            const loaded = new Promise((done) => frame.addEventListener('load', done));
            document.body.append(frame);
            return loaded;
        }""",
        [url, attributes],
    )
    return service_frame(page)


@pytest.mark.parametrize("path", ["/", "/enviada/4821-0937-5562", "/nueva/x", "/lista"])
def test_strangers_cannot_frame_us(
    demo: Demo, new_context: Opener, stranger: str, path: str
) -> None:
    """A page that is not the portal gets no frame of any of our pages."""
    page = new_context(quiet=False).new_page()
    page.goto(stranger)
    with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        frame = add_frame(page, demo.service + path)
    assert frame.url.startswith("chrome-error:")


def test_portal_frames_the_form_and_not_the_password(demo: Demo, new_context: Opener) -> None:
    """Even the portal shows the page of a link only at the top level."""
    page = new_context(quiet=False).new_page()
    page.goto(f"{demo.portal}/restablecer")
    expect(add_frame(page, f"{demo.service}/").get_by_label("Email")).to_be_visible()
    with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        frame = add_frame(page, f"{demo.service}/nueva/x")
    assert frame.url.startswith("chrome-error:")
