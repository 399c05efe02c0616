"""Accounts in a real domain, of Samba: found, changed, refused, and lines that break."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reset.accounts import Account
from reset.accounts.fields import rules
from reset.accounts.ldap import Directory
from reset.errors import AccountChanged, AccountsUnavailable, ChangeUncertain, PasswordRefused
from tests.conftest import FOR_LDAP, library
from tests.servers.wire import Answering, Listener, Relay

ldap = library("the Active Directory tests", FOR_LDAP, "ldap")

# ruff: noqa: E402 - these need what the line above looks for.
from reset.accounts.ldap import active_directory
from reset.accounts.ldap import session as ldap_session
from reset.accounts.ldap.active_directory import ActiveDirectory
from tests.servers import samba as servers
from tests.servers.samba import DOMAIN, PEOPLE, SERVICE_PASSWORD, Samba

NEW = "Mesa-Verde-Lluvia-42"
OLD = servers.FIRST_PASSWORD
NOW = datetime(2026, 11, 22, 15, 0, 0, tzinfo=UTC)
Make = Callable[..., ActiveDirectory]


@pytest.fixture
def make(samba: Samba) -> Make:
    """The accounts of the domain; keywords change single settings."""
    directory = Directory(
        url=samba.url,
        base=DOMAIN,
        bind_dn=servers.SERVICE,
        bind_password=SERVICE_PASSWORD,
        filter="(&(objectCategory=person)(objectClass=user))",
        starttls=False,
        ca=samba.ca,
        login="sAMAccountName",
        name="displayName",
    )
    return lambda **changes: ActiveDirectory(replace(directory, **changes), clock=lambda: NOW)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For lines that are silent from the first: nothing on them could take longer than this."""
    monkeypatch.setattr(ldap_session, "TIMEOUT_SECONDS", 0.3)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """For lines that go silent later: what comes before must have the time that it takes."""
    monkeypatch.setattr(ldap_session, "TIMEOUT_SECONDS", 3)


def only(accounts: ActiveDirectory, address: str = "ana@example.com") -> Account:
    """The one account of *address*."""
    (found,) = accounts.find_by_address(address)
    return found


