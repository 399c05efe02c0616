"""Times, durations, origins, colours and numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from reset import audit, texts
from reset.brand import DARK_PAGE, LIGHT_PAGE, READABLE, Brand, contrast, readable
from reset.origin import coarse


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 segundo"),
        (59, "59 segundos"),
        (60, "1 minuto"),
        (61, "2 minutos"),
        (5400, "90 minutos"),
        (43200, "12 horas"),
        (86400, "1 día"),
        (259200, "3 días"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    """In the largest whole unit, rounded up."""
    assert texts.duration(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("utc", "zone", "words"),
    [
        (
            (2026, 11, 23, 8, 15),
            "America/Bogota",
            "lunes, 23 de noviembre de 2026, 3:15\u00a0a.\u00a0m. (hora de Colombia, UTC-05:00)",
        ),
        (
            (2026, 1, 1, 4, 59),
            "America/Bogota",
            "miércoles, 31 de diciembre de 2025, 11:59\u00a0p.\u00a0m."
            " (hora de Colombia, UTC-05:00)",
        ),
        ((2026, 6, 5, 12, 0), "UTC", "viernes, 5 de junio de 2026, 12:00\u00a0p.\u00a0m. (UTC)"),
        (
            (2026, 6, 6, 5, 0),
            "America/Mexico_City",
            "viernes, 5 de junio de 2026, 11:00\u00a0p.\u00a0m."
            " (hora de México (Ciudad de México), UTC-06:00)",
        ),
    ],
)
def test_local_time(utc: tuple[int, int, int, int, int], zone: str, words: str) -> None:
    """Day, date, hour and zone, in the configured zone."""
    assert texts.local_time(datetime(*utc, tzinfo=UTC), ZoneInfo(zone)) == words


@pytest.mark.parametrize(
    ("utc", "words"),
    [
        ((2026, 11, 23, 14, 14), "hoy a las 9:14 a. m."),
        ((2026, 11, 23, 18, 5), "hoy a la 1:05 p. m."),
        ((2026, 11, 23, 4, 59), "ayer a las 11:59 p. m."),
        ((2026, 11, 24, 6, 0), "mañana a la 1:00 a. m."),
        ((2026, 11, 20, 14, 0), "el viernes 20 de noviembre a las 9:00 a. m."),
        ((2025, 11, 20, 6, 0), "el jueves 20 de noviembre de 2025 a la 1:00 a. m."),
    ],
)
def test_said_time(utc: tuple[int, int, int, int, int], words: str) -> None:
    """As one says it on the telephone, in the configured zone."""
    zone, now = ZoneInfo("America/Bogota"), datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
    said = texts.said_time(datetime(*utc, tzinfo=UTC), zone, now=now)
    assert said.replace("\u00a0", " ") == words


@pytest.mark.parametrize(
    ("address", "agent", "words"),
    [
        (
            "190.25.17.4",
            "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537 Chrome/156.0 Mobile Safari/537",
            "Chrome en Android, red 190.25.x.x",
        ),
        (
            "2001:db8:1:2::3",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) Version/18 Safari/604",
            "Safari en iPhone, red 2001:db8::…",
        ),
        ("10.1.2.3", "Mozilla/5.0 (Windows NT 10.0) Edg/156", "Edge en Windows, red 10.1.x.x"),
        ("", "<script>\r\nX: y", "Navegador desconocido, red desconocida"),
    ],
)
def test_origin_is_coarse(address: str, agent: str, words: str) -> None:
    """Enough to recognise one's own; nothing of the header is repeated."""
    assert coarse(address, agent) == words


@pytest.mark.parametrize(
    "color", ["#000000", "#ffffff", "#ffff00", "#00695c", "#7f7f7f", "#ff0000"]
)
def test_brand_colours_can_be_read(color: str) -> None:
    """Whatever colour is set, text in it and on it has a contrast of 4.5 to 1."""
    brand = Brand("X", "", None, color, "", "", "")
    assert contrast(brand.on_color, color) >= READABLE
    for page in (LIGHT_PAGE, DARK_PAGE):
        assert contrast(readable(color, page), page) >= READABLE


def test_contrast_of_black_on_white() -> None:
    """Source: WCAG 2.2, the definition of contrast ratio: 21 to 1."""
    assert round(contrast("#000000", "#ffffff"), 6) == 21


@pytest.mark.parametrize(
    ("heard", "number"),
    [
        ("4821-0937-5562", "482109375562"),
        ("4821 0937 5562", "482109375562"),
        ("482109375562", "482109375562"),
        ("4821.0937.5562", "482109375562"),
        ("48210937556", None),
        ("4821-0937-556x", None),
        ("٤٨٢١٠٩٣٧٥٥٦٢", None),
        ("", None),
    ],
)
def test_numbers_as_heard(heard: str, number: str | None) -> None:
    """Dashes, dots, spaces or none."""
    assert audit.unspoken(heard) == number


def test_numbers_count_nothing() -> None:
    """Request numbers are random, so that two tell nothing about what came between."""
    numbers = [audit.new_number() for _ in range(200)]
    assert len(set(numbers)) == 200
    assert numbers != sorted(numbers)
    assert audit.spoken(numbers[0]).count("-") == 2


def test_code_without_a_sentence_is_an_error() -> None:
    """Only codes that have a sentence are told."""
    with pytest.raises(KeyError):
        texts.text("no_such_code")
