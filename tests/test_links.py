"""The link and the new password: works once, anywhere, and dies when it should."""

from __future__ import annotations

import re
import string
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from flask import Flask

import config
from reset import links
from reset.accounts import Account, hashes
from reset.accounts.memory import MemoryAccounts
from reset.accounts.sql.backend import SqlAccounts
from reset.bearer import CLAIM
from reset.db import Transaction
from reset.errors import (
    AccountsUnavailable,
    BadToken,
    ChangeUncertain,
    ConfigurationError,
    StoreUnavailable,
)
from reset.tokens import Tokens, new_id
from tests.conftest import (
    ADDRESS,
    ENVIRON,
    KEY,
    NEW_PASSWORD,
    OLD_PASSWORD,
    START,
    Clock,
    Portal,
    Visitor,
    hash_bcrypt,
    links_in,
)

SECOND = "Silla-Roja-Nube-17"
URL_SAFE = string.ascii_letters + string.digits + "-_"


def test_new_password_lets_in_and_the_old_one_not(
    visitor: Visitor, portal: Portal, ana: int
) -> None:
    """The portal's own log-in accepts exactly what was typed."""
    response = visitor.set_password(visitor.link())
    assert (response.status_code, response.location) == (303, "/lista")
    assert portal.lets_in(ana, NEW_PASSWORD)
    assert not portal.lets_in(ana, OLD_PASSWORD)


