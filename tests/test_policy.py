"""The rules for a new password."""

from __future__ import annotations

import pytest

from reset.policy import LONGEST, PROFILES, Policy, Violation, contains_personal
from reset.texts import TEXTS

POLICY = Policy(PROFILES["manual"], ("Hanna", "Caja de Compensación Familiar", "clave.example"))
PERSONAL = ("Ana María Pérez", "ana.perez", "ana.perez@corp.example", "3005550142", "1957-08-21")


@pytest.mark.parametrize(
    "password",
    [
        "Perro-Lluvia-42",
        "mesa Rio verde 7",
        "Tres tristes Tigres 3",
        "Zx9$kLm2qa",
        "Guitarra+Canoa+9",
        "Ñandú-Veloz-77",
        "Correcto Caballo 1 Batería",
    ],
)
def test_good_passwords_pass(password: str) -> None:
    """Words that do not belong together, long or strange ones."""
    assert POLICY.violations(password, PERSONAL) == []


@pytest.mark.parametrize(
    "password",
    [
        "Contraseña1",
        "contraseña1A",
        "Contrasena123*",
        "C0ntr4s3ñ4",
        "Colombia2026",
        "C0l0mbia2026",
        "Barranquilla1",
        "Password1",
        "P@ssw0rd",
        "Qwerty123",
        "Asdfgh12",
        "Abcdefg1",
        "Aaaaaaa1",
        "Bienvenido1*",
        "Junio2026",
        "Teamo1234",
        "Millonarios1",
        "Hanna2026",
        "H4nna!2026",
        "Familiar2026",
        "MiClave2026",
        "Contrasena.Contrasena1",
    ],
)
def test_common_passwords_are_refused(password: str) -> None:
    """Lists, keyboard walks, Spanish words and the brand, with the usual trimmings."""
    assert Violation.COMMON in POLICY.violations(password, ())


@pytest.mark.parametrize("password", ["Contrasena1qaz", "Caballo3Xy", "Sassy12026", "Mufasa2027"])
def test_common_parts_do_not_add_up(password: str) -> None:
    """A Spanish word and a little more, or a name and a recent year, are soon guessed, too."""
    assert Violation.COMMON in POLICY.violations(password, ())


def test_half_a_character_is_judged() -> None:
    """What no browser sends, and no database stores, is refused by its rule; nothing breaks."""
    assert POLICY.violations("Xk7-mQz\ud800w", ()) == [Violation.BAD_CHARACTER]


@pytest.mark.parametrize(
    "password",
    [
        "Perez-Lluvia-42",
        "PÉREZ-lluvia-42",
        "P3r3z-Lluvia-42",
        "Ana12345678",
        "xMaria42-Lluvia",
        "Lluvia-3005550142",
        "Lluvia-55501-x",
        "Lluvia-Verde-1957",
        "Lluvia-210857-x",
        "Lluvia-1957-08-21",
        "300-555-0142Aa",
        "Lluvia 300.555 0142",
    ],
)
def test_personal_data_is_refused(password: str) -> None:
    """Names, telephone, birth date, address parts: plain, folded or in leet."""
    assert Violation.PERSONAL in POLICY.violations(password, PERSONAL)


def test_short_names_are_no_substring() -> None:
    """ "Ana" in "mañana" is no personal data; "Ana" with digits around is."""
    assert not contains_personal("Mañana-Verde-7", ["Ana"])
    assert contains_personal("Ana-2468-1357", ["Ana"])


@pytest.mark.parametrize(
    ("password", "broken"),
    [
        ("Xk7-mQz", {Violation.TOO_SHORT}),
        ("Xk7-mQzw", set()),
        ("xk7-mqzw", {Violation.NO_UPPER}),
        ("XK7-MQZW", {Violation.NO_LOWER}),
        ("Xkt-mQzw", {Violation.NO_DIGIT}),
        ("Ñk7-ñQzw", set()),
        ("Xk7-mQzw" + "-ratón" * 20, set()),
        ("Xk7-mQzw" + "-ratón" * 20 + "x", {Violation.TOO_LONG}),
        ("Xk7-mQz\0w", {Violation.BAD_CHARACTER}),
        ("Xk7-mQz\nw", {Violation.BAD_CHARACTER}),
        ("Xk7-mQz\ufffdw", {Violation.BAD_CHARACTER}),
    ],
)
def test_both_sides_of_each_rule(password: str, broken: set[Violation]) -> None:
    """The last good one and the first bad one."""
    assert set(POLICY.violations(password, ())) == broken


def test_all_broken_rules_are_named_at_once() -> None:
    """Nobody has to try five times to learn five rules."""
    assert {Violation.TOO_SHORT, Violation.NO_UPPER, Violation.NO_DIGIT} <= set(
        POLICY.violations("corta", ())
    )


def test_nist_profile_asks_for_length_alone() -> None:
    """Fifteen characters of any kind. Source: NIST SP 800-63B-4, 3.1.1.2."""
    nist = Policy(PROFILES["nist"])
    assert nist.violations("lluvia canoa mesa") == []
    assert nist.violations("lluvia canoa m") == [Violation.TOO_SHORT]


def test_every_violation_has_its_sentence() -> None:
    """A code without words would be an error page."""
    assert {str(violation) for violation in Violation} <= set(TEXTS)
    assert LONGEST >= 64
