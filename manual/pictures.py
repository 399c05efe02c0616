"""Takes the pictures of the manual, and the README's, from the running demo. Needs Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from itertools import chain
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, ViewportSize

from reset import audit
from reset.captcha import image
from reset.db import Database
from reset.help_desk.operators import Operators
from reset.mail import leases, outbox
from tests.browser.conftest import CLAUDIA, Demo, ask_for_link, link_in_mail, mail_of

NAMES = (
    *("portal", "formulario", "sin-letras", "recibida", "correo", "no-fui-yo", "nueva", "lista"),
    *("usado", "mesa-entrar", "mesa-solicitud", "mesa-pendientes"),
)
FLOW = ("formulario", "recibida", "correo", "nueva")
EMAIL, LETTERS, PASSWORD = "ana@example.com", "RaHTeLQg", "Lluvia-Canoa-7"
GLORIA = "gloria.ramirez@example.com"
OPERATOR, OPERATORS_PASSWORD = "marta", "lluvia guitarra canoa"
PHONE: ViewportSize = {"width": 360, "height": 900}
DESK: ViewportSize = {"width": 900, "height": 700}
GAP, COLOURS = 24, 16
# What differs at each run is shown as it was once, so that a picture changes with its page alone.
SAMPLES = r"""() => {
  const samples = [
    [/\b(?!7301|2599)\d{4}-\d{4}-\d{4}\b/g, '4821-0937-5562'],
    [/Código: [0-9a-f]{8}/g, 'Código: ab12cd34'],
    [/http:\/\/localhost:\d+/g, 'https://clave.oficina.example'],
    [/(?<=mensaje salió )\w+ a las? \d+:\d+\s[ap]\.\s?m\./g, 'ayer a las 7:54 p. m.'],
    [/(?<!mensaje salió )(hoy|ayer) a las? \d+:\d+\s[ap]\.\s?m\./g, 'hoy a las 9:54 a. m.'],
    [/\/(nueva|no-fui-yo)\/[\w.-]+/g,
      '/$1/CBkfsZBcKPnB2vAxg3oRYw.awOq6g.t4ET38tUXvvkO04NA3EYmFwaz2A'],
    [/\w+, \d+ de \w+ de \d{4}, \d+:\d+\s[ap]\.\s?m\./g,
      'martes, 24 de noviembre de 2026, 9:54\u00a0p.\u00a0m.'],
  ];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    for (const [found, sample] of samples) {
      texts.currentNode.data = texts.currentNode.data.replace(found, sample);
    }
  }
  document.activeElement.blur();
  scrollTo(0, 0);
}"""
Shot = tuple[Page, Locator] | tuple[Page, Locator, Locator]


def take(browser: Browser, demo: Demo, folder: Path) -> None:
    """Every picture, into *folder*; a step that does not work ends it with the step's error."""
    phone = browser.new_context(viewport=PHONE, device_scale_factor=2, locale="es-CO")
    desk = browser.new_context(viewport=DESK, locale="es-CO")
    folder.mkdir(parents=True, exist_ok=True)
    taken: dict[str, Image.Image] = {}
    shots = chain(visit(phone, demo), answer_the_telephone(desk, demo))
    for name, (page, last, *first) in zip(NAMES, shots, strict=True):
        last.wait_for()
        page.evaluate(SAMPLES)
        shot = Image.open(BytesIO(page.screenshot(full_page=True))).convert("RGB")
        scale = page.evaluate("devicePixelRatio")
        top = scale * _edges(first[0])[0] if first else 0
        bottom = min(scale * _edges(last)[1], shot.height)
        taken[name] = shot.crop((0, top, shot.width, bottom))
    taken["flow"] = side_by_side([taken[name] for name in FLOW])
    for name, picture in taken.items():
        # Few colours are enough for a page, and keep the file small.
        picture.quantize(COLOURS).save(folder / f"{name}.png", optimize=True)
    phone.close()
    desk.close()


def _edges(part: Locator) -> tuple[int, int]:
    box = part.bounding_box() or {"y": 0, "height": 0}
    return round(box["y"]) - 8, round(box["y"] + box["height"]) + 8


