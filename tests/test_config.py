"""Settings: every fault at once, in one plain sentence each, and no start with one."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

import config
from reset.accounts.ldap import Directory
from reset.accounts.memory import MemoryAccounts
from reset.accounts.source import OwnBackend
from reset.errors import ConfigurationError
from reset.values import Values
from tests.conftest import ENVIRON, KEY, Portal

ROOT = Path(config.__file__).parent
KEYS_ONLY = {name: value for name, value in ENVIRON.items() if "_ACCOUNTS_" not in name}
GOOD = {**ENVIRON, "RESET_ACCOUNTS_URL": "sqlite:////tmp/portal.sqlite"}


def faults(tmp_path: Path, **changes: str) -> list[str]:
    """The faults that the good settings have after *changes*; an empty text removes one."""
    environ = {**GOOD, **{f"RESET_{name}": value for name, value in changes.items()}}
    try:
        config.load({name: value for name, value in environ.items() if value}, tmp_path)
    except ConfigurationError as error:
        return error.faults
    return []


def test_good_settings_have_no_fault(tmp_path: Path) -> None:
    """The settings of the tests themselves are good, and defaults are as documented."""
    settings = config.load(GOOD, tmp_path)
    assert settings.link_lifetime == timedelta(hours=12)
    assert settings.captcha_length == 8
    assert settings.mail.give_up_after == timedelta(days=3)
    assert settings.trusted_proxies == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEYS", ""),
        ("SECRET_KEYS", "dev"),
        ("SECRET_KEYS", "0123456789abcdef"),
        ("SECRET_KEYS", "a" * 64),
        ("SECRET_KEYS", f"{KEY},short"),
        ("PUBLIC_URL", ""),
        ("PUBLIC_URL", "http://clave.example"),
        ("PUBLIC_URL", "clave.example"),
        ("PUBLIC_URL", "https://clave.example/?a=b"),
        ("PUBLIC_URL", "https://clave.example/" + "a" * 60),
        ("PUBLIC_URL", "https://[clave"),
        ("DATABASE_URL", "file.sqlite"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "oracle://u:p@h/d"),
        ("RATELIMIT_STORAGE_URI", "10.0.0.6:6379"),
        ("ACCOUNTS_URL", ""),
        ("ACCOUNTS_URL", "sqlite://"),
        ("ACCOUNTS_URL", "sqlite:///:memory:"),
        ("ACCOUNTS_TABLE", ""),
        ("ACCOUNTS_EMAIL", ""),
        ("ACCOUNTS_PASSWORD", ""),
        ("ACCOUNTS_HASH", "rot13"),
        ("ACCOUNTS_HASH_UPGRADE", "1"),
        ("ACCOUNTS_URL", "oracle://host/portal"),
        ("ACCOUNTS_URL", "postgresql://host"),
        ("ACCOUNTS_URL", "mysql:///"),
        ("ACCOUNTS_EXCLUDE", "administrador"),
        ("ACCOUNTS_EXCLUDE", "usuario~("),
        ("ACCOUNTS_EXCLUDE", "rol==administrador"),
        ("ACCOUNTS_EXCLUDE", "rol=~^admin"),
        ("ACCOUNTS_EXCLUDE", "rol~x{99999999999}"),
        ("ACCOUNTS_EXCLUDE", "rol='administrador'"),
        ("ACCOUNTS_URL", "mysql://u:p@ss@localhost/portal"),
        ("ACCOUNTS_URL", "mysql://u:p@ss/w#rd@localhost/portal"),
        ("ACCOUNTS_URL", "postgresql://u:pa%ss@localhost/portal"),
        ("ACCOUNTS_AFTER_CHANGE_SQL", ";"),
        ("ACCOUNTS_SET", "fallos"),
        ("ACCOUNTS_SET", "fallos=0; rol=1"),
        ("ACCOUNTS_SET", "fallos=fallos+1"),
        ("ACCOUNTS_FIND_SQL", "DELETE FROM usuarios"),
        ("ACCOUNTS_FIND_SQL", "SELECT * FROM usuarios WHERE correo = :address"),
        ("ACCOUNTS_UPDATE_SQL", "UPDATE usuarios SET clave = :password WHERE id = :id"),
        ("ACCOUNTS_UPDATE_SQL", "UPDATE u SET c = :password WHERE i = :id AND c = :old"),
        ("ACCOUNTS_AFTER_CHANGE_SQL", "DELETE FROM sesiones WHERE u = :usuario"),
        ("ACCOUNTS_AFTER_CHANGE_SQL", "-- end of sessions\nCOMMIT"),
        ("ACCOUNTS_AFTER_CHANGE_SQL", "/* end; */ COMMIT"),
        ("ACCOUNTS_AFTER_CHANGE_SQL", "DELETE FROM sesiones; -- it's over\nTRUNCATE otras"),
        ("ACCOUNTS_AFTER_CHANGE_SQL", "-- nothing"),
        ("ACCOUNTS_FIND_SQL", "SELECT 1; DELETE FROM usuarios"),
        ("ACCOUNTS_LDAP_EXCLUDE_GROUPS", "cn=admins,dc=example"),
        ("ACCOUNTS_LDAP_UNLOCK", "1"),
        ("ACCOUNTS_AFTER_CHANGE_SQL", "DELETE FROM sesiones WHERE u = :id; commit"),
        ("ACCOUNTS_AFTER_CHANGE_SQL", "TRUNCATE TABLE sesiones"),
        ("MAIL_PORT", "0"),
        ("MAIL_PORT", "smtp"),
        ("MAIL_USE_TLS", "perhaps"),
        ("MAIL_DEFAULT_SENDER", ""),
        ("MAIL_DEFAULT_SENDER", "nobody"),
        ("MAIL_DEFAULT_SENDER", "josé@example.com"),
        ("MAIL_DEFAULT_SENDER", "a..b@example.com"),
        ("SUPPORT_EMAIL", "ayuda"),
        ("SUPPORT_EMAIL", "ayuda@example.com, otra@example.com"),
        ("MAIL_TIMEOUT", "15"),
        ("MAIL_TIMEOUT", "1h"),
        ("MAIL_RETRY_FIRST", "0s"),
        ("LINK_LIFETIME", "25h"),
        ("LINK_LIFETIME", "-1h"),
        ("CAPTCHA_LENGTH", "5"),
        ("CAPTCHA_LIFETIME", "soon"),
        ("CAPTCHA_VOICE_DIR", "/nowhere/voz"),
        ("LIMIT_PER_IP", "many"),
        ("LIMIT_PER_ADDRESS", "5 per lunch"),
        ("TRUSTED_PROXIES", "-1"),
        ("HELP_DESK_USER_HEADER", "X-Remote-User"),
        ("HELP_DESK_USER_HEADER", "X Remote"),
        ("HELP_DESK_DIGEST_AT", "25:00"),
        ("HELP_DESK_DIGEST_AT", "7"),
        ("HELP_DESK_DIGEST_TO", "mesa"),
        ("METRICS_ALLOW", "10.0.0.1/8"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
        ("FRAME_ANCESTORS", "portal.example"),
        ("FRAME_ANCESTORS", "https://portal.example/path"),
        ("FRAME_ANCESTORS", "*"),
        ("PASSWORD_PROFILE", "none"),
        ("BRAND_COLOR", "teal"),
        ("BRAND_BACKGROUND", "beige"),
        ("TEMPLATES_DIR", "/nowhere"),
        ("BRAND_LOGO", "/nowhere/logo.png"),
        ("PORTAL_URL", "javascript:alert(1)"),
        ("TIMEZONE", "Macondo"),
        ("TIMEZONE", "../etc/passwd"),
        ("RETENTION_DAYS", "1"),
        ("NO_SUCH_THING", "1"),
    ],
)
def test_one_fault_is_one_sentence(tmp_path: Path, name: str, value: str) -> None:
    """It names the setting, and does not repeat a secret."""
    found = faults(tmp_path, **{name: value})
    assert len(found) == 1
    assert found[0].startswith(f"RESET_{name}")
    assert found[0].endswith(".")
    assert KEY not in found[0]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Nobody has to start five times to find five mistakes."""
    found = faults(tmp_path, SECRET_KEYS="dev", PUBLIC_URL="", MAIL_PORT="x", TYPO="1")
    assert len(found) == 4


