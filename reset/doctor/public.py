"""The public address as a visitor meets it, through name, certificate and proxies."""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from urllib.parse import urljoin, urlsplit

from reset.doctor import Case, headers, proxies
from reset.doctor.clock import apart
from reset.doctor.mail import WARN_DAYS, certificate_days
from reset.doctor.visit import FORGED_HOST, Reply, visit
from reset.findings import Finding
from reset.tokens import Tokens, new_id

FORM_BYTES = 16_000
_NOBODY = "nobody can ask for a new password, and links in mails lead nowhere"
_CHALLENGE = re.compile(r'name="challenge" value="([^"]+)"')


def check(case: Case) -> Iterator[Finding]:
    """Everything that can be seen from outside; counts as some attempts of this host."""
    try:
        first = visit(case, f"{case.settings.path}/")
        yield from _line(case, first)
        if first.seen is None or first.status != 200:
            yield _not_the_form(case, first)
            return
        yield Finding("ok", f"{case.settings.public_url}/ shows the form")
        parts = (proxies.check, headers.check, _files, _dead_ends, _names, _doors)
        # Without a client's address the service refuses nearly all, for that one reason.
        for part in parts if first.seen["address"] else parts[:1]:
            yield from part(case, first)
    except (OSError, http.client.HTTPException, ValueError) as error:
        yield _unreachable(case, error)


def _line(case: Case, first: Reply) -> Iterator[Finding]:
    """The certificate, and the clock of who answered."""
    if first.certificate:
        days = certificate_days(first.certificate)
        text = f"days until the certificate of {case.settings.host} expires: {days}"
        if days >= WARN_DAYS:
            yield Finding("ok", text)
        else:
            remedy = "certbot renew; systemctl list-timers | grep certbot"
            yield Finding(
                "warning", text, remedy, "then browsers show a warning in place of the form"
            )
    if first.first("Date"):
        yield apart("the public address", parsedate_to_datetime(first.first("Date")))
    if case.settings.public_url.startswith("https:"):
        yield _unencrypted(case)


def _unencrypted(case: Case) -> Finding:
    """What is answered to who types the name without https."""
    try:
        reply = visit(case, f"{case.settings.path}/", in_clear=True)
    except (OSError, http.client.HTTPException):
        return Finding("note", "nothing answers without https, not even a redirect")
    target = urlsplit(reply.first("Location"))
    if target.scheme == "https" and target.hostname == case.settings.host:
        return Finding("ok", "who comes without https is sent to https")
    if reply.seen is None and reply.status >= 400:
        return Finding("note", f"without https the answer is {reply.status}")
    text = f"without https the answer is {reply.status}, not a redirect to https"
    remedy = "server { listen 80; server_name NAME; return 308 https://$server_name$request_uri; }"
    why = "who listens on the way reads what is typed there, or changes the page"
    return Finding("fault", text, remedy.replace("NAME", case.settings.host), why)


def _unreachable(case: Case, error: Exception) -> Finding:
    url = case.settings.public_url
    host = case.settings.host
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"the certificate of {url} is not good: {error.verify_message}"
        remedy = f"certbot certificates; certbot renew; the name in it must be {host}"
        return Finding("fault", text, remedy, "browsers show a warning in place of the form")
    if isinstance(error, ssl.SSLError):
        text = f"{url} does not speak TLS as browsers do ({error.reason})"
        remedy = "in nginx: ssl_protocols TLSv1.2 TLSv1.3; and listen 443 ssl;"
        return Finding("fault", text, remedy, _NOBODY)
    if isinstance(error, OSError):
        cause = "no answer" if isinstance(error, TimeoutError) else error.strerror
        text = f"{url} cannot be reached from here ({cause or type(error).__name__})"
        remedy = f"systemctl status nginx restablecer-web; getent hosts {host}; see the firewall"
        return Finding("fault", text, remedy, _NOBODY)
    text = f"what answers at {url} does not speak HTTP as it should ({type(error).__name__})"
    return Finding("fault", text, "nginx -t; systemctl status nginx", _NOBODY)


