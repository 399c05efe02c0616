"""Password hashes in the portal's own formats: recognised, verified and made anew.

A new hash follows the scheme and the cost of the row's present one, so that the portal reads it
as if it had written it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import argon2
from passlib import hash as handlers

from reset.accounts.libpass import BcryptOfDigest, HexDigest, LdapDigest, Libpass, ShaCrypt
from reset.accounts.schemes import Argon2, Bcrypt, DjangoScrypt, Prefixed, Scheme, Werkzeug
from reset.accounts.wordpress import Phpass, WordPress
from reset.errors import AccountsUnavailable, PasswordRefused

# Hashing is made to cost, time and often 64 MiB: one at a time, so that a rush takes the memory of
# one and leaves a core for pages. Whoever waits has few before them: the threads of this process.
_hashing = threading.Lock()
_WAIT_SECONDS = 20
_BROKEN = (ValueError, OverflowError, MemoryError, argon2.exceptions.Argon2Error)

_DJANGO_SALT = 22  # Characters; Django hashes again where it finds fewer (128 bits).
_DJANGO_ARGON2 = argon2.PasswordHasher(2, 102_400, 8, salt_len=_DJANGO_SALT)
_LDAP_SALT = 8  # Bytes, as OpenLDAP's pw-sha2 writes.
_MD5_CRYPT = Libpass(handlers.md5_crypt, weak=True)
# libpass's own rounds take seconds; these are Moodle's, double of what crypt itself takes.
_SHA256_CRYPT = ShaCrypt(handlers.sha256_crypt, rounds=10_000)
_SHA512_CRYPT = ShaCrypt(handlers.sha512_crypt, rounds=10_000)

# By the names that RESET_ACCOUNTS_HASH takes. The numbers are those of a fresh hash; those without
# a reason beside them are of OWASP's Password Storage Cheat Sheet.
SCHEMES: Mapping[str, Scheme] = {
    "bcrypt": Bcrypt(),
    "wordpress": WordPress(),
    "phpass": Phpass(handlers.phpass, weak=True, rounds=13),  # 2**13, as WordPress.
    # RFC 9106, 4, the second recommended option.
    "argon2": Argon2(argon2.PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=4)),
    "werkzeug": Werkzeug(),
    # Of Django: its own costs, so that it does not hash again at the next log-in.
    "django_pbkdf2_sha256": Libpass(
        handlers.django_pbkdf2_sha256, rounds=1_000_000, salt_size=_DJANGO_SALT
    ),
    "django_pbkdf2_sha1": Libpass(
        handlers.django_pbkdf2_sha1, rounds=1_000_000, salt_size=_DJANGO_SALT
    ),
    "django_argon2": Prefixed("argon2", Argon2(_DJANGO_ARGON2)),
    "django_bcrypt_sha256": BcryptOfDigest(handlers.django_bcrypt_sha256, rounds=12),
    # Django asks bcrypt for the very same text again, and bcrypt never writes `$2y$`.
    "django_bcrypt": Prefixed("bcrypt$", Bcrypt("$2b$12$")),
    "django_scrypt": DjangoScrypt(),
    "django_md5": Libpass(handlers.django_salted_md5, weak=True, salt_size=_DJANGO_SALT),
    "django_sha1": Libpass(handlers.django_salted_sha1, weak=True, salt_size=_DJANGO_SALT),
    "pbkdf2_sha1": Libpass(handlers.pbkdf2_sha1, rounds=1_300_000),
    "pbkdf2_sha256": Libpass(handlers.pbkdf2_sha256, rounds=600_000),
    "pbkdf2_sha512": Libpass(handlers.pbkdf2_sha512, rounds=210_000),
    # Not its `$7$`, whose salt libpass would lengthen every time.
    "scrypt": Libpass(handlers.scrypt, prefix="$scrypt$", rounds=15, block_size=8, parallelism=3),
    "bcrypt_sha256": BcryptOfDigest(handlers.bcrypt_sha256, rounds=12),
    "md5_crypt": _MD5_CRYPT,
    "apr_md5_crypt": Libpass(handlers.apr_md5_crypt, weak=True),
    "sha256_crypt": _SHA256_CRYPT,
    "sha512_crypt": _SHA512_CRYPT,
    "ldap_ssha": LdapDigest(handlers.ldap_salted_sha1, weak=True, salt_size=_LDAP_SALT),
    "ldap_ssha256": LdapDigest(handlers.ldap_salted_sha256, weak=True, salt_size=_LDAP_SALT),
    "ldap_ssha512": LdapDigest(handlers.ldap_salted_sha512, weak=True, salt_size=_LDAP_SALT),
    "ldap_smd5": LdapDigest(handlers.ldap_salted_md5, weak=True, salt_size=_LDAP_SALT),
    "ldap_sha": LdapDigest(handlers.ldap_sha1, weak=True),
    "ldap_md5": LdapDigest(handlers.ldap_md5, weak=True),
    "ldap_bcrypt": Prefixed("{CRYPT}", Bcrypt()),
    "ldap_md5_crypt": Prefixed("{CRYPT}", _MD5_CRYPT),
    "ldap_sha256_crypt": Prefixed("{CRYPT}", _SHA256_CRYPT),
    "ldap_sha512_crypt": Prefixed("{CRYPT}", _SHA512_CRYPT),
    "hex_md5": HexDigest(handlers.hex_md5, weak=True),
    "hex_sha1": HexDigest(handlers.hex_sha1, weak=True),
    "hex_sha256": HexDigest(handlers.hex_sha256, weak=True),
    "hex_sha512": HexDigest(handlers.hex_sha512, weak=True),
}


def scheme_of(stored: str) -> str | None:
    """The name of the scheme that *stored* is in; None if it is none that we can write, or afford.

    Blanks after it are those of a column of fixed width, here and in what follows.
    """
    hashed = stored.rstrip(" ")
    return next((name for name, scheme in SCHEMES.items() if scheme.reads(hashed)), None)


def is_weak(name: str) -> bool:
    """Whether hashes of the scheme *name* are fast, unsalted or built on MD5 or a bare SHA-1.

    Raises:
        KeyError: there is no such scheme.
    """
    return SCHEMES[name].weak


def verify(password: str, stored: str) -> bool:
    """Whether *stored* is a hash of *password*; False for a hash of no known scheme."""
    name = scheme_of(stored)
    if name is None:
        return False
    with _alone():
        try:
            return SCHEMES[name].verify(password, stored.rstrip(" "))
        except _BROKEN:
            return False  # It looks like a hash and is none: nobody's password fits.


def renew(password: str, stored: str, fallback: str = "auto", *, upgrade: bool = False) -> str:
    """A hash of *password* like *stored*; of the scheme *fallback* where that has no format.

    With *upgrade*, a weak *stored* is not followed either, unless *fallback* is "auto".

    Raises:
        PasswordRefused: the scheme cannot hold this password without loss, or there is none.
    """
    name = scheme_of(stored)
    like = stored.rstrip(" ")
    if name is None or (upgrade and is_weak(name) and fallback != "auto"):
        name, like = fallback, ""
    if name not in SCHEMES:
        raise PasswordRefused(["refused_by_portal"])
    with _alone():
        try:
            return _made(SCHEMES[name], password, like)
        except _BROKEN as error:
            raise PasswordRefused(["refused_by_portal"]) from error


@contextmanager
def _alone() -> Iterator[None]:
    if not _hashing.acquire(timeout=_WAIT_SECONDS):
        raise AccountsUnavailable("hashing is busy")
    try:
        yield
    finally:
        _hashing.release()


def _made(scheme: Scheme, password: str, like: str) -> str:
    codes = scheme.refusals(password, like)
    if codes:
        raise PasswordRefused(codes)
    return scheme.renew(password, like) if like else scheme.fresh(password)