def test_columns_to_set_beside_an_own_update_are_told(tmp_path: Path) -> None:
    """They would be ignored in silence."""
    sql = "UPDATE u SET c = :password WHERE i = :id AND c = :present"
    found = faults(tmp_path, ACCOUNTS_UPDATE_SQL=sql, ACCOUNTS_SET="fallos=0")
    assert [sentence.partition(":")[0] for sentence in found] == ["RESET_ACCOUNTS_SET"]


def test_mail_password_does_not_travel_in_clear(tmp_path: Path) -> None:
    """Credentials for another machine need TLS."""
    mail = {"MAIL_USERNAME": "u", "MAIL_PASSWORD": "p", "MAIL_SERVER": "mail.example"}
    assert faults(tmp_path, **mail)
    assert not faults(tmp_path, **mail, MAIL_USE_TLS="1")
    assert faults(tmp_path, MAIL_USE_TLS="1", MAIL_USE_SSL="1")


def test_mail_login_without_its_password_is_told(tmp_path: Path) -> None:
    """At the start, not by each mail that does not leave."""
    (found,) = faults(tmp_path, MAIL_USERNAME="u")
    assert found == "RESET_MAIL_PASSWORD: is missing: that of RESET_MAIL_USERNAME."


def test_hours_without_a_telephone_are_told(tmp_path: Path) -> None:
    """They stand beside its number, and would be shown nowhere."""
    (found,) = faults(tmp_path, SUPPORT_PHONE="", SUPPORT_HOURS="lunes a viernes")
    assert found.startswith("RESET_SUPPORT_HOURS:")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("logo.png", b"GIF89a"),
        ("logo.png", b"\x89PNG\r\n\x1a\n"),
        ("logo.svg", b"<html/>"),
        ("logo.svg", b"<svg"),
        ("logo.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("logo.svg", b"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 0'/>"),
        (
            "logo.svg",
            b"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'/>" + b" " * 30_000,
        ),
        ("logo.jpg", b""),
    ],
)
def test_logo_that_cannot_be_shown_is_told(tmp_path: Path, name: str, content: bytes) -> None:
    """Another format, broken, without a shape, or too large for a small page."""
    (tmp_path / name).write_bytes(content)
    (found,) = faults(tmp_path, BRAND_LOGO=str(tmp_path / name))
    assert found.startswith("RESET_BRAND_LOGO:")


