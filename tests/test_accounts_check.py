"""`flask reset accounts check`: what an operator learns before the first visitor does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from click.testing import Result
from flask import Flask

from reset.accounts import survey
from reset.accounts.fields import rules
from reset.accounts.memory import MemoryAccounts
from reset.accounts.sql import backend
from reset.errors import AccountsUnavailable
from tests.conftest import ADDRESS, Portal, Visitor

Check = Callable[..., Result]


@pytest.fixture
def check(make_app: Callable[..., Flask], portal: Portal) -> Check:
    """The command over the portal's table, with single changes to how it is described."""

    def run(*arguments: str, **changes: object) -> Result:
        app = make_app(accounts_source=replace(portal.table, **changes))  # type: ignore[arg-type]
        return app.test_cli_runner().invoke(args=["reset", "accounts", "check", *arguments])

    return run


def test_healthy_accounts(check: Check, portal: Portal, ana: int) -> None:
    """How many there are and of what kind; a change is rehearsed, and nothing is changed."""
    before = portal.rows()
    told = check()
    assert told.exit_code == 0
    assert "accounts: 1, of which could get a link: 1" in told.output
    assert "hashes of bcrypt: 1" in told.output
    assert "rehearsed and undone" in told.output
    assert "warning" not in told.output
    assert portal.rows() == before


def test_everything_in_the_way_is_counted(check: Check, portal: Portal, ana: int) -> None:
    """Counts only: no address, name or hash of anybody is printed."""
    portal.add("beto", "ANA@example.com", activo=0)
    portal.add("celia", "celia at example.com")
    portal.add("dora", "", clave="rot13:xyz")
    portal.add("root", "root@example.com")
    portal.add("eva", "eva@example.com", clave="5f4dcc3b5aa765d61d8327deb882cf99")
    portal.add("eva2", "eva@example.com")
    told = check(exclude=rules("usuario=root; usuario=nadie"))
    for line in (
        "accounts: 7, of which could get a link: 2",
        "without an e-mail address: 1",
        "with an address that can never be mailed: 1",
        "addresses of several accounts: 2",
        "addresses spelled in several ways, to which no mail goes: 1",
        "not active: 1",
        "excluded by usuario=root: 1",
        "excluded by usuario=nadie: nobody",
        "without a password hash that could be followed: 1",
        "hashes of hex_md5, which is weak: 1",
        "rehearsed and undone",
    ):
        assert line in told.output
    assert "hashes of :" not in told.output
    for secret in ("example.com", "celia", "rot13", "5f4dcc"):
        assert secret not in told.output


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"password": "contrasena"}, "no such column: usuarios.contrasena"),
        ({"table": "users"}, "no such table: users"),
        ({"url": "sqlite:////nowhere/portal.sqlite"}, "unable to open database file"),
        ({"assignments": "fallos=0"}, "no such column: fallos"),
        ({"after_change_sql": "DELETE FROM sesiones WHERE u = :id"}, "no such table: sesiones"),
        ({"exclude": rules("activo=1")}, "of which could get a link: 0"),
    ],
)
def test_fault_is_told_with_a_remedy(
    check: Check, ana: int, changes: dict[str, object], said: str
) -> None:
    """In the database's own words where they say it best; the status tells programs."""
    told = check(**changes)
    assert told.exit_code == 1
    assert said in told.output
    assert "-> " in told.output.split(said)[1]


def test_weak_hashes_that_will_be_upgraded_are_well(check: Check, portal: Portal) -> None:
    """The remedy was taken: nothing is left to warn of."""
    portal.add(clave="5f4dcc3b5aa765d61d8327deb882cf99")
    told = check(scheme="bcrypt", upgrade=True)
    assert "hashes of hex_md5, to become bcrypt: 1" in told.output
    assert "warning" not in told.output


