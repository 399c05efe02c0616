"""The trail of what operators saw and did."""

from __future__ import annotations

from datetime import timedelta

from reset import trail
from reset.trail import Act
from tests.conftest import START, Visitor
from tests.desk import acts_in


def test_act_is_kept_as_it_was_noted(visitor: Visitor) -> None:
    """Who, what, with whom and when; the subject finds it again."""
    with visitor.parts.database.begin() as tx:
        trail.note(tx, "lucia", "send_again", "482109375562", now=START, reason="Ñandú", mails=1)
        trail.note(tx, "lucia", "searched", "ana@example.com", now=START + timedelta(seconds=1))
    with visitor.parts.database.read() as tx:
        (act,) = trail.of_subjects(tx, ["482109375562"])
    details: dict[str, str | int] = {"reason": "Ñandú", "mails": 1}
    assert act == Act(START, "lucia", "send_again", "482109375562", details)
    assert [one.act for one in acts_in(visitor.parts.database)] == ["send_again", "searched"]


def test_trail_is_kept_for_the_retention(visitor: Visitor) -> None:
    """RESET_RETENTION_DAYS, 90: not a moment less, and not an hour more."""
    with visitor.parts.database.begin() as tx:
        trail.note(tx, "lucia", "viewed", "482109375562", now=START)
    visitor.parts.flow.purge(now=START + timedelta(days=90))
    assert len(acts_in(visitor.parts.database)) == 1
    visitor.parts.flow.purge(now=START + timedelta(days=90, seconds=1))
    assert acts_in(visitor.parts.database) == []
