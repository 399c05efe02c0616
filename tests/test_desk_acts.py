"""What operators can do with a request: once, for a reason, and in the trail."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from reset.errors import MailDeferred, MailRefused
from tests.conftest import ADDRESS, NEW_PASSWORD, START, Portal, Visitor, links_in
from tests.desk import Operator, heading, titles, to_say, words

MakeVisitor = Callable[[Flask], Visitor]


@pytest.fixture
def operator(visitor: Visitor) -> Operator:
    return Operator(visitor)


def refuse(visitor: Visitor) -> None:
    visitor.sender.failures = [MailRefused("550 5.7.1 spam")]
    visitor.ask()
    visitor.run_worker()


def give_up(visitor: Visitor) -> None:
    visitor.ask()
    for _ in range(9):
        visitor.sender.failures = [MailDeferred("450 4.3.2 busy")]
        visitor.run_worker()
        visitor.clock.advance(hours=9)


def expire(visitor: Visitor) -> None:
    visitor.link()
    visitor.clock.advance(hours=13)


@pytest.mark.usefixtures("ana")
@pytest.mark.parametrize("happens", [refuse, give_up, Visitor.link, expire])
def test_mail_is_sent_again(
    operator: Operator, portal: Portal, happens: Callable[[Visitor], object]
) -> None:
    """After a refusal, after it was given up, sent or expired; its link works like any other."""
    visitor = operator.visitor
    happens(visitor)
    before = len(visitor.mails())
    answer = words(operator.act("sent_again").text)
    visitor.run_worker()
    assert "Hecho: se intenta en unos segundos." in answer
    assert len(visitor.mails()) == before + 1
    visitor.set_password(links_in(visitor.mails()[-1])[0])
    assert portal.lets_in(1, NEW_PASSWORD)


def test_sending_again_looks_the_account_up_again(operator: Operator, portal: Portal) -> None:
    """Somebody who was registered meanwhile gets the mail that was asked for before."""
    operator.visitor.ask()
    operator.visitor.run_worker()
    assert heading(operator.open()).startswith("Ninguna cuenta tiene este correo")
    portal.add()
    operator.act("sent_again")
    operator.visitor.run_worker()
    assert heading(operator.open()) == "Salió el mensaje con el botón"


@pytest.mark.parametrize("happens", ["no account", "refused"])
def test_sending_again_what_failed_promises_nothing(
    operator: Operator, portal: Portal, happens: str
) -> None:
    """It may fail again, in seconds: until then nobody is told that a mail comes."""
    visitor = operator.visitor
    if happens == "refused":
        portal.add()
        refuse(visitor)
    else:
        visitor.ask()
        visitor.run_worker()
    page = operator.act("sent_again").text
    assert "Hecho: se intenta en unos segundos." in words(page)
    assert heading(page) == "Se intenta otra vez"
    assert to_say(page).startswith("Permítame un momento")


@pytest.mark.usefixtures("ana")
def test_sending_again_counts_for_no_limit(operator: Operator) -> None:
    """Neither is it kept back by one, nor does it take one of the person's own mails."""
    visitor = operator.visitor
    for _ in range(4):
        visitor.clock.advance(seconds=1)
        visitor.link()
    operator.act("sent_again")
    visitor.run_worker()
    for _ in range(2):
        visitor.clock.advance(seconds=1)
        visitor.ask()
        visitor.run_worker()
    assert len(visitor.mails()) == 6
    assert visitor.trace()[-1] == "limited"
    operator.act("sent_again")
    visitor.run_worker()
    assert len(visitor.mails()) == 7


@pytest.mark.usefixtures("ana")
def test_mail_that_waits_leaves_now(operator: Operator) -> None:
    """No second mail is made: the one that waits for its next attempt does not wait any more."""
    visitor = operator.visitor
    visitor.sender.failures = [MailDeferred("450 4.3.2 busy")]
    visitor.ask()
    visitor.run_worker()
    visitor.run_worker()
    assert visitor.mails() == []
    operator.act("sent_again")
    visitor.run_worker()
    visitor.clock.advance(hours=1)
    visitor.run_worker()
    assert len(visitor.mails()) == 1


