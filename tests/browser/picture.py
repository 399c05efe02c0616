"""Takes the README's picture from the running demo: `make flow`. Needs Chromium."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import BrowserContext, ViewportSize, sync_playwright

from tests.browser.conftest import (
    ROOT,
    Demo,
    ask_for_link,
    link_in_mail,
    mail_of,
    running_demo,
)
from tests.servers.fixtures import QUIET

EMAIL = "ana@example.com"
PHONE: ViewportSize = {"width": 360, "height": 900}
GAP = 24


def shots(context: BrowserContext, demo: Demo) -> Iterator[bytes]:
    """The four steps, as a phone shows them."""
    page = context.new_page()
    page.goto(demo.service)
    page.get_by_label("Email").fill(EMAIL)
    page.get_by_label("Captcha").fill(demo.letters(page))
    yield page.screenshot()
    ask_for_link(demo, page, EMAIL)
    yield page.screenshot()
    with mail_of(context, demo, EMAIL, "Restablecimiento") as mail:
        page.goto(demo.mailbox + str(mail.locator("iframe").get_attribute("src")))
        yield page.screenshot()
    page.goto(link_in_mail(context, demo, EMAIL))
    page.get_by_label("Nueva Contraseña", exact=True).fill("Lluvia-Canoa-7")
    yield page.screenshot()


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    width = sum(picture.width + GAP for picture in pictures) + GAP
    sheet = Image.new("RGB", (width, pictures[0].height + 2 * GAP), "#d7d2c8")
    left = GAP
    for picture in pictures:
        sheet.paste(picture, (left, GAP))
        left += picture.width + GAP
    return sheet


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with (
        tempfile.TemporaryDirectory() as instance,
        running_demo(Path(instance)) as demo,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        context = browser.new_context(viewport=PHONE, locale="es-CO")
        pictures = [Image.open(BytesIO(shot)).convert("RGB") for shot in shots(context, demo)]
        sheet = side_by_side(pictures).quantize(64)
        sheet.save(ROOT / "docs" / "flow.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main()