def visit(context: BrowserContext, demo: Demo) -> Iterator[Shot]:
    """The way of a visitor, a stop for each of `NAMES`: page, last thing to be seen, first one."""
    page = context.new_page()
    page.goto(demo.portal)
    yield page, page.locator(".forgot").first
    letters = image.draw(LETTERS, b"sample")
    page.route("**/captcha/*.png*", lambda route: route.fulfill(body=letters))
    page.goto(demo.service)
    page.get_by_label("Email").fill(EMAIL)
    page.get_by_label("Captcha").fill(LETTERS)
    yield page, page.get_by_role("button", name="Enviar Solicitud")
    page.get_by_label("Captcha").fill("")
    page.get_by_text("No puedo leer ni oír las letras").click()
    yield page, page.get_by_role("button", name="Continuar sin letras"), page.locator(".unread")
    page.reload()
    ask_for_link(demo, page, EMAIL)
    yield page, page.locator("main li").last
    with mail_of(context, demo, EMAIL, "Restablecimiento") as mail:
        deny = mail.locator("pre a[href*='no-fui-yo']").get_attribute("href")
        page.goto(demo.mailbox + str(mail.locator("iframe").get_attribute("src")))
    yield page, page.locator(".box")
    page.goto(str(deny))
    yield page, page.get_by_role("button", name="No fui yo")
    link = link_in_mail(context, demo, EMAIL)
    page.goto(link)
    page.get_by_label("Nueva Contraseña", exact=True).fill(PASSWORD)
    page.get_by_label("Confirmar Contraseña").fill(PASSWORD)
    yield page, page.get_by_role("button", name="Actualizar Contraseña")
    page.get_by_role("button", name="Actualizar Contraseña").click()
    yield page, page.locator(".actions")
    page.goto(link)
    yield page, page.locator(".actions")


def answer_the_telephone(context: BrowserContext, demo: Demo) -> Iterator[Shot]:
    """The same at the help desk, which has two more requests of the night before."""
    begin_the_day(demo)
    page = context.new_page()
    page.goto(f"{demo.service}/ayuda/")
    yield page, page.get_by_role("button", name="Entrar")
    page.get_by_label("Usuario").fill(OPERATOR)
    page.get_by_label("Contraseña").fill(OPERATORS_PASSWORD)
    page.get_by_role("button", name="Entrar").click()
    page.get_by_label("Número de solicitud, correo o usuario").fill(EMAIL)
    page.get_by_role("button", name="Buscar").click()
    page.locator(".cases a").first.click()
    yield page, page.locator(".timeline")
    page.goto(f"{demo.service}/ayuda/pendientes")
    yield page, page.locator(".cases").last


def begin_the_day(demo: Demo) -> None:
    """An operator, and in the state what a night leaves: a mail that was refused, one unused."""
    database = Database(f"sqlite:///{demo.instance / 'demo.sqlite'}")
    now = database.now()
    Operators(database, demo.keys).add(OPERATOR, OPERATORS_PASSWORD, now=now)
    night = now - timedelta(hours=14)
    with database.begin() as tx:
        for number, address in (("730155820946", CLAUDIA), ("259906134481", GLORIA)):
            audit.open_request(tx, number, address, "es", now=night)
            audit.note(tx, number, "requested", now=night, origin="")
            outbox.enqueue(tx, number, "reset_link", host="example.com", now=night)
        refused, unused = leases.claim(tx, limit=2, now=night)
        leases.mark_abandoned(tx, refused)
        answer = "552 5.2.2 Mailbox full"
        audit.note(tx, refused.request, "mail_refused", now=night, answer=answer, attempt=1)
        leases.mark_sent(tx, [unused], now=night)
        audit.note(tx, unused.request, "mail_sent", now=night, attempt=1)
    database.close()


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    """The README's picture: the tops of some, at the size of the telephone."""
    width, height = PHONE["width"], PHONE["height"]
    sheet = Image.new("RGB", ((width + GAP) * len(pictures) + GAP, height + 2 * GAP), "#d7d2c8")
    for place, picture in enumerate(pictures):
        small = picture.reduce(2).crop((0, 0, width, height))
        sheet.paste(small, (GAP + place * (width + GAP), GAP))
    return sheet
