"""What the proxies tell the service of a visitor, and whether a visitor can tell it otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from reset.doctor import Case
from reset.doctor.visit import FORGED_HOST, Reply, visit
from reset.findings import Finding
from reset.loopback import is_loopback

# An address that belongs to nobody. Source: RFC 5737.
FORGED = "203.0.113.77"
_LIES = {
    "X-Forwarded-For": FORGED,
    "X-Real-IP": FORGED,
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Host": FORGED_HOST,
    "X-Forwarded-Prefix": "/forged",
    "Forwarded": f"for={FORGED};host={FORGED_HOST};proto=gopher",
}
_OVERWRITE = "in nginx, the outermost: proxy_set_header X-Forwarded-For $remote_addr;"
_FORGED_USER = "forged-operator"
_SHARED = "all visitors look like one: soon everybody is told to wait"


def check(case: Case, first: Reply) -> Iterator[Finding]:
    """Compare what the service saw of us, plain and with forged headers."""
    forged = visit(case, f"{case.settings.path}/", headers=_LIES)
    if first.seen is None or forged.seen is None:
        text = f"a request with forged X-Forwarded headers is answered {forged.status}"
        yield Finding("ok" if forged.status == 400 else "warning", text)
    else:
        address = _address(case, first, first.seen, forged.seen)
        yield address
        if address.level != "fault":  # Else the cause is the same.
            yield _scheme(case, first.seen, forged.seen)
    yield _host(case, first.seen or {})
    if case.settings.help_desk_user_header:
        yield _user(case, case.settings.help_desk_user_header)
    if FORGED_HOST in forged.body or "/forged" in forged.body:
        text = "forged X-Forwarded headers come back in the page"
        remedy = 'in nginx: proxy_set_header X-Forwarded-Host ""; proxy_set_header Forwarded "";'
        yield Finding("fault", text, remedy, "caches may hand the forged links to others")
    else:
        yield Finding("ok", "forged X-Forwarded headers change nothing in the page")


def _address(
    case: Case, first: Reply, seen: Mapping[str, str], forged: Mapping[str, str]
) -> Finding:
    """Whether the address that counts is the visitor's."""
    trusted = case.settings.trusted_proxies
    told = [part for part in seen["forwarded_for"].split(",") if part.strip()]
    count = f"RESET_TRUSTED_PROXIES={len(told)}"
    if forged["address"] == FORGED:
        text = "a visitor can choose the address that limits are counted for"
        text += f" (RESET_TRUSTED_PROXIES={trusted})"
        remedy = f"{count}, then restart web; {_OVERWRITE}" if told else _OVERWRITE
        return Finding("fault", text, remedy, "no limit holds for who sends X-Forwarded-For")
    if not told and (trusted or not seen["address"]):
        text = (
            f"the proxy does not tell the visitor's address (seen: {seen['address'] or 'nothing'})"
        )
        remedy = f"{_OVERWRITE} and RESET_TRUSTED_PROXIES=1"
        return Finding("fault", text, remedy, _SHARED)
    if len(told) != trusted:
        text = f"proxies that tell the visitor's address: {len(told)}, trusted ones: {trusted}"
        return Finding("fault", text, f"{count}, then restart web", _SHARED)
    if _same(seen["address"], first.here):
        return Finding("ok", f"the service sees this host by its own address, {first.here}")
    if is_loopback(seen["address"]):
        text = f"the service sees {seen['address']} in place of this host's address, {first.here}"
        return Finding("fault", text, f"{_OVERWRITE} and RESET_TRUSTED_PROXIES=1", _SHARED)
    text = f"the service sees {seen['address']}, this host has {first.here}: is NAT between them"
    return Finding("note", text, "if not, see the nginx site: deploy/nginx", _SHARED)


def _scheme(case: Case, seen: Mapping[str, str], forged: Mapping[str, str]) -> Finding:
    wanted = urlsplit(case.settings.public_url).scheme
    if seen["scheme"] == forged["scheme"] == wanted:
        return Finding("ok", f"the service knows that visitors come by {wanted}")
    text = (
        f"the service believes that visitors come by {seen['scheme']}, or what they say themselves"
    )
    remedy = "in nginx: proxy_set_header X-Forwarded-Proto $scheme;"
    return Finding("warning", text, remedy, "the help desk's sign-in needs to know of https")


def _host(case: Case, seen: Mapping[str, str]) -> Finding:
    wanted = urlsplit(case.settings.public_url).netloc
    if seen.get("host") == wanted:
        return Finding("ok", "the service is asked by its own name")
    text = f"the proxy asks for {seen.get('host') or 'no name'}, not for {wanted}"
    remedy = "in nginx: proxy_set_header Host $http_host;"
    return Finding("warning", text, remedy, "another name may be refused by the next version")


def _user(case: Case, header: str) -> Finding:
    """Whether only the proxy can say which operator of the help desk is there."""
    forged = visit(case, f"{case.settings.path}/ayuda/", headers={header: _FORGED_USER})
    if (forged.seen or {}).get("user") != _FORGED_USER:
        return Finding("ok", f"visitors cannot send {header}, which names operators")
    text = f"whoever sends {header} is taken for the operator that it names"
    remedy = f'in nginx: proxy_set_header {header} ""; and $remote_user where it asks who is there'
    return Finding("fault", text, remedy, "strangers can read and act at the help desk")


def _same(one: str, other: str) -> bool:
    try:
        return _plain(one) == _plain(other)
    except ValueError:
        return False


def _plain(address: str) -> object:
    found = ip_address(address.partition("%")[0])
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