@pytest.mark.usefixtures("ana")
def test_sending_again_has_an_end(operator: Operator) -> None:
    """Three times an hour for one request; then the cause is to be looked for."""
    visitor = operator.visitor
    visitor.link()
    for _ in range(3):
        operator.act("sent_again")
        visitor.run_worker()
    assert "ya se hizo tres veces en la última hora" in words(operator.act("sent_again").text)
    visitor.run_worker()
    assert len(visitor.mails()) == 4
    visitor.clock.advance(hours=1)
    assert "Hecho" in words(operator.act("sent_again").text)


@pytest.mark.usefixtures("ana")
def test_nothing_is_sent_again_after_a_change(operator: Operator) -> None:
    """The password was changed by this request, or with another one's link since."""
    visitor = operator.visitor
    visitor.link()
    first = operator.path()
    visitor.clock.advance(seconds=1)
    link = visitor.link()
    visitor.clock.advance(seconds=1)
    visitor.set_password(link)
    visitor.run_worker()
    before = len(visitor.mails())
    for path in (first, operator.path()):
        assert "la contraseña de la cuenta ya se cambió" in words(
            operator.act("sent_again", path).text
        )
    visitor.run_worker()
    assert len(visitor.mails()) == before


@pytest.mark.usefixtures("ana")
def test_nothing_is_sent_again_after_a_denial(operator: Operator) -> None:
    """Whoever said "no fui yo" is not written to again for that request."""
    visitor = operator.visitor
    visitor.link()
    token = links_in(visitor.mails()[-1], "no-fui-yo")[0].rpartition("/")[2]
    visitor.client.post("/no-fui-yo", data={"token": token})
    assert "Esta solicitud se canceló" in words(operator.act("sent_again").text)
    visitor.run_worker()
    assert len(visitor.mails()) == 1


@pytest.mark.usefixtures("ana")
def test_mail_on_its_way_is_not_sent_twice(operator: Operator) -> None:
    """While a worker hands it over nobody can say that it does not arrive."""
    visitor = operator.visitor
    visitor.ask()
    visitor.parts.delivery.claim(limit=1, now=visitor.clock())
    assert "se está enviando en este momento" in words(operator.act("sent_again").text)


@pytest.mark.usefixtures("ana")
@pytest.mark.parametrize("act", ["sent_again", "links_cancelled", "limit_cleared"])
def test_double_click_does_it_once(operator: Operator, act: str) -> None:
    """The second of two equal forms finds it done, even when the worker was quick."""
    visitor = operator.visitor
    visitor.link()
    path = operator.path()
    form = operator.form(act, path)
    operator.client.post(path, data=form)
    visitor.run_worker()
    again = operator.client.post(path, data=form)
    visitor.run_worker()
    assert "Eso ya estaba hecho" in words(again.text)
    assert visitor.trace().count(act) == 1
    assert len(visitor.mails()) == (2 if act == "sent_again" else 1)


@pytest.mark.usefixtures("ana")
def test_cancelled_links_are_dead(operator: Operator, portal: Portal, ana: int) -> None:
    """All of the account's, those of other requests too; what waits is not sent."""
    visitor = operator.visitor
    links = [visitor.link(), visitor.link()]
    visitor.ask()
    before = portal.stored(ana)
    page = operator.act("links_cancelled").text
    visitor.run_worker()
    for link in links:
        dead = visitor.client.get(link)
        assert (dead.status_code, heading(dead.text)) == (410, "Este enlace ya no sirve")
        assert visitor.set_password(link).status_code == 410
    assert "Hecho: los enlaces ya no sirven." in words(page)
    assert len(visitor.mails()) == 2
    assert portal.stored(ana) == before
    assert "Esta solicitud se canceló" in words(operator.act("sent_again").text)


@pytest.mark.usefixtures("ana")
def test_cancelled_account_may_ask_anew(operator: Operator, portal: Portal) -> None:
    """It ends what was, not what comes."""
    visitor = operator.visitor
    visitor.link()
    operator.act("links_cancelled")
    visitor.clock.advance(seconds=1)
    visitor.set_password(visitor.link())
    assert portal.lets_in(1, NEW_PASSWORD)


@pytest.mark.usefixtures("ana")
def test_waiting_mail_can_be_cancelled(operator: Operator) -> None:
    """Before there is any link."""
    operator.visitor.ask()
    operator.act("links_cancelled")
    operator.visitor.run_worker()
    assert operator.visitor.mails() == []
    assert heading(operator.open()) == "La mesa de ayuda canceló los enlaces"


