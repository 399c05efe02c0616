"""Nothing becomes slower with the years: an index serves whatever web and worker ask."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from flask import Flask

from reset.errors import MailDeferred
from tests.conftest import NEW_PASSWORD, Portal, Visitor, links_in
from tests.desk import Operator

BETO = "beto@example.com"
GROWING = {"requests", "events", "links", "outbox", "captcha_spent", "limits", "acts"}


@dataclass(frozen=True)
class Step:
    """What SQLite does for a statement, step by step: a word for how, and with which table."""

    detail: str
    statement: str

    @property
    def walks(self) -> str:
        """The table that is read from end to end; "" if none is."""
        how, table, *_ = [*self.detail.split(), ""]
        return table if how == "SCAN" else ""


class Asked:
    """Every statement that the service sends, each once."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._statements: dict[str, object] = {}
        sa.event.listen(engine, "before_cursor_execute", self._keep)

    def _keep(
        self, _: object, __: object, statement: str, values: object, ___: object, many: bool
    ) -> None:
        self._statements[statement] = values[0] if many else values  # type: ignore[index]

    def plans(self) -> list[Step]:
        """How SQLite answers them; that does not depend on what the tables hold."""
        sa.event.remove(self._engine, "before_cursor_execute", self._keep)
        with self._engine.connect() as connection:
            return [
                Step(row.detail, statement)
                for statement, values in self._statements.items()
                if statement.startswith(("SELECT", "UPDATE", "DELETE"))
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)  # type: ignore[arg-type]
            ]


@pytest.fixture
def plans(
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    portal: Portal,
    ana: int,
) -> list[Step]:
    """Of all that happens between a first request and the end of its retention."""
    here = ipaddress.ip_network("127.0.0.1/32")
    visitor = make_visitor(make_app(metrics_allow=(here,), limit_per_address="1 per hour"))
    portal.add("beto", BETO)
    asked = Asked(visitor.parts.database._engine)
    ask_and_wait(visitor)
    change_and_deny(visitor)
    look_after(visitor)
    return asked.plans()


def ask_and_wait(visitor: Visitor) -> None:
    """Right, wrong and unknown; some mails do not leave at once."""
    visitor.ask("nadie@example.com")
    visitor.ask(captcha="wrong")
    visitor.ask(BETO)
    visitor.sender.failures = [MailDeferred("451 later"), MailDeferred("x", server_down=True)]
    for _ in range(3):
        visitor.run_worker()
        visitor.clock.advance(minutes=10)


def change_and_deny(visitor: Visitor) -> None:
    """A link that is used while another lives, and one that nobody asked for."""
    link, other = visitor.link(), visitor.link()
    for password in ("short", NEW_PASSWORD):
        visitor.set_password(link, password)
    visitor.set_password(other)
    deny = links_in(visitor.mails(BETO)[0], "no-fui-yo")[0].rpartition("/")[2]
    visitor.client.post("/no-fui-yo", data={"token": deny})


def look_after(visitor: Visitor) -> None:
    """Monitoring, the help desk's lists, the marks of the twelve hours, and what is purged."""
    visitor.ask()
    visitor.clock.advance(hours=13)
    visitor.worker.housekeeping()
    visitor.worker.beat()
    for page in ("/healthz", "/readyz", "/metrics"):
        visitor.client.get(page)
    operator = Operator(visitor)
    operator.get("/ayuda/pendientes")
    operator.act("links_cancelled", detail="la pidió otro")
    visitor.clock.advance(days=91)
    for _ in range(2):
        visitor.run_worker()


def test_no_question_walks_a_table_that_grows(plans: list[Step]) -> None:
    """Visitors, worker, monitoring, help desk and purge: old rows cost them nothing."""
    asked = " ".join(step.statement for step in plans)
    assert [table for table in GROWING if table not in asked] == []
    assert [step for step in plans if step.walks in GROWING] == []


def test_waiting_mails_are_never_sorted(plans: list[Step]) -> None:
    """To claim the first of a hundred thousand, the others need not be looked at."""
    queue = [step for step in plans if "FROM outbox WHERE state" in step.statement]
    assert [step for step in queue if "TEMP B-TREE" in step.detail] == []
    assert len({step.statement for step in queue}) > 3


def test_every_index_serves(plans: list[Step], state_url: str) -> None:
    """Each costs every request something, so each must be of use."""
    with sa.create_engine(state_url).connect() as connection:
        ours = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE sql LIKE '%INDEX%'")
        indexes = {row.name for row in ours}
    details = " ".join(step.detail for step in plans).split()
    assert indexes - {*details} == set()
    assert len(indexes) > 9


@pytest.mark.parametrize(
    ("question", "looked_at"),
    [
        ("overdue_at IS NULL AND created_at", "(state=? AND overdue_at=? AND created_at<?)"),
        ("outbox.state = 'sent' AND outbox.created_at > ?", "(state=? AND created_at>?)"),
    ],
    ids=["overdue and not marked yet", "mailed within a week"],
)
def test_only_mails_of_their_time_are_looked_at(
    plans: list[Step], question: str, looked_at: str
) -> None:
    """Of a state alone there may be a million, or a hundred thousand while no server answers."""
    found = [step.detail for step in plans if question in step.statement]
    assert any(looked_at in detail for detail in found)
