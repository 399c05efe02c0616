"""`flask reset doctor --from-outside`: the service behind a real nginx, set up well and badly."""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from app import create_app
from reset.doctor import visit
from tests.conftest import Portal, program
from tests.servers import free_port
from tests.servers.certificates import Authority, Certificate
from tests.servers.nginx import nginx
from tests.servers.service import Host, until
from tests.servers.service import settings as service_settings
from tests.test_doctor import Clinic, clinic, doctor, findings, mailbox, the_one

__all__ = ["clinic", "mailbox"]

PROXY = """
        proxy_pass http://127.0.0.1:{backend};
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
"""
SITE = """
    server {{
        listen 127.0.0.1:{plain};
        server_name localhost;
        return 308 https://localhost:{port}$request_uri;
    }}
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name localhost;
        server_tokens off;
        ssl_certificate {certificate.cert};
        ssl_certificate_key {certificate.key};
        location ^~ /restablecer/ {{
            {proxy}
        }}
        location / {{ return 404; }}
    }}
"""


@dataclass
class Place:
    """Where the service is reached: through nginx on *port*, in clear on *plain*."""

    app: Flask
    port: int
    plain: int
    backend: int


class Street:
    """Puts the service behind nginx; keywords change its settings."""

    def __init__(self, clinic: Clinic, folder: Path, authority: Authority) -> None:
        self._clinic = clinic
        self._folder = folder
        self.authority = authority
        self.nginx = program("the tests behind nginx", "nginx", "nginx")

    @contextmanager
    def serving(
        self,
        site: str = SITE,
        proxy: str = PROXY,
        *,
        certificate: Certificate | None = None,
        **changes: Any,
    ) -> Iterator[Place]:
        """The service behind *site*, of which *proxy* is how a request is passed on."""
        port, plain, backend = free_port(), free_port(), free_port()
        url = f"https://localhost:{port}/restablecer"
        app = self._clinic.app(**{"public_url": url, "trusted_proxies": 1, **changes})
        certificate = certificate or self.authority.sign("DNS:localhost")
        folder = self._folder / "nginx"
        names = {
            "port": port,
            "plain": plain,
            "backend": backend,
            "certificate": certificate,
            "folder": folder,
        }
        text = site.format(**names, proxy=proxy.format(**names))
        server = make_server("127.0.0.1", backend, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            with nginx(self.nginx, folder, text, port):
                yield Place(app, port, plain, backend)
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@pytest.fixture
def street(
    clinic: Clinic, tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> Street:
    """The doctor trusts the tests' own authority."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert))
    return Street(clinic, tmp_path, authority)


def outside(place: Place, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[dict[str, str]]:
    """What the doctor finds from outside; port 80 is nginx' plain one."""
    monkeypatch.setattr(visit, "HTTP_PORT", place.plain)
    return findings(place.app, "--from-outside", *arguments)


def test_good_site_is_one_line(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS, path, headers and addresses are as they should be; certificates of tests last a day."""
    monkeypatch.setattr("reset.doctor.public.WARN_DAYS", 0)
    with street.serving() as place:
        monkeypatch.setattr(visit, "HTTP_PORT", place.plain)
        told = doctor(place.app, "--from-outside")
        shown = doctor(place.app, "--from-outside", "--verbose").stdout
    assert told.stdout.startswith("all is well: ")
    assert told.stdout.count("\n") == 1
    for line in (
        "public address: who comes without https is sent to https",
        "public address: its stylesheet, script and picture load",
        "public address: the service sees this host by its own address, 127.0.0.1",
        "security headers arrive as they are sent",
        "public address: /nueva/ answers 410 with our page",
        "public address: password managers find the form",
        "public address: forms pass the proxy",
    ):
        assert f"ok       {line}" in shown or f" {line}" in shown


def _with(directive: str) -> str:
    return f"{PROXY}\n        {directive}\n"


def _without(directive: str) -> str:
    return "\n".join(line for line in PROXY.splitlines() if directive not in line)


# The site and how requests are passed on, the settings, what is said of it, and the remedy.
MISTAKES: Mapping[str, tuple[dict[str, Any], str, str, str]] = {
    "path taken off": (
        {"proxy": PROXY.replace("{backend};", "{backend}/;")},
        "fault",
        "the proxy takes /restablecer off the path",
        "proxy_pass http://unix:/run/restablecer/web.sock;",
    ),
    "other location": (
        {"site": SITE.replace("^~ /restablecer/", "^~ /clave/")},
        "fault",
        "what answers at /restablecer/ (404) is not this service",
        "correct RESET_PUBLIC_URL; else in nginx: location /restablecer/ {",
    ),
    "service that is down": (
        {"proxy": PROXY.replace("{backend}", "1")},
        "fault",
        "the proxy answers 502: it does not reach the service",
        "systemctl status restablecer-web",
    ),
    "redirect elsewhere": (
        {"proxy": "return 301 https://www.caja.test/;"},
        "fault",
        "the answer is a redirect to https://www.caja.test/",
        "set RESET_PUBLIC_URL to where the service really is",
    ),
    "one proxy counted twice": (
        {
            "proxy": PROXY.replace("$remote_addr", "$proxy_add_x_forwarded_for"),
            "trusted_proxies": 2,
        },
        "fault",
        "a visitor can choose the address that limits are counted for (RESET_TRUSTED_PROXIES=2)",
        "RESET_TRUSTED_PROXIES=1, then restart web",
    ),
    "proxy that is not counted": (
        {"trusted_proxies": 0},
        "fault",
        "proxies that tell the visitor's address: 1, trusted ones: 0",
        "RESET_TRUSTED_PROXIES=1, then restart web",
    ),
    "two counted where one is": (
        {"trusted_proxies": 2},
        "fault",
        "proxies that tell the visitor's address: 1, trusted ones: 2",
        "RESET_TRUSTED_PROXIES=1, then restart web",
    ),
    "address passed through": (
        {"proxy": _without("X-Forwarded-For")},
        "fault",
        "a visitor can choose the address that limits are counted for",
        "proxy_set_header X-Forwarded-For $remote_addr;",
    ),
    "address left out": (
        {"proxy": PROXY.replace("X-Forwarded-For $remote_addr", 'X-Forwarded-For ""')},
        "fault",
        "the proxy does not tell the visitor's address (seen: 127.0.0.1)",
        "proxy_set_header X-Forwarded-For $remote_addr;",
    ),
    "address of an inner proxy": (
        {"proxy": PROXY.replace("$remote_addr", "127.0.0.9")},
        "fault",
        "the service sees 127.0.0.9 in place of this host's address, 127.0.0.1",
        "proxy_set_header X-Forwarded-For $remote_addr;",
    ),
    "scheme left out": (
        {"proxy": PROXY.replace("X-Forwarded-Proto $scheme", 'X-Forwarded-Proto ""')},
        "warning",
        "the service believes that visitors come by http",
        "proxy_set_header X-Forwarded-Proto $scheme;",
    ),
    "host not passed on": (
        {"proxy": _without("Host $http_host")},
        "warning",
        "not for localhost:",
        "proxy_set_header Host $http_host;",
    ),
    "host that is refused": (
        {"proxy": PROXY.replace("Host $http_host", "Host rc_app")},
        "fault",
        "the service is not asked by its own name",
        "proxy_set_header Host $http_host;",
    ),
    "second policy": (
        {"proxy": _with("add_header Content-Security-Policy \"default-src 'self'\" always;")},
        "fault",
        "Content-Security-Policy arrives 2 times: the proxy adds its own",
        "in nginx: take out add_header Content-Security-Policy",
    ),
    "frames forbidden": (
        {"proxy": _with("add_header X-Frame-Options SAMEORIGIN always;")},
        "warning",
        "the proxy adds X-Frame-Options: SAMEORIGIN",
        "in nginx: take out add_header X-Frame-Options",
    ),
    "header taken away": (
        {"proxy": _with("proxy_hide_header Referrer-Policy;")},
        "fault",
        "Referrer-Policy does not arrive",
        "in nginx: take out proxy_hide_header Referrer-Policy",
    ),
    "header changed": (
        {
            "proxy": _with(
                "proxy_hide_header Referrer-Policy; add_header Referrer-Policy no-referrer always;"
            )
        },
        "fault",
        "Referrer-Policy arrives changed: no-referrer",
        "take out what sets Referrer-Policy",
    ),
    "cookie": (
        {"proxy": _with('add_header Set-Cookie "host=7";')},
        "warning",
        "the proxy sets a cookie",
        "any host serves any step",
    ),
    "pages kept": (
        {
            "site": "    proxy_cache_path {folder}/cache keys_zone=kept:1m;\n" + SITE,
            "proxy": _with(
                "proxy_cache kept; proxy_cache_valid 200 1m; proxy_cache_key $uri;"
                " proxy_ignore_headers Cache-Control;"
            ),
        },
        "fault",
        "the proxy keeps the form and gives all visitors the same letters",
        "take proxy_cache out",
    ),
    "page of errors replaced": (
        {"proxy": _with("proxy_intercept_errors on; error_page 410 =404 /gone;")},
        "fault",
        "/nueva/... answers 404, not with our page (410)",
        "take out proxy_intercept_errors",
    ),
    "names with a dot refused": (
        {
            "site": SITE.replace("^~ /restablecer/", "/restablecer/").replace(
                "location / {{", "location ~ /\\. {{ deny all; }} location / {{"
            )
        },
        "warning",
        "/.well-known/change-password answers 403",
        "location ^~ /restablecer/",
    ),
    "files not passed on": (
        {
            "site": SITE.replace(
                "location / {{",
                "location ^~ /restablecer/static/ {{ root /nowhere; }} location / {{",
            )
        },
        "fault",
        "the form comes without reset.js (404)",
        "pass all of /restablecer/ on to the service",
    ),
    "small forms only": (
        {"proxy": _with("client_max_body_size 8k;")},
        "fault",
        "the proxy answers a form of 16 kB with 413",
        "client_max_body_size 1m;",
    ),
    "operator that a visitor names": (
        {"help_desk_user_header": "X-Remote-User"},
        "fault",
        "whoever sends X-Remote-User is taken for the operator that it names",
        'proxy_set_header X-Remote-User "";',
    ),
    "figures under another path": (
        {"proxy": _with("if ($uri ~ /metrics$) {{ return 200 figures; }}")},
        "warning",
        "/metrics can be read from here",
        "location = /restablecer/metrics { return 404; }",
    ),
    "form in clear": (
        {
            "site": SITE.replace(
                "return 308 https://localhost:{port}$request_uri;", "location / {{ {proxy} }}"
            )
        },
        "fault",
        "without https the answer is 200, not a redirect to https",
        "return 308 https://$server_name$request_uri;",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_in_the_site_is_found(
    street: Street, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    """It alone is told, with why it matters and what to write instead."""
    monkeypatch.setattr("reset.doctor.public.WARN_DAYS", 0)
    site, level, text, remedy = MISTAKES[mistake]
    with street.serving(**site) as place:
        found = outside(place, monkeypatch)
    finding = the_one(found)
    assert finding["subject"] == "public address"
    assert text in finding["text"]
    assert remedy in finding["remedy"]
    assert finding["level"] == level


CERTIFICATES: Mapping[str, tuple[Callable[[Authority], Certificate], str, str]] = {
    "soon to expire": (
        lambda authority: authority.sign("DNS:localhost"),
        "days until the certificate of localhost expires: 1",
        "certbot renew",
    ),
    "expired": (
        lambda authority: authority.sign("DNS:localhost", before=[_faketime(), "2020-01-01"]),
        "is not good: certificate has expired",
        "certbot renew",
    ),
    "for another name": (
        lambda authority: authority.sign("DNS:otra.caja.test"),
        "is not good: Hostname mismatch",
        "the name in it must be localhost",
    ),
    "of nobody known": (
        lambda authority: authority.leave_unsigned("DNS:localhost"),
        "is not good: self-signed certificate",
        "certbot certificates",
    ),
}


def _faketime() -> str:
    return program("the tests with certificates that expired", "faketime", "faketime")


@pytest.mark.parametrize("certificate", CERTIFICATES)
def test_certificate_that_browsers_do_not_like(
    street: Street, monkeypatch: pytest.MonkeyPatch, certificate: str
) -> None:
    """In words, before visitors see a warning in place of the form."""
    make, text, remedy = CERTIFICATES[certificate]
    with street.serving(certificate=make(street.authority)) as place:
        finding = the_one(outside(place, monkeypatch))
    assert text in finding["text"]
    assert remedy in finding["remedy"]
    assert "browsers show a warning" in finding["why"]


def test_old_tls(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """What browsers do not speak any more, we do not speak, either."""
    old = "ssl_protocols TLSv1 TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0; server_tokens off;"
    with street.serving(SITE.replace("server_tokens off;", old)) as place:
        finding = the_one(outside(place, monkeypatch))
    assert "does not speak TLS as browsers do" in finding["text"]
    assert "ssl_protocols TLSv1.2 TLSv1.3;" in finding["remedy"]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://localhost:1/restablecer", "cannot be reached from here (Connection refused)"),
        ("https://clave.invalid", "https://clave.invalid cannot be reached from here (Name or"),
    ],
    ids=["port", "name"],
)
def test_nobody_is_there(clinic: Clinic, url: str, text: str) -> None:
    """A wrong name, or an nginx that is down."""
    finding = the_one(findings(clinic.app(public_url=url), "--from-outside"))
    assert text in finding["text"]
    assert "systemctl status nginx" in finding["remedy"]


def test_web_with_other_keys(
    street: Street, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key was changed in the file, and web not started anew."""
    monkeypatch.setattr("reset.doctor.public.WARN_DAYS", 0)
    with street.serving() as place:
        settings = place.app.extensions["reset"].settings
        keys = (secrets.token_urlsafe(48),)
        here = clinic.app(secret_keys=keys, public_url=settings.public_url, trusted_proxies=1)
        finding = the_one(outside(replace(place, app=here), monkeypatch))
    assert finding["text"] == "the service there has other keys than this host, or another clock"
    assert "systemctl restart restablecer-web" in finding["remedy"]


def test_forged_host_that_comes_back(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect that follows whatever name was asked for."""
    monkeypatch.setattr("reset.doctor.public.WARN_DAYS", 0)
    redirect = "if ($host != localhost) {{ return 301 https://$host/restablecer/; }}"
    with street.serving(SITE.replace("server_tokens", f"{redirect} server_tokens")) as place:
        finding = the_one(outside(place, monkeypatch))
    assert finding["text"] == "a forged Host comes back in the answer"
    assert "default_server" in finding["remedy"]


def test_not_seen_from_outside_unless_asked(clinic: Clinic) -> None:
    """Nothing leaves this machine but for the servers that are set."""
    assert "public address" not in {one["subject"] for one in clinic.examine()}


SOCKET = PROXY.replace("http://127.0.0.1:{backend}", "http://unix:{socket}")


@pytest.mark.parametrize(
    ("proxy", "trusted", "told"),
    [
        (SOCKET, "1", "all is well: "),
        (
            SOCKET.replace("X-Forwarded-For $remote_addr", 'X-Forwarded-For ""'),
            "0",
            "the proxy does not tell the visitor's address (seen: nothing)",
        ),
    ],
    ids=["healthy", "nobody's address"],
)
def test_whole_installation(
    street: Street,
    tmp_path: Path,
    portal: Portal,
    mailbox: int,
    monkeypatch: pytest.MonkeyPatch,
    proxy: str,
    trusted: str,
    told: str,
) -> None:
    """gunicorn on a UNIX socket behind nginx, a worker, a mail server: as the manual has it."""
    monkeypatch.setattr("reset.doctor.public.WARN_DAYS", 0)
    port, plain = free_port(), free_port()
    monkeypatch.setattr(visit, "HTTP_PORT", plain)
    environ = {
        "RESET_SECRET_KEYS": secrets.token_urlsafe(48),
        "RESET_PUBLIC_URL": f"https://localhost:{port}/restablecer",
        "RESET_DATABASE_URL": f"sqlite:///{tmp_path}/state.sqlite",
        "RESET_ACCOUNTS_URL": f"sqlite:///{portal.path}",
        "RESET_MAIL_PORT": str(mailbox),
        "RESET_TRUSTED_PROXIES": trusted,
    }
    web = tmp_path / "web.sock"
    certificate = street.authority.sign("DNS:localhost")
    passed = proxy.format(socket=web)
    site = SITE.format(port=port, plain=plain, certificate=certificate, proxy=passed)
    with Host(tmp_path, environ, web_workers=1) as host:
        host.start(sys.executable, "-m", "gunicorn", "--bind", f"unix:{web}")
        host.start_worker()
        with nginx(street.nginx, tmp_path / "nginx", site, port):
            app = create_app(service_settings(environ))
            until(lambda: "workers that are alive: 1" in doctor(app, "--verbose").stdout)
            until(web.exists)
            found = doctor(app, "--from-outside")
    app.extensions["reset"].database.close()
    assert told in found.stdout
    assert found.stdout.count("\n") == (1 if "all is well" in told else 4)
