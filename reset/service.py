"""The parts of a running service, as `create_app` put them together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from flask import current_app

if TYPE_CHECKING:  # For the names alone: what a process does not use it need not load.
    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo

    from config import Settings
    from reset.accounts import AccountBackend
    from reset.bearer import Bearer
    from reset.brand import Brand
    from reset.captcha import Captcha
    from reset.db import Database
    from reset.delivery import Delivery
    from reset.flow import Flow
    from reset.help_desk.desk import Desk
    from reset.help_desk.operators import Operators
    from reset.kept import KeptPages
    from reset.limits import Limits
    from reset.mail import Letter
    from reset.mail.mime import MimeMessage
    from reset.metrics import Metrics
    from reset.policy import Profile
    from reset.settlement import Settlement
    from reset.worker import Worker


@dataclass(frozen=True)
class Front:
    """The parts that only people ask for something: visitors, the help desk, operators."""

    bearer: Bearer
    limits: Limits
    desk: Desk
    operators: Operators
    metrics: Metrics


@dataclass(frozen=True)
class Service:
    """What the doors (views, worker, commands) need; ``clock`` tells the time in UTC.

    With a ``user_header`` the proxy in front says in it which operator is at the help desk.
    ``settings`` are for the doctor, whose subject they are: all others get values.
    """

    clock: Callable[[], datetime]
    database: Database
    flow: Flow
    settlement: Settlement
    delivery: Delivery
    accounts: AccountBackend
    exclusions: Sequence[str]
    upgrades_to: str | None
    captcha: Captcha
    kept: KeptPages
    user_header: str
    brand: Brand
    profile: Profile
    public_url: str
    timezone: ZoneInfo
    link_lifetime: timedelta
    captcha_length: int
    make_front: Callable[[], Front]
    make_worker: Callable[[], Worker]
    compose: Callable[[Letter], MimeMessage]
    stylesheet: str
    page_urls: Mapping[str, Any]
    settings: Settings

    @cached_property
    def front(self) -> Front:
        """Made when it is first asked for: the mail worker never does."""
        return self.make_front()

    @property
    def bearer(self) -> Bearer:
        return self.front.bearer

    @property
    def limits(self) -> Limits:
        return self.front.limits

    @property
    def desk(self) -> Desk:
        return self.front.desk

    @property
    def operators(self) -> Operators:
        return self.front.operators

    @property
    def metrics(self) -> Metrics:
        return self.front.metrics


def service() -> Service:
    """The parts of the current application."""
    return cast(Service, current_app.extensions["reset"])