def test_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """RESET_SECRET_KEYS_FILE names it; others must not be able to read it."""
    file = tmp_path / "keys"
    file.write_text(KEY + "\n")
    file.chmod(0o600)
    assert not faults(tmp_path, SECRET_KEYS="", SECRET_KEYS_FILE=str(file))
    file.chmod(0o644)
    assert "chmod" in faults(tmp_path, SECRET_KEYS="", SECRET_KEYS_FILE=str(file))[0]
    assert faults(tmp_path, SECRET_KEYS="", SECRET_KEYS_FILE="/nowhere/key")
    assert faults(tmp_path, SECRET_KEYS_FILE=str(file))


def test_env_file_is_read_and_must_be_private(tmp_path: Path) -> None:
    """`.env` gives what the environment does not."""
    file = tmp_path / ".env"
    file.write_text("RESET_LINK_LIFETIME=1h\nRESET_MAIL_PORT=2525\n")
    file.chmod(0o600)
    settings = config.load({**GOOD, "RESET_MAIL_PORT": "26"}, tmp_path)
    assert settings.link_lifetime == timedelta(hours=1)
    assert settings.mail.port == 26
    assert config.load({**GOOD, "FLASK_SKIP_DOTENV": "1"}, tmp_path).link_lifetime.seconds == 43200
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod"):
        config.load(GOOD, tmp_path)


def test_env_file_takes_no_variables(tmp_path: Path) -> None:
    """What looks like a variable in a password is told, never silently replaced."""
    (tmp_path / ".env").write_text("RESET_MAIL_PASSWORD=abc${HOME}def\n")
    (tmp_path / ".env").chmod(0o600)
    with pytest.raises(ConfigurationError, match="RESET_MAIL_PASSWORD"):
        config.load(GOOD, tmp_path)


def test_secrets_do_not_show(tmp_path: Path) -> None:
    """The settings can be printed without giving anything away."""
    settings = config.load({**GOOD, "RESET_MAIL_PASSWORD": "s3cr3t"}, tmp_path)
    assert KEY not in repr(settings)
    assert "s3cr3t" not in repr(settings)


def test_sender_with_a_comma_keeps_its_address(tmp_path: Path) -> None:
    """A name may hold a comma, quoted or not."""
    for text in ("Hanna, Soporte <a@b.co>", '"Hanna, Soporte" <a@b.co>'):
        settings = config.load({**GOOD, "RESET_MAIL_DEFAULT_SENDER": text}, tmp_path)
        assert settings.mail.default_sender == '"Hanna, Soporte" <a@b.co>'


def test_example_names_every_setting(tmp_path: Path) -> None:
    """`.env.example` explains each setting that there is, and none that there is not."""
    reader = Values({})
    config._settings(reader, tmp_path)
    example = (ROOT / ".env.example").read_text("utf-8")
    assert set(re.findall(r"^#? ?RESET_([A-Z_]+)=", example, re.M)) == reader.asked


