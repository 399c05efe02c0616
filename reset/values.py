"""Typed values out of named texts: every fault is noted as one sentence for the operator."""

from __future__ import annotations

import difflib
import ipaddress
import re
import stat
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, time, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import limits
import sqlalchemy as sa

from reset import engine, logo
from reset.address import normalise
from reset.errors import ConfigurationError, InvalidAddress
from reset.loopback import is_loopback

PREFIX = "RESET_"
SECRETS = frozenset(
    {
        "SECRET_KEYS",
        "DATABASE_URL",
        "ACCOUNTS_URL",
        "ACCOUNTS_LDAP_BIND_PASSWORD",
        "MAIL_PASSWORD",
        "RATELIMIT_STORAGE_URI",
    }
)
LONGEST_LINK = 120  # Mail programs break longer lines, and the link with them.
_TOKEN_AND_PATH = len("/no-fui-yo/") + 57
_PLAIN_URL = r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~-]+)*"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Values:
    """Takes settings by name and notes faults instead of raising, so that all are told at once.

    It remembers every name that it was asked for: a name that it was not is a mistake. It took
    secrets from ``files``.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.asked: set[str] = set()
        self._faults: list[str] = []
        self.files: list[Path] = []

    def fault(self, name: str, sentence: str) -> None:
        self._faults.append(f"{PREFIX}{name}: {sentence}.")

    def fault_of_file(self, sentence: str) -> None:
        self._faults.append(f"{sentence}.")

    def raise_faults(self) -> None:
        if self._faults:
            raise ConfigurationError(self._faults)

    def no_unknown_names(self) -> None:
        allowed = {PREFIX + name for name in self.asked}
        allowed |= {f"{PREFIX}{name}_FILE" for name in self.asked & SECRETS}
        for name in sorted(set(self._values) - allowed):
            near = difflib.get_close_matches(name, allowed, 1)
            remedy = f"write {near[0]}, or " if near else ""
            self._faults.append(f"{name}: there is no such setting; {remedy}take the line out.")

    def text(self, name: str, default: str = "") -> str:
        self.asked.add(name)
        value = self._values.get(PREFIX + name, "").strip()
        file = self._values.get(f"{PREFIX}{name}_FILE", "").strip()
        if name in SECRETS and file:
            if value:
                self.fault(name, f"set either this or {PREFIX}{name}_FILE, not both")
            value = self._file(name, Path(file))
        return value or default

    def required(self, name: str) -> str:
        value = self.text(name)
        if not value:
            self.fault(name, "is missing")
        return value

    def words(self, name: str, default: str = "") -> tuple[str, ...]:
        return tuple(w.strip() for w in self.text(name, default).split(",") if w.strip())

    def integer(self, name: str, default: int, *, least: int, most: int) -> int:
        value = self.text(name, str(default))
        if re.fullmatch(r"\d{1,9}", value) and least <= int(value) <= most:
            return int(value)
        self.fault(name, f"must be a whole number from {least} to {most}")
        return default

    def boolean(self, name: str, default: str = "0") -> bool:
        value = self.text(name, default).lower()
        if value not in ("0", "1", "true", "false", "yes", "no"):
            self.fault(name, "must be 1 or 0")
        return value in ("1", "true", "yes")

    def choice(self, name: str, options: Iterable[str]) -> str:
        names = list(options)
        value = self.text(name, names[0])
        if value not in names:
            self.fault(name, f"must be one of {', '.join(names)}")
            return names[0]
        return value

    def choices(self, name: str, options: Collection[str], default: str) -> tuple[str, ...]:
        values = self.words(name, default)
        if len(set(values)) < len(values) or not set(values) <= set(options):
            self.fault(name, f"must be some of {', '.join(options)}, each once")
            return tuple(default.split(","))
        return values

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

    def clock_time(self, name: str, default: str) -> time:
        """A time of the day, such as 07:30."""
        value = self.text(name, default)
        try:
            return datetime.strptime(value, "%H:%M").time()
        except ValueError:
            self.fault(name, "must be a time of the day such as 07:30")
            return time()

    def color(self, name: str, default: str) -> str:
        value = self.text(name, default)
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            self.fault(name, "must be a colour such as #00695c")
            return default
        return value.lower()

    def address(self, name: str) -> str:
        """One e-mail address that a mail can be sent to, or nothing."""
        value = self.text(name)
        if value and not _is_address(value):
            self.fault(name, "must be one address such as ayuda@example.com")
        return value

    def sender(self, name: str) -> str:
        """An address with or without a name, the name quoted: it may hold a comma."""
        value = self.required(name)
        match = re.fullmatch(r"(?:\"?([^<>\"]*?)\"?\s*<([^<>\s]+)>)|([^<>\s]+)", value)
        shown, address = (match[1] or "", match[2] or match[3]) if match else ("", "")
        if value and not _is_address(address):
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
        elif value.startswith("http:") and not is_loopback(urlsplit(value).hostname or ""):
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

    def header(self, name: str) -> str:
        value = self.text(name)
        if value and not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", value):
            self.fault(name, "must be the name of a header such as X-Remote-User")
            return ""
        return value

    def networks(self, name: str) -> tuple[Network, ...]:
        networks = []
        for word in self.words(name):
            try:
                networks.append(ipaddress.ip_network(word))
            except ValueError:
                self.fault(name, f"{word} is no network such as 10.0.0.0/8 or 127.0.0.1/32")
        return tuple(networks)

    def database_url(self, name: str, default: str) -> str:
        value = self.text(name, default)
        try:
            engine.open_engine(value).dispose()
        except (sa.exc.SQLAlchemyError, TypeError, ValueError) as error:
            self.fault(
                name,
                "must be an address such as sqlite:////var/lib/restablecer/reset.sqlite or"
                f" postgresql://name:password@host/database ({type(error).__name__})",
            )
        return value

    def redis_url(self, name: str) -> str:
        value = self.text(name)
        if value and not re.fullmatch(r"rediss?://[^\s/]+(/\d*)?(\?\S*)?", value):
            self.fault(name, "must be an address such as redis://:password@127.0.0.1:6379/0")
        return value

    def file(self, name: str) -> Path | None:
        value = self.text(name)
        if value and not Path(value).is_file():
            self.fault(name, "must be an existing file")
        return Path(value) if value else None

    def picture(self, name: str) -> Path | None:
        value = self.text(name)
        if not value:
            return None
        path = Path(value)
        try:
            if path.suffix not in (".svg", ".png") or not path.is_file():
                self.fault(name, "must be an existing .svg or .png file")
            elif path.stat().st_size > logo.LARGEST:
                self.fault(
                    name, f"must have {logo.LARGEST // 1000} kB at most, for slow telephones"
                )
            else:
                logo.width(path)
        except (OSError, ValueError) as error:
            self.fault(name, f"cannot be shown: {error} (an .svg needs a viewBox)")
        return path

    def folder(self, name: str) -> Path | None:
        value = self.text(name)
        if value and not Path(value).is_dir():
            self.fault(name, "must be an existing folder")
        return Path(value) if value else None

    def refuse_readable_by_others(self, path: Path) -> None:
        if stat.S_IMODE(path.stat().st_mode) & 0o007:
            self.fault_of_file(f"{path.name} can be read by everybody; chmod 600 {path.name}")

    def _file(self, name: str, path: Path) -> str:
        self.files.append(path)
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


def _is_address(value: str) -> bool:
    try:
        normalise(value)
    except InvalidAddress:
        return False
    return True


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