def test_slow_look_up_is_told_with_a_remedy(
    check: Check, ana: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an index the worker would keep the portal's database busy."""
    monkeypatch.setattr(survey, "SLOW_SECONDS", 0)
    told = check()
    assert told.exit_code == 0
    assert "make an index" in told.output


def test_refusal_of_the_portal_is_no_fault(check: Check, portal: Portal, ana: int) -> None:
    """A trigger that takes no password of the rehearsal may take that of a person."""
    refuse = "CREATE TRIGGER t BEFORE UPDATE ON usuarios BEGIN SELECT RAISE(ABORT, 'no'); END"
    portal.execute(refuse)
    told = check()
    assert told.exit_code == 0
    assert "refused a random password" in told.output


def test_dry_run_for_one_person(check: Check, portal: Portal, ana: int) -> None:
    """As it was typed, however it is written; nothing is sent or changed."""
    before = portal.rows()
    told = check(" ANA@Example.com")
    assert told.exit_code == 0
    assert "a mail with a link would be sent for login ana.perez" in told.output
    assert "rehearsed and undone" in told.output
    assert portal.rows() == before


@pytest.mark.parametrize(
    ("address", "changes", "status", "said"),
    [
        ("nadie@example.com", {}, 0, "no mail would be sent: no account"),
        (ADDRESS, {"exclude": rules("usuario~^ana")}, 0, "account excluded (usuario~^ana)"),
        ("ana", {}, 1, "this is no e-mail address"),
        (ADDRESS, {"name": "apellido"}, 1, "the accounts cannot be read"),
    ],
)
def test_dry_run_says_why_not(
    check: Check, ana: int, address: str, changes: dict[str, object], status: int, said: str
) -> None:
    """The same reasons as in a trace; a fault ends with status 1."""
    told = check(address, **changes)
    assert said in told.output
    assert told.exit_code == status


def test_dry_run_lets_the_source_say_what_is_wrong(make_app: Callable[..., Flask]) -> None:
    """The check of the source has words for the operator that a look-up has not."""

    class Broken(MemoryAccounts):
        def check(self) -> None:
            raise AccountsUnavailable("the password is wrong")

    runner = make_app(accounts=Broken()).test_cli_runner()
    told = runner.invoke(args=["reset", "accounts", "check", ADDRESS])
    assert "the password is wrong" in told.output


def test_json_for_programs(check: Check, ana: int) -> None:
    """Level, text, remedy and reason of each finding."""
    found = json.loads(check("--json").output)
    assert {"level", "text", "remedy", "why"} == set(found[0])
    assert {finding["level"] for finding in found} == {"ok"}


def test_trace_says_which_rule_excluded(
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    portal: Portal,
    ana: int,
) -> None:
    """The visitor gets the answer of everybody, no mail leaves, and the help desk sees why."""
    excluding = replace(portal.table, exclude=rules("telefono=3005550142; usuario=ana.perez"))
    visitor = make_visitor(make_app(accounts_source=excluding))
    assert visitor.ask().status_code == 303
    visitor.run_worker()
    assert visitor.mails() == []
    (request,) = visitor.parts.flow.trace(ADDRESS)
    assert request.events[-1].name == "account_excluded"
    assert request.events[-1].details == {"reason": "telefono=3005550142"}


def test_missing_index_is_told_with_its_cure(
    check: Check, portal: Portal, ana: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many accounts each look-up would read all; the statement that is told mends it."""
    assert "no index" not in check().output
    monkeypatch.setattr(backend, "_FEW", 0)
    told = check()
    assert told.exit_code == 0
    found = re.search("as their owner: (CREATE INDEX .*);", told.output)
    assert found, told.output
    portal.execute(found[1])
    assert "an index serves the look-up of an address" in check().output


def test_own_select_without_an_index_is_told(
    check: Check, ana: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is behind a SELECT of the operator's, the manual helps to find."""
    monkeypatch.setattr(backend, "_FEW", 0)
    told = check(table="", find_sql="SELECT * FROM usuarios")
    assert "no index serves the look-up of an address" in told.output
    assert "docs/portals.md, Addresses" in told.output
