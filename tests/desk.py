"""Somebody at the help desk, signed in."""

from __future__ import annotations

import html
import json
import re
from contextlib import suppress

import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from reset import audit
from reset.db import Database, moment
from reset.errors import MailRefused, RateLimited
from reset.help_desk.acts import ACTS
from reset.help_desk.timeline import OBSTACLES, TITLES
from reset.trail import Act
from tests.conftest import ADDRESS, Portal, Visitor, hidden

PASSWORD = "Tres-Canoas-Bajo-Lluvia"


def acts_in(database: Database) -> list[Act]:
    """All that the trail holds, oldest first."""
    with database.read() as tx:
        rows = tx.execute(
            sa.text("SELECT at, operator, act, subject, details FROM acts ORDER BY id")
        )
        return [
            Act(moment(row.at), row.operator, row.act, row.subject, json.loads(row.details))
            for row in rows
        ]


class Operator:
    """An operator with a browser; added first, through the service's own door."""

    def __init__(self, visitor: Visitor, name: str = "marta") -> None:
        self.visitor = visitor
        self.name = name
        self.client: FlaskClient = visitor.app.test_client()
        self.client.environ_base = dict(visitor.client.environ_base)  # The same language.
        visitor.parts.operators.add(name, PASSWORD, now=visitor.clock())
        self.sign_in()

    def sign_in(self) -> None:
        """Begin a session."""
        token = hidden(self.client.get("/ayuda/entrar").text, "csrf_token")
        data = {"name": self.name, "password": PASSWORD, "csrf_token": token}
        assert self.client.post("/ayuda/entrar", data=data).location == "/ayuda/"

    def get(self, path: str) -> TestResponse:
        """Open a page; after half an hour of rest a new session is begun for it."""
        answer = self.client.get(path)
        if answer.location == "/ayuda/entrar":
            self.sign_in()
            answer = self.client.get(path)
        return answer

    def search(self, typed: str) -> TestResponse:
        """Fill the search in, and follow where it leads."""
        token = hidden(self.get("/ayuda/").text, "csrf_token")
        data = {"q": typed, "csrf_token": token}
        return self.client.post("/ayuda/", data=data, follow_redirects=True)

    def open(self, email: str = ADDRESS) -> str:
        """The page of the latest request for *email*."""
        return self.get(self.path(email)).text

    def path(self, email: str = ADDRESS) -> str:
        """Where the latest request for *email* is shown."""
        number = self.visitor.parts.flow.trace(email)[0].number
        return f"/ayuda/solicitud/{audit.spoken(number)}"

    def act(self, name: str, path: str = "", **fields: str) -> TestResponse:
        """Open the request's page and send the form of one act."""
        path = path or self.path()
        return self.client.post(path, data=self.form(name, path) | fields, follow_redirects=True)

    def form(self, name: str, path: str) -> dict[str, str]:
        """The form of one act as it stands on the page, with its first reason."""
        page = self.get(path).text
        found = re.search(
            rf'name="act" value="{name}">\s*<input .*?name="seen" value="(\d+)"', page
        )
        assert found, page
        token = hidden(page, "csrf_token")
        return {"csrf_token": token, "act": name, "seen": found[1], "why": "1", "detail": ""}

    def acts(self) -> list[Act]:
        """All that the trail holds, oldest first, but for coming and going."""
        found = acts_in(self.visitor.parts.database)
        return [act for act in found if act.operator == self.name and act.act != "signed_in"]


def see_the_desk(visitor: Visitor, portal: Portal) -> None:
    """Every page behind the door, with everything that can have happened to a request."""
    operator = Operator(visitor, "lucia")
    for typed in (
        "",
        "x" * 255,
        "4821-0937-5562",
        "nadie@example.com",
        "nadie",
        ADDRESS,
        "ana.perez",
    ):
        operator.search(typed)
    with portal.down():
        operator.search("ana.perez")
    portal.add("sin", "")
    operator.search("sin")
    visitor.sender.failures = [MailRefused("550 5.1.1 unknown")]
    for hours in (1, 1, 13):
        visitor.ask()
        visitor.run_worker()
        operator.open()
        visitor.clock.advance(hours=hours)
    operator.get("/ayuda/pendientes")
    path = operator.path()
    for act in ACTS:
        operator.act(act, path, why="other")
        form = operator.form(act, path)
        for _ in range(2):
            operator.client.post(path, data=form, follow_redirects=True)
    for happens in (*TITLES, *OBSTACLES):
        visitor.clock.advance(seconds=1)
        visitor.ask()
        for answer in ("450 busy", "535 5.7.8 no", "OSError") if "mail" in happens else ("",):
            _note(visitor, happens, answer)
            operator.open()
    with suppress(RateLimited):
        while True:
            visitor.parts.limits.count_search(operator.name)
    operator.search("x")


def _note(visitor: Visitor, event: str, answer: str) -> None:
    details = {"reasons": "too_short"} if event == "password_refused" else {"reason": "x"}
    if answer:
        details = {"answer": answer, "mail": "reset_link"}
    with visitor.parts.database.begin() as tx:
        number = visitor.parts.flow.trace(ADDRESS)[0].number
        audit.note(tx, number, event, now=visitor.clock(), **details)


def words(page: str) -> str:
    """What can be read in the main part of *page*, in one line."""
    main = page[page.index("<main") :]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())


def to_say(page: str) -> str:
    """The sentence for the caller."""
    found = re.search(r"“(.*?)”", words(page))
    assert found, words(page)
    return found[1]


def heading(page: str) -> str:
    """The state in a few words."""
    found = re.search(r"<h1[^>]*>(.*?)<", page, re.DOTALL)
    assert found, page
    return html.unescape(found[1]).strip()


def titles(page: str) -> list[str]:
    """The lines of the timeline, in order."""
    timeline = page[page.index('<ol class="timeline">') : page.index("</ol>")]
    return [html.unescape(title) for title in re.findall(r"<strong>(.*?)</strong>", timeline)]
