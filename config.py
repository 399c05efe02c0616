"""The settings: read once from the environment and `.env`, typed, checked, all faults at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from dotenv.parser import parse_stream

from reset import language, logs
from reset.accounts import source
from reset.accounts.source import Source
from reset.brand import LIGHT_PAGE, Brand
from reset.captcha import ALPHABET
from reset.errors import ConfigurationError
from reset.loopback import is_loopback
from reset.policy import PROFILES
from reset.values import PREFIX, Network, Values

if TYPE_CHECKING:
    from reset.captcha.audio import Voice


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
class Settings:
    """Everything that can be set; see `.env.example` for what each means.

    ``files`` are those with secrets that it was read from.
    """

    secret_keys: tuple[str, ...] = field(repr=False)
    public_url: str
    database_url: str = field(repr=False)
    accounts_source: Source
    mail: MailSettings
    brand: Brand
    link_lifetime: timedelta
    captcha_length: int
    captcha_lifetime: timedelta
    captcha_voice: Voice | None = field(repr=False)
    limit_per_ip: str
    limit_per_address: str
    ratelimit_storage_uri: str = field(repr=False)
    trusted_proxies: int
    help_desk_user_header: str
    help_desk_digest_to: str
    help_desk_digest_at: time
    metrics_allow: tuple[Network, ...]
    log_format: str
    log_level: str
    frame_ancestors: tuple[str, ...]
    password_profile: str
    languages: tuple[str, ...]
    timezone: ZoneInfo
    retention: timedelta
    templates: Path | None
    files: tuple[Path, ...] = ()

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

    `FLASK_SKIP_DOTENV`, Flask's own variable, leaves the file out.

    Raises:
        ConfigurationError: with one sentence for each fault.
    """
    environ = os.environ if environ is None else environ
    dotenv = (root or Path(__file__).parent) / ".env"
    uses_file = dotenv.exists() and not environ.get("FLASK_SKIP_DOTENV")
    values, faults = _of_file(dotenv) if uses_file else ({}, [])
    reader = Values({n: v for n, v in {**values, **environ}.items() if n.startswith(PREFIX)})
    for fault in faults:
        reader.fault_of_file(fault)
    if uses_file:
        reader.files.append(dotenv)
        reader.refuse_readable_by_others(dotenv)
    settings = _settings(reader, dotenv.parent)
    reader.raise_faults()
    return replace(settings, files=tuple(dict.fromkeys(reader.files)))


def _of_file(dotenv: Path) -> tuple[dict[str, str], list[str]]:
    """The values in the file, and what is wrong with it: dotenv would leave out such a line."""
    try:
        with dotenv.open(encoding="utf-8") as file:
            lines = list(parse_stream(file))
    except (OSError, UnicodeError) as error:
        return {}, [f".env cannot be read: {type(error).__name__}"]
    values: dict[str, str] = {}
    faults = []
    for line in lines:
        at = f".env, line {line.original.line}"
        if line.error:
            faults.append(f"{at} cannot be read: is a quote not closed")
        if line.key in values:
            faults.append(f"{at}: {line.key} stands there twice")
        if line.key and line.key.upper().startswith(PREFIX) and not line.key.startswith(PREFIX):
            faults.append(f"{at}: {line.key} must be in capitals")
        if line.key and "${" in (line.value or ""):
            # Flask's command replaces it by a variable, gunicorn does not.
            faults.append(f"{at}: {line.key} must not contain ${{; put it into {line.key}_FILE")
        if line.key:
            values[line.key] = line.value or ""
    return values, faults