def test_nothing_to_cancel_is_told(operator: Operator) -> None:
    """Of an address without an account, for one."""
    operator.visitor.ask()
    operator.visitor.run_worker()
    assert "No hay nada que cancelar" in words(operator.act("links_cancelled").text)
    assert "links_cancelled" not in operator.visitor.trace()


@pytest.mark.usefixtures("ana")
def test_link_in_use_is_not_cancelled(
    operator: Operator, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a password is being stored, cancelling would come to nothing."""
    visitor = operator.visitor
    link, told = visitor.link(), []
    store = visitor.parts.accounts.set_password

    def click_meanwhile(*args: object) -> None:
        told.append(words(operator.act("links_cancelled").text))
        store(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(visitor.parts.accounts, "set_password", click_meanwhile)
    visitor.set_password(link)
    assert "en este momento se está guardando una contraseña" in told[0]
    assert portal.lets_in(1, NEW_PASSWORD)


@pytest.mark.usefixtures("ana")
def test_cleared_limit_lets_the_person_ask_again(operator: Operator) -> None:
    """Of that address alone; the next mails leave, and are counted from there."""
    visitor = operator.visitor
    for _ in range(6):
        visitor.clock.advance(seconds=1)
        visitor.ask()
        visitor.run_worker()
    assert (visitor.trace()[-1], len(visitor.mails())) == ("limited", 5)
    visitor.clock.advance(seconds=1)
    page = words(operator.act("limit_cleared").text)
    for _ in range(6):
        visitor.clock.advance(seconds=1)
        visitor.ask()
        visitor.run_worker()
    assert "Hecho: la persona ya puede volver a pedir." in page
    assert (visitor.trace()[-1], len(visitor.mails())) == ("limited", 10)


@pytest.mark.usefixtures("ana")
def test_acts_stand_in_trail_and_timeline(operator: Operator) -> None:
    """Who, what, why and when; of a limit with the address that it was of."""
    visitor = operator.visitor
    visitor.link()
    number = visitor.parts.flow.trace(ADDRESS)[0].number
    operator.act("limit_cleared", why="2")
    operator.act("sent_again", why="other", detail=" <b>llamó</b> la hija ")
    page = operator.open()
    done = [act for act in operator.acts() if act.act != "viewed"]
    assert [(act.act, act.subject, act.at) for act in done] == [
        ("limit_cleared", ADDRESS, START),
        ("sent_again", number, START),
    ]
    assert done[0].details == {"request": number, "reason": "Varias personas comparten el correo"}
    assert done[1].details == {"reason": "<b>llamó</b> la hija"}
    assert titles(page)[-2:] == [
        "La mesa de ayuda quitó el límite",
        "La mesa de ayuda pidió enviarlo otra vez",
    ]
    assert "Por: marta Motivo: <b>llamó</b> la hija" in words(page)


@pytest.mark.usefixtures("ana")
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"why": ""}, "Elija un motivo."),
        ({"why": "9"}, "Elija un motivo."),
        ({"why": "other", "detail": "  ab\u200b "}, "Escriba el motivo."),
        ({"why": "1", "detail": "x" * 201}, "en 200 letras o menos"),
        ({"csrf_token": "x"}, "Inténtelo de nuevo"),
    ],
)
def test_act_needs_a_reason(operator: Operator, fields: dict[str, str], told: str) -> None:
    """What is missing is told, what was typed stays, and nothing is done."""
    operator.visitor.link()
    page = operator.act("sent_again", **fields)
    assert page.status_code == 200
    assert "<title>Error: " in page.text
    assert told in words(page.text)
    assert "sent_again" not in operator.visitor.trace()


@pytest.mark.usefixtures("ana")
@pytest.mark.parametrize("fields", [{"act": "drop"}, {"seen": "x"}, {"seen": "9" * 5000}])
def test_form_that_no_page_sends_is_refused(operator: Operator, fields: dict[str, str]) -> None:
    """Without a word about why."""
    operator.visitor.link()
    assert operator.act("sent_again", **fields).status_code == 400


def test_act_without_a_request_does_nothing(operator: Operator) -> None:
    """A number that was never given out."""
    operator.visitor.ask()
    form = operator.form("sent_again", operator.path())
    answer = operator.client.post("/ayuda/solicitud/4821-0937-5562", data=form)
    assert answer.status_code == 404
    assert [act.act for act in operator.acts()] == ["viewed"]
