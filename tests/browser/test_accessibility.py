"""What axe cannot see: keyboard, focus, announcements, large text, forced colours (WCAG 2.2 AA)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Demo, Opener
from tests.browser.test_pages import (
    at_widths,
    case_with_errors,
    form_with_errors,
    in_schemes,
    pages,
    password_with_errors,
)
from tests.conftest import program
from tests.servers.fixtures import QUIET

# What has the focus: its role as assistive technology hears it, and how its outline looks.
FOCUSED = """() => {
    const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
    const name = e.labels?.[0]?.textContent || e.getAttribute('aria-label') || e.textContent;
    return {
        name: name.trim().replace(/\\s+/g, ' '),
        ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
        // Scrolling goes by fractions of a pixel.
        seen: box.width > 0 && box.top > -1 && box.bottom < innerHeight + 1,
    };
}"""


def tabbed(page: Page) -> list[dict[str, Any]]:
    """Where the Tab key leads, from the top of the page to its end."""
    stops: list[dict[str, Any]] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            return stops
        stops.append(page.evaluate(FOCUSED))
    raise AssertionError("the Tab key never leaves the page")


def test_tab_leads_through_the_form_in_reading_order(demo: Demo, new_context: Opener) -> None:
    """Every stop is on the screen and has a ring around it; Refrescar comes after its picture."""
    page = new_context(viewport={"width": 360, "height": 740}).new_page()
    page.goto(demo.service)
    stops = tabbed(page)
    names = [stop["name"] for stop in stops]
    assert names[:3] == ["Email", "Refrescar", "Escuchar las letras"]
    assert names[3:6] == ["Captcha", "No puedo leer ni oír las letras", "Enviar Solicitud"]
    assert [stop for stop in stops if not (stop["ring"] and stop["seen"])] == []


def test_tab_leads_through_the_password_page(
    demo: Demo, new_context: Opener, links: dict[str, str]
) -> None:
    """Fields and their buttons in turn, nothing that cannot be seen."""
    page = new_context(viewport={"width": 360, "height": 740}).new_page()
    page.goto(links["live"])
    stops = tabbed(page)
    names = [stop["name"] for stop in stops]
    assert names[:2] == ["Nueva Contraseña", "Mostrar"]
    assert names[2:5] == ["Confirmar Contraseña", "Mostrar", "Actualizar Contraseña"]
    assert [stop for stop in stops if not (stop["ring"] and stop["seen"])] == []


def test_help_desk_needs_no_mouse(demo: Demo, new_context: Opener, links: dict[str, str]) -> None:
    """What is to be mended has the focus and leads to its field; every stop can be seen."""
    page = new_context(viewport={"width": 360, "height": 740}).new_page()
    case_with_errors(page, demo, links)
    expect(page.get_by_role("alert")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    field = page.get_by_label("Motivo").first
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description("Elija un motivo.")
    page.goto(page.url.partition("#")[0])
    stops = tabbed(page)
    acts = ["Enviar el mensaje otra vez", "Cancelar los enlaces", "Quitar el límite de este correo"]
    assert [stop["name"] for stop in stops if stop["name"] in acts] == acts
    assert [stop for stop in stops if not (stop["ring"] and stop["seen"])] == []


@pytest.mark.parametrize(
    ("visit", "label", "message"),
    [
        (form_with_errors, "Email", "nombre@ejemplo.com"),
        (form_with_errors, "Captcha", "Escriba las letras"),
        (password_with_errors, "Nueva Contraseña", "al menos 8 caracteres"),
        (password_with_errors, "Confirmar Contraseña", "no son iguales"),
    ],
)
def test_errors_are_announced(
    demo: Demo,
    new_context: Opener,
    links: dict[str, str],
    visit: Callable[[Page, Demo, dict[str, str]], None],
    label: str,
    message: str,
) -> None:
    """The title says it, the summary has the focus and leads to each field, which says it, too."""
    page = new_context().new_page()
    visit(page, demo, links)
    expect(page).to_have_title(re.compile("^Error: "))
    summary = page.get_by_role("alert")
    expect(summary).to_be_focused()
    field = page.get_by_role("textbox", name=label, exact=True)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile(re.escape(message)))
    summary.get_by_role("link").filter(has_text=message).first.click()
    expect(field).to_be_focused()


def test_titles_say_where_one_is(demo: Demo, new_context: Opener, links: dict[str, str]) -> None:
    """Each begins with the page's heading, after "Error:" where something is to be mended."""
    page = new_context(quiet=False).new_page()
    for name in pages(page, demo, links):
        heading = " ".join(page.get_by_role("heading", level=1).inner_text().split())
        assert (name, page.title().removeprefix("Error: ")) == (name, f"{heading} – Hanna")


