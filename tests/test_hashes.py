"""Hashes in the portals' own formats: read, renewed like the present one, and read by others."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import argon2
import bcrypt
import django.conf
import pytest
from django.contrib.auth import hashers
from werkzeug.security import check_password_hash

from reset import texts
from reset.accounts import hashes
from reset.accounts.schemes import Scheme
from reset.errors import AccountsUnavailable, PasswordRefused
from tests.conftest import NEW_PASSWORD, OLD_PASSWORD, READERS, Ask, hash_bcrypt, program
from tests.readers.slapd import directory

PLAIN = [NEW_PASSWORD, "Mesa Verde Lluvia 42", "ñÑáÜ-Lluvia-42", "Lluvia🙂Verde-42", "&42<Mesa>;#"]
ODD = ["  Mesa Verde 42 ", "'\"\\;<script>42</script>"]
TAKEN_BY = {"$wp": PLAIN, "$P$": PLAIN, "$H$": PLAIN[:-1] + ODD[:1]}
DJANGO = ["PBKDF2", "PBKDF2SHA1", "Argon2", "BCryptSHA256", "BCrypt", "Scrypt", "MD5"]


class Sample(NamedTuple):
    """A hash of OLD_PASSWORD; ``reader`` is somebody else's code that reads it."""

    scheme: str
    reader: str
    form: str
    stored: str


def rows(name: str) -> list[list[str]]:
    """The lines of a file of tests/readers, without the comments."""
    lines = (READERS / name).read_text("utf-8").splitlines()
    return [line.split(" ") for line in lines if not line.startswith("#")]


SAMPLES = [Sample(*row) for row in rows("samples.txt")]


def by(*readers: str) -> pytest.MarkDecorator:
    """For every sample that one of *readers* reads, or for all."""
    chosen = [sample for sample in SAMPLES if not readers or sample.reader in readers]
    return pytest.mark.parametrize("sample", chosen, ids=lambda sample: sample.form[:40])


def has_form(form: str, stored: str) -> bool:
    """Whether *stored* is of the *form*: its parameters as they are, its random parts by size."""
    kinds = {"": "[^$]", "x": "[0-9a-f]", "X": "[0-9A-F]"}
    pattern = re.sub(
        r"<(\d+)([xX]?)>", lambda part: f"{kinds[part[2]]}{{{part[1]}}}", re.escape(form)
    )
    return bool(re.fullmatch(pattern, stored))


def renewed(sample: Sample) -> dict[str, str]:
    """New hashes like *sample*, by password: of all that the scheme takes."""
    taken = TAKEN_BY.get(sample.stored[:3], PLAIN + ODD)
    return {password: hashes.renew(password, sample.stored) for password in taken}


def assert_read(ask: Ask, sample: Sample) -> None:
    """The reader takes every new hash like *sample* with its password, and with no other."""
    assert ask(sample.reader, OLD_PASSWORD, sample.stored)
    for password, made in renewed(sample).items():
        assert ask(sample.reader, password, made), password
        assert not ask(sample.reader, "Otra-Lluvia-42", made)


@by()
def test_present_hash_is_verified(sample: Sample) -> None:
    """The scheme is recognised, its password fits and no other does."""
    assert hashes.scheme_of(sample.stored) == sample.scheme
    assert hashes.verify(OLD_PASSWORD, sample.stored)
    assert not hashes.verify(OLD_PASSWORD + "x", sample.stored)


@by()
def test_new_hash_keeps_the_parameters(sample: Sample) -> None:
    """Variant, prefix, cost and sizes of the row's hash; the password fits."""
    assert has_form(sample.form, sample.stored)
    for password, made in renewed(sample).items():
        assert has_form(sample.form, made), made
        assert hashes.scheme_of(made) == sample.scheme
        assert hashes.verify(password, made)


@by()
def test_salt_is_always_new(sample: Sample) -> None:
    """Two hashes of one password differ wherever the scheme has a salt."""
    made = {hashes.renew(NEW_PASSWORD, sample.stored) for _ in range(2)}
    unsalted = sample.scheme.startswith("hex_") or sample.scheme in ("ldap_sha", "ldap_md5")
    assert len(made) == (1 if unsalted else 2)


