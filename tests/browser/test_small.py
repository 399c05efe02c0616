"""The form is small, still and shown at once, alone and in the portal's frame, with a logo, too."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask, request
from playwright.sync_api import BrowserContext, Frame, Page, Request, Route, expect

from config import Settings
from reset import logo
from tests.browser.conftest import Hosted, Opener

MOST_BYTES, MOST_REQUESTS = 60_000, 5
# What moved since the first paint. In a frame Chromium also notes how the page changed before it,
# when its style arrived, which nobody saw.
SHIFTS = """new Promise((done) => {
  const shifts = [];
  const painted = performance.getEntriesByName('first-paint')[0].startTime;
  new PerformanceObserver((list) => {
    for (const {value, startTime, sources} of list.getEntries()) {
      const moved = sources.map(({node}) => node && node.outerHTML.slice(0, 80));
      if (startTime > painted) shifts.push([value, ...moved]);
    }
  }).observe({type: 'layout-shift', buffered: true});
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(shifts))));
})"""
PAINTED = """new Promise((done) => new PerformanceObserver((list) => {
  if (list.getEntriesByName('first-contentful-paint').length) done();
}).observe({type: 'paint', buffered: true}))"""
PICTURES = "Promise.all([...document.images].map((image) => image.decode()))"
# What comes late: pictures and the script.
LATE = re.compile(r"/captcha/|/marca/logo|\.js")


@pytest.fixture
def portal_page(hosted: Hosted) -> str:
    """A page on another site that frames the address behind its question mark."""
    site = Flask("portal")
    frame = '<link rel="icon" href="data:,"><iframe src="{}/" width="100%" height="1200">'
    site.add_url_rule("/", view_func=lambda: frame.format(request.query_string.decode()))
    return hosted(site).replace("localhost", "127.0.0.1")


@pytest.fixture
def service(
    hosted: Hosted,
    make_app: Callable[..., Flask],
    settings: Settings,
    portal_page: str,
    tmp_path: Path,
) -> str:
    """With a wide logo of the largest size and everything else that may stand on the form."""
    picture = tmp_path / "logo.svg"
    shape = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 100"/>'
    picture.write_text(shape.ljust(logo.LARGEST))
    brand = replace(
        settings.brand, logo=picture, notice="Habrá mantenimiento.", support_hours="lunes a viernes"
    )
    return hosted(make_app(brand=brand, frame_ancestors=(portal_page,)))


@pytest.fixture(params=["alone", "framed"])
def show(
    request: pytest.FixtureRequest, service: str, portal_page: str
) -> Callable[[Page], Page | Frame]:
    """Open the form, by itself or in the portal's page; does not wait for what comes late."""

    def open_form(page: Page) -> Page | Frame:
        if request.param == "alone":
            page.goto(service, wait_until="commit")
            return page
        page.goto(f"{portal_page}/?{service}", wait_until="commit")
        element = page.wait_for_selector("iframe")
        frame = element and element.content_frame()
        assert frame
        return frame

    return open_form


def test_form_is_small(
    new_context: Opener, show: Callable[[Page], Page | Frame], service: str, portal_page: str
) -> None:
    """60 kB and five requests at most, without any compression, beside the captcha's picture."""
    page = new_context().new_page()
    sent: list[Request] = []
    page.on("requestfinished", lambda request: sent.append(request))
    form = show(page)
    page.wait_for_load_state("networkidle")
    expect(form.get_by_label("Email")).to_be_visible()
    ours = [one for one in sent if one.url.startswith(f"{service}/")]
    assert {one.url for one in sent if one not in ours} <= {f"{portal_page}/?{service}"}
    sizes = {
        one.url: one.sizes()["responseBodySize"] + one.sizes()["responseHeadersSize"]
        for one in ours
        if "/captcha/" not in one.url
    }
    # Chromium asks for the icon without a word to Playwright.
    icon = page.request.get(service + str(form.locator("link[rel=icon]").get_attribute("href")))
    sizes[icon.url] = len(icon.body())
    assert len(sizes) <= MOST_REQUESTS
    assert sum(sizes.values()) <= MOST_BYTES


def hold(context: BrowserContext) -> list[Route]:
    """What comes late is asked for, and does not come until it is let go."""
    held: list[Route] = []
    context.route(LATE, lambda route: held.append(route))
    return held


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_moves_when_slow_parts_arrive(
    new_context: Opener, show: Callable[[Page], Page | Frame], width: int
) -> None:
    """The form is painted before pictures and script are there, and does not move for them."""
    context = new_context(viewport={"width": width, "height": 900})
    held = hold(context)
    page = context.new_page()
    form = show(page)
    expect(form.get_by_label("Email")).to_be_editable()
    form.evaluate(PAINTED)
    while len(held) < 3 and not page.is_closed():
        page.wait_for_timeout(20)
    for route in held:
        route.continue_()
    page.wait_for_load_state()
    form.evaluate(PICTURES)
    assert form.evaluate(SHIFTS) == []


def test_form_is_painted_without_javascript(new_context: Opener, service: str) -> None:
    """Nothing of it is made by the script."""
    page = new_context(java_script_enabled=False).new_page()
    page.goto(service)
    expect(page.get_by_label("Email")).to_be_editable()
    expect(page.get_by_role("button", name="Refrescar")).to_be_visible()
    assert page.locator("script:not([defer])").count() == 0