@pytest.fixture(scope="module")
def large_text(browser: Browser) -> Iterator[Browser]:
    """A browser whose user set the text to twice its size."""
    chromium = program("the browser tests", "chromium", "chromium", "chromium-browser")
    twice = browser.browser_type.launch(
        executable_path=chromium, args=[*QUIET, "--blink-settings=defaultFontSize=32"]
    )
    yield twice
    twice.close()


def test_text_may_be_twice_as_large(demo: Demo, large_text: Browser, links: dict[str, str]) -> None:
    """Nothing is cut off, nothing scrolls sideways, at any width (WCAG 1.4.4, 1.4.10)."""
    page = large_text.new_page(locale="es-CO")
    for name, width in at_widths(page, pages(page, demo, links), 320, 768, 1280):
        size = page.evaluate("parseFloat(getComputedStyle(document.documentElement).fontSize)")
        assert size == 34
        assert (name, page.evaluate("document.documentElement.scrollWidth")) == (name, width)
        cut = page.evaluate(
            "[...document.querySelectorAll('main *, footer *')].filter(e => e.checkVisibility()"
            " && !e.closest('.visually-hidden, svg, input') && e.scrollWidth > e.clientWidth + 1"
            " && getComputedStyle(e).display !== 'inline').map(e => e.outerHTML)"
        )
        assert (name, cut) == (name, [])
    page.close()


def test_forced_colours_keep_every_shape(
    demo: Demo, new_context: Opener, links: dict[str, str]
) -> None:
    """Fields, buttons and boxes have an edge where the system takes all backgrounds away."""
    page = new_context(quiet=False, forced_colors="active").new_page()
    for name, _ in in_schemes(page, pages(page, demo, links)):
        shapeless = page.evaluate(
            "[...document.querySelectorAll('input, button, .button, .card, .summary, .desk')]"
            ".filter(e => e.checkVisibility() && !e.closest('.visually-hidden, .panel'))"
            ".filter(e => { const s = getComputedStyle(e); return s.borderTopStyle === 'none'"
            " || s.borderTopWidth === '0px' || s.borderTopColor === s.backgroundColor; })"
            ".map(e => e.outerHTML)"
        )
        assert (name, shapeless) == (name, [])


def test_nothing_moves_for_who_asked_for_less_motion(
    demo: Demo, new_context: Opener, links: dict[str, str]
) -> None:
    """No transition and no movement; the two minutes of the answer's button are none."""
    page = new_context(quiet=False, reduced_motion="reduce").new_page()
    for name in pages(page, demo, links):
        moving = page.evaluate(
            "[...document.querySelectorAll('*')].filter(e => { const s = getComputedStyle(e);"
            " return parseFloat(s.transitionDuration) || parseFloat(s.animationDuration); })"
            ".map(e => e.outerHTML)"
        )
        assert (name, moving) == (name, [])


FORM_HEARD = """
- heading "Olvidé mi contraseña (Verificar datos)" [level=1]
- text: Email
- paragraph: Correo electrónico registrado
- textbox "Email"
- img "Imagen de seguridad con 8 letras. Si no puede verla, use el audio que sigue."
- button "Refrescar"
- button "Escuchar las letras"
- text: Captcha
- paragraph: Escriba las letras (sin espacios, tenga en cuenta mayúsculas y minúsculas)
- textbox "Captcha"
- group: No puedo leer ni oír las letras
- status
- button "Enviar Solicitud"
- status
- complementary "Así recupera su contraseña"
"""
PASSWORD_HEARD = """
- heading "Restablecer contraseña" [level=1]
- paragraph:
  - text: "Cuenta:"
  - strong: claudia.herrera
- text: Usuario
- textbox "Usuario": claudia.herrera
- heading "Su nueva contraseña debe contener" [level=2]
- list:
  - listitem: "Falta: 8 caracteres o más"
  - listitem: "Falta: Una letra mayúscula (A–Z)"
  - listitem: "Falta: Una letra minúscula (a–z)"
  - listitem: "Falta: Un número (0–9)"
- paragraph: /Y no debe tener datos suyos/
- text: Nueva Contraseña
- textbox "Nueva Contraseña"
- button "Mostrar"
- text: Confirmar Contraseña
- paragraph: Escríbala otra vez, igual
- textbox "Confirmar Contraseña"
- button "Mostrar"
- status
- button "Actualizar Contraseña"
"""


@pytest.mark.parametrize(
    ("page_of", "heard"), [("form", FORM_HEARD), ("live", PASSWORD_HEARD)], ids=["form", "password"]
)
def test_reading_order_makes_sense(
    demo: Demo, new_context: Opener, links: dict[str, str], page_of: str, heard: str
) -> None:
    """What a screen reader says from the heading to the last button, in Chromium's own tree."""
    page = new_context().new_page()
    page.goto(links.get(page_of, demo.service))
    expect(page.locator("main")).to_match_aria_snapshot(heard)
