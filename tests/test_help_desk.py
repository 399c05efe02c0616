"""The pages of the help desk: what is found, how it is told, and what to say to the caller."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from reset import audit
from reset.errors import MailDeferred, MailRefused
from reset.help_desk.answers import meaning, shown
from reset.help_desk.timeline import OBSTACLES, TITLES
from tests.conftest import ADDRESS, NEW_PASSWORD, START, Portal, Visitor, links_in
from tests.desk import Operator, heading, titles, to_say, words

ROOT = Path(__file__).parent.parent
UNKNOWN = "550 5.1.1 <ana@example.com>: user unknown"
MakeVisitor = Callable[[Flask], Visitor]


@pytest.fixture
def operator(visitor: Visitor, ana: int) -> Operator:
    return Operator(visitor)


def number_of(visitor: Visitor) -> str:
    return visitor.parts.flow.trace(ADDRESS)[0].number


# The search.


@pytest.mark.parametrize(
    "spelling",
    [
        "{0}-{1}-{2}",
        "{0} {1} {2}",
        " {0}.{1}.{2} ",
        "{0}{1}{2}",
    ],
)
def test_number_is_found_as_heard(operator: Operator, spelling: str) -> None:
    """With dashes, dots, blanks or nothing between; the page has only the number in its address."""
    operator.visitor.ask()
    number = number_of(operator.visitor)
    page = operator.search(spelling.format(number[:4], number[4:8], number[8:]))
    assert page.request.path == f"/ayuda/solicitud/{audit.spoken(number)}"
    assert ADDRESS in words(page.text)


def test_letter_o_is_heard_for_a_nought(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads a number out says "o" at times."""
    monkeypatch.setattr(audit, "new_number", lambda: "480009370502")
    operator.visitor.ask()
    assert "4800-0937-0502" in words(operator.search("48oo-o937-O502").text)


@pytest.mark.parametrize("typed", ["Ana@Example.com ", "ANA.perez"])
def test_address_or_login_lists_requests(operator: Operator, typed: str) -> None:
    """Newest first, each with how it stands; beside them the account, and what to say."""
    operator.visitor.ask()
    first = number_of(operator.visitor)
    operator.visitor.clock.advance(minutes=2)
    operator.visitor.ask()
    page = words(operator.search(typed).text)
    numbers = [audit.spoken(number_of(operator.visitor)), audit.spoken(first)]
    assert [page.index(number) for number in numbers] == sorted(map(page.index, numbers))
    assert "2 solicitudes encontradas" in page
    assert "ana.perez ana@example.com Puede restablecer su contraseña." in page
    assert "Su solicitud ya está en proceso" in page


def test_login_of_an_account_that_may_not(operator: Operator, portal: Portal) -> None:
    """Why, in words, before anybody asks."""
    portal.add("beto", "beto@example.com", activo=0)
    page = words(operator.search("beto").text)
    assert "beto beto@example.com La cuenta está inactiva." in page


@pytest.mark.parametrize(
    ("typed", "told", "say"),
    [
        ("4821-0937-5562", "No hay ninguna solicitud con ese número", "¿Me lo lee otra vez"),
        ("nadie@example.com", "Ninguna cuenta tiene ese correo", "léame el número"),
        ("nadie", "Un número de solicitud tiene 12 cifras", "el correo que escribió"),
        ("ana.perez", "Nadie ha hecho una solicitud", "léame el número"),
    ],
)
def test_nothing_found_says_what_to_say(
    operator: Operator, typed: str, told: str, say: str
) -> None:
    """What it means, and the sentence that helps the caller on."""
    page = operator.search(typed).text
    assert heading(page) == "Ninguna solicitud encontrada"
    assert told in words(page)
    assert say in to_say(page)


def test_number_that_is_gone_is_told_at_its_address(operator: Operator) -> None:
    """A bookmark of a request that was purged; and what is no number at all."""
    for number in ("4821-0937-5562", "x"):
        answer = operator.get(f"/ayuda/solicitud/{number}")
        assert answer.status_code == 404
        assert heading(answer.text) == "Ninguna solicitud encontrada"