def test_nothing_but_the_password_changes(visitor: Visitor, portal: Portal, ana: int) -> None:
    """Of the portal's row only the hash is written."""
    before = portal.rows()[0]
    visitor.set_password(visitor.link())
    after = portal.rows()[0]
    assert [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == [3]


@pytest.mark.parametrize(
    "password",
    [
        "  Mesa verde 42  ",
        "Ñandú-Áéíóú-42",
        "Café☕️-y-Pan-42",
        "<script>Mesa42</script>",
        "Mesa'\";--\\Verde42",
        "Aa1" + "mesa-verde-" * 6,
    ],
)
def test_password_lands_as_typed(visitor: Visitor, portal: Portal, ana: int, password: str) -> None:
    """Spaces, accents, signs and emoji are kept; nothing is trimmed or cut."""
    assert visitor.set_password(visitor.link(), password).status_code == 303
    assert portal.lets_in(ana, password)
    assert not portal.lets_in(ana, password.strip()) or password == password.strip()


def test_link_works_once(visitor: Visitor, portal: Portal, ana: int) -> None:
    """A second password with the same link is refused, and the page says that it was used."""
    link = visitor.link()
    visitor.set_password(link)
    again = visitor.set_password(link, "Otra-Mesa-Azul-77")
    assert again.status_code == 410
    assert "ya se usó" in again.text
    assert portal.lets_in(ana, NEW_PASSWORD)


@pytest.mark.parametrize("tail", ["=", "==", "~~~", "%0D%0A", "=%0D%0A"])
def test_spellings_of_a_used_link_are_used(visitor: Visitor, ana: int, tail: str) -> None:
    """Single use is keyed on what the token decodes to, never on its text."""
    link = visitor.link()
    visitor.set_password(link)
    assert visitor.client.get(link + tail).status_code == 410


def test_last_letter_of_a_link_has_several_spellings(visitor: Visitor, ana: int) -> None:
    """A token ends in spare bits; whichever spelling is used, it was the one use of all."""
    link = visitor.link()
    spellings = [link[:-1] + letter for letter in URL_SAFE if reads(link[7:-1] + letter)]
    assert len(spellings) == 4
    assert visitor.set_password(spellings[spellings.index(link) - 1]).status_code == 303
    again = {visitor.set_password(one, "Otra-Mesa-Azul-77").status_code for one in spellings}
    assert again == {410}


def reads(token: str) -> bool:
    try:
        return bool(Tokens([KEY], "link", "http://localhost:5000").read(token))
    except BadToken:
        return False


def test_links_have_nothing_in_common() -> None:
    """Of 2000 tokens of one second, no two share nine characters but those of the second."""
    signer, pieces = Tokens([KEY], "link", "x"), []
    for _ in range(2000):
        payload, _, signature = signer.make(new_id(), now=START).split(".")
        pieces += [part[i : i + 9] for part in (payload, signature) for i in range(len(part) - 8)]
    assert len(set(pieces)) == len(pieces)


def test_reading_uses_nothing_up(visitor: Visitor, portal: Portal, ana: int) -> None:
    """Scanners may open, prefetch and even send the empty form; the link stays good."""
    link = visitor.link()
    for _ in range(5):
        visitor.client.get(link)
        visitor.client.head(link, headers={"Sec-Purpose": "prefetch;prerender"})
    visitor.set_password(link, "")
    assert visitor.set_password(link).status_code == 303


def test_password_page_names_the_account(visitor: Visitor, ana: int) -> None:
    """The page shows the login, for the person and for the password manager."""
    page = visitor.client.get(visitor.link()).text
    assert re.search(r'value="ana.perez" autocomplete="username"', page)
    assert page.count('autocomplete="new-password"') == 2
    assert "maxlength" not in page


@pytest.mark.parametrize(
    ("password", "reasons"),
    [
        ("corta", ["8 caracteres", "mayúscula", "número"]),
        ("SOLOGRITOS", ["minúscula", "número"]),
        ("Contraseña1", ["común"]),
        ("Colombia2026", ["común"]),
        ("Hanna2026", ["común"]),
        ("Password1", ["común"]),
        ("AnaMaria-42x", ["dato suyo"]),
        ("P3r3z-Verde-42", ["dato suyo"]),
        ("Mesa-3005550142", ["dato suyo"]),
        ("Mesa-52418637", ["dato suyo"]),
        ("Mesa-Verde-1957", ["dato suyo"]),
        ("Mesa-Verde-21081957", ["dato suyo"]),
        ("Mesa-Verde\t42", ["signo que la plataforma no puede guardar"]),
        ("Mesa-Verde-42\x00", ["signo que la plataforma no puede guardar"]),
        ("Aa1" + "x-y" * 60, ["demasiado larga"]),
        ("Aa1-" + "ñandú-" * 14, ["demasiado larga"]),
    ],
)
def test_weak_password_is_refused_with_every_reason(
    visitor: Visitor, portal: Portal, ana: int, password: str, reasons: list[str]
) -> None:
    """All rules that are not kept are named at once, and the link survives."""
    link = visitor.link()
    response = visitor.set_password(link, password)
    told = re.findall(r'<div class="errors" id="password-errors">(.*?)</div>', response.text, re.S)
    assert response.status_code == 200
    assert all(reason in told[0] for reason in reasons)
    assert visitor.set_password(link).status_code == 303


@pytest.mark.parametrize("scheme", ["bcrypt", "hex_md5"])
def test_password_that_is_the_present_one_is_set(
    visitor: Visitor, portal: Portal, ana: int, scheme: str
) -> None:
    """Who remembers the old one may keep it, also where its hash stays the very same."""
    portal.set(ana, clave=hashes.renew(NEW_PASSWORD, "", scheme))
    link = visitor.link()
    assert visitor.set_password(link).location == "/lista"
    visitor.run_worker()
    assert visitor.mails()[-1].subject == "Su contraseña fue actualizada"
    assert hashes.verify(NEW_PASSWORD, portal.stored(ana))
    assert visitor.client.get(link).status_code == 410


def test_unequal_passwords_are_told(visitor: Visitor, ana: int) -> None:
    """The message stands beside the second field; rules are judged all the same."""
    link = visitor.link()
    response = visitor.set_password(link, "corta", "otra")
    assert "no son iguales" in response.text
    assert "mayúscula" in response.text
    assert visitor.set_password(link).status_code == 303


def test_typed_passwords_are_not_sent_back(visitor: Visitor, ana: int) -> None:
    """A refused password does not stand in the page."""
    response = visitor.set_password(visitor.link(), "Colombia2026")
    assert "Colombia2026" not in response.text


def test_last_good_second_of_a_link(visitor: Visitor, clock: Clock, ana: int) -> None:
    """A link lives for its lifetime, counted from the hand-over of the mail."""
    link = visitor.link()
    clock.advance(hours=12)
    assert visitor.client.get(link).status_code == 200
    clock.advance(seconds=1)
    response = visitor.client.get(link)
    assert response.status_code == 410
    assert "venció" in response.text
    assert visitor.set_password(link).status_code == 410


def test_life_counts_from_the_hand_over(visitor: Visitor, clock: Clock, ana: int) -> None:
    """A mail that waited in the queue brings a fresh link."""
    visitor.ask()
    clock.advance(hours=20)
    visitor.run_worker()
    clock.advance(hours=11)
    assert visitor.client.get(links_in(visitor.mails()[0])[0]).status_code == 200


@pytest.mark.parametrize("skew", [-120, 120])
def test_clocks_two_minutes_apart_refuse_nothing(
    visitor: Visitor, clock: Clock, ana: int, skew: int
) -> None:
    """A link of a host whose clock runs ahead is no expired one."""
    link = visitor.link()
    clock.advance(seconds=skew)
    assert visitor.set_password(link).status_code == 303


@pytest.mark.parametrize(
    "change",
    [
        {"clave": hash_bcrypt("Portal-Hizo-Esta-9")},
        {"correo": "otra@example.com"},
        {"activo": 0},
        {"clave": ""},
    ],
    ids=["password", "address", "disabled", "no hash"],
)
def test_link_dies_with_what_it_was_made_for(
    visitor: Visitor, portal: Portal, ana: int, change: dict[str, object]
) -> None:
    """A change of password, address or account by any route ends the link, at GET and at POST."""
    link = visitor.link()
    portal.set(ana, **change)
    before = portal.rows()
    assert visitor.client.get(link).status_code == 410
    assert visitor.set_password(link).status_code == 410
    assert portal.rows() == before


@pytest.mark.parametrize("again", [False, True], ids=["deleted", "made again"])
def test_link_dies_with_its_account(
    visitor: Visitor, portal: Portal, ana: int, again: bool
) -> None:
    """An account of the same name, address and even row is another one."""
    link = visitor.link()
    portal.execute("DELETE FROM usuarios")
    if again:
        portal.add(id=ana)
    before = portal.rows()
    assert visitor.client.get(link).status_code == 410
    assert visitor.set_password(link).status_code == 410
    assert portal.rows() == before


def test_using_one_link_ends_the_others(visitor: Visitor, ana: int) -> None:
    """Every mailed link works until one of the account is used."""
    mailed = []
    for _ in range(3):
        visitor.clock.advance(seconds=1)
        mailed.append(visitor.link())
    visitor.set_password(mailed[0])
    answers = [visitor.client.get(link) for link in mailed]
    assert visitor.trace()[-1] == "superseded"
    assert [answer.status_code for answer in answers] == [410, 410, 410]
    assert "ya no sirve" in answers[2].text


def test_links_of_two_accounts_are_apart(visitor: Visitor, portal: Portal) -> None:
    """On a shared mailbox, each link sets the password of its own account only."""
    ids = [portal.add("ana.perez"), portal.add("beto.perez", nombre="Beto")]
    visitor.ask()
    visitor.run_worker()
    first, second = links_in(visitor.mails()[0])
    visitor.set_password(first, "Mesa-Verde-Lluvia-42")
    visitor.set_password(second, "Silla-Roja-Nube-17")
    assert portal.lets_in(ids[0], "Mesa-Verde-Lluvia-42")
    assert portal.lets_in(ids[1], "Silla-Roja-Nube-17")


def test_request_that_waits_dies_with_a_change(visitor: Visitor, ana: int) -> None:
    """What was asked for before a change, and not mailed yet, is not mailed after it."""
    link = visitor.link()
    visitor.ask()
    visitor.clock.advance(seconds=1)
    visitor.set_password(link)
    visitor.run_worker()
    assert [mail.subject for mail in visitor.mails()] == [
        "Restablecimiento de contraseña",
        "Su contraseña fue actualizada",
    ]


@pytest.mark.parametrize(
    "token", ["x", ".", "..", "%00", "ñ", "a" * 10_000, "a.b.c", "%ff%fe", "-" * 57]
)
def test_damaged_token_is_unknown(visitor: Visitor, token: str) -> None:
    """Whatever is no link of ours gets one page that says so and helps on."""
    response = visitor.client.get(f"/nueva/{token}")
    assert response.status_code in (404, 410)
    assert "No reconocemos" in response.text or token in (".", "..")


def test_no_byte_of_a_token_can_be_changed(visitor: Visitor, ana: int) -> None:
    """A token with one other character, in payload, time or signature, is unknown."""
    link = visitor.link()
    head, _, token = link.rpartition("/")
    for place in range(len(token) - 1):  # The last one has spare bits.
        other = "A" if token[place] != "A" else "B"
        forged = f"{head}/{token[:place]}{other}{token[place + 1 :]}"
        assert "No reconocemos" in visitor.client.get(forged).text
        visitor.clock.advance(seconds=3)


def test_link_of_another_deployment_is_unknown(visitor: Visitor, ana: int) -> None:
    """The same key under another public address makes no link for this one."""
    payload, _ = Tokens([KEY], "link", "http://localhost:5000").read(visitor.link()[7:])
    token = Tokens([KEY], "link", "https://otra.example").make(payload, now=visitor.clock())
    assert "No reconocemos" in visitor.client.get(f"/nueva/{token}").text


def test_token_of_another_purpose_sets_no_password(
    visitor: Visitor, portal: Portal, ana: int
) -> None:
    """Neither the "no fui yo" of the same mail nor a captcha's challenge is a link."""
    visitor.link()
    deny = links_in(visitor.mails()[0], "no-fui-yo")[0].rpartition("/")[2]
    for token in (deny, visitor.challenge()):
        assert visitor.client.get(f"/nueva/{token}").status_code == 410
        assert visitor.set_password(f"/nueva/{token}").status_code == 410
    assert portal.lets_in(ana, OLD_PASSWORD)


def test_reload_of_the_clean_address_explains(visitor: Visitor) -> None:
    """Without its token the address is a dead end with a way out."""
    response = visitor.client.get("/nueva")
    assert response.status_code == 410
    assert 'href="/"' in response.text


def test_token_alone_decides_the_account(visitor: Visitor, portal: Portal, ana: int) -> None:
    """Two tokens are malformed; other fields, and what stands in the address, are not read."""
    beto = portal.add("beto", "beto@example.com")
    link, other = visitor.link(), visitor.link("beto@example.com").rpartition("/")[2]
    token = link.rpartition("/")[2]
    data = {"token": [token, other], "password": NEW_PASSWORD, "confirm": NEW_PASSWORD}
    assert visitor.client.post("/nueva", data=data).status_code == 400
    data |= {"token": token, "email": "beto@example.com", "id": str(beto), "login": "beto"}
    url = f"/nueva?token={other}&email=beto@example.com&id={beto}&login=beto"
    assert visitor.client.post(url, data=data).status_code == 303
    assert portal.lets_in(ana, NEW_PASSWORD)
    assert portal.lets_in(beto, OLD_PASSWORD)


def test_key_rotation_keeps_links_alive(
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    portal: Portal,
    ana: int,
) -> None:
    """With the old key still listed, a link of before works after."""
    link = make_visitor(make_app()).link()
    after = make_visitor(make_app(secret_keys=(KEY, KEY[::-1])))
    assert after.set_password(link).status_code == 303


def test_one_of_many_simultaneous_uses_wins(
    app: Flask, make_visitor: Callable[[Flask], Visitor], portal: Portal, ana: int
) -> None:
    """Twelve people use one link at once: one success, one password, one confirmation."""
    visitor = make_visitor(app)
    link = visitor.link()
    passwords = [f"Mesa-Verde-Lluvia-{i}" for i in range(12)]
    answers: dict[str, int] = {}

    def use(password: str) -> None:
        data = {"token": link.rpartition("/")[2], "password": password, "confirm": password}
        answers[password] = app.test_client().post("/nueva", data=data).status_code

    threads = [threading.Thread(target=use, args=[password]) for password in passwords]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [password for password, status in answers.items() if status == 303]
    visitor.run_worker()
    assert len(winners) == 1
    assert set(answers.values()) <= {303, 410, 503}
    assert portal.lets_in(ana, winners[0])
    assert len(visitor.mails()) == 2


def test_link_is_claimed_by_one(visitor: Visitor, clock: Clock, ana: int) -> None:
    """While somebody sets a password, nobody else can start to."""
    visitor.link()
    with visitor.parts.database.begin() as tx:
        (link,) = links.of_request(tx, visitor.parts.flow.trace(ADDRESS)[0].number)
        claims = [links.claim(tx, link, until=clock() + CLAIM, origin="") for _ in range(2)]
    assert claims == [True, False]


def test_one_attempt_at_a_time_for_an_account(visitor: Visitor, clock: Clock, ana: int) -> None:
    """Two links of one account, used at once: a directory could not tell which came first."""
    for _ in range(2):
        clock.advance(seconds=1)
        visitor.link()
    with visitor.parts.database.begin() as tx:
        found = links.open_since(tx, str(ana), since=START)
        claims = [links.claim(tx, link, until=clock() + CLAIM, origin="") for link in found]
    assert claims == [True, False]


def test_store_that_is_down_keeps_the_link(visitor: Visitor, portal: Portal, ana: int) -> None:
    """The page says that it could not be done now; later the same link works."""
    link = visitor.link()
    with portal.down():
        assert visitor.set_password(link).status_code == 503
    assert visitor.set_password(link).status_code == 303


class Unreliable(SqlAccounts):
    """The portal's table behind a line that breaks: ``before`` or ``after`` the change."""

    def __init__(self, portal: Portal, failure: BaseException) -> None:
        super().__init__(portal.table)
        self.before: list[Callable[[], object]] = []
        self.failure: BaseException | None = failure
        self.changes = True
        self.gone = False  # Set by a test, or by the failure where ``goes`` says so.
        self.goes = False
        self.can_tell = True

    def get(self, account_id: str) -> Account | None:
        if self.gone:
            raise AccountsUnavailable
        return super().get(account_id)

    def has_password(self, account: Account, password: str) -> bool | None:
        return super().has_password(account, password) if self.can_tell else None

    def set_password(self, account: Account, new_password: str) -> None:
        for act in self.before:
            act()
        if self.changes:
            super().set_password(account, new_password)
        if self.failure is not None:
            self.gone = self.goes
            raise self.failure


MakeUnreliable = Callable[[BaseException], tuple[Visitor, Unreliable]]


@pytest.fixture
def unreliable(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor], portal: Portal
) -> MakeUnreliable:
    """A visitor of a service whose account store fails after each change, and that store."""

    def make(failure: BaseException) -> tuple[Visitor, Unreliable]:
        accounts = Unreliable(portal, failure)
        return make_visitor(make_app(accounts=accounts)), accounts

    return make