def _settings(read: Values, root: Path) -> Settings:
    instance = root / "instance"
    settings = Settings(
        secret_keys=read.keys("SECRET_KEYS"),
        public_url=read.public_url("PUBLIC_URL"),
        database_url=read.database_url("DATABASE_URL", f"sqlite:///{instance}/reset.sqlite"),
        accounts_source=source.read(read),
        mail=_mail(read),
        brand=_brand(read),
        link_lifetime=read.duration("LINK_LIFETIME", "12h", most="24h"),
        captcha_length=read.integer("CAPTCHA_LENGTH", 8, least=6, most=10),
        captcha_lifetime=read.duration("CAPTCHA_LIFETIME", "30m", most="12h"),
        captcha_voice=_voice(read),
        limit_per_ip=read.limit("LIMIT_PER_IP", "30 per minute; 300 per hour"),
        limit_per_address=read.limit("LIMIT_PER_ADDRESS", "5 per hour"),
        ratelimit_storage_uri=read.redis_url("RATELIMIT_STORAGE_URI"),
        trusted_proxies=read.integer("TRUSTED_PROXIES", 0, least=0, most=5),
        help_desk_user_header=read.header("HELP_DESK_USER_HEADER"),
        help_desk_digest_to=read.address("HELP_DESK_DIGEST_TO"),
        help_desk_digest_at=read.clock_time("HELP_DESK_DIGEST_AT", "07:30"),
        metrics_allow=read.networks("METRICS_ALLOW"),
        log_format=read.choice("LOG_FORMAT", logs.FORMATS),
        log_level=read.choice("LOG_LEVEL", logs.LEVELS),
        frame_ancestors=read.origins("FRAME_ANCESTORS"),
        password_profile=read.choice("PASSWORD_PROFILE", tuple(PROFILES)),
        languages=read.choices("LANGUAGES", tuple(language.NAMES), "es,en"),
        timezone=read.timezone("TIMEZONE", "America/Bogota"),
        retention=timedelta(days=read.integer("RETENTION_DAYS", 90, least=2, most=3650)),
        templates=read.folder("TEMPLATES_DIR"),
    )
    if settings.help_desk_user_header and not settings.trusted_proxies:
        read.fault(
            "HELP_DESK_USER_HEADER",
            "needs RESET_TRUSTED_PROXIES: with no proxy in front anybody could send it",
        )
    read.no_unknown_names()
    return settings


def _mail(read: Values) -> MailSettings:
    mail = MailSettings(
        server=read.text("MAIL_SERVER", "localhost"),
        port=read.integer("MAIL_PORT", 25, least=1, most=65535),
        username=read.text("MAIL_USERNAME"),
        password=read.text("MAIL_PASSWORD"),
        use_tls=read.boolean("MAIL_USE_TLS"),
        use_ssl=read.boolean("MAIL_USE_SSL"),
        default_sender=read.sender("MAIL_DEFAULT_SENDER"),
        # With more, a slow hand-over could outlast its lease, and another worker send a copy.
        timeout=read.duration("MAIL_TIMEOUT", "15s", most="20s"),
        retry_first=read.duration("MAIL_RETRY_FIRST", "1m", most="1h"),
        retry_max=read.duration("MAIL_RETRY_MAX", "30m", most="1d"),
        give_up_after=read.duration("MAIL_GIVE_UP_AFTER", "3d", most="30d"),
    )
    if mail.use_tls and mail.use_ssl:
        read.fault("MAIL_USE_SSL", "set either this or RESET_MAIL_USE_TLS, not both")
    encrypted = mail.use_tls or mail.use_ssl
    if mail.username and not encrypted and not is_loopback(mail.server):
        read.fault("MAIL_USERNAME", "the password would travel in clear: set RESET_MAIL_USE_TLS=1")
    if mail.username and not mail.password:
        read.fault("MAIL_PASSWORD", "is missing: that of RESET_MAIL_USERNAME")
    return mail


def _voice(read: Values) -> Voice | None:
    """The operator's own; None is the one that comes with the service."""
    folder = read.text("CAPTCHA_VOICE_DIR")
    if not folder:
        return None
    from reset.captcha import audio

    try:
        return audio.load(Path(folder), ALPHABET)
    except ConfigurationError as error:
        for sentence in error.faults:
            read.fault("CAPTCHA_VOICE_DIR", sentence)
        return None


def _brand(read: Values) -> Brand:
    brand = Brand(
        name=read.text("BRAND_NAME", "Plataforma Web"),
        organisation=read.text("BRAND_ORGANISATION"),
        logo=read.picture("BRAND_LOGO"),
        color=read.color("BRAND_COLOR", "#1f5f8b"),
        portal_url=read.web_address("PORTAL_URL"),
        support_email=read.address("SUPPORT_EMAIL"),
        support_phone=read.text("SUPPORT_PHONE"),
        support_hours=read.text("SUPPORT_HOURS"),
        notice=read.text("NOTICE"),
        background=read.color("BRAND_BACKGROUND", LIGHT_PAGE),
    )
    if brand.support_hours and not brand.support_phone:
        read.fault("SUPPORT_HOURS", "is shown beside RESET_SUPPORT_PHONE, which is missing")
    return brand