def _not_the_form(case: Case, first: Reply) -> Finding:
    """Why the first page is not ours, or not the form."""
    path = case.settings.path
    upstream = "proxy_pass http://unix:/run/restablecer/web.sock;"
    if first.seen is None and _CHALLENGE.search(first.body):
        text = "the service there has other keys than this host, or another clock"
        remedy = (
            "systemctl restart restablecer-web restablecer-worker; all hosts need the same keys"
        )
        return Finding("fault", text, remedy, "links made by one process are refused by the other")
    if first.seen is not None and first.status == 404:
        text = f"the proxy takes {path or 'a part'} off the path: the service finds no such page"
        remedy = f"in nginx, without a path behind it: {upstream}"
        return Finding("fault", text, remedy, _NOBODY)
    if first.seen is not None and first.status == 400:
        text = "the service is not asked by its own name: the proxy passes another Host on"
        return Finding("fault", text, "in nginx: proxy_set_header Host $http_host;", _NOBODY)
    if first.seen is not None:
        text = f"the service answers {first.status} in place of the form"
        return Finding("fault", text, "journalctl -u restablecer-web -n 50", _NOBODY)
    if first.status in (301, 302, 303, 307, 308):
        text = f"the answer is a redirect to {first.first('Location')[:120]}"
        remedy = "set RESET_PUBLIC_URL to where the service really is, or take the redirect out"
        return Finding("fault", text, remedy, "RESET_PUBLIC_URL stands in every mail")
    if first.status in (502, 503, 504):
        text = f"the proxy answers {first.status}: it does not reach the service"
        remedy = f"systemctl status restablecer-web; in nginx: {upstream}"
        return Finding("fault", text, remedy, _NOBODY)
    text = f"what answers at {path}/ ({first.status}) is not this service"
    remedy = (
        "if the service is elsewhere correct RESET_PUBLIC_URL; else in nginx:"
        f" location {path}/ {{ {upstream} ... }} (deploy/nginx)"
    )
    return Finding("fault", text, remedy, _NOBODY)


def _files(case: Case, first: Reply) -> Iterator[Finding]:
    """What the form loads, and that each visitor gets letters of their own."""
    found = _CHALLENGE.search(first.body)
    challenge = found[1] if found else ""
    urls = case.parts.page_urls
    wanted = {
        urls["stylesheet_url"]: "text/css",
        urls["script_url"]: "javascript",
        f"{case.settings.path}/captcha/{challenge}.png": "image/png",
    }
    broken = []
    for url, kind in wanted.items():
        reply = visit(case, url)
        if reply.status != 200 or kind not in reply.first("Content-Type"):
            broken.append(f"{urlsplit(url).path.rpartition('/')[2][-12:]} ({reply.status})")
    if broken:
        text = f"the form comes without {', '.join(broken)}"
        remedy = f"pass all of {case.settings.path}/ on to the service, its files included"
        why = "the page is hard to read, or its letters are missing"
        yield Finding("fault", text, remedy, why)
    else:
        yield Finding("ok", "its stylesheet, script and picture load")
    again = _CHALLENGE.search(visit(case, f"{case.settings.path}/").body)
    if again and again[1] == challenge:
        text = "the proxy keeps the form and gives all visitors the same letters"
        remedy = "in nginx: take proxy_cache out, or proxy_ignore_headers"
        why = "letters are good once: the second visitor is refused"
        yield Finding("fault", text, remedy, why)
    else:
        yield Finding("ok", "each visitor gets letters of their own")


