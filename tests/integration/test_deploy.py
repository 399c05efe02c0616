"""nginx with the shipped files before the service: at the root of a host, and beside a portal."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import select
import signal
import socket
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import expect

from reset.captcha import answer
from tests.browser.conftest import PHONE, Opener, new_context  # noqa: F401 - a fixture
from tests.conftest import ADDRESS, KEY, NEW_PASSWORD, Portal, hidden, program
from tests.servers.certificates import Authority
from tests.servers.front import OWN_HOST, PORTAL, Front
from tests.servers.service import Host, until
from tests.servers.smtp import Sink, link_in, serving, text_of

TOKEN = "t0k3n-" + "s3cr3t" * 8
PATHS = {"root": ("", OWN_HOST), "portal": ("/restablecer", PORTAL)}
A_MINUTE_AT_MOST = 100
LOCALHOST = "localhost"
BELIEVED = (
    *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Prefix", "Forwarded"),
    *("X-Remote-User", "X-Request-ID"),
)
CLAIMS = (*BELIEVED, "X-Real-IP", "X-Client-IP", "True-Client-IP")
Make = Callable[..., Front]


class Office:
    """The whole service behind nginx: portal, mail server, web and worker."""

    def __init__(self, front: Front, host: Host, portal: Portal, sink: Sink) -> None:
        self.front = front
        self.host = host
        self.portal = portal
        self.sink = sink
        self.web = front.start_web(host)
        host.start_worker()

    def link(self) -> str:
        """Where the newest mail with a link leads."""
        until(lambda: self.sink.envelopes and link_in(self.sink.mail()))
        return link_in(self.sink.mail())


@pytest.fixture(scope="module")
def make_front(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """A front, running; its folder."""
    found = program("the tests of deploy/", "nginx", "nginx")
    with ExitStack() as stack:

        def make(kind: str, patience: str = "") -> Front:
            path, site = PATHS[kind]
            folder = tmp_path_factory.mktemp("front") / "nginx"
            front = Front(folder, authority, path=path, site=site, patience=patience)
            return stack.enter_context(front.running(found))

        yield make


@pytest.fixture(scope="module", params=list(PATHS))
def office(
    request: pytest.FixtureRequest, make_front: Make, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Office]:
    # A busy machine takes longer than nginx would wait.
    front, sink = make_front(request.param, "300s"), Sink()
    folder = tmp_path_factory.mktemp("office")
    portal = Portal(folder / "portal.sqlite")
    portal.add()
    with serving(sink) as smtp:
        settings = {
            "RESET_PUBLIC_URL": front.url,
            "RESET_TRUSTED_PROXIES": "1",
            "RESET_DATABASE_URL": f"sqlite:///{folder}/reset.sqlite",
            "RESET_ACCOUNTS_URL": f"sqlite:///{portal.path}",
            "RESET_MAIL_PORT": str(smtp),
            "RESET_LIMIT_PER_IP": f"{A_MINUTE_AT_MOST} per minute",
            "RESET_LIMIT_PER_ADDRESS": "1000 per hour",
        }
        with Host(folder, settings, web_workers=1) as host:
            yield Office(front, host, portal, sink)


@pytest.fixture(params=list(PATHS))
def lonely(request: pytest.FixtureRequest, make_front: Make) -> Front:
    """nginx with nobody behind it."""
    return make_front(request.param)


def test_way_of_a_visitor(office: Office, new_context: Opener) -> None:  # noqa: F811
    """From the form to the new password, in a browser to which nothing is missing."""
    page = new_context(viewport=PHONE, ignore_https_errors=True).new_page()
    answers: list[int] = []
    page.on("response", lambda response: answers.append(response.status))
    page.goto(f"{office.front.url}/")
    page.get_by_label("Email").fill(ADDRESS)
    letters = answer(page.locator("input[name=challenge]").input_value(), [KEY])
    page.get_by_label("Captcha").fill(letters)
    page.get_by_role("button", name="Enviar Solicitud").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Solicitud recibida")
    link = office.link()
    page.goto(office.front.url + link)
    for label in ("Nueva Contraseña", "Confirmar Contraseña"):
        page.get_by_label(label, exact=True).fill(NEW_PASSWORD)
    page.get_by_role("button", name="Actualizar Contraseña").click()
    expect(page).to_have_url(f"{office.front.url}/lista")
    assert office.portal.lets_in(1, NEW_PASSWORD)
    assert {status for status in answers if status >= 400} == set()
    until(lambda: "GET /lista 200" in office.front.logs.replace(office.front.path, ""))
    assert link.rpartition("/")[2] not in office.front.logs + office.host.log


def test_visitor_cannot_say_who_asks(office: Office) -> None:
    """Whatever a client claims, its attempts count as those of its own address."""
    with office.front.client("127.0.0.50") as client, office.front.client("127.0.0.51") as other:
        statuses = [
            client.get("/nueva/x", dict.fromkeys(CLAIMS, f"10.0.0.{n}")).status
            for n in range(A_MINUTE_AT_MOST + 1)
        ]
        assert statuses == [410] * A_MINUTE_AT_MOST + [429]
        assert other.get("/nueva/x").status == 410


def test_visitor_cannot_say_where_links_lead(office: Office) -> None:
    """A mail's link begins with the public address, whatever a client claims."""
    forged = dict.fromkeys(CLAIMS, "evil.example") | {"X-Forwarded-Proto": "http"}
    before = len(office.sink.envelopes)
    with office.front.client() as client:
        assert client.ask(headers=forged).status == 303
    until(lambda: len(office.sink.envelopes) > before)
    assert f" {office.front.url}/nueva/" in " ".join(text_of(office.sink.mail()).split())