def test_example_is_good_once_it_has_a_key(tmp_path: Path) -> None:
    """Copied and given a key, the example starts."""
    text = (ROOT / ".env.example").read_text("utf-8")
    (tmp_path / ".env").write_text(re.sub(r"^RESET_SECRET_KEYS=.*$", "", text, flags=re.M))
    (tmp_path / ".env").chmod(0o600)
    settings = config.load({"RESET_SECRET_KEYS": KEY}, tmp_path)
    assert settings.brand.name == "Hanna"
    assert settings.brand.support_phone == "(605) 371 4545"


@pytest.mark.parametrize(
    "command", ["flask --app app reset migrate", "gunicorn --bind=127.0.0.1:0"]
)
def test_faulty_start_is_a_list_without_a_traceback(command: str) -> None:
    """Command and web server end, with the faults, one a line; neither tries for ever."""
    arguments = [sys.executable, "-m", *command.split()]
    environ = {"RESET_SECRET_KEYS": "dev", "FLASK_SKIP_DOTENV": "1", "PATH": ""}
    done = subprocess.run(
        arguments, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "RESET_SECRET_KEYS: a key is weak" in done.stderr
    assert done.stderr.count("RESET_PUBLIC_URL: is missing.") == 1


DIRECTORY = {
    "ACCOUNTS_URL": "LDAP://dc1.example ldaps://dc2.example",
    "ACCOUNTS_LDAP_BASE": "dc=example",
    "ACCOUNTS_LDAP_BIND_DN": "cn=restablecer,dc=example",
    "ACCOUNTS_LDAP_BIND_PASSWORD": "clave-de-servicio",
    "ACCOUNTS_TABLE": "",
    "ACCOUNTS_PASSWORD": "",
}


def test_directory_needs_no_table(tmp_path: Path) -> None:
    """Its settings are its own; names of attributes have defaults, secrets no repr."""
    assert faults(tmp_path, **DIRECTORY) == []
    environ = {f"RESET_{name}": value for name, value in DIRECTORY.items()}
    found = config.load({**KEYS_ONLY, **environ}, tmp_path).accounts_source
    assert isinstance(found, Directory)
    assert (found.email, found.login, found.starttls) == ("mail", "uid", True)
    assert "clave-de-servicio" not in repr(found)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("RESET_ACCOUNTS_EXCLUDE='rol=ADM", "line 2 cannot be read"),
        ("RESET_SECRET_KEYS=x", "line 2: RESET_SECRET_KEYS stands there twice"),
        ("reset_accounts_exclude=rol=ADM", "line 2: reset_accounts_exclude must be in capitals"),
        ("RESET_BRAND_NAME=a${HOME}", "line 2: RESET_BRAND_NAME must not contain ${"),
    ],
)
def test_line_of_the_file_that_would_be_left_out_is_told(
    tmp_path: Path, line: str, said: str
) -> None:
    """A rule that silently does not count would be worse than no start."""
    file = tmp_path / ".env"
    file.write_text(f"RESET_SECRET_KEYS={KEY}\n{line}\n")
    file.chmod(0o600)
    (fault,) = faults(tmp_path)
    assert said in fault


def test_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    """One line, no traceback, and nothing of what the file holds."""
    file = tmp_path / ".env"
    file.write_bytes("RESET_BRAND_NAME=Atención".encode("latin1"))
    file.chmod(0o600)
    assert faults(tmp_path) == [".env cannot be read: UnicodeDecodeError."]


