"""Figures for Prometheus: what web processes count, the queue, and what the workers did.

Nothing here tells whether an address is registered. What only the mail or the link of somebody who
is can raise is shown in full tens, and so is what a mail server that takes its time could betray.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Metric, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from reset import VERSION, heartbeat, migrations, slots
from reset.db import Database
from reset.delivery import HANDOVER_SECONDS, KINDS, RESULTS
from reset.errors import StoreUnavailable
from reset.heartbeat import Sign
from reset.mail import outbox
from reset.mail.outbox import Depth
from reset.values import Network


@dataclass(frozen=True)
class _Counted:
    """A counter of the web processes; all that its labels may say is shown from the start."""

    help: str
    labels: Mapping[str, Sequence[str]]


_COUNTED = {
    "reset_requests_total": _Counted(
        "Forms sent to ask for a link, by what came of them.",
        {
            "outcome": (
                *("accepted", "refreshed", "captcha_refused", "address_invalid"),
                *("rate_limited", "malformed", "foreign", "failed"),
            )
        },
    ),
    "reset_captcha_checks_total": _Counted(
        "Captchas that were answered, by letters or by proof of work.",
        {"by": ("letters", "proof"), "result": ("right", "wrong")},
    ),
    "reset_limits_hit_total": _Counted(
        "Attempts beyond a limit; those for one e-mail address are accepted all the same.",
        {
            "purpose": (
                *("request", "password", "deny", "link", "picture", "sound", "proof", "address"),
                *("sign_in", "operator", "search"),
            )
        },
    ),
    "reset_pages_total": _Counted(
        "Pages answered; those of links and all files in full tens.",
        {
            "page": ("request", "link", "file", "help_desk", "other"),
            "status": ("2xx", "3xx", "4xx", "5xx"),
        },
    ),
    "reset_links_opened_total": _Counted(
        "Links opened, by people and by scanners of mail, in full tens.",
        {"result": ("good", "dead", "rate_limited", "malformed", "failed")},
    ),
    "reset_password_changes_total": _Counted(
        "Forms with a new password, by what came of them, in full tens.",
        {
            "result": (
                *("done", "refused", "dead_link", "busy", "uncertain"),
                *("rate_limited", "malformed", "foreign", "failed"),
            )
        },
    ),
}
_REFUSED = {400: "malformed", 403: "foreign", 404: "malformed", 413: "malformed"}
_REFUSED |= {429: "rate_limited"}
_OUTCOMES = {
    "reset.submit_request": ("reset_requests_total", _REFUSED | {303: "accepted"}),
    "reset.open_link": ("reset_links_opened_total", _REFUSED | {200: "good", 410: "dead"}),
    "reset.new_password": (
        "reset_password_changes_total",
        _REFUSED | {200: "refused", 303: "done", 410: "dead_link"},
    ),
}
_LINK_PAGES = (
    *("reset.open_link", "reset.missing_token", "reset.new_password", "reset.done"),
    *("reset.ask_denial", "reset.deny"),
)
_NOT_COUNTED = ("reset.healthz", "reset.readyz", "reset.show_metrics")
_IN_TENS = ("reset_links_opened_total", "reset_password_changes_total")


class Metrics(Collector):
    """Counts in the web processes of one host, and shows that with what the database tells.

    Args:
        allow: networks that may read the figures.
    """

    def __init__(
        self, database: Database, clock: Callable[[], datetime], allow: Sequence[Network]
    ) -> None:
        self._db = database
        self._clock = clock
        self._allow = allow
        self._registry: Collector = CollectorRegistry()
        self._shared = slots.share_counters()
        self._counters = {
            name: Counter(name, one.help, [*one.labels], registry=self._registry)
            for name, one in _COUNTED.items()
        }
        for name, one in _COUNTED.items():
            for known in itertools.product(*one.labels.values()):
                self._counters[name].labels(*known)

    def allows(self, address: str) -> bool:
        """Whether a client at *address* may read the figures."""
        try:
            client = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(client, ipaddress.IPv6Address):
            client = client.ipv4_mapped or client
        return any(client in network for network in self._allow)

    def count(self, name: str, *labels: str) -> None:
        """Count one event of the counter *name*."""
        self._counters[name].labels(*labels).inc()

    def count_captcha(self, *, by_proof: bool, right: bool) -> None:
        """Count one answered captcha."""
        by, result = "proof" if by_proof else "letters", "right" if right else "wrong"
        self.count("reset_captcha_checks_total", by, result)

    def count_limit(self, purpose: str) -> None:
        """Count one attempt that was too many."""
        self.count("reset_limits_hit_total", purpose)

    def register(self, app: Flask, *, requests: Sequence[str], files: Sequence[str]) -> None:
        """Count every answer of *app*; *requests* and *files* are endpoints of such pages."""
        self._pages = dict.fromkeys(_LINK_PAGES, "link")
        self._pages |= dict.fromkeys(requests, "request")
        self._pages |= dict.fromkeys(files, "file")
        app.after_request(self._count_answer)

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        for metric in self._counted():
            metric.samples = [_in_tens(one) for one in metric.samples if one.name in _COUNTED]
            yield metric
        now = self._clock()
        try:
            with self._db.read() as tx:
                schema = migrations.current(tx)
                depth = outbox.depth(tx, now=now)
                signs = heartbeat.signs(tx)
        except StoreUnavailable:
            yield GaugeMetricFamily("reset_database_up", _UP, 0)
            return
        yield GaugeMetricFamily("reset_database_up", _UP, 1)
        yield InfoMetricFamily(
            "reset_build", "What runs.", {"version": VERSION, "schema": str(schema)}
        )
        yield from _of_outbox(depth)
        yield from _of_workers(signs, now)

    def _counted(self) -> Iterator[Metric]:
        if self._shared is not None:
            return iter(MultiProcessCollector(None, str(self._shared)).collect())
        return iter(self._registry.collect())

    def _count_answer(self, response: Response) -> Response:
        endpoint = request.endpoint or ""
        if endpoint in _NOT_COUNTED:
            return response
        status = response.status_code
        page = self._pages.get(endpoint) or _other_page()
        self.count("reset_pages_total", page, f"{status // 100}xx")
        if endpoint in _OUTCOMES:
            name, known = _OUTCOMES[endpoint]
            outcome = g.pop("reset_outcome", None) or known.get(status, "failed")
            self.count(name, outcome)
        return response


def note(outcome: str) -> None:
    """What becomes of the form at hand, where its status does not say it."""
    g.reset_outcome = outcome


def _other_page() -> str:
    rule = request.url_rule
    return "help_desk" if rule is not None and "/ayuda" in rule.rule else "other"


def _in_tens(sample: Sample) -> Sample:
    guarded = sample.name in _IN_TENS or sample.labels.get("page") in ("link", "file")
    return sample._replace(value=_tens(sample.value)) if guarded else sample


def _tens(count: float) -> int:
    """*count* rounded down: one person's mail or link does not show."""
    return int(count) // 10 * 10


