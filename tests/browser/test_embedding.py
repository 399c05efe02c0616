"""The service inside portals' pages: embed.js, sandboxes, ancestors; reload and the back button."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest
from flask import Flask, Response
from playwright.sync_api import Error as BrowserError
from playwright.sync_api import Frame, Page, expect

from reset.captcha import answer
from tests.browser.conftest import DESKTOP, PHONE, Demo, Hosted, Opener
from tests.conftest import KEY
from tests.servers import free_port

OFFER = "Abrir en una ventana nueva"
HANNA = "hanna.oficina.localhost"
PLACE = "<div data-restablecer></div>"


@dataclass
class Site:
    """The service at localhost, and a portal at any name that ends in `.localhost`."""

    service: str
    port: int
    html: str = ""
    policy: str = ""

    def page(self) -> Response:
        """What the portal answers."""
        text = f'<!doctype html><html lang="es"><link rel="icon" href="data:,">{self.html}'
        headers = {"Content-Security-Policy": self.policy} if self.policy else {}
        return Response(text, mimetype="text/html", headers=headers)

    def show(self, page: Page, html: str, host: str = HANNA) -> Frame:
        """Open the portal's page with *html* on it; its frame."""
        self.html = html
        page.goto(f"http://{host}:{self.port}/")
        element = page.wait_for_selector("iframe", state="attached")
        frame = element.content_frame() if element else None
        assert frame
        frame.wait_for_load_state()
        return frame

    def framed(self, page: Page, attributes: str = "", host: str = HANNA) -> Frame:
        """A plain frame with *attributes*."""
        frame = f'<iframe src="{self.service}/" width=700 height=900 {attributes}></iframe>'
        return self.show(page, frame, host)

    def fitted(self, page: Page, place: str = PLACE, host: str = HANNA) -> Frame:
        """The frame that embed.js makes in *place*."""
        script = f'<script src="{self.service}/embed.js" defer></script>'
        return self.show(page, f"{script}<body>{place}", host)


@pytest.fixture
def site(make_app: Callable[..., Flask], hosted: Hosted) -> Site:
    service, portal = free_port(), free_port()
    ancestors = (
        *("https://otra.example:8443", "http://sin-puerto.localhost"),
        *(f"http://*.oficina.localhost:{portal}", "http://todos.localhost:*"),
    )
    app = make_app(public_url=f"http://localhost:{service}", frame_ancestors=ancestors)
    one, page = Site(hosted(app, service), portal), Flask("portal")
    page.add_url_rule("/", view_func=one.page, endpoint="page")
    hosted(page, portal)
    return one


def fill_in(page: Page | Frame, letters: str = "") -> None:
    """Type address and *letters*, the right ones by default, and press Enviar Solicitud."""
    page.get_by_label("Email").fill("ana@example.com")
    challenge = page.locator("input[name=challenge]").input_value()
    page.get_by_label("Captcha").fill(letters or answer(challenge, [KEY]))
    page.get_by_role("button", name="Enviar Solicitud").click()