def test_lost_answer_of_the_store_is_settled_by_looking(
    unreliable: MakeUnreliable,
    portal: Portal,
    ana: int,
) -> None:
    """If the store changed the password but its answer was lost, the person hears the truth."""
    visitor, _ = unreliable(ChangeUncertain())
    assert visitor.set_password(visitor.link()).status_code == 303
    visitor.run_worker()
    assert len(visitor.mails()) == 2
    assert portal.lets_in(ana, NEW_PASSWORD)


def test_change_of_somebody_elses_is_no_success(
    unreliable: MakeUnreliable,
    portal: Portal,
    ana: int,
) -> None:
    """The store failed while the portal itself changed the password: ours is not "actualizada"."""
    visitor, accounts = unreliable(ChangeUncertain())
    accounts.changes = False
    accounts.before = [lambda: portal.set(ana, clave=hash_bcrypt("Portal-Hizo-Esta-9"))]
    assert visitor.set_password(visitor.link()).status_code == 410
    visitor.clock.advance(minutes=3)
    visitor.run_worker()
    assert len(visitor.mails()) == 1


def test_change_that_may_still_come_true_keeps_the_link_waiting(
    unreliable: MakeUnreliable, clock: Clock, ana: int
) -> None:
    """Nothing is seen of a change whose answer was lost: not now, but after a while, once more."""
    visitor, accounts = unreliable(ChangeUncertain())
    accounts.changes = False
    link = visitor.link()
    assert visitor.set_password(link).status_code == 503
    assert visitor.client.get(link).status_code == 503
    clock.advance(seconds=CLAIM.total_seconds() + 1)
    visitor.run_worker()
    assert visitor.client.get(link).status_code == 200


