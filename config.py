"""The settings: read once from the environment and `.env`, typed, checked, all faults at once."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import limits
import sqlalchemy as sa
from dotenv import dotenv_values

from reset.accounts.hashes import SCHEMES
from reset.accounts.sql import Columns
from reset.errors import ConfigurationError
from reset.policy import PROFILES

PREFIX = "RESET_"
LONGEST_LINK = 120  # Mail programs break longer lines, and the link with them.
_TOKEN_AND_PATH = len("/no-fui-yo/") + 57
_SECRETS = {"SECRET_KEYS", "DATABASE_URL", "ACCOUNTS_URL", "MAIL_PASSWORD"}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_PLAIN_URL = r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~-]+)*"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class MailSettings:
    """The SMTP server and how to try it."""

    server: str
    port: int
    username: str
    password: str = field(repr=False)
    use_tls: bool
    use_ssl: bool
    default_sender: str
    timeout: timedelta
    retry_first: timedelta
    retry_max: timedelta
    give_up_after: timedelta


@dataclass(frozen=True)
class BrandSettings:
    """Whose service it is; each text but ``name`` and ``color`` may be empty."""

    name: str
    organisation: str
    logo: Path | None
    color: str
    portal_url: str
    support_email: str
    support_phone: str


@dataclass(frozen=True)
class Settings:
    """Everything that can be set; see `.env.example` for what each means."""

    secret_keys: tuple[str, ...] = field(repr=False)
    public_url: str
    database_url: str = field(repr=False)
    accounts_url: str = field(repr=False)
    accounts_columns: Columns
    accounts_hash: str
    mail: MailSettings
    brand: BrandSettings
    link_lifetime: timedelta
    captcha_length: int
    captcha_lifetime: timedelta
    limit_per_ip: str
    limit_per_address: str
    trusted_proxies: int
    frame_ancestors: tuple[str, ...]
    password_profile: str
    timezone: ZoneInfo
    retention: timedelta

    @property
    def path(self) -> str:
        """The path under which everything is mounted: "" or "/restablecer"."""
        return urlsplit(self.public_url).path

    @property
    def host(self) -> str:
        """The name in the public address, without a port."""
        return urlsplit(self.public_url).hostname or ""


def load(environ: Mapping[str, str] | None = None, root: Path | None = None) -> Settings:
    """Read the settings: *environ* (default: the process's) wins over `.env` in *root*.

    Raises:
        ConfigurationError: with one sentence for each fault.
    """
    root = root or Path(__file__).parent
    dotenv = root / ".env"
    values = {name: value or "" for name, value in dotenv_values(dotenv).items()}
    values.update(os.environ if environ is None else environ)
    reader = _Reader({n: v for n, v in values.items() if n.startswith(PREFIX)})
    if dotenv.exists():
        reader.refuse_readable_by_others(dotenv)
    settings = _settings(reader, root)
    reader.raise_faults()
    return settings


def _settings(read: _Reader, root: Path) -> Settings:
    instance = root / "instance"
    settings = Settings(
        secret_keys=read.keys("SECRET_KEYS"),
        public_url=read.public_url("PUBLIC_URL"),
        database_url=read.sqlite_url("DATABASE_URL", default=f"sqlite:///{instance}/reset.sqlite"),
        accounts_url=read.sqlite_url("ACCOUNTS_URL"),
        accounts_columns=_columns(read),
        accounts_hash=read.choice("ACCOUNTS_HASH", ("auto", *SCHEMES)),
        mail=_mail(read),
        brand=_brand(read),
        link_lifetime=read.duration("LINK_LIFETIME", "12h", most="24h"),
        captcha_length=read.integer("CAPTCHA_LENGTH", 8, least=6, most=10),
        captcha_lifetime=read.duration("CAPTCHA_LIFETIME", "30m", most="12h"),
        limit_per_ip=read.limit("LIMIT_PER_IP", "30 per minute; 300 per hour"),
        limit_per_address=read.limit("LIMIT_PER_ADDRESS", "5 per hour"),
        trusted_proxies=read.integer("TRUSTED_PROXIES", 0, least=0, most=5),
        frame_ancestors=read.origins("FRAME_ANCESTORS"),
        password_profile=read.choice("PASSWORD_PROFILE", tuple(PROFILES)),
        timezone=read.timezone("TIMEZONE", "America/Bogota"),
        retention=timedelta(days=read.integer("RETENTION_DAYS", 90, least=2, most=3650)),
    )
    read.no_unknown_names()
    return settings


def _columns(read: _Reader) -> Columns:
    return Columns(
        table=read.required("ACCOUNTS_TABLE"),
        id=read.text("ACCOUNTS_ID", "id"),
        email=read.required("ACCOUNTS_EMAIL"),
        password=read.required("ACCOUNTS_PASSWORD"),
        login=read.text("ACCOUNTS_LOGIN") or None,
        name=read.text("ACCOUNTS_NAME") or None,
        active=read.text("ACCOUNTS_ACTIVE") or None,
        personal=read.words("ACCOUNTS_PERSONAL"),
    )


def _mail(read: _Reader) -> MailSettings:
    mail = MailSettings(
        server=read.text("MAIL_SERVER", "localhost"),
        port=read.integer("MAIL_PORT", 25, least=1, most=65535),
        username=read.text("MAIL_USERNAME"),
        password=read.text("MAIL_PASSWORD"),
        use_tls=read.boolean("MAIL_USE_TLS"),
        use_ssl=read.boolean("MAIL_USE_SSL"),
        default_sender=read.sender("MAIL_DEFAULT_SENDER"),
        timeout=read.duration("MAIL_TIMEOUT", "15s", most="2m"),
        retry_first=read.duration("MAIL_RETRY_FIRST", "1m", most="1h"),
        retry_max=read.duration("MAIL_RETRY_MAX", "30m", most="1d"),
        give_up_after=read.duration("MAIL_GIVE_UP_AFTER", "3d", most="30d"),
    )
    if mail.use_tls and mail.use_ssl:
        read.fault("MAIL_USE_SSL", "set either this or RESET_MAIL_USE_TLS, not both")
    encrypted = mail.use_tls or mail.use_ssl
    if mail.username and not encrypted and mail.server not in _LOOPBACK:
        read.fault("MAIL_USERNAME", "the password would travel in clear: set RESET_MAIL_USE_TLS=1")
    return mail


def _brand(read: _Reader) -> BrandSettings:
    return BrandSettings(
        name=read.text("BRAND_NAME", "Plataforma Web"),
        organisation=read.text("BRAND_ORGANISATION"),
        logo=read.picture("BRAND_LOGO"),
        color=read.color("BRAND_COLOR", "#1f5f8b"),
        portal_url=read.web_address("PORTAL_URL"),
        support_email=read.text("SUPPORT_EMAIL"),
        support_phone=read.text("SUPPORT_PHONE"),
    )


class _Reader:
    """Takes values by name, notes faults instead of raising, and knows what it was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._asked: set[str] = set()
        self._faults: list[str] = []

    def fault(self, name: str, sentence: str) -> None:
        self._faults.append(f"{PREFIX}{name}: {sentence}.")

    def raise_faults(self) -> None:
        if self._faults:
            raise ConfigurationError(self._faults)

    def no_unknown_names(self) -> None:
        allowed = {PREFIX + name for name in self._asked}
        allowed |= {f"{PREFIX}{name}_FILE" for name in self._asked & _SECRETS}
        for name in sorted(set(self._values) - allowed):
            self._faults.append(f"{name}: there is no such setting; see .env.example.")

    def text(self, name: str, default: str = "") -> str:
        self._asked.add(name)
        value = self._values.get(PREFIX + name, "").strip()
        file = self._values.get(f"{PREFIX}{name}_FILE", "").strip()
        if name in _SECRETS and file:
            if value:
                self.fault(name, f"set either this or {PREFIX}{name}_FILE, not both")
            value = self._file(name, Path(file))
        return value or default

    def required(self, name: str) -> str:
        value = self.text(name)
        if not value:
            self.fault(name, "is missing")
        return value

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(word.strip() for word in self.text(name).split(",") if word.strip())

    def integer(self, name: str, default: int, *, least: int, most: int) -> int:
        value = self.text(name, str(default))
        if re.fullmatch(r"\d{1,9}", value) and least <= int(value) <= most:
            return int(value)
        self.fault(name, f"must be a whole number from {least} to {most}")
        return default

    def boolean(self, name: str) -> bool:
        value = self.text(name, "0").lower()
        if value not in ("0", "1", "true", "false", "yes", "no"):
            self.fault(name, "must be 1 or 0")
        return value in ("1", "true", "yes")

    def choice(self, name: str, options: Iterable[str]) -> str:
        names = list(options)
        value = self.text(name, names[0])
        if value not in names:
            self.fault(name, f"must be one of {', '.join(names)}")
        return value

    def duration(self, name: str, default: str, *, most: str) -> timedelta:
        value = _duration(self.text(name, default))
        longest = _duration(most)
        if value and longest and timedelta(0) < value <= longest:
            return value
        self.fault(name, f"must be a duration such as 90s, 15m, 12h or 3d, at most {most}")
        return timedelta(hours=1)

    def limit(self, name: str, default: str) -> str:
        value = self.text(name, default)
        try:
            limits.parse_many(value)
        except ValueError:
            self.fault(name, 'must read like "30 per minute; 300 per hour"')
        return value

    def timezone(self, name: str, default: str) -> ZoneInfo:
        try:
            return ZoneInfo(self.text(name, default))
        except (OSError, ValueError, KeyError):
            self.fault(name, 'must be a time zone such as "America/Bogota"')
            return ZoneInfo(default)

    def color(self, name: str, default: str) -> str:
        value = self.text(name, default)
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            self.fault(name, "must be a colour such as #00695c")
            return default
        return value.lower()

    def sender(self, name: str) -> str:
        """An address with or without a name, the name quoted: it may hold a comma."""
        value = self.required(name)
        match = re.fullmatch(r"(?:\"?([^<>\"]*?)\"?\s*<([^<>\s]+)>)|([^<>\s]+)", value)
        shown, address = (match[1] or "", match[2] or match[3]) if match else ("", "")
        if value and not re.fullmatch(r"[^@,;]+@[^@,;]+", address):
            self.fault(name, 'must be an address such as "Hanna <no-responder@example.com>"')
        return f'"{shown.strip()}" <{address}>' if shown.strip() else address

    def keys(self, name: str) -> tuple[str, ...]:
        keys = self.words(name)
        if not keys:
            self.fault(name, f"is missing; {_NEW_KEY}")
        if any(len(key) < 32 or len(set(key)) < 12 for key in keys):
            self.fault(name, f"a key is weak (32 random characters are the least); {_NEW_KEY}")
        return keys

    def web_address(self, name: str) -> str:
        value = self.text(name)
        if value and not _is_web_address(value):
            self.fault(name, "must be an address such as https://portal.example/")
        return value

    def public_url(self, name: str) -> str:
        value = self.required(name).rstrip("/")
        if value and not (_is_web_address(value) and re.fullmatch(_PLAIN_URL, value)):
            self.fault(name, "must be an address such as https://clave.example/restablecer")
        elif value.startswith("http:") and urlsplit(value).hostname not in _LOOPBACK:
            self.fault(name, "must begin with https:// (http is for localhost only)")
        elif len(value) > LONGEST_LINK - _TOKEN_AND_PATH:
            self.fault(name, f"is too long: {LONGEST_LINK - _TOKEN_AND_PATH} characters at most")
        else:
            return value
        return "https://invalid"

    def origins(self, name: str) -> tuple[str, ...]:
        origins = self.words(name)
        for origin in origins:
            if not re.fullmatch(r"https?://(\*\.)?[A-Za-z0-9.-]+(:(\d+|\*))?", origin):
                self.fault(name, f"{origin} is no origin such as https://portal.example:8443")
        return origins

    def sqlite_url(self, name: str, default: str = "") -> str:
        value = self.text(name, default)
        if not value:
            self.fault(name, "is missing")
        elif not value.startswith("sqlite:///") or not _parses(value):
            self.fault(name, "must be a SQLite address such as sqlite:////var/lib/portal.sqlite")
        return value

    def picture(self, name: str) -> Path | None:
        value = self.text(name)
        if not value:
            return None
        path = Path(value)
        if path.suffix not in (".svg", ".png") or not path.is_file():
            self.fault(name, "must be an existing .svg or .png file")
        return path

    def refuse_readable_by_others(self, path: Path) -> None:
        if stat.S_IMODE(path.stat().st_mode) & 0o007:
            self._faults.append(f"{path.name} can be read by everybody: chmod 640 {path.name}.")

    def _file(self, name: str, path: Path) -> str:
        try:
            self.refuse_readable_by_others(path)
            return path.read_text("utf-8").strip()
        except (OSError, UnicodeError):
            self.fault(f"{name}_FILE", "the file cannot be read")
            return ""


_NEW_KEY = 'make one with: python3 -c "import secrets; print(secrets.token_urlsafe(48))"'


def _duration(text: str) -> timedelta | None:
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]]) if match else None


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _parses(url: str) -> bool:
    try:
        sa.make_url(url)
    except sa.exc.ArgumentError:
        return False
    return True
