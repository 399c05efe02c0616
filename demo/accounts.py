"""The demo portal's own accounts: one SQLite table, a dozen invented people, four hash schemes."""

import base64
import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import argon2
import bcrypt
from argon2.exceptions import InvalidHashError, VerificationError
from werkzeug.security import check_password_hash, generate_password_hash

CREATED = "2019-03-04 08:15:00"

TABLE = """
CREATE TABLE usuarios (
    id INTEGER PRIMARY KEY,
    usuario TEXT NOT NULL UNIQUE,
    correo TEXT NOT NULL,
    clave TEXT NOT NULL,
    nombre TEXT NOT NULL,
    telefono TEXT NOT NULL,
    documento TEXT NOT NULL,
    nacimiento TEXT NOT NULL,
    activo INTEGER NOT NULL DEFAULT 1,
    creado TEXT NOT NULL
)
"""


@dataclass(frozen=True)
class Person:
    """Somebody with an account; the password is the one of the first start."""

    login: str
    email: str
    password: str
    scheme: str
    name: str
    phone: str
    document: str
    birth: str
    active: bool = True


# fmt: off
PEOPLE = (
    Person("ana.perez", "ana@example.com", "Viejita-2019", "bcrypt",
           "Ana María Pérez", "3005550142", "52418637", "1957-08-21"),
    Person("jorge.rojas", "familia.rojas@example.org", "Cafetal-1962", "bcrypt",
           "Jorge Enrique Rojas Mora", "3105550117", "19283746", "1962-02-11"),
    # Jorge and Lucía share one mailbox: a mail to it has to tell the two accounts apart.
    Person("lucia.rojas", "familia.rojas@example.org", "Guayacan-88", "argon2id",
           "Lucía Rojas Castaño", "3105550118", "1020754381", "1988-11-30"),
    Person("camila.torres", "camila.torres@example.com", "Mariposa-07", "argon2id",
           "Camila Torres Vélez", "3015550163", "1032456789", "1994-05-17"),
    Person("andres.gomez", "andres.gomez@example.org", "Tintico-1985", "scrypt",
           "Andrés Felipe Gómez Ruiz", "3165550129", "80123456", "1985-01-26"),
    Person("valentina.diaz", "valentina.diaz@example.com", "Orquidea-33", "scrypt",
           "Valentina Díaz Ospina", "3205550174", "1098765432", "1999-09-08"),
    Person("oscar.martinez", "oscar.martinez@example.org", "Acordeon-71", "django",
           "Óscar Iván Martínez Peña", "3115550136", "79654321", "1971-12-03"),
    Person("gloria.ramirez", "gloria.ramirez@example.com", "Frailejon-60", "django",
           "Gloria Inés Ramírez Soto", "3125550155", "41876543", "1960-04-19"),
    # Somebody who left: the account is kept, but closed.
    Person("santiago.lopez", "santiago.lopez@example.com", "Cumbia-1978", "bcrypt",
           "Santiago López Arango", "3145550181", "71345678", "1978-07-14", active=False),
    Person("claudia.herrera", "claudia.herrera@example.org", "Chirimoya-82", "argon2id",
           "Claudia Patricia Herrera Gil", "3175550108", "43210987", "1982-10-25"),
    Person("hernan.castro", "hernan.castro@example.com", "Trapiche-1955", "scrypt",
           "Hernán Darío Castro Niño", "3185550147", "17654890", "1955-06-02"),
    Person("patricia.munoz", "patricia.munoz@example.org", "Colibri-1990", "django",
           "Patricia Muñoz Cárdenas", "3195550192", "1015432167", "1990-03-28"),
)
# fmt: on

DEMO_LOGIN = PEOPLE[0].login
DEMO_EMAIL = PEOPLE[0].email
DEMO_PASSWORD = PEOPLE[0].password


def seed(database: Path) -> None:
    """Create the table with its people, unless it is there: a restart keeps changed passwords."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        if _has_table(connection):
            return
        rows = [_row(person) for person in PEOPLE]
        # One transaction: a start that is cut short leaves no half-filled table behind.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(TABLE)
        connection.executemany(
            "INSERT INTO usuarios (usuario, correo, clave, nombre, telefono, documento,"
            " nacimiento, activo, creado) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        connection.execute("COMMIT")


def find(database: Path, typed: str) -> list[sqlite3.Row]:
    """The accounts with this login or mail address; several may share an address."""
    return _select(database, ":typed COLLATE NOCASE IN (usuario, correo)", typed)


def get(database: Path, account_id: int) -> sqlite3.Row | None:
    """The account with this id, if it still exists."""
    return next(iter(_select(database, "id = :typed", account_id)), None)


def check(password: str, stored: str) -> bool:
    """Whether *password* is the one behind the *stored* hash, by the scheme the hash names."""
    for prefix, verify in VERIFIERS.items():
        if stored.startswith(prefix):
            return verify(password, stored)
    return False


def _has_table(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'usuarios'").fetchone()
    return found is not None


def _row(person: Person) -> tuple[object, ...]:
    stored = HASHERS[person.scheme](person.password)
    return (
        *(person.login, person.email, stored, person.name, person.phone, person.document),
        *(person.birth, int(person.active), CREATED),
    )


def _select(database: Path, condition: str, typed: str | int) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        query = f"SELECT * FROM usuarios WHERE {condition} ORDER BY id"
        return connection.execute(query, {"typed": typed}).fetchall()


def _bcrypt_hash(password: str) -> str:
    """As PHP writes it: the same hash under the name `$2y$`."""
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=10)).decode()
    return hashed.replace("$2b$", "$2y$", 1)


def _bcrypt_check(password: str, stored: str) -> bool:
    # Like PHP, bcrypt reads 72 bytes and no more; the library would refuse a longer password.
    try:
        return bcrypt.checkpw(password.encode()[:72], stored.encode())
    except ValueError:
        return False


def _argon2_check(password: str, stored: str) -> bool:
    try:
        return argon2.PasswordHasher().verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def _django_hash(password: str) -> str:
    rounds, salt = 600_000, secrets.token_hex(11)
    return f"pbkdf2_sha256${rounds}${salt}${_pbkdf2(password, salt, rounds)}"


def _django_check(password: str, stored: str) -> bool:
    _, rounds, salt, digest = stored.split("$")
    return hmac.compare_digest(digest, _pbkdf2(password, salt, int(rounds)))


def _pbkdf2(password: str, salt: str, rounds: int) -> str:
    """As Django does it: SHA-256, the salt as its ASCII text, the result in base64."""
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), rounds)
    return base64.b64encode(digest).decode()


def _werkzeug_check(password: str, stored: str) -> bool:
    return check_password_hash(stored, password)


HASHERS: dict[str, Callable[[str], str]] = {
    "bcrypt": _bcrypt_hash,
    "argon2id": argon2.PasswordHasher().hash,
    "scrypt": generate_password_hash,
    "django": _django_hash,
}
VERIFIERS: dict[str, Callable[[str, str], bool]] = {
    "$2": _bcrypt_check,
    "$argon2": _argon2_check,
    "scrypt:": _werkzeug_check,
    "pbkdf2_sha256$": _django_check,
}
