"""What happened to a request, line by line, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from flask_babel import gettext
from flask_babel import lazy_gettext as _

from reset import texts
from reset.audit import Event
from reset.help_desk.answers import reading, shown

# What keeps an account from being reset.
OBSTACLES = {
    "no_account": _("Ninguna cuenta tiene este correo"),
    "account_inactive": _("La cuenta está inactiva"),
    "account_excluded": _("Esta cuenta no se puede restablecer por aquí"),
    "account_ambiguous": _("La cuenta aparece dos veces, con datos distintos"),
    "address_ambiguous": _("Varias cuentas escriben este correo de modo distinto"),
    "address_secondary": _("No es el correo principal de la cuenta"),
    "hash_unknown": _("La contraseña guardada tiene un formato desconocido"),
}
TITLES = {
    "requested": _("Se pidió restablecer la contraseña"),
    "account_found": _("Se encontró la cuenta"),
    "limited": _("No se envió otro mensaje: ya salieron varios, y alguno todavía sirve"),
    "request_closed": _("No se envió: ya no hacía falta"),
    "mail_sent": _("Salió el mensaje con el botón"),
    "mail_deferred": _("El mensaje no salió todavía"),
    "mail_refused": _("El mensaje no salió"),
    "mail_abandoned": _("El mensaje no salió, y ya no se intenta más"),
    "overdue": _("Pasaron 12 horas sin que saliera el mensaje"),
    "link_opened": _("Se abrió el enlace del mensaje"),
    "password_refused": _("La contraseña nueva no se aceptó"),
    "change_failed": _("La contraseña no se pudo guardar: la plataforma no respondió"),
    "password_changed": _("Se cambió la contraseña"),
    "superseded": _("El enlace ya no sirve: la contraseña se cambió con otro"),
    "denied": _("La persona la canceló desde el correo: no la había pedido"),
    "link_closed": _("El enlace ya no sirve: se canceló, o la cuenta cambió"),
    "restored": _("La solicitud se anuló al recuperar una copia de seguridad"),
    "expired": _("El enlace venció sin que se usara"),
    "mail_retried": _("El mensaje se intenta otra vez enseguida"),
    "mail_dropped": _("El mensaje se retiró: ya no se envía"),
    "sent_again": _("La mesa de ayuda pidió enviarlo otra vez"),
    "links_cancelled": _("La mesa de ayuda canceló los enlaces"),
    "limit_cleared": _("La mesa de ayuda quitó el límite"),
    "attended": _("La mesa de ayuda la marcó como atendida"),
}
_WORDED = {
    "origin": _("Desde: %(value)s"),
    "login": _("Usuario: %(value)s"),
    "operator": _("Por: %(value)s"),
    "reason": _("Motivo: %(value)s"),
    "accounts": _("Cuentas con este correo: %(value)s"),
}
# One account, no origin, and what the title says already.
_SILENT = (1, "", "accounts unavailable")
_OF_CONFIRMATION = {
    "mail_sent": _("Salió la confirmación del cambio"),
    "mail_deferred": _("La confirmación del cambio no salió todavía"),
    "mail_refused": _("La confirmación del cambio no salió"),
    "mail_abandoned": _("La confirmación del cambio no salió, y ya no se intenta más"),
}


@dataclass(frozen=True)
class Line:
    """One line: its title, what more there is to tell, and a server's own words, perhaps none.

    ``until`` is when the last of several events happened that were alike.
    """

    at: datetime
    until: datetime
    title: str
    details: list[str] = field(default_factory=list)
    answer: str = ""


def event_title(name: str) -> str:
    """The words for an event; one that this version does not know tells something all the same."""
    if name in OBSTACLES:
        return str(gettext("%(obstacle)s: no se envió nada", obstacle=OBSTACLES[name]))
    return str(TITLES.get(name, name.replace("_", " ")))


def obstacle(name: str) -> str:
    """What keeps an account from being reset, in words."""
    return str(OBSTACLES.get(name, name.replace("_", " ")))


def is_of_confirmation(event: Event) -> bool:
    """Whether an event tells of the mail after a change, not of the one with the button."""
    return event.details.get("mail") == "password_changed"


def lines(events: list[Event], *, min_length: int, max_length: int) -> list[Line]:
    """The lines of *events*; attempts that ended alike, one after another, are one line."""
    return [replace(_line(run, min_length, max_length), until=run[-1].at) for run in _runs(events)]


def refusals(codes: str, *, min_length: int, max_length: int) -> list[str]:
    """The sentences behind the *codes* of refused passwords, as they stand in the trace."""
    return [
        str(texts.TEXTS.get(code, code)).format(min_length=min_length, max_length=max_length)
        for code in codes.split(", ")
    ]


def _runs(events: list[Event]) -> Iterator[list[Event]]:
    run: list[Event] = []
    for event in events:
        if run and not (event.name == "mail_deferred" and _same(run[-1], event)):
            yield run
            run = []
        run.append(event)
    if run:
        yield run


def _same(one: Event, other: Event) -> bool:
    return one.name == other.name and all(
        one.details.get(name) == other.details.get(name) for name in ("mail", "answer")
    )


def _line(run: list[Event], min_length: int, max_length: int) -> Line:
    event = run[0]
    details, answer = dict(event.details), ""
    titles = _OF_CONFIRMATION if is_of_confirmation(event) else TITLES
    details.pop("mail", None)
    told: list[str] = []
    if "answer" in details:
        answer = str(details.pop("answer"))
        told.append(reading(answer))
    attempt = details.pop("attempt", None)
    if attempt and run[-1].details["attempt"] != 1:
        told.append(_attempts(int(attempt), int(run[-1].details["attempt"])))
    if "reasons" in details:
        codes = str(details.pop("reasons"))
        told += refusals(codes, min_length=min_length, max_length=max_length)
    told += [_told(name, value) for name, value in details.items() if value not in _SILENT]
    title = str(titles.get(event.name) or event_title(event.name))
    return Line(event.at, event.at, title, told, shown(answer))


def _attempts(first: int, last: int) -> str:
    if first == last:
        return str(gettext("Intento número %(number)s.", number=first))
    return str(gettext("Intentos %(first)s a %(last)s.", first=first, last=last))


def _told(name: str, value: str | int) -> str:
    if name == "id":  # Of the visit; error pages show as much of it.
        return str(gettext("Código: %(code)s", code=str(value)[:8]))
    words = _WORDED.get(name)
    return str(words) % {"value": value} if words else shown(f"{name}: {value}")