def test_change_is_confirmed_although_the_store_was_gone(
    unreliable: MakeUnreliable, portal: Portal, clock: Clock, ana: int
) -> None:
    """Changed, answer lost, and nobody to ask: the link waits, and the worker finds out."""
    visitor, accounts = unreliable(ChangeUncertain())
    accounts.goes = True
    link = visitor.link()
    assert visitor.set_password(link).status_code == 503
    accounts.gone = False
    clock.advance(seconds=CLAIM.total_seconds() + 1)
    visitor.run_worker()
    visitor.run_worker()
    assert portal.lets_in(ana, NEW_PASSWORD)
    assert [mail.subject for mail in visitor.mails()][1:] == ["Su contraseña fue actualizada"]
    assert visitor.client.get(link).status_code == 410


def test_store_that_cannot_tell_confirms_later(
    unreliable: MakeUnreliable, clock: Clock, ana: int
) -> None:
    """Where only a sign-in would tell whose password it is, no page says "actualizada"."""
    visitor, accounts = unreliable(ChangeUncertain())
    accounts.can_tell = False
    assert visitor.set_password(visitor.link()).status_code == 503
    clock.advance(seconds=CLAIM.total_seconds() + 1)
    visitor.run_worker()
    visitor.run_worker()
    assert len(visitor.mails()) == 2


