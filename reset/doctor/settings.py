"""The settings: keys, files with secrets, frames, what visitors are told."""

from __future__ import annotations

import itertools
import re
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from os import geteuid
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reset.doctor import Case, command
from reset.findings import Finding
from reset.loopback import is_loopback

if TYPE_CHECKING:
    from config import Settings

WEB_ROOTS = (Path("/var/www"), Path("/srv/www"), Path("/usr/share/nginx"))
MOST_KEYS = 3
NEW_KEY = 'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
_NO_START = "neither web nor worker starts until it is mended"
_WORDS = re.compile("change|secret|password|example|ejemplo|prueba", re.IGNORECASE)
_RUN = 8  # So many signs in a row, each the one after the other, are typed, not drawn.


def refused(faults: Sequence[str]) -> Iterator[Finding]:
    """What keeps the service from starting."""
    for fault in faults:
        text, remedy = _parted(fault.rstrip("."))
        yield Finding("fault", text, remedy, _NO_START)


def check(case: Case) -> Iterator[Finding]:
    """The settings of a service that may start."""
    settings = case.settings
    yield from _keys(settings.secret_keys)
    yield from _user()
    for path in settings.files:
        yield from private(path, "whoever reads it can make links to set passwords")
    yield from _addresses(settings)
    yield from _frames(settings)
    yield from _help(settings)
    yield from _figures(settings)
    here = datetime.now(UTC).astimezone(settings.timezone)
    yield Finding("ok", f"in mails it is {here:%H:%M} now ({settings.timezone})")


