"""Forms only from our own page, links and redirects only where the settings say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from reset import captcha
from tests.conftest import ADDRESS, KEY, NEW_PASSWORD, Portal, Visitor

PORTAL = "http://127.0.0.1:5001"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:5000"}, 400),
        ({"Sec-Fetch-Site": "none"}, 400),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:5000"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "null"}, 403),
        ({"Origin": "http://localhost:5000"}, 400),
        ({"Origin": "http://localhost:5001"}, 403),
        ({"Origin": "https://localhost:5000"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 400),
        ({}, 400),
    ],
)
@pytest.mark.parametrize("path", ["/", "/nueva", "/no-fui-yo"])
def test_forms_of_other_sites_are_refused(
    visitor: Visitor, path: str, headers: dict[str, str], status: int
) -> None:
    """Judged by Sec-Fetch-Site, else by Origin; 400 stands for "read, and found empty"."""
    assert visitor.client.post(path, headers=headers).status_code == status


def test_refusal_offers_a_window_of_its_own(visitor: Visitor) -> None:
    """A frame that cannot work shows a way out."""
    page = visitor.client.post("/", headers={"Sec-Fetch-Site": "cross-site"}).text
    assert 'target="_blank"' in page


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "localhost@evil.example"},
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Prefix": "//evil.example"},
        {"Forwarded": "host=evil.example"},
        {"X-Host": "evil.example"},
        {"X-Original-Host": "evil.example"},
        {"X-Forwarded-Server": "evil.example"},
        {"X-Forwarded-Port": "1337"},
        {"Host": "localhost:5000,evil.example"},
        {"Host": "localhost:80@evil.example"},
        {"Host": "evil.example#localhost"},
        {"X-HTTP-Host-Override": "evil.example"},
        {"X-Forwarded-Proto": "evil"},
    ],
    ids=lambda headers: " ".join(headers),
)
@pytest.mark.parametrize("proxies", [0, 1])
def test_links_come_from_the_settings_only(
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    portal: Portal,
    headers: dict[str, str],
    proxies: int,
) -> None:
    """A forged Host in any header is refused, or leaves no trace in page and mail."""
    portal.add()
    visitor = make_visitor(make_app(trusted_proxies=proxies))
    page = visitor.client.get("/", headers=headers)
    assert page.status_code == (400 if "Host" in headers else 200)
    assert "evil" not in page.text + str(page.headers)
    visitor.client = _with(visitor.client, headers)
    if visitor.client.get("/").status_code == 200:
        visitor.ask()
        visitor.run_worker()
        assert all("evil" not in str(mail.body) for mail in visitor.mails())
        assert "http://localhost:5000/nueva/" in str(visitor.mails()[0].body)


def _with(client: FlaskClient, headers: dict[str, str]) -> FlaskClient:
    names = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    client.environ_base.update(names)
    return client


def test_everything_lives_under_the_public_path(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor], portal: Portal
) -> None:
    """Mounted under /restablecer, pages, files, redirects and links all begin with it."""
    portal.add()
    app = make_app(public_url="http://localhost:5000/restablecer")
    visitor = make_visitor(app)
    page = visitor.client.get("/restablecer/").text
    sent = visitor.client.get("/restablecer/.well-known/change-password")
    assert 'action="/restablecer/"' in page
    assert 'href="/restablecer/static/css/reset.css' in page
    assert 'src="/restablecer/captcha/' in page
    assert sent.location == "/restablecer/"
    assert visitor.client.get("/").status_code == 404


def test_script_for_portals_is_small_and_soon_renewed(visitor: Visitor) -> None:
    """Under 2 kB, at an address that never changes, so that it is asked for again each hour."""
    answer = visitor.client.get("/embed.js", buffered=True)
    assert len(answer.data) < 2000
    assert answer.mimetype == "text/javascript"
    assert answer.headers["Cache-Control"] == "public, max-age=3600"


def test_well_known_address_of_the_host_is_the_web_servers(make_app: Callable[..., Flask]) -> None:
    """Mounted under a path the service leaves what is above it alone."""
    app = make_app(public_url="http://localhost:5000/restablecer")
    assert app.test_client().get("/.well-known/change-password").status_code == 404


@pytest.mark.parametrize("path", ["/restablecer", "/restablecer//nueva/x", "/restablecer/lista/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_router_sends_nobody_on(make_app: Callable[..., Flask], path: str, method: str) -> None:
    """A slash too few or too many leads to no address that is made of the request's headers."""
    app = make_app(public_url="https://clave.example/restablecer", trusted_proxies=1)
    headers = {"Host": "clave.example:1337", "X-Forwarded-Proto": "http"}
    answer = app.test_client().open(path, method=method, headers=headers)
    found = 200 if method == "GET" else 400
    assert answer.location is None
    assert answer.status_code == (found if path == "/restablecer" else 404)


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "\t//evil.example", "https:evil", "javascript:evil()"],
)
def test_no_page_leads_where_it_is_told(visitor: Visitor, ana: int, target: str) -> None:
    """`next` and its relatives are ignored; ways back come from the settings."""
    link = visitor.link()
    told = dict.fromkeys(("next", "return_url", "redirect", "url"), target)
    answers = [
        visitor.client.get("/.well-known/change-password", query_string=told),
        visitor.client.post("/", query_string=told, data=_solved(visitor) | told),
        visitor.client.post("/nueva", query_string=told, data=_new_password(link) | told),
        visitor.client.get("/lista", query_string=told),
    ]
    assert [answer.status_code for answer in answers] == [302, 303, 303, 200]
    assert "evil" not in "".join(answer.text + str(answer.headers) for answer in answers)
    assert f'href="{PORTAL}/"' in answers[-1].text


def _solved(visitor: Visitor) -> dict[str, str]:
    challenge = visitor.challenge()
    return {"email": ADDRESS, "challenge": challenge, "captcha": captcha.answer(challenge, [KEY])}


def _new_password(link: str) -> dict[str, str]:
    token = link.rpartition("/")[2]
    return {"token": token, "password": NEW_PASSWORD, "confirm": NEW_PASSWORD}