@by()
def test_padding_of_the_column_is_no_part_of_the_hash(sample: Sample) -> None:
    """A CHAR(n) column returns blanks after the hash; a new hash has none."""
    padded = sample.stored + "   "
    assert hashes.scheme_of(padded) == sample.scheme
    assert hashes.verify(OLD_PASSWORD, padded)
    assert has_form(sample.form, hashes.renew(NEW_PASSWORD, padded))


@pytest.mark.parametrize(("password", "stored"), rows("vectors.txt"))
def test_published_vectors(password: str, stored: str) -> None:
    """Hashes that others computed are verified."""
    assert hashes.verify(password.replace("·", " "), stored)


def test_every_scheme_has_its_samples() -> None:
    """Each has a sample, a form of its fresh hash, and a published vector or a reader."""
    assert {sample.scheme for sample in SAMPLES} == set(hashes.SCHEMES)
    assert [name for name, _ in rows("fresh.txt")] == list(hashes.SCHEMES)
    proved = {hashes.scheme_of(stored) for _, stored in rows("vectors.txt")}
    proved |= {sample.scheme for sample in SAMPLES if sample.reader != "-"}
    assert proved == set(hashes.SCHEMES)


@pytest.mark.parametrize(("scheme", "form"), rows("fresh.txt"))
def test_fresh_hash_has_a_sane_cost(use_django: None, scheme: str, form: str) -> None:
    """Where there is nothing to follow; Django finds nothing to hash again."""
    made = hashes.renew(NEW_PASSWORD, "", scheme)
    assert has_form(form, made)
    assert hashes.scheme_of(made) == scheme
    if scheme.startswith("django_") and scheme != "django_sha1":  # Django no longer reads that.
        assert not hashers.identify_hasher(made).must_update(made)


# What others read.


@pytest.fixture(scope="session")
def use_django() -> None:
    """Django with all its hashers."""
    if not django.conf.settings.configured:
        module = "django.contrib.auth.hashers"
        names = [f"{module}.{name}PasswordHasher" for name in DJANGO]
        django.conf.settings.configure(PASSWORD_HASHERS=names)


@by("php", "wordpress", "crypt", "hex")
def test_php_reads_it(php: Ask, sample: Sample) -> None:
    """password_verify(), crypt(), and WordPress' and everybody's digests by PHP's functions."""
    assert_read(php, sample)


@by("laravel")
def test_laravel_reads_it(php: Ask, sample: Sample) -> None:
    """Its own hasher, which refuses a hash that PHP does not call bcrypt."""
    assert_read(php, sample)
    assert php("laravel", NEW_PASSWORD, hashes.renew(NEW_PASSWORD, "", "bcrypt"))


@by("django")
def test_django_reads_it(use_django: None, sample: Sample) -> None:
    """Django's own check."""
    assert_read(
        lambda _, word, stored: hashers.identify_hasher(stored).verify(word, stored), sample
    )
    assert hashers.check_password(NEW_PASSWORD, hashes.renew(NEW_PASSWORD, sample.stored))


@by("werkzeug")
def test_werkzeug_reads_it(sample: Sample) -> None:
    """Werkzeug's own check."""
    assert_read(lambda _, password, stored: check_password_hash(stored, password), sample)


@by("bcrypt")
def test_bcrypt_reads_it(sample: Sample) -> None:
    """The library of Python, and of Django and many more."""
    assert_read(lambda _, word, stored: bcrypt.checkpw(word.encode(), stored.encode()), sample)


@by("argon2")
def test_argon2_reads_it(sample: Sample) -> None:
    """The reference implementation."""

    def ask(_: str, password: str, stored: str) -> bool:
        with suppress(argon2.exceptions.VerifyMismatchError):
            return argon2.PasswordHasher().verify(stored, password)
        return False

    assert_read(ask, sample)


@by("openssl")
def test_openssl_reads_it(sample: Sample) -> None:
    """`openssl passwd` hashes with Apache's scheme."""
    binary = program("the openssl tests", "openssl", "openssl")

    def ask(_: str, password: str, stored: str) -> bool:
        command = [binary, "passwd", "-apr1", "-salt", stored.split("$")[2], "-stdin"]
        done = subprocess.run(command, input=password, capture_output=True, text=True, check=True)
        return done.stdout.strip() == stored

    assert_read(ask, sample)


