"""The large tables of `make bench` hold what the service itself would have stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import fill
from tests.conftest import Portal, Visitor


@pytest.fixture
def state(tmp_path: Path, visitor: Visitor) -> Path:
    """The file with the tables, which the visitor's application has made."""
    return tmp_path / "reset.sqlite"


def test_filled_requests_have_the_trace_of_real_ones(
    visitor: Visitor, ana: int, state: Path
) -> None:
    """Somebody unknown, a link left alone, and a new password."""
    visitor.ask("nadie@example.com")
    visitor.run_worker()
    unknown = visitor.trace("nadie@example.com")
    link = visitor.link()
    unused = visitor.trace()
    visitor.client.get(link)
    visitor.set_password(link)
    visitor.run_worker()
    visitor.parts.database.close()  # It is filled while nobody else has it open.
    fill.old_requests(state, 6, now=visitor.clock())
    filled = [visitor.trace(fill.address(number)) for number in (1, 2, 3)]
    assert filled == [unknown, unused, visitor.trace()]


def test_filled_requests_go_when_the_retention_is_over(visitor: Visitor, state: Path) -> None:
    """All that hangs on them hangs on them here, too."""
    fill.old_requests(state, 30, now=visitor.clock())
    visitor.clock.advance(days=91)
    assert visitor.parts.flow.purge(now=visitor.clock()) == 30


def test_queued_mails_leave(visitor: Visitor, portal: Portal, state: Path) -> None:
    """The worker finds the accounts that were made, and the requests that they are for."""
    fill.accounts(portal.path, 3)
    for after in (0, 3):
        fill.queue(state, 3, people=3, now=visitor.clock(), after=after)
        visitor.run_worker()
    sent = [len(visitor.mails(fill.address(number))) for number in (1, 2, 3)]
    assert sent == [2, 2, 2]
