"""What the answer of a mail server means, in plain words.

Source: RFC 3463 and RFC 7505 (enhanced status codes), RFC 5321, 4.2.3 (plain ones).
"""

from __future__ import annotations

import re

from flask_babel import gettext
from flask_babel import lazy_gettext as _

LONGEST_SHOWN = 160
_CODES = re.compile(r"([245]\d\d)(?:[ -]#?[245]\.(\d{1,3}\.\d{1,3})\b)?")
# What may be a link, or a piece of one: a long run of letters and digits is no word.
_LINKS = re.compile(
    r"\S*(?:://|www\.|https?:|/nueva|/no-fui-yo)\S*|[\w.-]*[\w-]{20,}[\w.-]*", re.IGNORECASE
)

# By subject and detail; a whole subject where the detail says nothing more.
_ENHANCED = {
    **dict.fromkeys(("1.1", "1.3", "1.6"), "no_mailbox"),
    **dict.fromkeys(("1.2", "1.10", "4.4", "4.6"), "no_domain"),
    **dict.fromkeys(("1.7", "1.8"), "not_from_us"),
    **dict.fromkeys(("2", "2.1"), "mailbox_disabled"),
    "2.2": "mailbox_full",
    **dict.fromkeys(("2.3", "3.4"), "too_large"),
    **dict.fromkeys(("3", "4", "5"), "server_busy"),
    "7": "policy",
    **dict.fromkeys(("7.8", "7.9", "7.11"), "not_from_us"),
}
_PLAIN = {
    **dict.fromkeys(("421", "450", "451", "452"), "server_busy"),
    **dict.fromkeys(("530", "534", "535", "538"), "not_from_us"),
    **dict.fromkeys(("551", "553"), "no_mailbox"),
    "552": "mailbox_full",
}
# Names of errors in place of an answer.
_UNREACHABLE = re.compile(r"(SMTP\w*|Connection\w*|\w*Timeout\w*|gaierror|OSError|\w*SSL\w*Error)")
_MEANINGS = {
    "no_mailbox": _("ese buzón no existe"),
    "no_domain": _("lo que sigue a la arroba no recibe correo"),
    "mailbox_disabled": _("el buzón está desactivado o no recibe mensajes"),
    "mailbox_full": _("el buzón está lleno"),
    "too_large": _("el mensaje le pareció demasiado grande"),
    "server_busy": _("está ocupado o tiene una falla pasajera"),
    "greylisted": _("pide esperar un rato a quien le escribe por primera vez"),
    "policy": _("sus reglas contra el correo no deseado no lo dejan pasar"),
    "not_from_us": _("no acepta mensajes de este servicio"),
    "refused": _("no acepta mensajes para esta dirección"),
}
_OURS = {
    "unreachable": _("No se pudo hablar con el servidor de correo."),
    "accounts": _("No se pudo consultar la base de usuarios de la plataforma."),
    "unwritable": _("La dirección guardada no sirve para enviarle un correo."),
    "internal": _("Algo falló en este servicio al preparar el correo."),
}


def meaning(answer: str) -> str:
    """What lies behind *answer*, as a code."""
    codes = _CODES.match(answer)
    if codes is None:
        return _ours(answer)
    plain, enhanced = codes.groups()
    if plain.startswith("4") and ("greylist" in answer.lower() or enhanced == "7.1"):
        return "greylisted"
    found = _ENHANCED.get(enhanced or "") or _ENHANCED.get((enhanced or "").partition(".")[0])
    return found or _PLAIN.get(plain, "refused" if plain.startswith("5") else "server_busy")


def reading(answer: str) -> str:
    """One plain sentence about *answer*."""
    code = meaning(answer)
    if code in _OURS:
        return str(_OURS[code])
    words = _MEANINGS[code]
    if answer.startswith("5"):
        return str(gettext("El servidor de correo lo rechazó: %(meaning)s.", meaning=words))
    return str(gettext("El servidor de correo lo aplazó: %(meaning)s.", meaning=words))


def shown(answer: str) -> str:
    """The server's own words, without links, not longer than fits into a line or two."""
    plain = "".join(c if c.isprintable() else " " for c in _LINKS.sub("…", answer))
    return plain if len(plain) <= LONGEST_SHOWN else plain[:LONGEST_SHOWN].rstrip() + "…"


def _ours(answer: str) -> str:
    if answer == "accounts unavailable":
        return "accounts"
    if answer.startswith("Unicode") or answer in (
        "ValueError",
        "BadHeaderError",
        "HeaderParseError",
    ):
        return "unwritable"
    return "unreachable" if _UNREACHABLE.match(answer) else "internal"