def expect_heading(page: Page | Frame, text: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


def expect_offer(frame: Frame, site: Site) -> None:
    """A plain link to the service, its address to be copied or typed where no window may open."""
    expect(frame.get_by_role("link", name=f"{site.service}/")).to_be_visible()
    for link in frame.locator("main a[target=_blank]:not(#captcha-sound)").all():
        expect(link).to_have_attribute("href", f"{site.service}/")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_frame_is_as_high_as_its_page(
    site: Site, new_context: Opener, size: dict[str, int]
) -> None:
    """No scroll bar in it and no gap below, for the form and for the answer, in few messages."""
    page = new_context(viewport=size).new_page()
    page.add_init_script(
        "if (top === window) {"
        " window.heard = []; addEventListener('message', e => heard.push(e.data)) }"
    )
    frame = site.fitted(page)
    for heading in ("Olvidé mi contraseña (Verificar datos)", "Solicitud recibida"):
        expect_heading(frame, heading)
        high = frame.evaluate("Math.ceil(document.documentElement.getBoundingClientRect().height)")
        expect(page.locator("iframe")).to_have_css("height", f"{high}px")
        assert frame.evaluate("innerHeight >= document.documentElement.scrollHeight")
        if heading != "Solicitud recibida":
            fill_in(frame)
    assert page.evaluate("heard.length") < 12


def test_portal_learns_that_the_request_arrived_and_no_more(
    site: Site, new_context: Opener
) -> None:
    """One event on the element; neither number nor address is in any message."""
    page = new_context().new_page()
    page.add_init_script(
        "if (top === window) { window.heard = []; window.finished = [];"
        "addEventListener('message', e => heard.push(e.data));"
        "addEventListener('restablecer:finished', e => finished.push(e.target.id)); }"
    )
    frame = site.fitted(page, '<div data-restablecer id="aqui"></div>')
    fill_in(frame, "wrong")
    expect(frame.get_by_role("alert").first).to_be_visible()
    assert page.evaluate("finished") == []
    fill_in(frame)
    page.wait_for_function("finished.length")
    assert page.evaluate("finished") == ["aqui"]
    known = {("restablecer:altura", "h"), ("restablecer:finalizado",)}
    heard = page.evaluate("heard")
    assert {(one["type"], *sorted(set(one) - {"type"})) for one in heard} == known
    assert all(type(one.get("h", 0)) is int for one in heard)


def test_script_passes_language_and_address(site: Site, new_context: Opener) -> None:
    """The language of the place or the portal's page, and an address that the portal knows."""
    page = new_context(locale="pt-BR").new_page()
    frame = site.fitted(page, '<div data-restablecer data-email="a+b@example.com"></div>')
    assert frame.url == f"{site.service}/?lang=es&email=a%2Bb%40example.com"
    expect(frame.get_by_label("Email")).to_have_value("a+b@example.com")
    expect(page.locator("iframe")).to_have_attribute("title", "Restablecer contraseña")
    frame = site.fitted(page, '<div data-restablecer lang="en-GB"> <a href="/">Reset</a> </div>')
    expect(page.locator("iframe")).to_have_attribute("title", "Reset")
    assert frame.evaluate("document.documentElement.lang") == "en"


def test_frame_listens_to_its_own_page_only(site: Site, new_context: Opener) -> None:
    """Not to the portal's page, nor to another frame, nor to another site within itself."""
    page = new_context().new_page()
    narrow = '<div data-restablecer style="width:300px"></div>'
    site.fitted(page, narrow + '<div data-restablecer style="width:900px"></div>')
    page.wait_for_function(
        "[...document.querySelectorAll('iframe')].every(e => e.offsetHeight !== 900)"
    )
    heights = "[...document.querySelectorAll('iframe')].map(e => e.offsetHeight)"
    high, low = page.evaluate(heights)
    assert high > low
    post = "({type: 'restablecer:altura', h: 3999}, '*')"
    page.evaluate(
        "() => new Promise(done => { addEventListener('message', done, {once: true});"
        f" postMessage{post} }})"
    )
    site.html = f"<script>parent.postMessage{post}</script>"
    page.evaluate(
        "() => new Promise(done => { addEventListener('message', done, {once: true});"
        " document.querySelector('iframe').src = location.href })"
    )
    assert page.evaluate(heights) == [high, low]


def test_picture_cannot_pass_for_the_script(site: Site, new_context: Opener) -> None:
    """Markup that somebody left on the portal does not choose whose page is framed there."""
    page = new_context().new_page()
    script = f'<script src="{site.service}/embed.js" defer></script>'
    picture = f'<img name="currentScript" src="{site.service}/static/img/icon.svg">'
    site.html = f"{script}<body>{PLACE}{picture}"
    page.goto(f"http://{HANNA}:{site.port}/")
    assert page.locator("iframe").count() == 0


def test_answer_is_in_view(site: Site, new_context: Opener) -> None:
    """After a long form on a phone one sees where the answer begins, not what is below it."""
    page = new_context(viewport={"width": 360, "height": 480}).new_page()
    high = '<div style="height:2000px"></div>'
    frame = site.fitted(page, high + PLACE + high)
    fill_in(frame)
    expect_heading(frame, "Solicitud recibida")
    page.wait_for_function("document.querySelector('iframe').getBoundingClientRect().top === 0")


def test_answer_is_in_view_without_the_script(site: Site, new_context: Opener) -> None:
    """In a plain frame, too, where the browser lets a frame move its portal's page."""
    page = new_context(viewport={"width": 360, "height": 480}).new_page()
    frame = site.framed(page, 'style="width:340px;height:1500px"')
    fill_in(frame)
    heading = frame.get_by_role("heading", name="Solicitud recibida")
    expect(heading).to_be_in_viewport()


def test_portal_does_not_jump_while_the_answer_is_in_view(site: Site, new_context: Opener) -> None:
    """Whoever sees the top of the frame keeps the page where it is."""
    page = new_context(viewport={"width": 800, "height": 1200}).new_page()
    frame = site.fitted(page, '<div style="height:100px"></div>' + PLACE)
    fill_in(frame)
    expect_heading(frame, "Solicitud recibida")
    frame.wait_for_load_state()
    assert page.evaluate("scrollY") == 0


def test_link_comes_back_where_the_frame_is_refused(site: Site, new_context: Opener) -> None:
    """A portal that nobody named shows its own link again, and a way to go."""
    page = new_context(quiet=False).new_page()
    page.clock.install()
    place = f'<div data-restablecer><a href="{site.service}/">Restablecer</a></div>'
    site.fitted(page, place, host="ajeno.localhost")
    expect(page.get_by_role("link")).to_have_count(0)
    page.clock.fast_forward(5000)
    expect(page.get_by_role("link", name="Restablecer")).to_be_visible()


def test_portal_with_a_policy_names_us_twice(site: Site, new_context: Opener) -> None:
    """`script-src` and `frame-src` are all that embed.js needs beside a strict `style-src`."""
    page = new_context().new_page()
    site.policy = (
        "default-src 'none'; img-src data:; style-src 'self'; "
        f"script-src {site.service}/embed.js; frame-src {site.service}/"
    )
    frame = site.fitted(page)
    fill_in(frame)
    expect_heading(frame, "Solicitud recibida")
    expect(page.locator("iframe")).not_to_have_css("height", "900px")
    expect(page.locator("iframe")).to_have_css("border-top-width", "0px")


def test_demo_shows_embed_js(demo: Demo, new_context: Opener) -> None:
    """A developer finds the second page of the demo portal, and it works."""
    page = new_context().new_page()
    page.goto(f"{demo.portal}/restablecer")
    page.get_by_role("link", name="embed.js").click()
    expect(page.frame_locator("iframe").get_by_label("Email")).to_be_visible()
    expect(page.locator("iframe")).not_to_have_css("height", "900px")


def test_only_the_named_portals_may_frame_us(site: Site, new_context: Opener) -> None:
    """By wildcard and port: the port counts, and `*.` does not cover the name behind it."""
    page = new_context(quiet=False).new_page()
    hosts = {
        HANNA: True,
        "a.b.oficina.localhost": True,
        "todos.localhost": True,
        "oficina.localhost": False,
        "sin-puerto.localhost": False,
        "ajeno.localhost": False,
    }
    shown = {host: site.framed(page, host=host).url == f"{site.service}/" for host in hosts}
    assert shown == hosts


def test_frame_without_an_origin_offers_a_window_at_once(site: Site, new_context: Opener) -> None:
    """Sandboxed without allow-same-origin: its form would be refused, so that none is shown."""
    frame = site.framed(new_context(quiet=False).new_page(), 'sandbox="allow-scripts allow-forms"')
    expect(frame.get_by_role("link", name=OFFER)).to_be_visible()
    expect(frame.get_by_label("Email")).to_have_count(0)
    expect(frame.locator("body")).to_have_css("margin-top", "0px")  # The style came through.
    expect_offer(frame, site)


def test_frame_that_may_not_send_offers_a_window(site: Site, new_context: Opener) -> None:
    """Sandboxed without allow-forms the button does nothing: the page notices."""
    frame = site.framed(
        new_context(quiet=False).new_page(), 'sandbox="allow-scripts allow-same-origin"'
    )
    expect(frame.get_by_role("link", name=OFFER)).to_be_hidden()
    fill_in(frame)
    expect(frame.get_by_role("link", name=OFFER)).to_be_focused()
    expect_offer(frame, site)


def test_frame_that_sent_in_vain_offers_a_window(site: Site, new_context: Opener) -> None:
    """Safari's sandbox lets the form go and drops it: after a while a way out is shown."""
    page = new_context(quiet=False).new_page()
    page.clock.install()
    frame = site.framed(page)
    page.route(f"{site.service}/", lambda route: route.fulfill(status=204))
    fill_in(frame)
    expect(frame.locator("#status")).to_have_text("Enviando…")
    page.clock.fast_forward(19_000)
    expect(frame.get_by_role("link", name=OFFER)).to_be_hidden()
    page.clock.fast_forward(2000)
    expect(frame.get_by_role("link", name=OFFER)).to_be_visible()


def test_form_with_a_gap_offers_no_window(site: Site, new_context: Opener) -> None:
    """An ordinary frame: the browser's own hint at the empty field is enough."""
    frame = site.framed(new_context().new_page())
    frame.get_by_role("button", name="Enviar Solicitud").click()
    expect(frame.get_by_label("Email")).to_be_focused()
    expect(frame.get_by_role("link", name=OFFER)).to_be_hidden()


@pytest.mark.parametrize("sandbox", ["", "allow-same-origin"])
def test_frame_without_scripts_names_the_address(
    site: Site, new_context: Opener, sandbox: str
) -> None:
    """Nothing can be noticed there; a line under the button says what to do."""
    frame = site.framed(new_context(quiet=False).new_page(), f'sandbox="{sandbox}"')
    expect(frame.locator("noscript p")).to_contain_text("no pasa nada al pulsar el botón")
    expect_offer(frame, site)


def test_visitors_without_scripts_are_not_disturbed(site: Site, new_context: Opener) -> None:
    """In a window of its own the form works: no word of frames."""
    page = new_context(java_script_enabled=False).new_page()
    page.goto(site.service)
    expect(page.get_by_role("button", name="Enviar Solicitud")).to_be_visible()
    expect(page.locator("noscript")).to_have_count(0)


def test_refused_form_shows_its_reason_in_the_frame(site: Site, new_context: Opener) -> None:
    """Sandboxed with allow-forms alone: the answer 403 is a page of ours there, with the link."""
    frame = site.framed(new_context(quiet=False).new_page(), 'sandbox="allow-forms"')
    fill_in(frame)
    expect_heading(frame, OFFER.replace("Abrir", "Abra el formulario"))
    expect_offer(frame, site)


def test_offered_window_works(site: Site, new_context: Opener) -> None:
    """Where the sandbox lets windows open, the form is sent from the new one."""
    page = new_context(quiet=False).new_page()
    leave = "allow-scripts allow-popups allow-popups-to-escape-sandbox"
    frame = site.framed(page, f'sandbox="{leave}"')
    with page.expect_popup() as opened:
        frame.get_by_role("link", name=OFFER).click()
    fill_in(opened.value)
    expect_heading(opened.value, "Solicitud recibida")


@pytest.mark.parametrize("how", ["location.reload()", "history.back()"])
def test_wrong_letters_are_not_sent_again(site: Site, new_context: Opener, how: str) -> None:
    """Reload, and back from the answer, send no form; the address typed stays."""
    page = new_context().new_page()
    page.goto(site.service)
    fill_in(page, "wrong")
    expect(page.get_by_role("alert").first).to_be_visible()
    if how == "history.back()":
        fill_in(page)
        expect_heading(page, "Solicitud recibida")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    with page.expect_navigation(), suppress(BrowserError):
        page.evaluate(how)
    expect(page).to_have_title(re.compile("^Olvidé"))
    expect(page.get_by_label("Email")).to_have_value("ana@example.com")
    assert set(sent) == {"GET"}


def test_back_in_the_frame_sends_nothing_again(site: Site, new_context: Opener) -> None:
    """As in a window of its own."""
    page = new_context().new_page()
    frame = site.framed(page)
    fill_in(frame, "wrong")
    expect(frame.get_by_role("alert").first).to_be_visible()
    fill_in(frame)
    expect_heading(frame, "Solicitud recibida")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.evaluate("history.back()")
    expect(frame.get_by_label("Email")).to_have_value("ana@example.com")
    assert set(sent) == {"GET"}


def test_spent_letters_are_told_kindly(site: Site, new_context: Opener) -> None:
    """A form that the browser kept from before: new letters, the address stays, then it works."""
    page = new_context().new_page()
    page.goto(site.service)
    spent = page.locator("input[name=challenge]").input_value()
    fill_in(page)
    expect_heading(page, "Solicitud recibida")
    page.goto(site.service)
    page.locator("input[name=challenge]").evaluate("(e, old) => { e.value = old }", spent)
    fill_in(page)
    expect(page.get_by_role("alert").first).to_contain_text(
        "Las letras no coinciden o pasó demasiado tiempo"
    )
    expect(page.get_by_label("Email")).to_have_value("ana@example.com")
    fill_in(page)
    expect_heading(page, "Solicitud recibida")
