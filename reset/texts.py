"""The sentences that belong to a code, and times and durations in words, in the page's language.

Only doors and mails word anything; whatever is below them returns codes, moments and spans.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_time, format_timedelta, get_timezone_location
from flask_babel import get_locale
from flask_babel import lazy_gettext as _

from reset.language import SPANISH

TEXTS = {
    "address_missing": _("Escriba su correo electrónico registrado."),
    "address_invalid": _("Revise el correo: debe tener la forma nombre@ejemplo.com."),
    "captcha_missing": _("Escriba las letras que ve en la imagen."),
    "captcha_refused": _(
        "Las letras no coinciden o pasó demasiado tiempo. Escriba las de la imagen nueva."
    ),
    "proof_refused": _(
        "La comprobación venció o ya se usó. Hágala de nuevo o escriba las letras de la imagen"
        " nueva."
    ),
    "captcha_fresh": _("Le mostramos una imagen nueva."),
    "too_short": _("Debe tener al menos {min_length} caracteres."),
    "no_upper": _("Le falta al menos una letra mayúscula."),
    "no_lower": _("Le falta al menos una letra minúscula."),
    "no_digit": _("Le falta al menos un número."),
    "too_long": _("Es demasiado larga. Use como máximo {max_length} caracteres."),
    "too_long_for_portal": _(
        "Es demasiado larga para la plataforma. Use como máximo 72 caracteres (las tildes y "
        "la ñ cuentan doble)."
    ),
    "blank_at_ends": _(
        "La plataforma no reconoce los espacios al comienzo ni al final. Por favor, quítelos."
    ),
    "quotes": _(
        "La plataforma no reconoce bien las comillas (' y \") ni la barra invertida (\\). Use"
        " otros signos."
    ),
    "html_signs": _(
        'La plataforma no reconoce bien las comillas (") ni los signos &, < y >. Use otros.'
    ),
    "bad_character": _(
        "Tiene un signo que la plataforma no puede guardar. Escríbala de nuevo, sin copiar y pegar."
    ),
    "personal": _(
        "Contiene un dato suyo, como su nombre, teléfono, documento, fecha de nacimiento o "
        "correo. Elija otra."
    ),
    "common": _("Es muy común o fácil de adivinar. Elija otra."),
    "missing": _("Escriba su nueva contraseña."),
    "mismatch": _("Las dos contraseñas no son iguales. Escríbalas de nuevo."),
    "refused_by_portal": _("La plataforma no aceptó esta contraseña. Elija otra."),
    "refused_by_directory": _(
        "La plataforma no aceptó esta contraseña. Quizá ya la usó antes, es fácil de adivinar"
        " o cambió la anterior hace muy poco. Elija otra; si tampoco se acepta, inténtelo más"
        " tarde."
    ),
    "in_history": _("Ya usó esta contraseña antes. Elija una que no haya usado."),
    "too_young": _(
        "Su contraseña se cambió hace muy poco, y la plataforma pide esperar antes de volver "
        "a cambiarla. Inténtelo más tarde."
    ),
    "too_short_for_portal": _("Es muy corta para la plataforma. Elija una más larga."),
    "change_not_allowed": _(
        "La plataforma no permite cambiar la contraseña de esta cuenta. Comuníquese con la "
        "línea de atención al cliente."
    ),
}

RULES = {
    "length": _("{min_length} caracteres o más"),
    "upper": _("Una letra mayúscula (A–Z)"),
    "lower": _("Una letra minúscula (a–z)"),
    "digit": _("Un número (0–9)"),
}

# Largest first.
_UNITS: tuple[tuple[int, Literal["day", "hour", "minute", "second"]], ...] = (
    (86400, "day"),
    (3600, "hour"),
    (60, "minute"),
    (1, "second"),
)
_NEAR = {
    -1: (_("ayer a las %(time)s"), _("ayer a la %(time)s")),
    0: (_("hoy a las %(time)s"), _("hoy a la %(time)s")),
    1: (_("mañana a las %(time)s"), _("mañana a la %(time)s")),
}
_FAR = (_("el %(day)s a las %(time)s"), _("el %(day)s a la %(time)s"))
_DAY = {
    SPANISH: ("EEEE d 'de' MMMM", " 'de' y"),
    "en": ("EEEE, MMMM d", ", y"),
    "pt": ("EEEE, d 'de' MMMM", " 'de' y"),
}
# Latin America tells time by twelve hours, other than Babel's Spanish.
_CLOCK = {SPANISH: "h:mm a"}


def text(code: str, **values: object) -> str:
    """The sentence for *code*; raises KeyError for a code that has none."""
    return str(TEXTS[code]).format(**values)


def rule(kind: str, **values: object) -> str:
    """The sentence of a rule for passwords."""
    return str(RULES[kind]).format(**values)


def duration(span: timedelta) -> str:
    """*span* in its largest whole unit: "12 horas", "1 día", "90 minutos"; rounds up."""
    seconds = max(1, -int(-span.total_seconds() // 1))
    if seconds > 60:
        seconds = -(-seconds // 60) * 60
    unit = next(unit for size, unit in _UNITS if seconds % size == 0)
    # So high a threshold keeps "90 minutes" from becoming "2 hours".
    return format_timedelta(timedelta(seconds=seconds), unit, threshold=1e9, locale=_locale())


def age(span: timedelta) -> str:
    """*span* in the largest unit that tells something: "14 horas", "2 días"."""
    return format_timedelta(span, threshold=1, locale=_locale())


def local_time(moment: datetime, zone: ZoneInfo) -> str:
    """*moment* in *zone*: "lunes, 23 de noviembre de 2026, 3:15 a. m. (hora de Colombia, ...)"."""
    local, locale = moment.astimezone(zone), _locale()
    day = format_date(local, "full", locale)
    return f"{day}, {clock_time(moment, zone)} ({_zone_name(local, zone, locale)})"


def said_time(moment: datetime, zone: ZoneInfo, *, now: datetime) -> str:
    """*moment* in *zone* as one says it *now*: "hoy a las 9:14 a. m.", "ayer a la 1:05 p. m."."""
    local, today, locale = moment.astimezone(zone), now.astimezone(zone), _locale()
    time, is_one = clock_time(moment, zone), local.hour % 12 == 1  # Spanish says "a la una".
    days = (local.date() - today.date()).days
    if days in _NEAR:
        many, one = _NEAR[days]
        return str(one if is_one else many) % {"time": time}
    day, year = _DAY.get(locale.language, _DAY["en"])
    said = format_date(local, day if local.year == today.year else day + year, locale)
    many, one = _FAR
    return str(one if is_one else many) % {"day": said, "time": time}


def clock_time(moment: datetime, zone: ZoneInfo) -> str:
    """The time of day of *moment* in *zone*: "9:14 a. m.", with its half of the day on one line."""
    locale = _locale()
    time = format_time(moment.astimezone(zone), _CLOCK.get(locale.language, "short"), locale=locale)
    # Many mail programs lack Babel's narrow blank.
    return re.sub(r"\s", "\u00a0", time)


def _zone_name(local: datetime, zone: ZoneInfo, locale: Locale) -> str:
    """A name for the zone that needs no explanation: "hora de Colombia, UTC-05:00", "UTC"."""
    offset = local.strftime("%z")
    universal = f"UTC{offset[:3]}:{offset[3:]}".removesuffix("+00:00")
    place = get_timezone_location(zone, locale)
    # Etc/GMT+5 is in no country, and a zone may be newer than Babel's list of countries.
    is_known = "/" in zone.key and locale.territories["ZZ"] not in place
    return f"{place}, {universal}" if is_known else universal


def _locale() -> Locale:
    return get_locale() or Locale(SPANISH)
