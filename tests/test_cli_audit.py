"""`flask reset audit export`: what auditors get."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from reset import links, report, trail
from reset.cli.audit import harmless
from tests.conftest import ADDRESS, NEW_PASSWORD, Clock, Visitor, links_in


@pytest.fixture
def export(app: Flask) -> Callable[..., Result]:
    """`flask reset audit export ...`"""
    runner = app.test_cli_runner()
    return lambda *args: runner.invoke(args=["reset", "audit", "export", *args])


def lines(told: Result) -> list[dict[str, Any]]:
    """The objects of `--jsonl`."""
    return [json.loads(line) for line in told.stdout.splitlines()]


def note(visitor: Visitor, act: str, subject: str, **details: str) -> None:
    with visitor.parts.database.begin() as tx:
        trail.note(tx, "lucia", act, subject, now=visitor.clock(), **details)


def test_export_tells_requests_and_acts_in_order(
    visitor: Visitor, clock: Clock, export: Callable[..., Result], ana: int
) -> None:
    """One line each, with the same columns, by time; an act on a request has its number."""
    number = visitor.ask().location.rpartition("/")[2]
    clock.advance(seconds=1)
    note(visitor, "viewed", number.replace("-", ""))
    clock.advance(seconds=1)
    visitor.run_worker()
    clock.advance(seconds=1)
    note(visitor, "searched", ADDRESS, reason="llamó")
    told = lines(export("--jsonl"))
    shown = [(one["event"], one["number"], one["subject"], one["operator"]) for one in told]
    assert shown == [
        ("requested", number, ADDRESS, ""),
        ("viewed", number, "", "lucia"),
        ("account_found", number, ADDRESS, ""),
        ("mail_sent", number, ADDRESS, ""),
        ("searched", "", ADDRESS, "lucia"),
    ]
    assert told[0]["at"] == "2026-11-22T15:00:00+00:00"
    assert told[4]["details"] == {"reason": "llamó"}
    assert {tuple(one) for one in told} == {tuple(told[0])}


def test_csv_is_the_same(visitor: Visitor, export: Callable[..., Result], ana: int) -> None:
    """A header and a line for each, ended as RFC 4180 wants it, in UTF-8."""
    visitor.link()
    note(visitor, "searched", "Ñandú, «x»")
    told, as_json = export("--csv").stdout_bytes, lines(export("--jsonl"))
    rows = list(csv.DictReader(io.StringIO(told.decode("utf-8"), newline="")))
    assert told.count(b"\r\n") == told.count(b"\n") == len(rows) + 1
    assert [{**row, "details": json.loads(row["details"])} for row in rows] == as_json[: len(rows)]


@pytest.mark.parametrize(
    "cell",
    [
        *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n1", "  =1", "\u00a0=1", "\u200b=1"),
        *("\ufeff @x", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20x", "\u3000\uff1d1"),
    ],
)
def test_spreadsheet_computes_nothing(
    visitor: Visitor, export: Callable[..., Result], cell: str
) -> None:
    """What a caller dictated is shown with a quote before it."""
    note(visitor, "searched", cell)
    (row,) = csv.DictReader(io.StringIO(export("--csv").stdout_bytes.decode("utf-8"), newline=""))
    assert row["subject"] == f"'{cell}"


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("550 no;=1+1", "550 no;'=1+1"),
        ("a; @x;;-2", "a;' @x;;'-2"),
        ("a;\uff1d1", "a;'\uff1d1"),
    ],
)
def test_no_cell_begins_within_another(cell: str, shown: str) -> None:
    """Where the comma is for decimals, a spreadsheet takes a semicolon for the next cell."""
    assert harmless(cell) == shown


@pytest.mark.parametrize(
    "cell", ["", "a; b", "ana@example.com", "4821-0937-5562", "a=b", '{"a": "=1"}']
)
def test_harmless_cell_stays_as_it_is(cell: str) -> None:
    """Only the beginning counts."""
    assert harmless(cell) == cell


def test_export_of_some_days(visitor: Visitor, clock: Clock, export: Callable[..., Result]) -> None:
    """Whole days of the configured zone: the last second of one, and the first of the next."""
    clock.now = clock.now.replace(hour=4, minute=59, second=59)  # 23:59:59 of the 21st in Colombia.
    note(visitor, "first", "x")
    clock.advance(seconds=1)
    note(visitor, "second", "x")
    clock.advance(days=1)
    note(visitor, "third", "x")
    clock.advance(days=1)

    def acts(*args: str) -> list[str]:
        return [
            one["event"] for one in lines(export("--jsonl", *args)) if one["operator"] == "lucia"
        ]

    assert acts("--since", "2026-11-22") == ["second", "third"]
    assert acts("--until", "2026-11-22") == ["first", "second"]
    assert acts("--since", "2026-11-22", "--until", "2026-11-22") == ["second"]


def test_export_goes_on_page_by_page(
    visitor: Visitor, export: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fits into memory, every line is there, once."""
    monkeypatch.setattr(report, "PAGE", 2)
    for serial in range(5):
        visitor.ask()
        note(visitor, "viewed", f"n{serial}")
    told = lines(export("--jsonl"))
    assert [one["event"] for one in told] == ["requested", "viewed"] * 5
    assert len({(one["number"], one["subject"]) for one in told}) == 10


def test_export_has_no_secret(
    visitor: Visitor, export: Callable[..., Result], portal: Any, ana: int
) -> None:
    """Of a whole reset: no link, no token, no password and no hash."""
    before = portal.stored(ana)
    link = visitor.link()
    visitor.client.get(link)
    visitor.set_password(link, "Colombia2026")
    visitor.set_password(link)
    visitor.run_worker()
    denial = links_in(visitor.mails()[0], "no-fui-yo")[0]
    with visitor.parts.database.read() as tx:
        (kept,) = links.of_request(tx, visitor.parts.flow.trace(ADDRESS)[0].number)
    secrets = [one.rpartition("/")[2] for one in (link, denial)]
    secrets += [kept.id, kept.fingerprint, "nueva/", "Colombia2026", NEW_PASSWORD]
    for told in (export("--jsonl").stdout, export("--csv").stdout):
        assert "password_changed" in told
        for secret in (*secrets, before, portal.stored(ana)):
            assert secret not in told


def test_export_is_in_the_trail(visitor: Visitor, export: Callable[..., Result]) -> None:
    """Who looks at all of it is seen to have done so."""
    visitor.ask()
    export("--jsonl")
    visitor.clock.advance(seconds=1)
    told = lines(export("--jsonl"))
    assert (told[-1]["operator"], told[-1]["event"]) == ("console", "audit_exported")
    assert told[-1]["details"] == {"lines": 1}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "give --jsonl or --csv"),
        (("--csv", "--since", "ayer"), "does not match the format"),
        (
            ("--csv", "--since", "2026-11-23", "--until", "2026-11-22"),
            "--since is later than --until",
        ),
    ],
)
def test_form_and_days_are_asked_for(
    export: Callable[..., Result], args: tuple[str, ...], said: str
) -> None:
    """One line that says what is missing."""
    told = export(*args)
    assert told.exit_code == 2
    assert said in told.output
