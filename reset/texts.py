"""The sentences that belong to a code, and times and durations in words, in Spanish."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

TEXTS = {
    "address_missing": "Escriba su correo electrónico registrado.",
    "address_invalid": "Revise el correo: debe tener la forma nombre@ejemplo.com.",
    "captcha_missing": "Escriba las letras que ve en la imagen.",
    "captcha_refused": "Las letras no coinciden o ya vencieron. Escriba las de la imagen nueva.",
    "proof_refused": (
        "La comprobación venció o ya se usó. Hágala de nuevo o escriba las letras de la imagen "
        "nueva."
    ),
    "captcha_fresh": "Le mostramos una imagen nueva.",
    "too_short": "Debe tener al menos {min_length} caracteres.",
    "no_upper": "Le falta al menos una letra mayúscula.",
    "no_lower": "Le falta al menos una letra minúscula.",
    "no_digit": "Le falta al menos un número.",
    "too_long": "Es demasiado larga. Use como máximo {max_length} caracteres.",
    "too_long_for_portal": (
        "Es demasiado larga para la plataforma. Use como máximo 72 caracteres "
        "(las tildes y la ñ cuentan doble)."
    ),
    "blank_at_ends": (
        "La plataforma no reconoce los espacios al comienzo ni al final. Por favor, quítelos."
    ),
    "quotes": (
        "La plataforma no reconoce bien las comillas (' y \") ni la barra invertida (\\). "
        "Use otros signos."
    ),
    "html_signs": (
        'La plataforma no reconoce bien las comillas (") ni los signos &, < y >. Use otros.'
    ),
    "bad_character": (
        "Tiene un carácter que la plataforma no puede guardar, como un salto de línea o un "
        "tabulador. Escríbala de nuevo."
    ),
    "personal": (
        "Contiene un dato suyo, como su nombre, teléfono, documento, fecha de nacimiento o "
        "correo. Elija otra."
    ),
    "common": "Es muy común o fácil de adivinar. Elija otra.",
    "same_as_present": "Es la contraseña que ya tenía. Elija una distinta.",
    "missing": "Escriba su nueva contraseña.",
    "mismatch": "Las dos contraseñas no son iguales. Escríbalas de nuevo.",
    "refused_by_portal": "La plataforma no aceptó esta contraseña. Elija otra.",
    "refused_by_directory": (
        "La plataforma no aceptó esta contraseña. Quizá ya la usó antes, es fácil de adivinar o "
        "cambió la anterior hace muy poco. Elija otra; si tampoco se acepta, inténtelo más tarde."
    ),
    "in_history": "Ya usó esta contraseña antes. Elija una que no haya usado.",
    "too_young": (
        "Su contraseña se cambió hace muy poco, y la plataforma pide esperar antes de volver a "
        "cambiarla. Inténtelo más tarde."
    ),
    "too_short_for_portal": "Es muy corta para la plataforma. Elija una más larga.",
    "change_not_allowed": (
        "La plataforma no permite cambiar la contraseña de esta cuenta. Comuníquese con la línea "
        "de atención al cliente."
    ),
}

RULES = {
    "length": "{min_length} caracteres o más",
    "upper": "Una letra mayúscula (A–Z)",
    "lower": "Una letra minúscula (a–z)",
    "digit": "Un número (0–9)",
}

NUMBERS = (
    "cero",
    "una",
    "dos",
    "tres",
    "cuatro",
    "cinco",
    "seis",
    "siete",
    "ocho",
    "nueve",
    "diez",
)
_DAYS = ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"]
_MONTHS = [
    "enero", "febrero", "marzo", "abril", "mayo", "junio",
    "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre",
]  # fmt: skip
_UNITS = ((86400, "día", "días"), (3600, "hora", "horas"), (60, "minuto", "minutos"))


def text(code: str, **values: object) -> str:
    """The sentence for *code*; raises KeyError for a code that has none."""
    return TEXTS[code].format(**values)


def duration(span: timedelta) -> str:
    """*span* in its largest whole unit: "12 horas", "1 día", "90 minutos"; rounds up."""
    seconds = max(1, -int(-span.total_seconds() // 1))
    for size, one, many in _UNITS:
        if seconds % size == 0:
            return _counted(seconds // size, one, many)
    if seconds < 60:
        return _counted(seconds, "segundo", "segundos")
    return _counted(-(-seconds // 60), "minuto", "minutos")


def local_time(moment: datetime, zone: ZoneInfo) -> str:
    """*moment* as a person says it: "lunes 23 de noviembre de 2026, 3:15 a. m." with the zone."""
    local = moment.astimezone(zone)
    hour = local.hour % 12 or 12
    half = "a. m." if local.hour < 12 else "p. m."
    day = f"{_DAYS[local.weekday()]} {local.day} de {_MONTHS[local.month - 1]} de {local.year}"
    return f"{day}, {hour}:{local.minute:02} {half} ({zone_name(local, zone)})"


def zone_name(local: datetime, zone: ZoneInfo) -> str:
    """A name for the zone that needs no explanation: "hora de Bogotá", "UTC"."""
    city = zone.key.rpartition("/")[2].replace("_", " ")
    if city in ("UTC", "GMT"):
        return "UTC"
    offset = local.strftime("%z")
    return f"hora de {city.replace('Bogota', 'Colombia')}, UTC{offset[:3]}:{offset[3:]}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
