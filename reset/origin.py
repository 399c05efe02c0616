"""Where a request came from, coarsely: enough to recognise one's own, too little to trace."""

from __future__ import annotations

import ipaddress

from flask_babel import gettext as _

# The first that is found counts: most browsers also name the ones that they resemble.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "Mac"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def coarse(address: str, user_agent: str) -> str:
    """Browser, system and network in the page's language: "Chrome en Android, red 190.25.x.x"."""
    browser = _first(user_agent, _BROWSERS) or _("Navegador desconocido")
    system = _first(user_agent, _SYSTEMS)
    device = _("%(browser)s en %(system)s", browser=browser, system=system) if system else browser
    return str(_("%(device)s, red %(network)s", device=device, network=_network(address)))


def _first(text: str, names: tuple[tuple[str, str], ...]) -> str:
    return next((name for mark, name in names if mark in text), "")


def _network(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return str(_("desconocida"))
    if ip.version == 4:
        return ".".join([*str(ip).split(".")[:2], "x", "x"])
    return str(ipaddress.ip_network((ip, 32), strict=False)).removesuffix("/32") + "…"