@pytest.mark.parametrize(("typed", "listed"), [(ADDRESS, True), ("ana.perez", False)])
def test_accounts_that_are_down_do_not_stop_the_desk(
    operator: Operator, portal: Portal, typed: str, listed: bool
) -> None:
    """It says so, and shows what our own database knows."""
    operator.visitor.ask()
    with portal.down():
        page = operator.search(typed)
    assert page.status_code == 200
    assert "La base de usuarios de la plataforma no responde" in words(page.text)
    assert (audit.spoken(number_of(operator.visitor)) in page.text) is listed


@pytest.mark.parametrize("typed", ["", " \u200b ", "x" * 255])
def test_search_for_nothing_is_mended(operator: Operator, typed: str) -> None:
    """Nothing typed, or more than any of the three is long."""
    page = operator.search(typed).text
    assert "<title>Error: " in page
    assert "Falta corregir algo" in page


def test_looking_stands_in_the_trail(operator: Operator) -> None:
    """Each search, and each request that was seen, with who and when."""
    operator.visitor.ask()
    number = number_of(operator.visitor)
    for typed in ("NADIE@example.com", "ana.perez", number):
        operator.search(typed)
    operator.get("/ayuda/pendientes")
    seen = [(act.act, act.subject) for act in operator.acts()]
    assert seen == [
        ("searched", "nadie@example.com"),
        ("searched", "ana.perez"),
        ("searched", number),
        ("viewed", number),
        ("listed", "pendientes"),
    ]
    assert {act.at for act in operator.acts()} == {START}


def test_searches_are_limited(operator: Operator) -> None:
    """60 in ten minutes for each operator: enough for calls, not for a list of everybody."""
    for _ in range(59):
        operator.visitor.parts.limits.count_search(operator.name)
    assert operator.search("persona60").status_code == 200
    refused = operator.search("persona61")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "600")
    assert "Fueron demasiadas búsquedas seguidas. Espere 10 minutos." in words(refused.text)
    assert Operator(operator.visitor, "lucia").search("persona61").status_code == 200
    operator.visitor.clock.advance(minutes=10)
    assert operator.search("persona61").status_code == 200


def test_stranger_finds_nothing(visitor: Visitor, operator: Operator) -> None:
    """Without a session every page leads to the door."""
    visitor.ask()
    path = operator.path()
    for page in ("/ayuda/", path, "/ayuda/pendientes"):
        assert visitor.client.get(page).location == "/ayuda/entrar"
    for page in ("/ayuda/", path):
        assert visitor.client.post(page, data={"q": ADDRESS}).location == "/ayuda/entrar"


# The timeline.


def test_timeline_tells_a_whole_story(operator: Operator) -> None:
    """From asking to the confirmation, in order, each line in plain words."""
    visitor = operator.visitor
    visitor.sender.failures = [MailDeferred("451 4.7.1 Greylisted")]
    visitor.ask()
    visitor.run_worker()
    visitor.clock.advance(minutes=2)
    visitor.run_worker()
    link = links_in(visitor.mails()[-1])[0]
    visitor.client.get(link)
    visitor.set_password(link, "corta")
    visitor.set_password(link)
    visitor.run_worker()
    page = operator.open()
    assert titles(page) == [
        "Se pidió restablecer la contraseña",
        "Se encontró la cuenta",
        "El mensaje no salió todavía",
        "Salió el mensaje con el botón",
        "Se abrió el enlace del mensaje",
        "La contraseña nueva no se aceptó",
        "Se cambió la contraseña",
        "Salió la confirmación del cambio",
    ]
    assert "hoy a las 10:00\u00a0a.\u00a0m." in page
    assert "Desde: Navegador desconocido, red 127.0.x.x" in page
    assert "pide esperar un rato a quien le escribe por primera vez" in page
    assert "Intento número 2." in page
    assert "Debe tener al menos 8 caracteres." in page


def test_code_of_a_visit_is_told(operator: Operator, ana: int) -> None:
    """As much of it as error pages show, and as finds the visit in every log."""
    operator.visitor.ask()
    (event,) = operator.visitor.parts.flow.trace(ADDRESS)[0].events
    page = operator.open()
    assert f"<p>Código: {str(event.details['id'])[:8]}</p>" in page
    assert "id: " not in page