def test_headers_reach_the_service_from_nginx_alone(lonely: Front) -> None:
    """What the service may believe is what nginx knows, and never a visitor's word."""
    claims = dict.fromkeys(BELIEVED, "forged")
    with lonely.echo(), lonely.client() as client:
        head = client.get("/nueva", claims).body
    assert "forged" not in head
    assert f"Host: localhost:{lonely.port}\r\n" in head
    assert "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: https\r\n" in head
    found = re.search(r"X-Request-ID: (\w{32})\r\n", head)
    assert found
    until(lambda: found[1] in lonely.logs)


def test_user_that_nginx_has_verified_reaches_the_service(make_front: Make) -> None:
    """One line in a location with a sign-in hands the name over, in place of what was claimed."""
    front = make_front("portal")
    password = base64.b64encode(b"ana:secreta").decode()
    claims = {"X-Remote-User": "forged", "Authorization": f"Basic {password}"}
    with front.echo(), front.client() as client:
        assert client.get("/ayuda/", {"X-Remote-User": "forged"}).status == 401
        head = client.get("/ayuda/", claims).body
    assert re.findall(r"X-Remote-User: (.*)\r\n", head) == ["ana"]


def test_headers_of_pages_are_the_services(office: Office) -> None:
    """nginx, and the portal's server above, add none and double none."""
    with office.front.client() as client:
        headers = client.get("/").headers
    names = Counter(name.lower() for name, _ in headers)
    assert names["content-security-policy"] == 1
    assert names["strict-transport-security"] == 1
    assert max(names.values()) == 1
    assert dict(headers)["Server"] == "nginx"


@pytest.mark.parametrize("office", ["root"], indirect=True)
def test_operator_signs_in(office: Office) -> None:
    """The one cookie, which a browser takes over TLS alone, holds behind nginx."""
    flask = f"{sys.executable} -m flask --app app reset operators add marta"
    office.host.run("sh", "-c", f"echo {NEW_PASSWORD} | {flask}")
    with office.front.client() as client:
        door = client.get("/ayuda/entrar")
        cookie = {"Cookie": dict(door.headers)["Set-Cookie"].partition(";")[0]}
        token = hidden(door.body, "csrf_token")
        desk = client.post(
            "/ayuda/entrar", cookie, csrf_token=token, name="marta", password=NEW_PASSWORD
        )
        given = dict(desk.headers)["Set-Cookie"]
        assert given.startswith("__Host-")
        assert client.get("/ayuda/", {"Cookie": given.partition(";")[0]}).status == 200