_UP = "Whether the service's own database answers."


def _of_outbox(depth: Depth) -> Iterator[Metric]:
    mails = GaugeMetricFamily(
        "reset_outbox_mails", "Mails that wait or are handed over, in full tens.", labels=["state"]
    )
    for state, count in depth.states.items():
        mails.add_metric([state], _tens(count))
    yield mails
    yield GaugeMetricFamily(
        "reset_outbox_oldest_due_seconds",
        "For how long the oldest mail that is due is left alone; 0 below five minutes.",
        depth.unattended.total_seconds(),
    )


def _of_workers(signs: Sequence[Sign], now: datetime) -> Iterator[Metric]:
    alive = sum(sign.is_alive(now=now) for sign in signs)
    yield GaugeMetricFamily("reset_workers", "Workers that show themselves.", alive)
    age = GaugeMetricFamily(
        "reset_worker_heartbeat_age_seconds",
        "Since when a worker has not shown itself; it does every ten seconds.",
        labels=["worker"],
    )
    started = GaugeMetricFamily(
        "reset_worker_start_time_seconds", "When a worker was started.", labels=["worker"]
    )
    mails = CounterMetricFamily(
        "reset_mails_total",
        "Mails by what came of them, in full tens. Done: taken by the mail server, or nobody to"
        " write to. Deferred: not at the first attempt.",
        labels=["worker", "kind", "result"],
    )
    handover = HistogramMetricFamily(
        "reset_handover_seconds",
        "From a request to the end of its mail (done, as above), in full tens.",
        labels=["worker"],
    )
    for sign in signs:
        # Whole seconds: parts of them could tell how busy the worker is.
        age.add_metric([sign.name], max(0, int((now - sign.beat_at).total_seconds())))
        started.add_metric([sign.name], sign.started_at.timestamp())
        for kind, result in itertools.product(KINDS, RESULTS):
            count = sign.figures.get(f"{kind} {result}", 0)
            mails.add_metric([sign.name, kind, result], _tens(count))
        buckets = [(str(s), _tens(sign.figures.get(f"within {s}", 0))) for s in HANDOVER_SECONDS]
        buckets.append(("+Inf", _tens(sign.figures.get("reset_link done", 0))))
        handover.add_metric([sign.name], buckets, None)
    yield from (age, started, mails, handover)
