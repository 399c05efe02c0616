"""Dead ends are kind: every error page, in the looks of the service, free of axe findings."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from playwright.sync_api import Page, Route
from werkzeug.test import TestResponse

from reset import links
from reset.bearer import CLAIM
from reset.tokens import Tokens
from tests.browser.conftest import Opener
from tests.conftest import KEY, Portal, Visitor, links_in

SITE = "http://localhost:5000"


def answers(visitor: Visitor, portal: Portal, limited: Visitor) -> dict[str, TestResponse]:
    """One answer of each kind, by its main heading."""
    client, clock = visitor.client, visitor.clock
    expired = visitor.link()
    clock.advance(hours=12, seconds=1)
    denied, busy, used = (visitor.link() for _ in range(3))
    found = {
        "Este enlace venció": client.get(expired),
        "No pudimos leer su solicitud": client.post("/"),
        "Abra el formulario": client.post("/", headers={"Sec-Fetch-Site": "cross-site"}),
        "Esta página no se puede abrir así": client.delete("/"),
        "Demasiados intentos": [limited.client.post("/") for _ in range(2)][1],
    }
    with portal.down():
        found["El servicio no está disponible"] = client.get(used)
    payload, _ = Tokens([KEY], "link", SITE).read(busy.rpartition("/")[2])
    with visitor.parts.database.begin() as tx:
        claimed = links.get(tx, payload.hex())
        assert claimed is not None
        links.claim(tx, claimed, until=clock() + CLAIM, origin="")
    found["Su enlace se está usando"] = client.get(busy)
    with visitor.parts.database.begin() as tx:
        links.give_back(tx, claimed)
    visitor.set_password(used)
    found["Este enlace ya se usó"] = client.get(used)
    found["Este enlace ya no sirve"] = client.get(denied)
    clock.advance(seconds=1)
    visitor.link()
    token = links_in(visitor.mails()[-1], "no-fui-yo")[0].rpartition("/")[2]
    found["Solicitud cancelada"] = client.post("/no-fui-yo", data={"token": token})
    found["El envío es demasiado grande"] = client.post("/", data={"email": "a" * 70_000})
    return found


def serve(page: Page, app: Flask, found: dict[str, TestResponse]) -> None:
    """Show the recorded answers, with the style and script of the service, under SITE."""
    client = app.test_client()

    def fulfil(route: Route) -> None:
        path = route.request.url.removeprefix(SITE)
        known = dict(enumerate(found.values()))
        number = path.removeprefix("/answer/")
        answer = known[int(number)] if number.isdigit() else client.get(path, buffered=True)
        route.fulfill(body=answer.data, content_type=answer.content_type)

    page.route(f"{SITE}/**", fulfil)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_dead_end_is_kind(
    app: Flask,
    visitor: Visitor,
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    portal: Portal,
    ana: int,
    new_context: Opener,
    scheme: str,
) -> None:
    """It says what happened and what to do, has the help desk's number, and pleases axe."""
    limited = make_visitor(make_app(limit_per_ip="1 per minute"))
    found = answers(visitor, portal, limited)
    page = new_context(quiet=False, color_scheme=scheme, bypass_csp=True).new_page()
    serve(page, app, found)
    findings = {}
    for number, heading in enumerate(found):
        page.goto(f"{SITE}/answer/{number}")
        shown = page.get_by_role("heading", level=1).inner_text()
        violations = [v["id"] for v in Axe().run(page).response["violations"]]
        wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        told = "(605) 371 4545" in page.content()
        findings[heading] = (heading in shown, told, wide, violations)
    assert findings == dict.fromkeys(found, (True, True, False, []))
