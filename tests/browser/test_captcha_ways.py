"""The captcha's three ways in a real browser: the picture, the sound, and neither of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import FrameLocator, Locator, Page, Route, expect

from tests.browser.conftest import Demo, Opener

READY = "Listo: ya puede enviar la solicitud sin escribir las letras."
PATIENCE = 120_000  # Milliseconds; the work is a second's, on a machine with time for it.


def tab_to(page: Page, wanted: Locator) -> None:
    """Press the Tab key until *wanted* has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if wanted.evaluate("e => e === document.activeElement && document.hasFocus()"):
            return
    raise AssertionError("the Tab key does not lead there")


def go_without_letters(page: Page | FrameLocator) -> None:
    """Choose the third way and let the browser work."""
    page.get_by_text("No puedo leer ni oír las letras").click()
    page.get_by_role("button", name="Continuar sin letras").click()
    expect(page.locator("#work-status")).to_have_text(READY, timeout=PATIENCE)


def test_keyboard_alone_sends_the_form_without_letters(demo: Demo, new_context: Opener) -> None:
    """In the portal's frame, from the address to the answer; no letter is read, heard or typed."""
    page = new_context().new_page()
    page.goto(f"{demo.portal}/restablecer")
    frame = page.frame_locator("iframe")
    tab_to(page, frame.get_by_label("Email"))
    page.keyboard.type("gloria@example.com")
    tab_to(page, frame.locator("summary"))
    page.keyboard.press("Enter")
    tab_to(page, frame.get_by_role("button", name="Continuar sin letras"))
    page.keyboard.press("Enter")
    status = frame.get_by_role("status").filter(has_text=READY)
    expect(status).to_be_visible(timeout=PATIENCE)
    expect(frame.get_by_role("button", name="Enviar Solicitud")).to_be_focused()
    page.keyboard.press("Enter")
    expect(frame.get_by_role("heading", level=1)).to_have_text("Solicitud recibida")


def test_letters_are_not_asked_for_after_the_work(demo: Demo, new_context: Opener) -> None:
    """Their field is gone, even after a slip in the address, which costs no second work."""
    page = new_context().new_page()
    page.goto(demo.service)
    go_without_letters(page)
    email = page.get_by_label("Email")
    expect(email).to_be_focused()  # It is still empty.
    email.fill("gloria@example")
    email.press("Enter")
    expect(page).to_have_title(re.compile("^Error: "))
    expect(page.get_by_label("Captcha")).to_be_hidden()
    expect(page.locator("#work-status")).to_have_text(READY)
    email.fill("gloria@example.com")
    email.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Solicitud recibida")


def test_work_leaves_the_visitor_alone(demo: Demo, new_context: Opener) -> None:
    """It says that it began, shows how far it is, and takes the focus from nobody who writes."""
    page = new_context().new_page()
    held: list[Route] = []
    page.route("**/work.js*", lambda route: held.append(route))
    page.goto(demo.service)
    page.get_by_text("No puedo leer ni oír las letras").click()
    with page.expect_request("**/work.js*"):
        page.get_by_role("button", name="Continuar sin letras").click()
    expect(page.locator("#work-status")).to_contain_text("Haciendo la comprobación")
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.get_by_label("Email").fill("ana@example.com")
    held[0].continue_()
    expect(page.locator("#work-status")).to_have_text(READY, timeout=PATIENCE)
    expect(page.get_by_label("Email")).to_be_focused()
    expect(page.get_by_label("Email")).to_have_value("ana@example.com")


def test_new_letters_end_the_third_way(demo: Demo, new_context: Opener) -> None:
    """Refrescar swaps picture, sound and work together and asks for letters again."""
    page = new_context().new_page()
    page.goto(demo.service)
    go_without_letters(page)
    proof, challenge = page.locator("input[name=proof]"), page.locator("input[name=challenge]")
    before = challenge.get_attribute("data-work")
    assert proof.input_value()
    page.get_by_role("button", name="Refrescar").click()
    expect(page.get_by_label("Captcha")).to_be_focused()
    expect(page.locator("#work-status")).to_have_text("")
    expect(page.get_by_text("No puedo leer ni oír las letras")).to_be_visible()
    assert proof.input_value() == ""
    assert challenge.get_attribute("data-work") != before
    expect(page.locator("#captcha-picture")).to_have_attribute(
        "src", f"/captcha/{challenge.input_value()}.png"
    )
    page.get_by_label("Email").fill("gloria@example.com")
    page.get_by_role("button", name="Enviar Solicitud").click()
    expect(page.get_by_label("Captcha")).to_be_focused()  # The browser wants it filled in.
    go_without_letters(page)
    page.get_by_role("button", name="Enviar Solicitud").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Solicitud recibida")


def test_new_letters_stop_the_work_under_way(demo: Demo, new_context: Opener) -> None:
    """What was begun for the letters before fills in nothing afterwards."""
    page = new_context().new_page()
    endless = "onmessage = () => postMessage({ done: 0.5 });"
    page.route("**/work.js*", lambda route: route.fulfill(body=endless))
    page.goto(demo.service)
    page.get_by_text("No puedo leer ni oír las letras").click()
    with page.expect_worker() as worker:
        page.get_by_role("button", name="Continuar sin letras").click()
    with worker.value.expect_event("close"):
        page.get_by_role("button", name="Refrescar").click()
    expect(page.locator("#work-status")).to_have_text("")
    expect(page.get_by_label("Captcha")).to_be_focused()