def test_slapd_reads_it() -> None:
    """A real directory lets everybody in with the new password, and with no other."""
    samples = [sample for sample in SAMPLES if sample.reader == "slapd"]
    made = [pair for sample in samples for pair in renewed(sample).items()]
    with directory(stored for _, stored in made) as binds:
        refused = [pair for number, pair in enumerate(made) if not binds(number, pair[0])]
        assert refused == []
        assert not any(
            binds(number, OLD_PASSWORD) for number in range(0, len(made), len(PLAIN + ODD))
        )


# What cannot be held.


@pytest.mark.parametrize("scheme", ["bcrypt", "django_bcrypt", "ldap_bcrypt"])
def test_bcrypt_refuses_what_it_would_cut(scheme: str) -> None:
    """Seventy-two bytes are taken whole, seventy-three are refused."""
    stored = next(sample.stored for sample in SAMPLES if sample.scheme == scheme)
    assert hashes.verify("ñ" * 36, hashes.renew("ñ" * 36, stored))
    assert refusal("ñ" * 36 + "x", stored) == ["too_long_for_portal"]


@pytest.mark.parametrize("scheme", ["wordpress", "django_bcrypt_sha256", "bcrypt_sha256"])
def test_bcrypt_of_a_digest_takes_any_length(scheme: str) -> None:
    """All of a long password counts."""
    stored = next(sample.stored for sample in SAMPLES if sample.scheme == scheme)
    made = hashes.renew("ñ" * 64, stored)
    assert hashes.verify("ñ" * 64, made)
    assert not hashes.verify("ñ" * 63, made)


@pytest.mark.parametrize(
    ("password", "codes"),
    [
        (" Mesa-42", ["blank_at_ends"]),
        ("Mesa-42 ", ["blank_at_ends"]),
        ("Me'sa-42", ["quotes"]),
        ('Me"sa-42', ["quotes"]),
        ("Me\\sa-42", ["quotes"]),
        (" 'Mesa-42'", ["blank_at_ends", "quotes"]),
    ],
)
@pytest.mark.parametrize("prefix", ["$wp", "$P$"])
def test_wordpress_refuses_what_its_login_changes(
    prefix: str, password: str, codes: list[str]
) -> None:
    """Blanks at the ends, quotes and backslashes; others are taken."""
    stored = next(sample.stored for sample in SAMPLES if sample.stored.startswith(prefix))
    assert refusal(password, stored) == codes
    assert all(texts.text(code) for code in codes)


@pytest.mark.parametrize("scheme", ["wordpress", "phpass"])
def test_fresh_hash_of_wordpress_is_as_strict(scheme: str) -> None:
    """Also where there is no hash to follow."""
    assert refusal("Me'sa-42", "", scheme) == ["quotes"]


@pytest.mark.parametrize("password", ODD)
def test_wordpress_would_not_accept_them(php: Ask, password: str) -> None:
    """The refusals are for a reason: a plain hash of such a password lets nobody in."""
    scheme = hashes.SCHEMES["wordpress"]
    stored = next(sample.stored for sample in SAMPLES if sample.scheme == "wordpress")
    assert not php("wordpress", password, scheme.renew(password, stored))


def test_phpbb_refuses_what_its_login_changes() -> None:
    """The signs of HTML; blanks and single quotes reach its hash as typed."""
    stored = next(sample.stored for sample in SAMPLES if sample.stored.startswith("$H$"))
    for sign in '&<>"':
        assert refusal(f"Mesa{sign}42", stored) == ["html_signs"]
    assert hashes.verify(" Mesa'42 ", hashes.renew(" Mesa'42 ", stored))
    assert texts.text("html_signs")


def refusal(password: str, stored: str, fallback: str = "auto") -> list[str]:
    """Why *password* is refused; it has to be."""
    with pytest.raises(PasswordRefused) as refused:
        hashes.renew(password, stored, fallback)
    return refused.value.codes


