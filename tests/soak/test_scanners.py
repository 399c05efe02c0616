"""What opens every link in a mail before its owner does, and must not use it up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from playwright.sync_api import Browser, Route

from tests.conftest import Portal, Visitor, links_in
from tests.soak.conftest import Note, Rounds

SITE = "http://localhost:5000"
Scanner = Callable[[Visitor, str], None]


def opens(visitor: Visitor, link: str) -> None:
    for _ in range(10):
        assert visitor.client.get(link).status_code == 200


def asks_for_the_head(visitor: Visitor, link: str) -> None:
    for _ in range(10):
        assert visitor.client.head(link).status_code == 200


def asks_what_it_may(visitor: Visitor, link: str) -> None:
    for method in ("OPTIONS", "TRACE", "PROPFIND", "POST", "PUT", "DELETE"):
        assert visitor.client.open(link, method=method).status_code in (200, 400, 405)


def prefetches(visitor: Visitor, link: str) -> None:
    for headers in ({"Purpose": "prefetch"}, {"Sec-Purpose": "prefetch;prerender"}):
        assert visitor.client.get(link, headers=headers).status_code == 200


def opens_from_elsewhere(visitor: Visitor, link: str) -> None:
    away = {"REMOTE_ADDR": "203.0.113.77", "HTTP_USER_AGENT": "SafeLinks", "HTTP_RANGE": "bytes=0-"}
    assert visitor.client.get(link, environ_overrides=away).status_code == 200


def opens_every_link_of_the_mail(visitor: Visitor, link: str) -> None:
    deny = links_in(visitor.sender.sent[-1], "no-fui-yo")[0]
    assert visitor.client.get(deny).status_code == 200
    assert visitor.client.get(link).status_code == 200


def sends_the_form_empty(visitor: Visitor, link: str) -> None:
    assert visitor.set_password(link, "").status_code == 200


def fills_the_form_in(visitor: Visitor, link: str) -> None:
    assert visitor.set_password(link, "test").status_code == 200
    assert visitor.set_password(link, "test", "test@example.com").status_code == 200


SCANNERS = [
    opens,
    asks_for_the_head,
    asks_what_it_may,
    prefetches,
    opens_from_elsewhere,
    opens_every_link_of_the_mail,
    sends_the_form_empty,
    fills_the_form_in,
]


Crowd = Callable[[], list[str]]


@pytest.fixture
def people(make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor]) -> Visitor:
    """Somebody whom no limit stops."""
    return make_visitor(make_app(limit_per_ip="100000 per minute"))


@pytest.fixture
def fresh_links(people: Visitor, portal: Portal, rounds: Rounds) -> Crowd:
    """Each call mails a new link to everybody."""
    addresses = [f"p{number}@example.com" for number in range(rounds(1, 50))]
    for address in addresses:
        portal.add(address, address)

    def links() -> list[str]:
        people.clock.advance(hours=2)
        return [people.link(address) for address in addresses]

    return links


def test_link_outlives_every_scanner(people: Visitor, fresh_links: Crowd, figure: Note) -> None:
    """Whatever a scanner does to it, the link sets a password afterwards."""
    statuses: list[int] = []
    for scan in SCANNERS:
        for link in fresh_links():
            scan(people, link)
            password = f"Mesa-Verde-{len(statuses)}-{scan.__name__}"
            statuses.append(people.set_password(link, password).status_code)
    usable = statuses.count(303)
    figure(
        "4 works once", f"links usable after {len(SCANNERS)} scanners", usable, f"{len(statuses)}"
    )
    assert usable == len(statuses)


def test_link_outlives_a_browser_that_runs_scripts(
    people: Visitor, fresh_links: Crowd, browser: Browser, figure: Note
) -> None:
    """It opens the link, waits for the scripts, and presses the button of the empty form."""
    client = people.app.test_client()

    def fulfil(route: Route) -> None:
        asked = route.request
        answer = client.open(
            asked.url.removeprefix(SITE),
            method=asked.method,
            data=asked.post_data,
            content_type=asked.headers.get("content-type"),
            buffered=True,
        )
        route.fulfill(status=answer.status_code, body=answer.data, headers=dict(answer.headers))

    page = browser.new_page(locale="es-CO")
    page.route(f"{SITE}/**", fulfil)
    statuses = []
    for link in fresh_links():
        page.goto(SITE + link)
        page.wait_for_url(f"{SITE}/nueva")
        page.locator("form").evaluate("form => { form.noValidate = true; form.requestSubmit(); }")
        page.locator(".summary").wait_for()
        statuses.append(people.set_password(link).status_code)
    page.close()
    usable = statuses.count(303)
    figure(
        "4 works once", "links usable after a browser that runs scripts", usable, f"{len(statuses)}"
    )
    assert usable == len(statuses)