def test_no_secret_is_shown(operator: Operator, portal: Portal, ana: int) -> None:
    """No link, token, password or hash, whatever happened, and whatever a mail server quotes."""
    visitor = operator.visitor
    link = visitor.link()
    token = link.rpartition("/")[2]
    visitor.client.get(link)
    visitor.set_password(link, "Secreta-9", confirm="Secreta-9")
    before = portal.stored(ana)
    visitor.set_password(link)
    with visitor.parts.database.begin() as tx:
        quoted = f"554 5.7.1 spam: http://localhost:5000{link} {token} www.x.co/{token}"
        number = number_of(visitor)
        details = {"answer": quoted, "mail": "password_changed", "attempt": 1}
        audit.note(tx, number, "mail_refused", now=START, **details)  # type: ignore[arg-type]
    page = operator.open() + operator.search(ADDRESS).text
    secrets = [token, token[:32], NEW_PASSWORD, "Secreta-9", before, portal.stored(ana), "/nueva"]
    assert [secret for secret in secrets if secret in page] == []
    assert "554 5.7.1 spam: … … …" in page


def test_attempts_that_end_alike_are_one_line(operator: Operator) -> None:
    """An outage of hours does not bury the rest."""
    visitor = operator.visitor
    full, busy = MailDeferred("452 4.2.2 mailbox full"), MailDeferred("450 4.3.2 busy")
    visitor.sender.failures = [full, full, full, busy]
    visitor.ask()
    for _ in range(5):
        visitor.run_worker()
        visitor.clock.advance(minutes=30)
    page = operator.open()
    assert titles(page).count("El mensaje no salió todavía") == 2
    assert "Intentos 1 a 3." in page
    assert "Intento número 4." in page


def test_unknown_event_is_told_sensibly(operator: Operator) -> None:
    """One that a newer version wrote."""
    operator.visitor.ask()
    with operator.visitor.parts.database.begin() as tx:
        number = number_of(operator.visitor)
        audit.note(tx, number, "moon_phase", now=START, shape="<b>half</b> http://x.co/y")
    page = operator.open()
    assert heading(page) == "moon phase"
    assert "shape: &lt;b&gt;half&lt;/b&gt; …" in page


def noted() -> Iterator[str]:
    """Every name of an event that stands in the code."""
    for path in (ROOT / "reset").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            yield from _named(node)