@by()
def test_broken_hash_is_nobodys_password(sample: Sample) -> None:
    """Cut, doubled or spoilt: no crash, neither when verified nor when replaced."""
    whole = sample.stored
    middle = len(whole) // 2
    broken = [whole[:end] for end in (-1, -2, middle, 8, 4)]
    broken += [whole + "x", whole * 2, whole[:middle] + "!" + whole[middle + 1 :]]
    broken += [whole[:-3] + "é" + whole[-2:], whole[:-2] + "\0" + whole[-1:]]
    broken += [re.sub(r"(?<=[$:=])\d+(?=[$:,])", number, whole) for number in ("0", "x", "1")]
    for stored in broken:
        assert stored == whole or not hashes.verify(OLD_PASSWORD, stored), stored
        with suppress(PasswordRefused):
            hashes.renew(NEW_PASSWORD, stored)


@pytest.mark.parametrize("last", "Of")
def test_bcrypt_with_spoilt_bits_is_unknown(last: str) -> None:
    """libpass would mend the unused bits of a salt, which no bcrypt writes, and warn."""
    tail = "$2b$04$WHj7MWMnyTrex8O1/uIgF{}KrAFVQsNHTrZ3E2uQpHcrE76A.0nVBe"
    known = "django_bcrypt_sha256" if last == "O" else None
    assert hashes.scheme_of("bcrypt_sha256$" + tail.format(last)) == known


@pytest.mark.parametrize("password", ["a\0b", "\x07", "\ud800", ""])
@by()
def test_unfit_password_does_not_crash(sample: Sample, password: str) -> None:
    """The rules refuse these before; here they are refused, or hashed."""
    assert not hashes.verify(password, sample.stored)
    with suppress(PasswordRefused):
        hashes.renew(password, sample.stored)


# What to follow.


@pytest.mark.parametrize(
    "stored",
    ["$6$rounds=1000$salt", "$P$5saltsalt", "pbkdf2_sha256$7$salt$", "$scrypt$ln=5,r=4,p=2$c2FsdA"],
)
def test_parameters_alone_are_no_hash(stored: str) -> None:
    """libpass also reads a hash without its digest, which is nobody's."""
    assert hashes.scheme_of(stored) is None


@pytest.mark.parametrize(
    ("stored", "form"),
    [
        # Computed by crypt() of PHP and `printf x | md5sum`.
        ("$1$$LP5.V3ajGqHDdXW6XwZQy.", "$1$<8>$<22>"),
        ("md5$$9dd4e461268c8034f5c8564e155c67a6", "md5$<12>$<32x>"),
    ],
)
def test_row_without_salt_gets_one(stored: str, form: str) -> None:
    """What the format allows is followed, but not where it hides nothing."""
    assert hashes.verify("x", stored)
    assert has_form(form, hashes.renew(NEW_PASSWORD, stored))


SCRYPT_7 = "$7$22....0....dY5xjrF2LqU0hrA2RijlvA$5Zjbsz5xQZLMYxxEKkTC/88Bj6Vz0O04gorzth4asW0"


@pytest.mark.parametrize(
    "stored", ["", "   ", "plain", "$2y$", "!", "$1$salt$hash", "{SSHA}", "ñ", SCRYPT_7]
)
def test_unusable_hash_leads_to_the_fallback(stored: str) -> None:
    """The named scheme serves; where nothing is named, the password is refused."""
    assert hashes.scheme_of(stored) is None
    assert not hashes.verify(stored, stored)
    assert hashes.scheme_of(hashes.renew(NEW_PASSWORD, stored, "sha256_crypt")) == "sha256_crypt"
    assert refusal(NEW_PASSWORD, stored) == ["refused_by_portal"]
    assert refusal(NEW_PASSWORD, stored, "no_such_scheme") == ["refused_by_portal"]


WEAK = {
    *("hex_md5", "hex_sha1", "hex_sha256", "hex_sha512"),
    *("ldap_ssha", "ldap_ssha256", "ldap_ssha512", "ldap_smd5", "ldap_sha", "ldap_md5"),
    *("md5_crypt", "ldap_md5_crypt", "apr_md5_crypt", "phpass", "django_md5", "django_sha1"),
}


@by()
def test_only_a_weak_hash_is_upgraded(sample: Sample) -> None:
    """Fast, unsalted and MD5's give way to the named scheme when asked to; others stay."""
    assert hashes.is_weak(sample.scheme) is (sample.scheme in WEAK)
    made = hashes.renew(NEW_PASSWORD, sample.stored, "sha256_crypt", upgrade=True)
    assert hashes.scheme_of(made) == ("sha256_crypt" if sample.scheme in WEAK else sample.scheme)
    for scheme, upgrade in (("sha256_crypt", False), ("auto", True)):
        kept = hashes.renew(NEW_PASSWORD, sample.stored, scheme, upgrade=upgrade)
        assert has_form(sample.form, kept)