def test_figures_are_not_for_visitors(office: Office) -> None:
    """Whatever address they claim."""
    with office.front.client() as client:
        assert client.get("/metrics", dict.fromkeys(BELIEVED, "127.0.0.1")).status == 404


def test_too_large_form_gets_the_services_page(office: Office) -> None:
    """Not nginx's: in the visitor's words, and with a way on."""
    with office.front.client() as client:
        got = client.post("/", email="a" * 100_000)
    assert got.status == 413
    assert "Hanna" in got.body


def test_slow_visitors_hinder_nobody(office: Office) -> None:
    """Thirty forms that never end wait at nginx, and not at the service."""
    form = f"POST {office.front.path}/ HTTP/1.1\r\nHost: {LOCALHOST}\r\nContent-Length: 99\r\n\r\nx"
    with ExitStack() as stack:
        lines = [stack.enter_context(office.front.line()) for _ in range(30)]
        for line in lines:
            line.sendall(form.encode())
        with office.front.client() as client:
            assert client.ask("nadie@example.com").status == 303
        # None of them was given up first.
        assert select.select(lines, [], [], 0)[0] == []


@pytest.mark.parametrize("office", ["portal"], indirect=True)
def test_restarts_fail_nobody(office: Office) -> None:
    """A reload, and a restart behind the held socket, while visitors keep asking."""
    over, statuses = threading.Event(), Counter[int]()

    def keep_asking(number: int) -> None:
        for turn in itertools.count():
            with office.front.client(f"127.0.{number}.{turn % 250 + 1}") as client:
                statuses.update([client.ask(f"nadie{turn}@example.com").status])
            if over.is_set():
                return

    threads = [threading.Thread(target=keep_asking, args=[number]) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    until(lambda: statuses.total() >= 10)  # A signal before its first answer would end it.
    old = office.host.web_children(office.web)
    office.web.send_signal(signal.SIGHUP)
    until(lambda: (now := office.host.web_children(office.web)) and not {*now} & {*old})
    office.host.kill(office.web, signal.SIGTERM)
    office.web = office.front.start_web(office.host)
    until(lambda: office.host.web_children(office.web))
    asked = statuses.total()
    until(lambda: statuses.total() >= asked + 50)
    over.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {303}


def test_page_of_nginx_while_the_service_is_away(lonely: Front) -> None:
    """Words for the visitor, also for a form that was sent, and when to come back."""
    lonely.socket.close()
    with lonely.client() as client:
        for got in (client.get("/"), client.post("/nueva", token=TOKEN)):
            assert got.status == 503
            assert dict(got.headers)["Retry-After"] == "30"
            assert "vuelva a intentarlo" in got.body
    style = re.search("<style>(.*)</style>", got.body, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in dict(got.headers)["Content-Security-Policy"]


@pytest.mark.parametrize("kind", list(PATHS))
def test_no_log_has_a_link(make_front: Make, kind: str) -> None:
    """Not when nobody answers, the service is gone, requests are malformed or too many."""
    front = make_front(kind, "1s")
    path, host = front.path, f"Host: {LOCALHOST}\nConnection: close\n"
    link = f"{path}/nueva/{TOKEN}"
    spelled = [
        link,
        f"{path}/no-fui-yo/{TOKEN}",
        f"{path}//nueva//{TOKEN}",
        f"{path}/%6eueva/{TOKEN}",
        f"{path}/x/../NUEVA/{TOKEN}",
        f"{path}/nueva/{TOKEN}/nueva/{TOKEN}",
        f"{path}/nueva/%0a{TOKEN}",
        f"{path}/%0a/nueva/{TOKEN}",
        f"{path}/?a={TOKEN}",
    ]
    referer = f"Referer: {front.url}/nueva/{TOKEN}\n"
    sound = [f"GET {one} HTTP/1.1\n{host}{referer}\n" for one in spelled]
    malformed = [
        f"POST {link} HTTP/1.1\n{host}Content-Length: 9\n\n1234",
        f"POST {link} HTTP/1.1\n{host}Content-Length: 2000000\n\n",
        f"GET {link} HTTP/1.1\n{host}Bad header\n\n",
        f"GET {link} HTTP/1.1\nHost: a\nHost: b\nConnection: close\n\n",
        f"GET {link} and more HTTP/1.1\n{host}\n",
        f"GET {link} HTTP/9.9\n{host}\n",
        f"GET {link}%00 HTTP/1.1\n{host}\n",
        f"GET {link}{'x' * 9000} HTTP/1.1\n{host}\n",
        f"GET {link} HTTP/1.1\n{host}Cookie: {'x' * 9000}\n\n",
        f"{link}\n\n",
    ]
    with front.echo():
        said = [front.said(one) for one in sound + malformed]
    said.append(front.said(sound[0]))  # Nobody answers.
    said.append(front.said(sound[0], front.port))  # Without TLS.
    front.socket.close()
    said += [front.said(one) for one in sound]
    with front.client() as client:
        refused = {client.get(f"/nueva/{TOKEN}").status for _ in range(300)}
    assert {one.partition(" ")[2][:3] for one in said} >= {"200", "400", "413", "414", "503"}
    assert 429 in refused
    until(lambda: " 429 " in front.logs)
    assert TOKEN not in front.logs


def test_plain_address_leads_to_https_and_is_logged_without_its_link(make_front: Make) -> None:
    """Somebody may type http, and what follows."""
    front = make_front("root")
    host = "Host: localhost\nConnection: close\n"
    front.said(f"GET /nueva/{TOKEN} HTTP/1.1\nBad header\n{host}\n", front.http_port)
    answer = front.said(f"GET /nueva/{TOKEN} HTTP/1.1\n{host}\n", front.http_port)
    assert f"Location: {front.url}/nueva/{TOKEN}\r\n" in answer
    until(lambda: "GET /nueva/- 308" in front.logs)
    assert TOKEN not in front.logs


def test_foreign_names_get_nothing(make_front: Make) -> None:
    """Neither by TLS's name for a host nor by that of the request."""
    front = make_front("root")
    with (
        pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"),
        socket.create_connection(("127.0.0.1", front.port), 60) as line,
    ):
        front.tls.wrap_socket(line, server_hostname="evil.example")
    for port in (0, front.http_port):
        answer = front.said("GET / HTTP/1.1\nHost: evil.example\nConnection: close\n\n", port)
        assert answer.startswith("HTTP/1.1 421 ")
        assert "evil" not in answer


def test_certificate_authority_finds_its_proof(make_front: Make) -> None:
    """A renewal works while the service has the host: over http, from nginx's usual folder."""
    front = make_front("root")
    proof = front.folder / ".well-known" / "acme-challenge" / "x"
    proof.parent.mkdir(parents=True)
    proof.write_text("proof")
    path = "/.well-known/acme-challenge/x"
    answer = front.said(
        f"GET {path} HTTP/1.1\nHost: localhost\nConnection: close\n\n", front.http_port
    )
    assert answer.endswith("proof")


def test_addresses_beside_the_service(make_front: Make) -> None:
    """Password managers find the form; all else on the host is the portal's."""
    front = make_front("portal")
    for path, status in [
        ("/.well-known/change-password", "302"),
        ("/restablecer", "308"),
        ("/restablecerse", "200"),
        ("/", "200"),
        ("/restablecer/_caida.html", "404"),
    ]:
        said = front.said(f"GET {path} HTTP/1.1\nHost: {LOCALHOST}\nConnection: close\n\n")
        assert said.split(" ")[1] == status, path