def test_browser_that_cannot_work_points_to_the_help_desk(demo: Demo, new_context: Opener) -> None:
    """The letters stay what they were."""
    page = new_context(quiet=False).new_page()
    page.route("**/work.js*", lambda route: route.abort())
    page.goto(demo.service)
    page.get_by_text("No puedo leer ni oír las letras").click()
    desk = page.locator("details").get_by_role("link", name="(605) 371 4545")
    expect(desk).to_be_hidden()
    page.get_by_role("button", name="Continuar sin letras").click()
    expect(desk).to_be_visible()
    expect(page.locator("#work-status")).to_contain_text("no pudo")
    expect(page.get_by_label("Captcha")).to_be_visible()


def test_without_javascript_sound_and_help_desk_are_there(demo: Demo, new_context: Opener) -> None:
    """A link to the sound that leaves the form as it is, and whom to call."""
    page = new_context(java_script_enabled=False).new_page()
    page.goto(demo.service)
    link = page.get_by_role("link", name="Escuchar las letras")
    expect(link).to_have_attribute("target", "_blank")
    challenge = page.locator("input[name=challenge]").input_value()
    expect(link).to_have_attribute("href", f"/captcha/{challenge}.wav")
    page.get_by_text("No puedo leer ni oír las letras").click()
    expect(page.locator("details").get_by_role("link", name="(605) 371 4545")).to_be_visible()
    expect(page.get_by_role("button", name="Continuar sin letras")).to_be_hidden()


def test_sound_plays_pauses_and_goes_on(demo: Demo, new_context: Opener) -> None:
    """A button that stays where it is; nothing is fetched before it is pressed."""
    page = new_context().new_page()
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(demo.service)
    page.wait_for_load_state("networkidle")
    assert not [url for url in fetched if url.endswith(".wav")]
    page.get_by_role("button", name="Escuchar las letras").press("Enter")
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0.2")
    pause = page.get_by_role("button", name="Pausar")
    expect(pause).to_be_focused()
    pause.press("Enter")
    expect(page.get_by_role("button", name="Seguir escuchando")).to_be_focused()
    at = page.evaluate("document.querySelector('audio').currentTime")
    page.get_by_role("button", name="Seguir escuchando").press("Enter")
    page.wait_for_function("at => document.querySelector('audio').currentTime > at", arg=at)
    page.evaluate("const a = document.querySelector('audio'); a.currentTime = a.duration - 0.1")
    page.get_by_role("button", name="Escuchar las letras").press("Enter")
    page.wait_for_function("() => document.querySelector('audio').currentTime < 5")
    expect(pause).to_be_visible()
    page.get_by_role("button", name="Refrescar").click()
    expect(page.get_by_role("button", name="Escuchar las letras")).to_be_visible()
    assert page.evaluate("document.querySelector('audio').paused")
    challenge = page.locator("input[name=challenge]").input_value()
    with page.expect_request(f"**/captcha/{challenge}.wav"):
        page.get_by_role("button", name="Escuchar las letras").click()


def test_sound_that_fails_says_so(demo: Demo, new_context: Opener) -> None:
    """Too many of them, or no network: words beside the form, and the button as before."""
    page = new_context(quiet=False).new_page()
    page.route("**/*.wav", lambda route: route.fulfill(status=429, body="no"))
    page.goto(demo.service)
    page.get_by_role("button", name="Escuchar las letras").click()
    expect(page.locator("#status")).to_contain_text("No pudimos reproducir el audio")
    expect(page.get_by_role("button", name="Escuchar las letras")).to_be_visible()


@pytest.fixture
def solve(demo: Demo, new_context: Opener) -> Callable[[str], object]:
    """What `work.js` answers to a puzzle."""
    page = new_context().new_page()
    page.goto(demo.service)
    url = page.locator("[data-worker]").get_attribute("data-worker")

    def solved(puzzle: str) -> object:
        return page.evaluate(
            """([url, puzzle]) => new Promise((done, fail) => {
                const worker = new Worker(url);
                worker.onerror = () => fail(new Error('no worker'));
                worker.onmessage = ({ data }) => 'number' in data && done(data.number);
                worker.postMessage(puzzle);
            })""",
            [url, puzzle],
        )

    return solved


def test_script_hashes_as_the_standard_says(solve: Callable[[str], object]) -> None:
    """SHA-256 of texts of every length that fits one block; a number that is not there is none.

    Source: `printf %s 0814.524288 | sha256sum`, and Python's hashlib.
    """
    digest = "9fc6c86514d0ae876e863df180e380124579eb1e6c4534ea77765b85eeac7ebb"
    assert solve(f"0814 {digest} 1048576") == "524288"
    assert solve(f"0814 {digest} 1000") is None
    for length in range(1, 54):
        salt = "0123456789abcdef" * 4
        text = f"{salt[:length]}.7"
        puzzle = f"{salt[:length]} {hashlib.sha256(text.encode()).hexdigest()} 8"
        assert solve(puzzle) == "7", text