class Held(Scheme):
    """Says when somebody came in, and keeps them until the test lets go."""

    def __init__(self) -> None:
        self.came = threading.Semaphore(0)
        self.let_go = threading.Event()

    def reads(self, stored: str) -> bool:
        return stored == "held"

    def verify(self, password: str, stored: str) -> bool:
        return bool(self.fresh(password))

    def renew(self, password: str, stored: str) -> str:
        return self.fresh(password)

    def fresh(self, password: str) -> str:
        self.came.release()
        self.let_go.wait(10)
        return "held"


@pytest.mark.parametrize("second", [hashes.verify, hashes.renew])
@pytest.mark.parametrize("first", [hashes.verify, hashes.renew])
def test_one_hash_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
    first: Callable[[str, str], object],
    second: Callable[[str, str], object],
) -> None:
    """While one is made or verified, another has to wait: memory is taken once. Not so after it."""
    held = Held()
    monkeypatch.setattr(hashes, "SCHEMES", {"held": held})
    monkeypatch.setattr(hashes, "_WAIT_SECONDS", 0)
    thread = threading.Thread(target=first, args=("x", "held"))
    thread.start()
    assert held.came.acquire(timeout=10)
    try:
        with pytest.raises(AccountsUnavailable):
            second("x", "held")
    finally:
        held.let_go.set()
        thread.join(10)
    assert second("x", "held")


def test_nobody_waits_for_ever_to_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others take too long the accounts are "not available now", and the link stays good."""
    monkeypatch.setattr(hashes, "_WAIT_SECONDS", 0)
    with hashes._hashing, pytest.raises(AccountsUnavailable):
        hashes.verify(OLD_PASSWORD, hash_bcrypt(OLD_PASSWORD))


@pytest.mark.parametrize(
    "stored",
    [
        "$2y$17$" + "a" * 53,
        "$2y$31$" + "a" * 53,
        "{CRYPT}$2y$31$" + "a" * 53,
        "$wp$2y$31$" + "a" * 53,
        "bcrypt$$2b$31$" + "a" * 53,
        "bcrypt_sha256$$2b$20$" + "a" * 21 + "." + "a" * 30 + ".",
        "$argon2id$v=19$m=4194304,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43,
        "$argon2id$v=19$m=65536,t=1000000,p=4$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43,
        "$argon2id$v=19$m=4194304,t=1,p=4$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43,
        "$argon2id$v=19$m=99999999999,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43,
        "scrypt:1073741824:8:1$salt$" + "0" * 128,
        "scrypt:32768:8:1000000$salt$" + "0" * 128,
        "pbkdf2:sha256:100000000$salt$" + "0" * 64,
        "pbkdf2:sha256:1000000000$salt$" + "0" * 64,
        "pbkdf2:sha256:99999999999999999999$salt$" + "0" * 64,
        "pbkdf2_sha256$1000000000$salt$" + "A" * 43 + "=",
        "scrypt$1073741824$salt$8$1$" + "A" * 86 + "==",
        "$6$rounds=999999999$salt$" + "a" * 86,
        "$P$R" + "a" * 30,
        "$scrypt$ln=30,r=8,p=1$c2FsdA$" + "A" * 43,
        "$scrypt$ln=15,r=8,p=1000000$c2FsdA$" + "A" * 43,
    ],
)
def test_cost_beyond_our_means_is_no_hash_for_us(stored: str) -> None:
    """One such row would keep everybody else waiting, or take all memory."""
    assert hashes.scheme_of(stored) is None
    assert not hashes.verify(OLD_PASSWORD, stored)


def test_manual_names_every_scheme() -> None:
    """What an operator may write in RESET_ACCOUNTS_HASH stands in the table, and nothing else."""
    page = (READERS.parent.parent / "docs" / "portals.md").read_text("utf-8")
    table = page.split("\n## Hashes\n")[1].split("\n## ")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", "".join(first))) == set(hashes.SCHEMES)
