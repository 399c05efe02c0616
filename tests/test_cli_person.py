"""`flask reset person`: what is kept about somebody, shown and erased."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import Result
from flask import Flask

from reset import links, trail
from reset.errors import MailDeferred
from tests.conftest import ADDRESS, Clock, Portal, Visitor, links_in
from tests.desk import acts_in

BETO = "beto@example.com"


@pytest.fixture
def run(app: Flask) -> Callable[..., Result]:
    """`flask reset person ...`"""
    runner = app.test_cli_runner()
    return lambda *args, **options: runner.invoke(args=["reset", "person", *args], **options)


def note(visitor: Visitor, subject: str, **details: str) -> None:
    with visitor.parts.database.begin() as tx:
        trail.note(tx, "lucia", "viewed", subject, now=visitor.clock(), **details)


def everything(visitor: Visitor) -> str:
    """All tables as text."""
    with visitor.parts.database.read() as tx:
        names = sa.inspect(tx).get_table_names()
        return str([tx.exec_driver_sql(f"SELECT * FROM {name}").all() for name in names])


def a_life(visitor: Visitor, email: str = ADDRESS) -> None:
    """A password set, a request that waits, and operators who looked."""
    visitor.set_password(visitor.link(email))
    number = visitor.parts.flow.trace(email)[0].number
    for subject in (number, email):
        note(visitor, subject)
    visitor.clock.advance(minutes=1)
    visitor.sender.failures = [MailDeferred("451 busy")] * 2
    visitor.ask(email)
    visitor.run_worker()


def test_export_has_all_that_is_kept(
    visitor: Visitor, run: Callable[..., Result], ana: int
) -> None:
    """Requests with events, mails and links, acts by number, address and login, the counter."""
    a_life(visitor)
    note(visitor, "ana.perez", reason="llamó")
    told = json.loads(run("export", " ANA@example.com").stdout)
    first, second = told["requests"]
    assert told["address"] == first["address"] == ADDRESS
    assert "password_changed" in [one["event"] for one in first["events"]]
    assert first["links"][0]["state"] == "used"
    assert [one["state"] for one in first["mails"]] == ["sent", "queued"]
    assert first["mails"][1]["content"]["name"] == "Ana María Pérez"
    assert second["mails"][0]["state"] == "queued"
    assert len(told["acts"]) == 3
    assert told["requests_counted_for_the_limit"] == 2


def test_export_leaves_nothing_out(visitor: Visitor, run: Callable[..., Result], ana: int) -> None:
    """Each value of each of the person's rows, but for ids that matter only to the database."""
    visitor.set_password(visitor.link())
    told = run("export", ADDRESS).stdout
    with visitor.parts.database.read() as tx:
        rows = [
            value
            for table in ("requests", "events", "links", "outbox")
            for row in tx.exec_driver_sql(f"SELECT * FROM {table}").mappings()
            for name, value in row.items()
            if name not in ("id", "number", "request", "fingerprint", "details", "content")
            and not name.endswith("_at")
            and name not in ("at", "lease", "leased_until", "claimed_until")
        ]
    shown = json.dumps(json.loads(told), ensure_ascii=False)
    missing = [value for value in rows if value and json.dumps(value)[1:-1] not in shown]
    assert missing == []


def test_operators_who_looked_by_name_are_found(
    visitor: Visitor, run: Callable[..., Result], portal: Portal, ana: int
) -> None:
    """Also where no request of theirs tells it: the portal does; while it is away that is said."""
    note(visitor, "ana.perez")
    with portal.down():
        told = run("erase", ADDRESS, "--yes")
        assert "may be missing here: run this again later" in told.stderr
    assert len(json.loads(run("export", ADDRESS).stdout)["acts"]) == 1
    assert run("erase", ADDRESS, "--yes").stdout.startswith("deleted: requests 0, acts on them 2,")
    assert "ana.perez" not in everything(visitor)


def test_export_opens_nothing(visitor: Visitor, run: Callable[..., Result], ana: int) -> None:
    """No link, no token, and no id of one; in words, what is not kept and not here."""
    link = visitor.link()
    with visitor.parts.database.read() as tx:
        (kept,) = links.of_request(tx, visitor.parts.flow.trace(ADDRESS)[0].number)
    told = run("export", ADDRESS).stdout
    for secret in (link.rpartition("/")[2], kept.id, kept.fingerprint):
        assert secret not in told
    assert "passwords, old or new" in json.loads(told)["not_kept"][0]
    assert "backups" in json.loads(told)["not_here"][0]


def test_export_of_a_stranger(visitor: Visitor, run: Callable[..., Result], ana: int) -> None:
    """Nothing is kept about them, and nobody else's data are shown."""
    visitor.link()
    told = json.loads(run("export", "nadie@example.com").stdout)
    assert (told["requests"], told["acts"]) == ([], [])


def test_erased_person_is_in_no_table(
    visitor: Visitor, run: Callable[..., Result], portal: Portal, ana: int
) -> None:
    """Neither address, name, login nor number; and nothing of anybody else is gone."""
    portal.add("beto", BETO, nombre="Beto")
    a_life(visitor, BETO)
    visitor.clock.advance(minutes=9)
    a_life(visitor)
    note(visitor, "ana.perez")
    others = everything(visitor)
    numbers = [request.number for request in visitor.parts.flow.trace(ADDRESS)]
    told = run("erase", ADDRESS, "--yes")
    assert told.stdout.startswith("deleted: requests 2, acts on them 3, counters 1\n")
    left = everything(visitor)
    for trace in (ADDRESS, "ana.perez", "Ana María Pérez", *numbers):
        assert trace not in left
    assert len(visitor.parts.flow.trace(BETO)) == 2
    assert left.count(BETO) == others.count(BETO)
    (line,) = [act for act in acts_in(visitor.parts.database) if act.act == "person_erased"]
    assert (line.subject, line.details) == ("", {"requests": 2, "acts": 3})


