"""Every page and state: free of axe findings, right at every width, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Demo, Opener, sign_in

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def form_with_errors(page: Page, demo: Demo, links: dict[str, str]) -> None:
    page.goto(demo.service)
    page.get_by_label("Email").fill("ana@example")
    page.locator("form").first.evaluate("form => { form.noValidate = true; form.requestSubmit(); }")
    expect(page.get_by_role("alert")).to_be_visible()


def third_way(page: Page, demo: Demo, links: dict[str, str]) -> None:
    page.goto(demo.service)
    page.get_by_text("No puedo leer ni oír las letras").click()


def without_letters(page: Page, demo: Demo, links: dict[str, str]) -> None:
    third_way(page, demo, links)
    page.get_by_role("button", name="Continuar sin letras").click()
    expect(page.get_by_label("Captcha")).to_be_hidden(timeout=120_000)


def password_with_errors(page: Page, demo: Demo, links: dict[str, str]) -> None:
    page.goto(links["live"])
    page.get_by_label("Nueva Contraseña", exact=True).fill("corta")
    page.get_by_label("Confirmar Contraseña", exact=True).fill("otra")
    page.get_by_role("button", name="Actualizar Contraseña").click()
    expect(page.get_by_role("alert")).to_be_visible()


def refused_at_the_door(page: Page, demo: Demo, links: dict[str, str]) -> None:
    page.goto(f"{demo.service}/ayuda/entrar")
    page.locator("form").evaluate("form => { form.noValidate = true; form.requestSubmit(); }")
    expect(page.get_by_role("alert")).to_be_visible()


def at_the_desk(page: Page, demo: Demo, links: dict[str, str]) -> None:
    page.context.add_cookies([{"name": "ayuda", "value": links["operator"], "url": demo.service}])
    page.goto(f"{demo.service}/ayuda/")
    if page.url.endswith("/ayuda/entrar"):  # Signing out, in another test, ended all sessions.
        sign_in(demo, page)
        links["operator"] = {c["name"]: c["value"] for c in page.context.cookies()}["ayuda"]


def desk(page: Page, demo: Demo, links: dict[str, str]) -> None:
    """What the help desk finds for the person of *links*."""
    at_the_desk(page, demo, links)
    page.get_by_label("Número de solicitud").fill("claudia.herrera")
    page.get_by_role("button", name="Buscar").click()


def case_with_errors(page: Page, demo: Demo, links: dict[str, str]) -> None:
    desk(page, demo, links)
    page.locator(".cases a").last.click()
    page.get_by_text("Enviar el mensaje otra vez").click()
    page.locator(".act form").first.evaluate(
        "form => { form.noValidate = true; form.requestSubmit(); }"
    )
    expect(page.get_by_role("alert")).to_be_visible()


def at(path: str) -> Any:
    return lambda page, demo, links: page.goto(demo.service + path)


# The main heading of each page and state, and how to get there.
STATES: dict[str, Any] = {
    "Olvidé mi contraseña (Verificar datos)": at("/"),
    "Olvidé mi contraseña": form_with_errors,
    "Olvidé mi contraseña (": third_way,
    "Olvidé": without_letters,
    "Solicitud recibida": at("/enviada/4821-0937-5562"),
    "Restablecer contraseña": lambda page, demo, links: page.goto(links["live"]),
    "Restablecer": password_with_errors,
    "Contraseña actualizada": at("/lista"),
    "¿No pidió": lambda page, demo, links: page.goto(links["deny"]),
    "No reconocemos este enlace": at("/nueva/x"),
    "No reconocemos": at("/nueva"),
    "No reconocemos este": at("/no-fui-yo"),
    "No encontramos esta página": at("/x"),
    "Entrar a la mesa de ayuda": at("/ayuda/"),
    "Entrar a la mesa": refused_at_the_door,
    "encontrada": desk,
    "l mensaje": case_with_errors,
    "endiente": at("/ayuda/pendientes"),
}


def pages(page: Page, demo: Demo, links: dict[str, str]) -> Iterator[str]:
    """Bring *page* from state to state; each is what it should be."""
    for heading, visit in STATES.items():
        visit(page, demo, links)
        expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
        yield heading


def at_widths(page: Page, names: Iterator[str], *widths: int) -> Iterator[tuple[str, int]]:
    """Each state at each width."""
    for name in names:
        for width in widths:
            page.set_viewport_size({"width": width, "height": 740})
            yield name, width


def in_schemes(page: Page, names: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Each state in light and in dark."""
    for name in names:
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            yield name, scheme


def test_axe_finds_nothing(demo: Demo, new_context: Opener, links: dict[str, str]) -> None:
    """Every page and state, in light and in dark."""
    page = new_context(quiet=False, bypass_csp=True).new_page()
    findings = {}
    for name, scheme in in_schemes(page, pages(page, demo, links)):
        result = Axe().run(page)
        findings[name, scheme] = [
            (v["id"], [node["html"] for node in v["nodes"]]) for v in result.response["violations"]
        ]
    assert findings == {(name, scheme): [] for name in STATES for scheme in SCHEMES}


def test_nothing_is_cut_off(demo: Demo, new_context: Opener, links: dict[str, str]) -> None:
    """No page scrolls sideways, and what is to be pressed is 44 pixels high."""
    page = new_context(quiet=False).new_page()
    for name, width in at_widths(page, pages(page, demo, links), 320, 360, 768, 910, 1280):
        wide = page.evaluate("document.documentElement.scrollWidth")
        low = page.evaluate(
            "[...document.querySelectorAll('button, summary, select, input:not([type=hidden]),"
            " a.button, .cases a')]"
            ".filter(e => e.checkVisibility() && !e.closest('.visually-hidden'))"
            ".map(e => [e.outerHTML, e.getBoundingClientRect().height]).filter(e => e[1] < 44)"
        )
        assert (name, wide) == (name, width)
        assert (name, low) == (name, [])
        outside = page.locator(".card").first.evaluate(
            "card => [...card.querySelectorAll('input:not([type=hidden]), button, img')]"
            ".filter(e => e.getBoundingClientRect().right > card.getBoundingClientRect().right)"
            ".map(e => e.outerHTML)"
        )
        assert (name, outside) == (name, [])
        pictures = page.locator("#captcha-picture")
        assert min(pictures.evaluate_all("all => all.map(e => e.offsetWidth)"), default=999) > 200
        tall = page.locator("button").evaluate_all("all => all.map(e => e.offsetHeight)")
        assert max(tall, default=0) < 80, name  # No button is squeezed into a column of letters.


def test_pages_ask_nobody_else(demo: Demo, new_context: Opener, links: dict[str, str]) -> None:
    """Style, script and pictures come from the service itself; the form is small."""
    page = new_context(quiet=False).new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    assert len(list(pages(page, demo, links))) == len(STATES)
    assert {url for url in asked if not url.startswith(demo.service)} == set()