def _named(node: ast.AST) -> Iterator[str]:
    """The names in a call that notes, in what decides which event it is, or in an obstacle."""
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        if called in ("audit.note", "self._note_failure", "_note"):
            position = 1 if called == "_note" else 2
            yield from _texts(node.args[position : position + 1])
        yield from _texts([k.value for k in node.keywords if k.arg == "obstacle"])
    if isinstance(node, ast.Assign):
        targets = {n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        if targets & {"event", "obstacle", "notes"}:
            yield from _texts([node.value])
    if isinstance(node, ast.FunctionDef) and node.name in ("_obstacle", "eligible"):
        returned = [n.value for n in ast.walk(node) if isinstance(n, ast.Return) and n.value]
        yield from _texts(returned)


def _texts(nodes: list[ast.expr]) -> Iterator[str]:
    for node in nodes:
        for one in ast.walk(node):
            if isinstance(one, ast.Constant) and isinstance(one.value, str) and "_" in one.value:
                yield one.value


def test_every_event_has_words() -> None:
    """One that is added to the code gets its line in Spanish, too."""
    names = set(noted()) | {"requested", "overdue", "denied", "superseded", "limited", "restored"}
    assert {"account_found", "no_account", "address_secondary", "mail_sent"} <= names
    assert names - {*TITLES, *OBSTACLES} == set()


# How a request stands, and the sentence to say.


def refused(visitor: Visitor, answer: str = UNKNOWN) -> None:
    visitor.sender.failures = [MailRefused(answer)]
    visitor.ask()
    visitor.run_worker()


def deferred(visitor: Visitor, answer: str = "452 4.2.2 full") -> None:
    visitor.sender.failures = [MailDeferred(answer)]
    visitor.ask()
    visitor.run_worker()


def stuck(visitor: Visitor) -> None:
    visitor.ask()
    visitor.clock.advance(minutes=5)


def sent(visitor: Visitor) -> None:
    visitor.ask()
    visitor.run_worker()
    visitor.clock.advance(hours=12)


def expired(visitor: Visitor) -> None:
    sent(visitor)
    visitor.clock.advance(seconds=1)


def opened(visitor: Visitor) -> None:
    visitor.client.get(visitor.link())


def weak(visitor: Visitor) -> None:
    visitor.set_password(visitor.link(), "corta")


def changed(visitor: Visitor) -> None:
    visitor.set_password(visitor.link())
    visitor.run_worker()


def denied(visitor: Visitor) -> None:
    visitor.link()
    token = links_in(visitor.mails()[-1], "no-fui-yo")[0].rpartition("/")[2]
    visitor.client.post("/no-fui-yo", data={"token": token})


def limited(visitor: Visitor) -> None:
    for _ in range(6):
        visitor.clock.advance(seconds=1)
        visitor.link()


def restored(visitor: Visitor) -> None:
    visitor.link()
    visitor.parts.flow.restored(now=visitor.clock())


@pytest.mark.parametrize(
    ("happens", "state", "say"),
    [
        (Visitor.ask, "el mensaje sale en unos segundos", "un par de minutos"),
        (stuck, "avise a la persona que administra el servicio", "no tiene que pedirlo otra vez"),
        (deferred, "Se intenta de nuevo hoy a las 10:0", "Su buzón parece estar lleno"),
        (refused, "lo rechazó: ese buzón no existe", "si cambió de correo"),
        (lambda v: refused(v, "554 5.7.1 spam"), "correo no deseado no lo dejan", "informarlo"),
        (sent, "todavía sirve hasta hoy a las 10:00 p. m.", "Le sirve hasta hoy a las 10:00 p. m."),
        (expired, "El enlace venció hoy a las 10:00 p. m.", "durante 12 horas y una sola vez"),
        (opened, "El enlace se abrió hoy a las 10:00 a. m.", "pulse «Actualizar Contraseña»"),
        (weak, "La última contraseña que se intentó no se aceptó", "al menos 8 caracteres"),
        (changed, "se cambió hoy a las 10:00 a. m. La confirmación salió", "Ingrese con la nueva"),
        (denied, "La persona la canceló desde el correo", "Su contraseña sigue igual"),
        (limited, "ya salieron varios", "el más reciente todavía sirve"),
        (restored, "al recuperar una copia de seguridad", "haga otra solicitud"),
    ],
)
def test_state_and_sentence(
    operator: Operator, happens: Callable[[Visitor], None], state: str, say: str
) -> None:
    """In one line how it stands, with local times, and the kind sentence for the caller."""
    happens(operator.visitor)
    page = operator.open().replace("\u00a0", " ")
    assert state in words(page)
    assert say in to_say(page)


@pytest.mark.parametrize(
    ("columns", "state", "say"),
    [
        ({"activo": 0}, "La cuenta está inactiva: no se envió nada", "necesita una revisión"),
        ({"clave": "x"}, "tiene un formato desconocido", "necesita una revisión"),
        ({"correo": "otra@example.com"}, "Ninguna cuenta tiene este correo", "con otro"),
    ],
)
def test_why_nothing_was_sent(
    operator: Operator, portal: Portal, ana: int, columns: dict[str, object], state: str, say: str
) -> None:
    """The help desk learns what the visitor never does."""
    portal.set(ana, **columns)
    operator.visitor.ask()
    operator.visitor.run_worker()
    page = operator.open()
    assert state in words(page)
    assert say in to_say(page)


def test_link_of_another_request_was_used(operator: Operator) -> None:
    """An older request tells that its link died with a newer one's use."""
    visitor = operator.visitor
    visitor.link()
    path = operator.path()
    visitor.clock.advance(minutes=1)
    changed(visitor)
    page = operator.get(path).text
    assert heading(page) == "El enlace ya no sirve: la contraseña se cambió con otro"
    assert audit.spoken(number_of(visitor)) in words(page)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        # Source: RFC 3463, 3.2 to 3.8; RFC 7505, 4.
        ("550 5.1.1 <a@x.co>: user unknown", "no_mailbox"),
        ("550 #5.1.1 bad destination", "no_mailbox"),
        ("556 5.1.10 null MX", "no_domain"),
        ("450 4.1.2 Domain not found", "no_domain"),
        ("550 5.2.1 disabled", "mailbox_disabled"),
        ("452 4.2.2 over quota", "mailbox_full"),
        ("552 5.3.4 too big", "too_large"),
        ("421 4.3.2 shutting down", "server_busy"),
        ("451 4.7.1 try later", "greylisted"),
        ("450 Greylisting in action", "greylisted"),
        ("550 5.7.26 unauthenticated", "policy"),
        ("535 5.7.8 authentication failed", "not_from_us"),
        ("553 5.1.8 sender rejected", "not_from_us"),
        # Source: RFC 5321, 4.2.3.
        ("552 exceeded", "mailbox_full"),
        ("550 no", "refused"),
        ("421 busy", "server_busy"),
        # No answer at all.
        ("ConnectionRefusedError", "unreachable"),
        ("SMTPServerDisconnected", "unreachable"),
        ("SSLCertVerificationError", "unreachable"),
        ("gaierror", "unreachable"),
        ("accounts unavailable", "accounts"),
        ("UnicodeEncodeError", "unwritable"),
        ("KeyError", "internal"),
        ("", "internal"),
    ],
)
def test_what_an_answer_means(answer: str, code: str) -> None:
    """By the enhanced code where there is one, else by the plain one."""
    assert meaning(answer) == code