def test_directory_without_its_library_is_told(
    make_app: Callable[..., Flask],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only who has a directory needs python-ldap; who has, hears how to get it."""
    environ = {f"RESET_{name}": value for name, value in DIRECTORY.items()}
    found = config.load({**KEYS_ONLY, **environ}, tmp_path).accounts_source
    for name in ("ldap", "reset.accounts.ldap.backend", "reset.accounts.ldap.active_directory"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit):
        make_app(accounts_source=found)
    assert "pip install -r requirements-ldap.txt" in capsys.readouterr().err


def test_own_select_needs_to_know_what_to_change(tmp_path: Path) -> None:
    """By the name of the table, or by an UPDATE; comments in statements are no matter."""
    select = {"ACCOUNTS_FIND_SQL": "-- everybody\nSELECT * FROM u", "ACCOUNTS_TABLE": ""}
    (fault,) = faults(tmp_path, **select)
    assert fault.startswith("RESET_ACCOUNTS_UPDATE_SQL: is missing")
    update = "/* one */ UPDATE u SET c = :password WHERE i = :id AND c = :present"
    assert faults(tmp_path, **select, ACCOUNTS_UPDATE_SQL=update) == []


def test_administrators_of_active_directory_are_excluded(tmp_path: Path) -> None:
    """Besides those of the operator's own rules: AD itself marks them."""
    environ = {f"RESET_{name}": value for name, value in DIRECTORY.items()}
    environ["RESET_ACCOUNTS_LDAP_CHANGE"] = "active-directory"
    environ["RESET_ACCOUNTS_EXCLUDE"] = "cn~^svc"
    found = config.load({**KEYS_ONLY, **environ}, tmp_path).accounts_source
    assert isinstance(found, Directory)
    assert [str(rule) for rule in found.exclude] == ["cn~^svc", "adminCount=1"]
    assert (found.login, found.active_directory) == ("sAMAccountName", True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACCOUNTS_LDAP_BASE", ""),
        ("ACCOUNTS_LDAP_BIND_DN", ""),
        ("ACCOUNTS_LDAP_BIND_PASSWORD", ""),
        ("ACCOUNTS_LDAP_STARTTLS", "0"),
        ("ACCOUNTS_LDAP_CA", "/nowhere/ca.pem"),
        ("ACCOUNTS_LDAP_CHANGE", "somehow"),
        ("ACCOUNTS_URL", "ldaps://dc1.example http://dc2.example"),
        ("ACCOUNTS_URL", "ldaps://[::1"),
        ("ACCOUNTS_URL", "ldaps://admin:clave@dc1.example"),
        ("ACCOUNTS_SET", "fallos=0"),
        ("ACCOUNTS_AFTER_CHANGE_SQL", "DELETE FROM sesiones WHERE u = :id"),
    ],
)
def test_directory_is_described_whole(tmp_path: Path, name: str, value: str) -> None:
    """An empty bind password would be a bind as nobody; passwords travel encrypted only."""
    (found,) = faults(tmp_path, **{**DIRECTORY, name: value})
    assert found.startswith(f"RESET_{name}:")


def test_secret_of_the_directory_may_come_from_a_file(tmp_path: Path) -> None:
    """As any secret."""
    file = tmp_path / "secret"
    file.write_text("clave-de-servicio\n")
    file.chmod(0o600)
    changes = {"ACCOUNTS_LDAP_BIND_PASSWORD": "", "ACCOUNTS_LDAP_BIND_PASSWORD_FILE": str(file)}
    assert faults(tmp_path, **{**DIRECTORY, **changes}) == []


def test_own_class_is_a_source_of_accounts(make_app: Callable[..., Flask]) -> None:
    """Named by its dotted path, it is called with the URL."""
    app = make_app(accounts_source=OwnBackend("reset.accounts.memory.MemoryAccounts", ""))
    assert isinstance(app.extensions["reset"].accounts, MemoryAccounts)


@pytest.mark.parametrize("url", ["mysql://u@h/d?read_timeout=abc", "postgresql://u@h/d?plugin=foo"])
def test_option_of_the_url_that_is_not_known_is_told(
    make_app: Callable[..., Flask], capsys: pytest.CaptureFixture[str], portal: Portal, url: str
) -> None:
    """One line, no traceback."""
    with pytest.raises(SystemExit):
        make_app(accounts_source=replace(portal.table, url=url))
    assert "RESET_ACCOUNTS_URL: cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["..", "Cuentas", "nowhere.Cuentas", "reset.accounts.Nobody"])
def test_own_class_that_is_not_there_is_told(
    make_app: Callable[..., Flask], capsys: pytest.CaptureFixture[str], path: str
) -> None:
    """One line, no traceback."""
    with pytest.raises(SystemExit):
        make_app(accounts_source=OwnBackend(path, ""))
    assert f"RESET_ACCOUNTS_BACKEND: {path} cannot be imported." in capsys.readouterr().err


@pytest.mark.parametrize("file", ["requirements", "requirements-ldap", "requirements-dev"])
def test_every_dependency_is_pinned_with_its_hash(file: str) -> None:
    """What is installed tomorrow is, byte for byte, what was tested."""
    text = (ROOT / f"{file}.txt").read_text().replace("\\\n", "")
    packages = [line for line in text.splitlines() if line and not line.strip().startswith("#")]
    pinned = re.compile(r"[\w.\[\]-]+==\S+( ; [^-]+)?( +--hash=sha256:[0-9a-f]{64})+")
    assert [line for line in packages if not pinned.fullmatch(line.strip())] == []
    assert packages


def test_only_checked_packages_are_installed() -> None:
    """Wherever the manual or make installs something, pip compares the hashes."""
    for file in ("Makefile", "docs/portals.md", "docs/operator.md"):
        for line in (ROOT / file).read_text("utf-8").splitlines():
            assert "pip install" not in line or "--require-hashes" in line, line
