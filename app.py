"""create_app(): builds the parts of the service and hands them to each other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime
from email.utils import parseaddr
from typing import Any
from urllib.parse import urlencode

import click
from flask import Flask
from flask.cli import FlaskGroup
from flask_babel import get_locale
from jinja2.filters import do_wordwrap
from limits import parse_many

import config
from config import Settings
from reset import arenas, assets, cli, language, logs, overrides, texts
from reset.accounts import AccountBackend
from reset.accounts.source import exclusions, open_accounts, upgrades_to
from reset.captcha import Captcha
from reset.db import Database
from reset.delivery import Delivery
from reset.digest import Digest, Schedule
from reset.errors import ConfigurationError
from reset.flow import Flow
from reset.help_desk.sessions import derived
from reset.kept import KeptPages
from reset.mail import Letter
from reset.mail.messages import compose
from reset.mail.mime import MimeMessage
from reset.mail.outbox import Retry
from reset.mail.sender import Sender
from reset.policy import PROFILES
from reset.rules import Rules
from reset.service import Front, Service
from reset.settlement import Settlement
from reset.worker import Worker

LARGEST_FORM = 64 * 1024
_YEAR_SECONDS = 31_536_000


def create_app(
    settings: Settings | None = None,
    *,
    accounts: AccountBackend | None = None,
    clock: Callable[[], datetime] | None = None,
) -> Flask:
    """The service as a WSGI application.

    For a command of ours it is made even where no start is allowed: the doctor then tells why.

    Args:
        settings: instead of those of the environment.
        accounts: instead of the backend that the settings name.
        clock: tells the time, instead of the one that all hosts share.

    Raises:
        SystemExit: the settings are at fault; standard error has one line for each fault.
    """
    try:
        app = _application(settings or config.load(), accounts, clock)
    except ConfigurationError as error:
        if not _serves_a_command():
            cli.refuse_to_start(error.faults)
        app = Flask(__name__)
        app.extensions[cli.REFUSED] = error.faults
    app.cli.add_command(cli.commands)
    return app


def _serves_a_command() -> bool:
    """Whether `flask` asks for the app to see what commands it has."""
    context = click.get_current_context(silent=True)
    return context is not None and isinstance(context.command, FlaskGroup)


def _application(
    settings: Settings, accounts: AccountBackend | None, clock: Callable[[], datetime] | None
) -> Flask:
    arenas.share()
    logs.configure(settings.log_format, settings.log_level, zone=settings.timezone)
    app = Flask(__name__, static_url_path=f"{settings.path}/static")
    app.config.update(_flask_config(settings))
    parts = app.extensions["reset"] = _service(app, settings, accounts, clock)
    language.register(app, settings.languages)
    app.jinja_env.filters["tel"] = _dialled
    # Most of what mails wrap is alike in all of them.
    app.jinja_env.filters["wordwrap"] = functools.lru_cache(do_wordwrap)
    app.context_processor(functools.partial(_page_values, parts))
    if settings.templates:
        overrides.put_before_ours(app, settings.templates)
    if not _serves_a_command():  # Those have no visitors, and are quicker and smaller without.
        from reset import web

        web.register(app, parts)
    return app


def _flask_config(settings: Settings) -> dict[str, Any]:
    mail = settings.mail
    return {
        # SECRET_KEY stays unset: nothing but the help desk has a session, see DeskSessions.
        "WTF_CSRF_SECRET_KEY": derived(settings.secret_keys, "forms", settings.public_url),
        "WTF_CSRF_TIME_LIMIT": None,  # A form is good for as long as the session that it is of.
        "TRUSTED_HOSTS": [settings.host, "localhost", "127.0.0.1"],
        "MAX_CONTENT_LENGTH": LARGEST_FORM,
        "MAX_FORM_MEMORY_SIZE": LARGEST_FORM,
        "SEND_FILE_MAX_AGE_DEFAULT": _YEAR_SECONDS,  # Pages ask for `?v=` and a digest.
        "MAIL_SERVER": mail.server,
        "MAIL_PORT": mail.port,
        "MAIL_USERNAME": mail.username or None,
        "MAIL_PASSWORD": mail.password or None,
        "MAIL_USE_TLS": mail.use_tls,
        "MAIL_USE_SSL": mail.use_ssl,
        "MAIL_DEFAULT_SENDER": mail.default_sender,
        "MAIL_DEBUG": False,  # It would print whole dialogues, links and passwords included.
        "MAIL_SUPPRESS_SEND": False,
    }


def _service(
    app: Flask,
    settings: Settings,
    accounts: AccountBackend | None,
    clock: Callable[[], datetime] | None,
) -> Service:
    rules = _rules(settings)
    database = Database(settings.database_url)
    if not _serves_a_command():  # Each does it itself, but for the doctor, who changes nothing.
        database.start()
    clock = clock or database.now
    accounts = accounts or open_accounts(settings.accounts_source, clock)
    captcha = Captcha(
        settings.secret_keys,
        length=settings.captcha_length,
        lifetime=settings.captcha_lifetime,
        voice=settings.captcha_voice,
    )
    flow = Flow(database, captcha, rules)
    settlement = Settlement(database, accounts, rules)
    delivery = Delivery(database, accounts, rules)
    daily = _digest(settings, database, rules)
    stylesheet = assets.stylesheet(app, settings.brand, settings.templates)
    composer = _composer(settings)
    return Service(
        clock=clock,
        database=database,
        accounts=accounts,
        exclusions=exclusions(settings.accounts_source),
        upgrades_to=upgrades_to(settings.accounts_source),
        flow=flow,
        settlement=settlement,
        delivery=delivery,
        captcha=captcha,
        kept=KeptPages(keep=settings.templates is None),
        user_header=settings.help_desk_user_header,
        brand=settings.brand,
        profile=PROFILES[settings.password_profile],
        public_url=settings.public_url,
        timezone=settings.timezone,
        link_lifetime=settings.link_lifetime,
        captcha_length=settings.captcha_length,
        make_front=lambda: _front(settings, database, accounts, settlement, rules, clock),
        make_worker=lambda: Worker(
            flow, settlement, delivery, daily, composer, _sender(app, settings), clock
        ),
        compose=composer,
        stylesheet=stylesheet,
        page_urls=assets.urls(app, settings.path, settings.brand.logo, stylesheet),
        settings=settings,
    )


def _front(
    settings: Settings,
    database: Database,
    accounts: AccountBackend,
    settlement: Settlement,
    rules: Rules,
    clock: Callable[[], datetime],
) -> Front:
    # Here, not above: the mail worker answers nobody, and is smaller without what these load.
    from reset.bearer import Bearer
    from reset.help_desk.desk import Desk
    from reset.help_desk.operators import Operators
    from reset.limits import Limits
    from reset.metrics import Metrics
    from reset.policy import Policy

    brand, keys = settings.brand, settings.secret_keys
    context = (brand.name, brand.organisation, settings.host)
    policy = Policy(PROFILES[settings.password_profile], context)
    metrics = Metrics(database, clock, settings.metrics_allow)
    limits = Limits(
        database,
        per_ip=settings.limit_per_ip,
        per_address=settings.limit_per_address,
        storage_uri=settings.ratelimit_storage_uri,
        keys=keys,
        clock=clock,
        metrics=metrics,
    )
    return Front(
        bearer=Bearer(database, accounts, policy, rules, settlement),
        limits=limits,
        desk=Desk(database, accounts, rules),
        operators=Operators(database, keys, context),
        metrics=metrics,
    )


def _digest(settings: Settings, database: Database, rules: Rules) -> Digest:
    schedule = Schedule(
        to=settings.help_desk_digest_to,
        at=settings.help_desk_digest_at,
        zone=settings.timezone,
        language=settings.languages[0],
    )
    return Digest(database, schedule, public_url=rules.public_url, mail_host=rules.mail_host)


def _composer(settings: Settings) -> Callable[[Letter], MimeMessage]:
    return functools.partial(
        compose,
        zone=settings.timezone,
        sender=settings.mail.default_sender,
        reply_to=settings.brand.support_email,
    )


def _sender(app: Flask, settings: Settings) -> Sender:
    timeout = settings.mail.timeout.total_seconds()
    return Sender(app, timeout=timeout, ehlo_host=settings.host)


def _rules(settings: Settings) -> Rules:
    mail = settings.mail
    return Rules(
        public_url=settings.public_url,
        keys=settings.secret_keys,
        link_lifetime=settings.link_lifetime,
        mail_host=parseaddr(mail.default_sender)[1].rpartition("@")[2],
        retry=Retry(mail.retry_first, mail.retry_max, mail.give_up_after),
        retention=settings.retention,
        mails_per_account=parse_many(settings.limit_per_address),
    )


def _dialled(phone: str) -> str:
    return "".join(c for c in phone if c.isdigit() or c == "+")


def _page_values(parts: Service) -> dict[str, Any]:
    """What every template may show."""
    query = urlencode(language.carried())
    query = query and f"?{query}"
    return {
        "brand": parts.brand,
        "language": get_locale().language,
        "own_language": language.configured()[0],
        "other_languages": language.others,
        "link_lifetime": texts.duration(parts.link_lifetime),
        **parts.page_urls,
        "home_url": parts.page_urls["home_url"] + query,
        "own_url": f"{parts.public_url}/{query}",
    }