def test_answer_is_cut_and_has_no_links() -> None:
    """Nor what might be a piece of one."""
    long = shown(
        "550 5.7.1 see HTTPS://x.co/a or www.x.co/b, " + "k" * 40 + "\x1b[2J " + "a " * 200
    )
    assert long.startswith("550 5.7.1 see … or … …")
    assert len(long) <= 161
    assert "\x1b" not in long


# The twelve hours.


def test_lists_of_the_twelve_hours(operator: Operator) -> None:
    """What was refused and what nobody used, each with the reason and the way to its page."""
    visitor = operator.visitor
    refused(visitor, "552 5.2.2 over quota")
    first = number_of(visitor)
    visitor.link()
    visitor.clock.advance(hours=13)
    page = operator.get("/ayuda/pendientes").text
    told = words(page)
    assert heading(page) == "Pendientes: 2"
    assert f"{audit.spoken(first)} hace 13 horas {ADDRESS} El servidor de correo lo" in told
    assert "rechazó: el buzón está lleno." in told
    assert f"{audit.spoken(number_of(visitor))} hace 13 horas" in told
    assert "El mensaje salió hoy a las 10:00" in told
    assert f'href="/ayuda/solicitud/{audit.spoken(first)}"' in page


def test_nothing_pending_is_told(operator: Operator) -> None:
    """An empty list could also be a broken one."""
    page = operator.get("/ayuda/pendientes").text
    assert heading(page) == "Nada pendiente"
    assert "Ninguna: todos los mensajes salieron." in words(page)


def test_long_lists_are_cut(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """And say so."""
    monkeypatch.setattr("reset.help_desk.desk.LISTED_AT_MOST", 2)
    for _ in range(3):
        operator.visitor.link()
    operator.visitor.clock.advance(hours=12, seconds=1)
    page = words(operator.get("/ayuda/pendientes").text)
    assert "Se muestran las 2 más recientes de 3." in page


def test_attended_leaves_the_list(operator: Operator) -> None:
    """Whoever was called is not called twice; a mail sent again comes back if it fails."""
    refused(operator.visitor)
    assert "Marcar como atendida" not in operator.open()
    operator.visitor.clock.advance(hours=13)
    page = operator.act("attended", why="2", detail="llamar mañana").text
    assert "Hecho: la solicitud ya no está entre los pendientes." in words(page)
    assert "Por: marta Motivo: Se le llamó, y no respondió: llamar mañana" in words(page)
    assert heading(operator.get("/ayuda/pendientes").text) == "Nada pendiente"
    operator.visitor.sender.failures = [MailRefused(UNKNOWN)]
    operator.visitor.clock.advance(seconds=1)
    operator.act("sent_again")
    operator.visitor.run_worker()
    operator.visitor.clock.advance(hours=12)
    assert heading(operator.get("/ayuda/pendientes").text) == "Pendientes: 1"


def test_event_of_a_crash_is_told(operator: Operator) -> None:
    """A link that was opened although the line that its mail left was lost."""
    operator.visitor.ask()
    with operator.visitor.parts.database.begin() as tx:
        at = START + timedelta(seconds=1)
        audit.note(tx, number_of(operator.visitor), "link_opened", now=at, login="ana.perez")
    assert "Sirve hasta hoy a las 10:00" in words(operator.open())