def filetime(moment: datetime) -> str:
    """Source: MS-DTYP, 2.3.3: steps of 100 ns since 1601."""
    return str(int((moment - datetime(1601, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 10)


# Finding.


def test_finds_an_account(samba: Samba, make: Make) -> None:
    """Below the whole domain, past the referrals that it answers with; by GUID ever after."""
    dn = samba.person()
    ana = only(make())
    assert (ana.login, ana.name, ana.address) == ("ana", "Ana Pérez", "ana@example.com")
    assert uuid.UUID(json.loads(ana.id)).bytes_le == samba.read(dn, "objectGUID")[0]
    assert (ana.obstacle, make().get(ana.id)) == (None, ana)


@pytest.mark.parametrize("typed", ["*@example.com", r"\2a@example.com", "a*)(mail=*@example.com"])
def test_search_cannot_be_widened(samba: Samba, make: Make, typed: str) -> None:
    """What means something in a filter is a letter of an address, or none."""
    samba.person()
    try:
        found = make().find_by_address(typed)
    except ValueError:
        found = []
    assert found == []


def test_login_is_found(samba: Samba, make: Make) -> None:
    """By sAMAccountName, in any case and exactly."""
    samba.person()
    assert make().find_by_login("ANA") == [only(make())]
    assert make().find_by_login("an*") == []


@pytest.mark.parametrize("id", ["*", 7, str(uuid.UUID(int=0)), None])
def test_foreign_ids_find_nobody(samba: Samba, make: Make, id: Any) -> None:
    """A link from the time of another source of accounts is simply dead."""
    assert make().get(json.dumps(id)) is None


def test_all_accounts(samba: Samba, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, with those that have no address."""
    monkeypatch.setattr("reset.accounts.ldap.backend.PAGE", 2)
    for number in range(3):
        samba.person(f"p{number}")
    samba.person("sin", mail=None)
    found = {a.login: a.address for a in make(base=PEOPLE).all()}
    assert found == {f"p{n}": f"p{n}@example.com" for n in range(3)} | {"sin": ""}


# Obstacles.


@pytest.mark.parametrize(
    ("attributes", "settings", "obstacle", "reason"),
    [
        ({"userAccountControl": "514"}, {}, "account_inactive", "userAccountControl"),
        ({"accountExpires": filetime(NOW)}, {}, "account_inactive", "accountExpires"),
        ({"accountExpires": filetime(NOW + timedelta(seconds=1))}, {}, None, ""),
        ({"accountExpires": "0"}, {}, None, ""),
        ({"accountExpires": "9223372036854775807"}, {}, None, ""),
        ({"accountExpires": "9223372036854775806"}, {}, None, ""),
        (
            {"adminCount": "1"},
            {"exclude": rules("adminCount=1")},
            "account_excluded",
            "adminCount=1",
        ),
        ({}, {"exclude": rules("adminCount=1")}, None, ""),
        ({}, {"exclude": rules("sAMAccountName~^an")}, "account_excluded", "sAMAccountName~^an"),
    ],
)
def test_obstacles(
    samba: Samba,
    make: Make,
    attributes: dict[str, str],
    settings: dict[str, Any],
    obstacle: str | None,
    reason: str,
) -> None:
    """Disabled, expired to the second, or excluded by a rule."""
    samba.person(**attributes)
    ana = only(make(**settings))
    assert (ana.obstacle, ana.reason) == (obstacle, reason)


def test_state_that_may_not_be_read_is_a_fault(samba: Samba, make: Make) -> None:
    """Else a disabled account would look like any other."""
    samba.hide_restrictions(samba.person(userAccountControl="514"))
    with pytest.raises(AccountsUnavailable, match="userAccountControl"):
        make().find_by_address("ana@example.com")


def test_members_of_groups_are_excluded(samba: Samba, make: Make) -> None:
    """Also through groups in groups."""
    ana, beto = samba.person("ana"), samba.person("beto")
    inner = samba.add(f"CN=Soporte (TIC),{PEOPLE}", objectClass="group", member=ana)
    outer = samba.add(f"CN=Admins,{PEOPLE}", objectClass="group", member=inner)
    accounts = make(exclude_groups=[outer])
    found = only(accounts)
    assert (found.obstacle, found.reason) == ("account_excluded", outer)
    assert only(accounts, "beto@example.com").obstacle is None
    samba.set(inner, member=beto)
    assert only(accounts).obstacle is None


@pytest.mark.parametrize("inside", [False, True], ids=["the group", "a group in it"])
def test_primary_group_counts(samba: Samba, make: Make, inside: bool) -> None:
    """It is not among what a member says of its groups."""
    ana = samba.person("ana")
    samba.person("beto")
    group = samba.add(f"CN=Jefes,{PEOPLE}", objectClass="group", member=ana)
    outer = samba.add(f"CN=Admins,{PEOPLE}", objectClass="group", member=group)
    token = samba.read(group, "objectSid")[0][-4:]
    samba.set(ana, primaryGroupID=str(int.from_bytes(token, "little")))
    accounts = make(exclude_groups=[outer if inside else group])
    found = only(accounts)
    samba.set(ana, primaryGroupID="513")  # Else the group could not be removed.
    assert found.obstacle == "account_excluded"
    assert only(accounts, "beto@example.com").obstacle is None


def test_group_that_was_renamed_keeps_nobody_in(samba: Samba, make: Make) -> None:
    """Under its old name it would have no members: nobody gets a link until it is mended."""
    ana = samba.person()
    admins = samba.add(f"CN=Admins,{PEOPLE}", objectClass="group", member=ana)
    samba.move(admins, "CN=Jefes")
    with pytest.raises(AccountsUnavailable):
        make(exclude_groups=[admins]).find_by_address("ana@example.com")


# Changing.


@pytest.mark.parametrize(
    "password",
    [NEW, 'Comi"llas\\y\\barra1"', "añoñandú-ÑÁ", "emoji😀Clave1", "  Espacios en puntas 1 "],
)
def test_sets_exactly_the_password(samba: Samba, make: Make, password: str) -> None:
    """The person signs in with it, and no longer with the old one."""
    samba.person()
    make().set_password(only(make()), password)
    assert samba.lets_in("ana", password)
    assert not samba.lets_in("ana", OLD)


def test_names_with_every_sign(samba: Samba, make: Make) -> None:
    """Commas and brackets in a DN lead to the right entry."""
    dn = rf"CN=Pérez\, Ana \22la jefa\22 (TIC)\+UID\=7,{PEOPLE}"
    samba.person(dn=dn)
    samba.person("beto")
    make().set_password(only(make()), NEW)
    assert samba.lets_in("ana", NEW)
    assert samba.lets_in("beto", OLD)


@pytest.mark.parametrize("password", ["Co-1", "todaenminuscula"], ids=["short", "simple"])
def test_refusals_keep_the_old_password(samba: Samba, make: Make, password: str) -> None:
    """The domain says only that a rule of its own is broken."""
    samba.person()
    with pytest.raises(PasswordRefused) as refused:
        make().set_password(only(make()), password)
    assert refused.value.codes == ["refused_by_directory"]
    assert samba.lets_in("ana", OLD)


@pytest.mark.parametrize(
    ("password", "code"), [("", "missing"), ("\ud800", "bad_character")], ids=["empty", "half"]
)
def test_no_password_that_cannot_be_written(
    samba: Samba, make: Make, password: str, code: str
) -> None:
    """Neither none nor half a letter."""
    samba.person()
    with pytest.raises(PasswordRefused, match=code):
        make().set_password(only(make()), password)
    assert samba.lets_in("ana", OLD)


def test_service_without_the_right_is_unavailable(samba: Samba, make: Make) -> None:
    """Nothing was written, and the words quote no entry."""
    (admin,) = [a for a in make().all() if a.login == "Administrator"]
    with pytest.raises(AccountsUnavailable) as refused:
        make().set_password(admin, NEW)
    assert not isinstance(refused.value, ChangeUncertain)
    assert "Administrator" not in str(refused.value)


def test_only_a_sign_in_could_tell(samba: Samba, make: Make) -> None:
    """And a sign-in that fails counts."""
    samba.person()
    assert make().has_password(only(make()), OLD) is None


@pytest.mark.parametrize("must_change", [True, False])
def test_password_for_one_sign_in(samba: Samba, make: Make, must_change: bool) -> None:
    """The mark is as the settings say, whatever it was; each change makes another account."""
    dn = samba.person()
    samba.set(dn, pwdLastSet="0")
    accounts = make(must_change=must_change)
    seen = [only(accounts)]
    for password in (NEW, "Otra-Clave-Nueva-3"):
        accounts.set_password(seen[-1], password)
        seen.append(only(accounts))
        assert (samba.read(dn, "pwdLastSet") == [b"0"]) is must_change
    assert len({account.identity for account in seen}) == 3


@pytest.mark.parametrize("unlock", [True, False])
def test_lock_after_failures(samba: Samba, make: Make, unlock: bool) -> None:
    """No obstacle; lifted if the settings say so."""
    samba.person()
    for _ in range(3):
        assert not samba.lets_in("ana", "mala")
    accounts = make(unlock=unlock)
    accounts.set_password(only(accounts), NEW)
    assert samba.lets_in("ana", NEW) is unlock


# The account as it was read, or not at all.


def test_moved_entries_keep_their_links(samba: Samba, make: Make) -> None:
    """A new name or place in the tree is the same account."""
    dn = samba.person()
    ana = only(make())
    sede = samba.add(f"OU=Sede,{PEOPLE}", objectClass="organizationalUnit")
    samba.move(dn, "CN=Ana María", sede)
    make().set_password(ana, NEW)
    assert samba.lets_in("ana", NEW)


def test_recreated_entries_are_other_accounts(samba: Samba, make: Make) -> None:
    """The same name and address do not make the same account."""
    dn = samba.person()
    ana = only(make())
    samba.delete(dn)
    samba.person()
    assert make().get(ana.id) is None
    with pytest.raises(AccountChanged):
        make().set_password(ana, NEW)
    assert samba.lets_in("ana", OLD)


@pytest.mark.parametrize(
    "change",
    [
        lambda samba, dn: samba.set(dn, mail="otra@example.com"),
        lambda samba, dn: samba.set_password(dn, "Suya-Elegida-7"),
        lambda samba, dn: samba.set(dn, userAccountControl="514"),
        lambda samba, dn: samba.delete(dn),
    ],
    ids=["address", "password", "disabled", "deleted"],
)
def test_changed_accounts_are_left_alone(
    samba: Samba, make: Make, change: Callable[[Samba, str], None]
) -> None:
    """What happened since the account was read wins."""
    dn = samba.person()
    ana = only(make())
    change(samba, dn)
    with pytest.raises(AccountChanged):
        make().set_password(ana, NEW)
    assert not samba.lets_in("ana", NEW)


def test_other_changes_keep_the_links(samba: Samba, make: Make) -> None:
    """A new telephone number, or a failed sign-in, is not a new password."""
    dn = samba.person()
    ana = only(make())
    samba.set(dn, telephoneNumber="300")
    assert not samba.lets_in("ana", "mala")
    assert only(make()).identity == ana.identity


# Lines that break, and people on them.


@pytest.mark.parametrize(("cut", "applied"), [("before", False), ("after", True), ("silent", True)])
@pytest.mark.usefixtures("hurried")
def test_lost_answers_are_uncertain(samba: Samba, make: Make, cut: str, applied: bool) -> None:
    """Made or not: nobody can know, and nobody claims to."""
    samba.person()
    ana = only(make())
    with Relay(samba.connect, b"unicodePwd", cut, samba.certificate) as relay:
        accounts = make(url=f"ldaps://127.0.0.1:{relay.port}", base=PEOPLE)
        with pytest.raises(ChangeUncertain):
            accounts.set_password(ana, NEW)
    assert relay.met == 1
    assert (samba.lets_in("ana", NEW), samba.lets_in("ana", OLD)) == (applied, not applied)


@pytest.mark.usefixtures("impatient")
def test_silence_ends(make: Make) -> None:
    """A controller that takes the connection and says nothing."""
    with Listener() as silent:
        with pytest.raises(AccountsUnavailable) as lost:
            make(url=f"ldaps://127.0.0.1:{silent.port}").find_by_address("ana@example.com")
        assert not isinstance(lost.value, ChangeUncertain)


def test_starttls(samba: Samba, make: Make) -> None:
    """The usual port, and TLS before anything else."""
    samba.person()
    accounts = make(url=f"ldap://{samba.address}", starttls=True)
    accounts.set_password(only(accounts), NEW)
    assert samba.lets_in("ana", NEW)


def test_nothing_without_tls(samba: Samba, make: Make) -> None:
    """Not even the service's own password; the operator hears why."""
    samba.person()
    ana = only(make())
    with Answering(b"") as eavesdropper:
        accounts = make(url=f"ldap://127.0.0.1:{eavesdropper.port}")
        for act in (accounts.check, lambda: accounts.set_password(ana, NEW)):
            with pytest.raises(AccountsUnavailable, match="ldaps:// or StartTLS"):
                act()
        assert eavesdropper.connections == 0


# What the operator is told.


def test_check(samba: Samba, make: Make) -> None:
    """Content, or in words that lead to the setting."""
    make().check()
    group = f"CN=Nada,{PEOPLE}"
    faults: dict[str, dict[str, Any]] = {
        "name and password": {"bind_password": "mala"},
        "search base": {"base": f"OU=Nada,{DOMAIN}"},
        "group": {"exclude_groups": [group]},
        "needs a password": {"bind_password": ""},
    }
    for words, changes in faults.items():
        with pytest.raises(AccountsUnavailable, match=words):
            make(**changes).check()


def test_findings(samba: Samba, make: Make) -> None:
    """Samba has no control that enforces the history on resets; the rest is well."""
    samba.person()
    found = make(base=PEOPLE).examine()
    warned = [f.text for f in found if f.level != "ok"]
    assert warned == ["password history is not enforced on resets"]


@pytest.mark.parametrize("known", active_directory._HINTS)
def test_history_is_asked_for_where_it_can_be(
    samba: Samba, make: Make, monkeypatch: pytest.MonkeyPatch, known: str
) -> None:
    """With the control that the controller announces, and so that it may not ignore it."""
    samba.person()
    accounts = make(base=PEOPLE)
    monkeypatch.setattr(ldap_session.Session, "supports", lambda _, control: control == known)
    # Samba 4.17 does not know it: being asked critically, it must refuse the change.
    with pytest.raises(AccountsUnavailable, match="ritical extension"):
        accounts.set_password(only(accounts), NEW)
    assert accounts.examine()[-1].level == "ok"
    assert samba.lets_in("ana", OLD)