def test_search_for_the_name_in_any_case_is_theirs(
    visitor: Visitor, run: Callable[..., Result], ana: int
) -> None:
    """As the look-up does, what is kept does not tell capitals from small letters."""
    visitor.parts.desk.search("Ana.PEREZ", "lucia", now=visitor.clock())
    assert len(json.loads(run("export", ADDRESS).stdout)["acts"]) == 1
    run("erase", ADDRESS, "--yes")
    assert "ana.perez" not in everything(visitor).lower()


@pytest.mark.parametrize("login", ["lucia", "pendientes", "-"])
def test_what_operators_do_with_nobody_stays(
    visitor: Visitor, run: Callable[..., Result], portal: Portal, login: str
) -> None:
    """Also where the portal knows the person by the same word; only a search for it is theirs."""
    portal.add(login, BETO)
    note(visitor, login)
    others = ("operator_added", "signed_in", "signed_out", "sign_in_failed", "listed")
    with visitor.parts.database.begin() as tx:
        for act in others:
            trail.note(tx, "lucia", act, login, now=visitor.clock(), origin="red 10.1.x.x")
    told = json.loads(run("export", BETO).stdout)
    assert [act["act"] for act in told["acts"]] == ["viewed"]
    run("erase", BETO, "--yes")
    left = {act.act for act in acts_in(visitor.parts.database) if act.subject == login}
    assert left == set(others)


def test_erased_person_is_not_in_the_file(
    visitor: Visitor, run: Callable[..., Result], tmp_path: Path, ana: int
) -> None:
    """What SQLite deletes it overwrites: the name cannot be read out of free pages."""
    a_life(visitor)
    run("erase", ADDRESS, "--yes")
    visitor.parts.database.close()  # The last one to close writes the log into the file.
    (file,) = tmp_path.glob("reset.sqlite*")
    assert b"Ana Mar" not in file.read_bytes()
    assert b"ana@example" not in file.read_bytes()


def test_erasing_twice_is_harmless(visitor: Visitor, run: Callable[..., Result], ana: int) -> None:
    """The second time there is nothing, and no second line in the trail."""
    a_life(visitor)
    run("erase", ADDRESS, "--yes")
    told = json.loads(run("erase", ADDRESS, "--yes", "--json").stdout)
    assert told["erased"] == {"requests": 0, "acts": 0, "counters": 0}
    assert len(acts_in(visitor.parts.database)) == 1


def test_erasing_voids_link_and_waiting_mail(
    visitor: Visitor, run: Callable[..., Result], ana: int
) -> None:
    """The operator is told so and asked; then the link is dead, and no other mail arrives."""
    link = visitor.link()
    visitor.ask()
    told = run("erase", ADDRESS, input="y\n")
    assert "1 of their mails wait and will not leave" in told.stderr
    assert "1 of their links work now and will not any more" in told.stderr
    visitor.run_worker()
    assert len(visitor.mails()) == 1
    assert visitor.client.get(link).status_code == 410


def test_erasing_is_asked_for(visitor: Visitor, run: Callable[..., Result], ana: int) -> None:
    """Anything but yes leaves all as it is; a link that is over is not said to work."""
    visitor.link()
    visitor.clock.advance(hours=13)
    told = run("erase", ADDRESS, input="\n")
    assert told.exit_code == 1
    assert "links work now" not in told.stderr
    assert len(visitor.parts.flow.trace(ADDRESS)) == 1


def test_nobody_is_erased_in_the_middle_of_a_change(
    visitor: Visitor, clock: Clock, run: Callable[..., Result], ana: int
) -> None:
    """Its confirmation would be lost: try again when it is over."""
    visitor.link()
    with visitor.parts.database.begin() as tx:
        (link,) = links.of_request(tx, visitor.parts.flow.trace(ADDRESS)[0].number)
        links.claim(tx, link, until=clock(), origin="")
    told = run("erase", ADDRESS, "--yes")
    assert told.exit_code == 1
    assert "a password is being set" in told.output
    assert visitor.trace() == ["requested", "account_found", "mail_sent"]


def test_mail_that_is_on_its_way_arrives_with_a_dead_link(
    visitor: Visitor, run: Callable[..., Result], ana: int
) -> None:
    """Erased while a worker talks to the mail server: no error, and nothing is kept again."""
    send = visitor.sender.send

    def send_meanwhile(message: Any) -> None:
        run("erase", ADDRESS, "--yes")
        send(message)

    visitor.sender.send = send_meanwhile  # type: ignore[method-assign]
    visitor.ask()
    visitor.run_worker()
    assert visitor.client.get(links_in(visitor.mails()[0])[0]).status_code == 410
    assert ADDRESS not in everything(visitor)


def test_address_is_asked_for(run: Callable[..., Result]) -> None:
    """A number or a name finds nobody by chance."""
    for act in ("export", "erase"):
        told = run(act, "4821-0937-5562")
        assert told.exit_code == 2
        assert "is no e-mail address" in told.output