def private(path: Path, why: str) -> Iterator[Finding]:
    """Whether *path*, a file with secrets, is for its owner and group only, and not served."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o027:
        who = "read by everybody" if mode & 0o004 else "changed by other users"
        text = f"{path} can be {who} (mode {mode:03o})"
        yield Finding("fault", text, f"chmod 600 {path}", why)
    else:
        yield Finding("ok", f"{path} is readable by its owner{' and group' * bool(mode & 0o040)}")
    for root in WEB_ROOTS:
        if path.resolve().is_relative_to(root.resolve()):
            text = f"{path} lies in a folder that web servers publish ({root})"
            remedy = (
                "move it to /etc/restablecer or /var/lib/restablecer, and name it in the settings"
            )
            yield Finding("fault", text, remedy, why)


def _parted(fault: str) -> tuple[str, str]:
    """What is wrong, and what to do, which stands behind a semicolon if a fault says it."""
    for mark in ("; make one with: ", "; "):
        text, found, remedy = fault.partition(mark)
        if found:
            return text, remedy
    name = fault.partition(":")[0]
    remedy = "see .env.example" if fault.startswith(".env") else f"correct {name}; see .env.example"
    return fault, remedy


def _keys(keys: Sequence[str]) -> Iterator[Finding]:
    good = True
    for place, key in enumerate(keys, start=1):
        which = f"key {place} of {len(keys)} in RESET_SECRET_KEYS"
        if _is_typed(key):
            good = False
            remedy = f"put a new one behind it and drop it a day later: {NEW_KEY}"
            why = "all keys verify: who guesses one can make links, captchas and form states"
            yield Finding("fault", f"{which} was typed by a person, or copied", remedy, why)
        if key in keys[: place - 1]:
            good = False
            remedy = "take it out once, and see that the last key is a new one"
            why = "somebody thinks that the key was changed, and it was not"
            yield Finding("warning", f"{which} stands there twice", remedy, why)
    if len(keys) > MOST_KEYS:
        good = False
        remedy = "keep the last one, or the last two for a day, and restart web and worker"
        why = "a change of keys was never finished: what was signed with an old one stays good"
        yield Finding("warning", f"RESET_SECRET_KEYS holds {len(keys)} keys", remedy, why)
    if good:
        yield Finding("ok", f"secret keys: {len(keys)}, each random")


def _is_typed(key: str) -> bool:
    """Whether *key* looks as a person makes one up: words, rows of signs, a piece repeated."""
    steps = [ord(b) - ord(a) for a, b in itertools.pairwise(key)]
    rows = "".join({1: "u", -1: "d", 0: "s"}.get(step, ".") for step in steps)
    in_row = any(sign * (_RUN - 1) in rows for sign in "uds")
    return in_row or key in (key + key)[1:-1] or bool(_WORDS.search(key))


def _user() -> Iterator[Finding]:
    if geteuid() == 0:
        text = "the doctor was started as root, which may read and write everything"
        remedy = f"sudo -u restablecer {command('doctor')} (the user of web and worker)"
        why = "what keeps the service's own user from a file or socket is not seen"
        yield Finding("warning", text, remedy, why)
    else:
        yield Finding("ok", "the doctor was not started as root")


def _addresses(settings: Settings) -> Iterator[Finding]:
    if settings.public_url.startswith("https:"):
        yield Finding("ok", f"visitors come to {settings.public_url}")
    else:
        text = f"RESET_PUBLIC_URL is {settings.public_url}: for trials on this machine"
        remedy = "RESET_PUBLIC_URL=https://clave.oficina.example/restablecer, with the real name"
        yield Finding("warning", text, remedy, "nobody else can open the links in the mails")
    brand = settings.brand
    sender = settings.mail.default_sender.rstrip(">")
    written = {
        "RESET_PUBLIC_URL": settings.host,
        "RESET_MAIL_DEFAULT_SENDER": sender,
        "RESET_SUPPORT_EMAIL": brand.support_email,
        "RESET_PORTAL_URL": urlsplit(brand.portal_url).hostname or "",
        "RESET_FRAME_ANCESTORS": " ".join(settings.frame_ancestors),
    }
    left = [name for name, value in written.items() if re.search(r"\.example(?![\w.-])", value)]
    if left:
        text = f"still as in .env.example: {', '.join(left)}"
        why = "names that end in .example belong to nobody: mails and links go nowhere"
        yield Finding("fault", text, "write your own names there", why)


def _frames(settings: Settings) -> Iterator[Finding]:
    ancestors, portal = settings.frame_ancestors, settings.brand.portal_url
    if not portal:
        remedy = "RESET_PORTAL_URL=https://... , the page where people sign in"
        why = "after the change people find no way back to where they can sign in"
        yield Finding("warning", "RESET_PORTAL_URL is missing", remedy, why)
    elif ancestors and not any(_covers(ancestor, portal) for ancestor in ancestors):
        text = f"RESET_FRAME_ANCESTORS lacks the portal, {_origin(portal)}"
        remedy = f"RESET_FRAME_ANCESTORS={','.join([*ancestors, _origin(portal)])}"
        why = "in a frame of the portal the form stays blank; the port counts, too"
        yield Finding("warning", text, remedy, why)
    elif ancestors:
        yield Finding("ok", "the portal may show the form in a frame")
    for ancestor in ancestors:
        plain = urlsplit(ancestor).scheme == "http" and settings.public_url.startswith("https:")
        if plain and not is_loopback(urlsplit(ancestor).hostname or ""):
            text = f"RESET_FRAME_ANCESTORS lets in {ancestor}, which is not encrypted"
            remedy = f"serve the portal over https, and write {ancestor.replace('http:', 'https:')}"
            why = "who can change that page on its way can lay another form over ours"
            yield Finding("warning", text, remedy, why)


def _covers(ancestor: str, portal: str) -> bool:
    """Whether a frame-ancestors entry is good for a page of *portal*."""
    pattern = re.escape(ancestor.lower()).replace(r"\*\.", r"[^/]+\.").replace(r":\*", r"(:\d+)?")
    return re.fullmatch(pattern, _origin(portal)) is not None


def _origin(url: str) -> str:
    parts = urlsplit(url.lower())
    return f"{parts.scheme}://{parts.netloc}"


def _figures(settings: Settings) -> Iterator[Finding]:
    open_to_all = [str(net) for net in settings.metrics_allow if net.prefixlen == 0]
    if open_to_all:
        text = f"RESET_METRICS_ALLOW lets everybody read the figures ({', '.join(open_to_all)})"
        remedy = "RESET_METRICS_ALLOW=127.0.0.1/32 and the address of Prometheus"
        why = "strangers learn how many people ask, and when"
        yield Finding("warning", text, remedy, why)


def _help(settings: Settings) -> Iterator[Finding]:
    brand = settings.brand
    if brand.support_phone or brand.support_email:
        yield Finding("ok", "visitors are told whom to call or write to")
    else:
        text = "neither RESET_SUPPORT_PHONE nor RESET_SUPPORT_EMAIL is set"
        why = "pages and mails tell people to ask for help, and name nobody"
        remedy = "RESET_SUPPORT_PHONE='(605) 000 0000', with the help desk's number"
        yield Finding("warning", text, remedy, why)
    if brand.name == "Plataforma Web":
        why = "people trust a mail that names what they know"
        yield Finding("note", "RESET_BRAND_NAME is not set", "RESET_BRAND_NAME=...", why)