def test_one_claim_that_cannot_be_settled_holds_nobody_up(
    unreliable: MakeUnreliable,
    portal: Portal,
    clock: Clock,
    ana: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The store does not answer about Ana; Beto gets his link back."""
    portal.add("beto", "beto@example.com")
    visitor, accounts = unreliable(KeyboardInterrupt())
    accounts.changes = False
    links_of_both = [visitor.link(), visitor.link("beto@example.com")]
    for link in links_of_both:
        with pytest.raises(KeyboardInterrupt):
            visitor.set_password(link)
    clock.advance(seconds=CLAIM.total_seconds() + 1)

    def get(account_id: str) -> Account | None:
        if account_id == str(ana):
            raise AccountsUnavailable
        return SqlAccounts.get(accounts, account_id)

    with monkeypatch.context() as patched:
        patched.setattr(accounts, "get", get)
        visitor.run_worker()
    assert [visitor.client.get(link).status_code for link in links_of_both] == [503, 200]


def test_change_that_comes_late_is_confirmed_all_the_same(
    unreliable: MakeUnreliable, portal: Portal, clock: Clock, ana: int
) -> None:
    """The process stood still, the link was given back and denied, and then it wrote."""
    visitor, accounts = unreliable(KeyboardInterrupt())
    accounts.failure = None
    link = visitor.link()
    deny = links_in(visitor.mails()[0], "no-fui-yo")[0].rpartition("/")[2]
    other = visitor.app.test_client()
    accounts.before = [
        lambda: clock.advance(seconds=CLAIM.total_seconds() + 1),
        visitor.run_worker,
        lambda: other.post("/no-fui-yo", data={"token": deny}),
    ]
    assert visitor.set_password(link).status_code == 303
    visitor.run_worker()
    assert portal.lets_in(ana, NEW_PASSWORD)
    assert [mail.subject for mail in visitor.mails()][1:] == ["Su contraseña fue actualizada"]


def test_claim_that_ran_out_writes_nothing(
    visitor: Visitor, portal: Portal, clock: Clock, ana: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that stood still looks once more whether the link is still its own."""
    link = visitor.link()
    look, looks = visitor.parts.database.read, []

    def slow() -> AbstractContextManager[Transaction]:
        looks.append(link)
        if len(looks) == 2:
            clock.advance(seconds=CLAIM.total_seconds() + 1)
            visitor.run_worker()
        return look()

    monkeypatch.setattr(visitor.parts.database, "read", slow)
    assert visitor.set_password(link).status_code == 503
    assert portal.lets_in(ana, OLD_PASSWORD)


def test_denial_between_reading_and_claiming_wins(
    unreliable: MakeUnreliable, portal: Portal, ana: int
) -> None:
    """A link that is closed while the rules are judged sets no password any more."""
    visitor, accounts = unreliable(KeyboardInterrupt())
    accounts.failure = None
    link = visitor.link()
    deny = links_in(visitor.mails()[0], "no-fui-yo")[0].rpartition("/")[2]
    other = visitor.app.test_client()

    def get(account_id: str) -> Account | None:
        accounts.get = real  # type: ignore[method-assign]
        assert other.post("/no-fui-yo", data={"token": deny}).status_code == 200
        return real(account_id)

    real, accounts.get = accounts.get, get  # type: ignore[method-assign]
    assert visitor.set_password(link).status_code == 503
    assert visitor.set_password(link).status_code == 410
    assert portal.lets_in(ana, OLD_PASSWORD)


def test_second_use_that_was_judged_already_waits(
    unreliable: MakeUnreliable, portal: Portal, ana: int
) -> None:
    """Two uses of one link pass the rules; while the first writes, the second does not begin."""
    visitor, accounts = unreliable(KeyboardInterrupt())
    accounts.failure = None
    link, statuses = visitor.link(), []
    judged, writing, refused = (threading.Event() for _ in range(3))

    def get(account_id: str) -> Account | None:
        account = SqlAccounts.get(accounts, account_id)
        if threading.current_thread() is second:
            judged.set()
            writing.wait(30)
        return account

    def use_second() -> None:
        data = {"token": link.rpartition("/")[2], "password": SECOND, "confirm": SECOND}
        statuses.append(visitor.app.test_client().post("/nueva", data=data).status_code)
        refused.set()

    accounts.get = get  # type: ignore[method-assign]
    accounts.before = [writing.set, lambda: refused.wait(30)]
    second = threading.Thread(target=use_second)
    second.start()
    judged.wait(30)
    assert visitor.set_password(link).status_code == 303
    second.join()
    assert statuses == [503]
    assert portal.lets_in(ana, NEW_PASSWORD)


def test_store_that_is_down_leaves_the_link_as_it_was(unreliable: MakeUnreliable, ana: int) -> None:
    """Nothing was written: the same link works as soon as the store is back."""
    visitor, accounts = unreliable(AccountsUnavailable())
    accounts.changes = False
    link = visitor.link()
    assert visitor.set_password(link).status_code == 503
    assert visitor.client.get(link).status_code == 200


@pytest.mark.parametrize(
    ("changed", "meanwhile", "mails", "status"),
    [
        (True, "", 2, 410),
        (False, "", 1, 200),
        (False, "address", 1, 410),
    ],
)
def test_crash_in_the_middle_is_settled_by_the_worker(
    unreliable: MakeUnreliable,
    portal: Portal,
    clock: Clock,
    ana: int,
    changed: bool,
    meanwhile: str,
    mails: int,
    status: int,
) -> None:
    """Changed means one confirmation; unchanged means that the link works, if nobody ended it."""
    visitor, accounts = unreliable(KeyboardInterrupt())
    accounts.changes = changed
    link = visitor.link()
    with pytest.raises(KeyboardInterrupt):
        visitor.set_password(link)
    accounts.failure = None
    assert visitor.client.get(link).status_code == 503
    if meanwhile == "address":
        portal.set(ana, correo="otra@example.com")
    clock.advance(seconds=CLAIM.total_seconds() + 1)
    visitor.run_worker()
    visitor.run_worker()
    assert len(visitor.sender.sent) == mails
    assert visitor.client.get(link).status_code == status


@pytest.mark.parametrize("changed", [True, False])
def test_claim_of_a_key_that_was_taken_out_ends(
    unreliable: MakeUnreliable,
    make_app: Callable[..., Flask],
    make_visitor: Callable[[Flask], Visitor],
    clock: Clock,
    ana: int,
    changed: bool,
) -> None:
    """Whether the password is a new one cannot be seen any more: nobody is told that it is."""
    visitor, accounts = unreliable(KeyboardInterrupt())
    accounts.changes = changed
    link = visitor.link()
    with pytest.raises(KeyboardInterrupt):
        visitor.set_password(link)
    after = make_visitor(make_app(secret_keys=(KEY[::-1],)))
    clock.advance(seconds=CLAIM.total_seconds() + 1)
    after.run_worker()
    assert after.sender.sent == []
    assert after.trace() == ["requested", "account_found", "mail_sent"]


def test_portal_that_is_down_holds_up_no_housekeeping(
    unreliable: MakeUnreliable,
    portal: Portal,
    clock: Clock,
    ana: int,
) -> None:
    """A claim that cannot be settled yet does not keep old requests from being purged."""
    visitor, _ = unreliable(KeyboardInterrupt())
    link = visitor.link()
    with pytest.raises(KeyboardInterrupt):
        visitor.set_password(link)
    clock.advance(days=91)
    portal.path.unlink()
    visitor.run_worker()
    assert visitor.parts.flow.trace(ADDRESS) == []


def test_other_data_may_change_meanwhile(visitor: Visitor, portal: Portal, ana: int) -> None:
    """A new telephone number does not end a link."""
    link = visitor.link()
    portal.set(ana, telefono="3009999999", nombre="Ana M. Pérez")
    assert visitor.set_password(link).status_code == 303


def test_any_backend_serves(
    make_app: Callable[..., Flask], make_visitor: Callable[[Flask], Visitor]
) -> None:
    """The whole job over another source of accounts."""
    ana = Account(id="1", login="ana", address=ADDRESS, credential=OLD_PASSWORD)
    accounts = MemoryAccounts([ana])
    visitor = make_visitor(make_app(accounts=accounts))
    assert visitor.set_password(visitor.link()).status_code == 303
    assert accounts.accounts["1"].credential == NEW_PASSWORD


def test_change_that_cannot_be_noted_is_a_success(
    visitor: Visitor, portal: Portal, clock: Clock, ana: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store confirmed, so the page says so; the confirmation follows when we can write."""
    link = visitor.link()

    def fail(*_: object, **__: object) -> bool:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr("reset.links.use", fail)
        assert visitor.set_password(link).status_code == 303
    assert portal.lets_in(ana, NEW_PASSWORD)
    clock.advance(seconds=CLAIM.total_seconds() + 1)
    visitor.run_worker()
    visitor.run_worker()
    assert len(visitor.mails()) == 2


def test_change_by_the_portal_meanwhile_wins(
    visitor: Visitor, portal: Portal, ana: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our reading and our writing the portal changed the hash: ours is not written."""
    link = visitor.link()
    portals = hash_bcrypt("Portal-Hizo-Esta-9")

    def meanwhile(*_: object, **__: object) -> str:
        portal.set(ana, clave=portals)
        return hash_bcrypt(NEW_PASSWORD)

    monkeypatch.setattr("reset.accounts.hashes.renew", meanwhile)
    assert visitor.set_password(link).status_code == 410
    assert portal.stored(ana) == portals


def test_denial_asks_first_and_then_closes(visitor: Visitor, portal: Portal, ana: int) -> None:
    """Opening "no fui yo" changes nothing; the button closes the links and leaves the password."""
    link = visitor.link()
    deny = links_in(visitor.mails()[0], "no-fui-yo")[0]
    assert visitor.client.get(deny).status_code == 200
    assert visitor.client.get(link).status_code == 200
    answer = visitor.client.post("/no-fui-yo", data={"token": deny.rpartition("/")[2]})
    assert answer.status_code == 200
    assert visitor.client.get(link).status_code == 410
    assert portal.lets_in(ana, OLD_PASSWORD)


def test_denial_stops_mails_that_wait(visitor: Visitor, ana: int) -> None:
    """After "no fui yo", what was asked for before is not mailed any more."""
    visitor.link()
    visitor.ask()
    token = links_in(visitor.mails()[0], "no-fui-yo")[0].rpartition("/")[2]
    visitor.client.post("/no-fui-yo", data={"token": token})
    visitor.run_worker()
    assert len(visitor.mails()) == 1


def test_denial_comes_too_late_for_a_used_link(visitor: Visitor, ana: int) -> None:
    """Nobody is told that the password is unchanged when it was changed."""
    link = visitor.link()
    deny = links_in(visitor.mails()[0], "no-fui-yo")[0]
    visitor.set_password(link)
    for answer in (
        visitor.client.get(deny),
        visitor.client.post("/no-fui-yo", data={"token": deny.rpartition("/")[2]}),
    ):
        assert answer.status_code == 410
        assert "ya se usó" in answer.text


def test_denial_closes_what_is_open_on_a_shared_mailbox(visitor: Visitor, portal: Portal) -> None:
    """One account's link was used: the other's is closed, and nobody says that nothing happened."""
    portal.add("ana.perez")
    portal.add("beto.perez", nombre="Beto")
    visitor.ask()
    visitor.run_worker()
    first, second = links_in(visitor.mails()[0])
    token = links_in(visitor.mails()[0], "no-fui-yo")[0].rpartition("/")[2]
    visitor.set_password(first)
    assert visitor.client.get(f"/no-fui-yo/{token}").status_code == 200
    answer = visitor.client.post("/no-fui-yo", data={"token": token})
    assert "ya se usó" in answer.text
    assert visitor.client.get(second).status_code == 410


def test_denial_comes_too_late_for_another_link(visitor: Visitor, ana: int) -> None:
    """A password set with another mail's link is not denied with this one's."""
    first = visitor.link()
    visitor.clock.advance(seconds=1)
    visitor.link()
    visitor.clock.advance(seconds=1)
    deny = links_in(visitor.mails()[1], "no-fui-yo")[0]
    visitor.set_password(first)
    assert "ya se usó" in visitor.client.get(deny).text


def test_denial_waits_for_a_change_under_way(visitor: Visitor, clock: Clock, ana: int) -> None:
    """While a password is being set, nobody is told that it was prevented."""
    visitor.link()
    deny = links_in(visitor.mails()[0], "no-fui-yo")[0]
    with visitor.parts.database.begin() as tx:
        (link,) = links.of_request(tx, visitor.parts.flow.trace(ADDRESS)[0].number)
        links.claim(tx, link, until=clock() + CLAIM, origin="")
    assert visitor.client.get(deny).status_code == 503


def test_denial_ends_with_the_life_of_its_mail(visitor: Visitor, clock: Clock, ana: int) -> None:
    """An old mail in the wrong hands closes nothing."""
    visitor.link()
    deny = links_in(visitor.mails()[0], "no-fui-yo")[0]
    clock.advance(hours=12, seconds=1)
    fresh = visitor.link()
    token = deny.rpartition("/")[2]
    assert visitor.client.post("/no-fui-yo", data={"token": token}).status_code == 410
    assert visitor.client.get(fresh).status_code == 200


def test_crashed_link_and_used_link_confirm_once(
    unreliable: MakeUnreliable,
    portal: Portal,
    clock: Clock,
    ana: int,
) -> None:
    """One change is confirmed once, although another link was left claimed by a crash."""
    visitor, accounts = unreliable(KeyboardInterrupt())
    accounts.changes = False
    crashed, used = visitor.link(), visitor.link()
    with pytest.raises(KeyboardInterrupt):
        visitor.set_password(crashed)
    accounts.failure, accounts.changes = None, True
    assert visitor.set_password(used).status_code == 503
    clock.advance(seconds=CLAIM.total_seconds() + 1)
    visitor.run_worker()
    assert visitor.set_password(used).status_code == 303
    visitor.run_worker()
    visitor.run_worker()
    assert [mail.subject for mail in visitor.mails()][2:] == ["Su contraseña fue actualizada"]
    assert visitor.client.get(crashed).status_code == 410


def test_shared_mailbox_keeps_the_other_ones_request(visitor: Visitor, portal: Portal) -> None:
    """One person's new password does not drop what the other one on the mailbox asked for."""
    portal.add("ana.perez")
    portal.add("beto.perez", nombre="Beto")
    link = visitor.link()
    visitor.clock.advance(seconds=1)
    visitor.ask()
    visitor.clock.advance(seconds=1)
    visitor.set_password(link)
    visitor.run_worker()
    waiting = next(m for m in visitor.mails()[1:] if m.subject.startswith("Restablecimiento"))
    assert len(links_in(waiting)) == 1
    assert "beto.perez" in str(waiting.body)


def test_denial_needs_a_genuine_token(visitor: Visitor, ana: int) -> None:
    """Neither a forged token nor one of another purpose closes anything."""
    link = visitor.link()
    for token in ("x", link.rpartition("/")[2]):
        assert visitor.client.get(f"/no-fui-yo/{token}").status_code == 410
        assert visitor.client.post("/no-fui-yo", data={"token": token}).status_code == 410
    assert visitor.client.get(link).status_code == 200


def test_link_fits_into_a_line_of_mail(visitor: Visitor, ana: int) -> None:
    """At most 120 characters, and no path segment that begins with a dot."""
    visitor.link()
    link = re.search(r"http\S+/nueva/\S+", str(visitor.mails()[0].body))
    assert link is not None
    assert len(link[0]) <= 120
    assert "/." not in link[0]


def test_longest_public_address_keeps_links_short(tmp_path: Path) -> None:
    """The longest address that the settings take makes a link of 120 characters."""
    longest = "https://clave.example/".ljust(52, "a")
    good = {**ENVIRON, "RESET_ACCOUNTS_URL": "sqlite:////tmp/portal.sqlite"}
    config.load({**good, "RESET_PUBLIC_URL": longest}, tmp_path)
    with pytest.raises(ConfigurationError, match="too long"):
        config.load({**good, "RESET_PUBLIC_URL": longest + "a"}, tmp_path)
    token = Tokens([KEY], "deny", longest).make(bytes(range(16)), now=START)
    assert len(f"{longest}/no-fui-yo/{token}") == 120


def test_confirmation_goes_to_the_address_of_the_change(visitor: Visitor, ana: int) -> None:
    """It names the account, the time with its zone and the coarse origin, and no password."""
    link = visitor.link()
    visitor.client.environ_base["REMOTE_ADDR"] = "190.25.17.4"
    visitor.client.environ_base["HTTP_USER_AGENT"] = "Mozilla/5.0 (Linux; Android 14) Chrome/156"
    visitor.set_password(link)
    visitor.run_worker()
    mail = visitor.mails(ADDRESS)[-1]
    text = str(mail.body)
    assert mail.subject == "Su contraseña fue actualizada"
    assert "Chrome en Android, red 190.25.x.x" in text
    assert "domingo, 22 de noviembre de 2026, 10:00\u00a0a.\u00a0m. (hora de Colombia" in text
    assert "ana.perez" in text
    assert "Si no fue usted, comuníquese de inmediato" in text
    assert "(605) 371 4545" in text
    both = text + str(mail.html)
    assert NEW_PASSWORD not in both
    assert "/nueva" not in both
    assert "/no-fui-yo" not in both