def _dead_ends(case: Case, first: Reply) -> Iterator[Finding]:
    """Pages of ours that are not 200 must arrive all the same."""
    path = case.settings.path
    # In the shape of a link, and signed for nothing.
    link = Tokens([new_id().hex()], "nobody").make(new_id(), now=case.parts.clock())
    for page, status in ((f"{path}/nueva/{link}", 410), (f"{path}/enviada/doctor", 404)):
        reply = visit(case, page)
        what = page.removeprefix(path).split("/")[1]
        if reply.status == status and reply.seen is not None:
            yield Finding("ok", f"/{what}/ answers {status} with our page")
        elif reply.status == 429:
            yield Finding("note", f"/{what}/ was asked too often to tell", "try again in a minute")
        else:
            text = f"/{what}/... answers {reply.status}, not with our page ({status})"
            remedy = (
                "in nginx: take out proxy_intercept_errors and error_page for these, and"
                f" regular expressions that catch the path: location ^~ {path}/ {{ ... }}"
            )
            why = "who follows an old link must be told so, and how to get a new one"
            yield Finding("fault", text, remedy, why)
    large = visit(case, f"{path}/healthz", method="POST", body=b"x" * FORM_BYTES)
    if large.seen is not None:
        yield Finding("ok", "forms pass the proxy")
    else:
        text = f"the proxy answers a form of {FORM_BYTES // 1000} kB with {large.status}"
        remedy = "in nginx: client_max_body_size 1m; tail /var/log/nginx/error.log"
        yield Finding("fault", text, remedy, "a long password ends in an error")


def _names(case: Case, first: Reply) -> Iterator[Finding]:
    """Addresses that others know us by, and those that are forged."""
    home = f"{case.settings.public_url}/"
    path = f"{case.settings.path}/.well-known/change-password"
    reply = visit(case, path)
    if reply.status == 302 and urljoin(home, reply.first("Location")).startswith(home):
        yield Finding("ok", "password managers find the form")
    else:
        text = f"/.well-known/change-password answers {reply.status}"
        remedy = (
            f"in nginx: location ^~ {case.settings.path}/ {{ ... }}, before rules such as ~ /\\."
        )
        yield Finding("warning", text, remedy, "password managers send people there")
    try:
        forged = visit(case, f"{case.settings.path}/", headers={"Host": FORGED_HOST})
    except (OSError, http.client.HTTPException):
        yield Finding("ok", "another Host is refused")
        return
    if FORGED_HOST in forged.body or FORGED_HOST in forged.first("Location"):
        text = "a forged Host comes back in the answer"
        remedy = "in nginx: server { listen 443 ssl default_server; ssl_reject_handshake on; }"
        why = "caches and scanners take the forged name for ours"
        yield Finding("fault", text, remedy, why)
    else:
        yield Finding("ok", f"another Host gets {forged.status}, and no link to it")


def _doors(case: Case, first: Reply) -> Iterator[Finding]:
    """What is not for visitors."""
    metrics = visit(case, f"{case.settings.path}/metrics")
    mine = ip_address(first.seen["address"] if first.seen else "")
    if metrics.status == 200 and any(mine in one for one in case.settings.metrics_allow):
        yield Finding("note", "/metrics can be read from this host, as RESET_METRICS_ALLOW says")
    elif metrics.status == 200:
        text = "/metrics can be read from here"
        remedy = f"in nginx: location = {case.settings.path}/metrics {{ return 404; }}"
        why = "it tells strangers how many people ask, and when"
        yield Finding("warning", text, remedy, why)
    else:
        yield Finding("ok", f"/metrics answers {metrics.status} from here")
    desk = visit(case, f"{case.settings.path}/ayuda/")
    if desk.status in (401, 403, 404):
        yield Finding("ok", f"/ayuda/ answers {desk.status} from here")
    else:
        text = "the help desk's door can be reached from here"
        remedy = (
            f"in nginx: location {case.settings.path}/ayuda/ {{ allow 10.0.0.0/8; deny all; ... }}"
        )
        yield Finding("note", text, remedy, "it is for the office only")
    if re.search(r"\d", first.first("Server")):
        text = f"the proxy tells its version ({first.first('Server')[:40]})"
        yield Finding(
            "note", text, "in nginx: server_tokens off;", "it helps to find its weak spots"
        )
