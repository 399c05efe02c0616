"""Accounts in a real OpenLDAP server: found, changed, refused, and lines that break."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reset.accounts import Account, hashes, silence
from reset.accounts.fields import rules
from reset.accounts.ldap import Directory
from reset.address import normalise
from reset.errors import (
    AccountChanged,
    AccountsUnavailable,
    ChangeUncertain,
    InvalidAddress,
    PasswordRefused,
)
from tests.conftest import FOR_LDAP, hash_bcrypt, library, program
from tests.servers.certificates import Authority
from tests.servers.wire import Answering, Listener, Relay

ldap = library("the LDAP tests", FOR_LDAP, "ldap")

# ruff: noqa: E402 - these need what the line above looks for.
from reset.accounts.ldap import findings as ldap_findings
from reset.accounts.ldap import session as ldap_session
from reset.accounts.ldap.backend import LdapAccounts
from tests.servers import slapd as servers
from tests.servers.slapd import GROUPS, PEOPLE, SERVICE_PASSWORD, Slapd

NEW = "Mesa-Verde-Lluvia-42"
OLD = "Viejita-2019"
EXOP = b"1.3.6.1.4.1.4203.1.11.1"  # Source: RFC 3062, 2.
Make = Callable[..., LdapAccounts]


@pytest.fixture
def directory(slapd: Slapd) -> Directory:
    return Directory(
        url=slapd.url,
        base=PEOPLE,
        bind_dn=servers.SERVICE,
        bind_password=SERVICE_PASSWORD,
        filter="(objectClass=inetOrgPerson)",
        starttls=False,
        ca=slapd.ca,
    )


@pytest.fixture
def make(directory: Directory) -> Make:
    """The accounts of the server; keywords change single settings."""
    return lambda **changes: LdapAccounts(replace(directory, **changes))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For lines that are silent from the first: nothing on them could take longer than this."""
    monkeypatch.setattr(ldap_session, "TIMEOUT_SECONDS", 0.3)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """For lines that go silent later: what comes before must have the time that it takes."""
    monkeypatch.setattr(ldap_session, "TIMEOUT_SECONDS", 3)


def only(accounts: LdapAccounts, address: str = "ana@example.com") -> Account:
    """The one account of *address*."""
    (found,) = accounts.find_by_address(address)
    return found


# Finding.


def test_finds_an_account(slapd: Slapd, make: Make) -> None:
    """By its address in any case; the id is the server's own, for ever."""
    dn = slapd.person(mail="Ana@Example.com", telephoneNumber=["3005550142", "3001"])
    ana = only(make(personal=["telephoneNumber"]))
    assert (ana.login, ana.name, ana.address) == ("ana", "Ana Pérez", "Ana@Example.com")
    assert json.loads(ana.id).encode() == slapd.read(dn, "entryUUID")[0]
    assert ana.personal == ("Ana Pérez", "ana", "Ana@Example.com", "3005550142", "3001")
    assert (ana.obstacle, make().get(ana.id)) == (None, replace(ana, personal=ana.personal[:3]))


@pytest.mark.parametrize(
    "typed",
    [
        "*",
        "*@example.com",
        "an*@example.com",
        "a*)(uid=*))(|(uid=*",
        "a*)(uid=*))(|(uid=*@example.com",
        r"\2a",
        r"\2a@example.com",
        "ana\0@example.com",
        ")(mail=*",
        "ana@example.com)(mail=*",
        "{*}@example.com",
    ],
)
def test_search_cannot_be_widened(slapd: Slapd, make: Make, typed: str) -> None:
    """Whatever is typed is no address, or is the address of nobody."""
    slapd.person()
    try:
        found = make().find_by_address(normalise(typed))
    except InvalidAddress:
        found = []
    assert found == []


def test_asterisk_is_a_letter(slapd: Slapd, make: Make) -> None:
    """An address with an asterisk asks for itself, and not for all that it would match."""
    slapd.person()
    slapd.person("star", mail="a*@example.com")
    assert only(make(bind_dn=servers.NARROW), "a*@example.com").login == "star"


def test_servers_compare_more_loosely(slapd: Slapd, make: Make) -> None:
    """To a directory full-width letters are the same; mail to them goes elsewhere."""
    slapd.person(cn="ａna@example.com")
    (found,) = make(email="cn", login="uid").all()
    assert make(email="cn").find_by_address("ana@example.com") == []
    assert found.address == "ａna@example.com"


@pytest.mark.parametrize("id", ["*", "7", 7, None, "a)(uid=*", "\0"])
def test_foreign_ids_find_nobody(slapd: Slapd, make: Make, id: Any) -> None:
    """A link from the time of another source of accounts is simply dead."""
    slapd.person()
    assert make().get(json.dumps(id)) is None


def test_several_entries_are_several_accounts(slapd: Slapd, make: Make) -> None:
    """What to do about it is the caller's business."""
    slapd.person("ana")
    slapd.person("ana2", mail="ana@example.com")
    assert {a.login for a in make().find_by_address("ana@example.com")} == {"ana", "ana2"}


def test_later_addresses_get_no_mail(slapd: Slapd, make: Make) -> None:
    """Only the first value is the account's address; by the others it is found, and kept out."""
    slapd.person(mail=["ana@example.com", "vieja@example.com"])
    assert only(make()).obstacle is None
    other = only(make(), "vieja@example.com")
    assert (other.address, other.obstacle) == ("ana@example.com", "address_secondary")


@pytest.mark.parametrize("typed", ["*", "an*", "ana)(uid=*", "(ana", r"\2a", "anabel"])
def test_login_is_no_pattern(slapd: Slapd, make: Make, typed: str) -> None:
    """A search by login cannot be widened, either."""
    slapd.person()
    assert make().find_by_login(typed) == []


def test_login_is_found_in_any_case(slapd: Slapd, make: Make) -> None:
    """By any value of its attribute; full-width letters are others, whatever the server thinks."""
    slapd.person(cn=["Ana", "Ana.Perez"])
    accounts = make(login="cn")
    assert [a.address for a in accounts.find_by_login(" ANA.perez")] == ["ana@example.com"]
    assert accounts.find_by_login("ａna") == []


def test_filter_decides_who_has_an_account(slapd: Slapd, make: Make) -> None:
    """Entries beside it are found neither by address nor by id."""
    slapd.person()
    ana = only(make())
    others = make(filter="(&(objectClass=inetOrgPerson)(!(uid=ana)))")
    assert (others.find_by_address("ana@example.com"), others.get(ana.id)) == ([], None)


def test_referrals_are_not_followed(slapd: Slapd, make: Make) -> None:
    """The service's password is for no other server."""
    slapd.person()
    with Listener() as other:
        elsewhere = f"ldap://127.0.0.1:{other.port}/{PEOPLE}"
        classes = ["referral", "extensibleObject"]
        slapd.add(f"ou=otra,{PEOPLE}", objectClass=classes, ou="otra", ref=elsewhere)
        assert only(make()).login == "ana"
        assert [a.login for a in make().all()] == ["ana"]
        assert other.connections == 0


def test_cut_answers_are_no_answers(slapd: Slapd, make: Make) -> None:
    """One entry of two, because of a size limit, would look like a clear case."""
    slapd.person("ana")
    slapd.person("ana2", mail="ana@example.com")
    with pytest.raises(AccountsUnavailable, match="size limit"):
        make(bind_dn=servers.NARROW).find_by_address("ana@example.com")


def test_line_breaks_are_blanks(slapd: Slapd, make: Make) -> None:
    """A name of several lines is one line in a mail."""
    slapd.person(cn="Ana\tMaría\n Pérez")
    assert only(make()).name == "Ana María Pérez"


def test_all_accounts(slapd: Slapd, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, with those that have no address."""
    monkeypatch.setattr("reset.accounts.ldap.backend.PAGE", 2)
    slapd.add(f"cn=nadie,{GROUPS}", objectClass="groupOfNames", member=PEOPLE)
    for number in range(5):
        slapd.person(f"p{number}")
    slapd.person("sin", mail=None)
    found = {a.login: a.address for a in make(exclude_groups=[f"cn=nadie,{GROUPS}"]).all()}
    assert found == {f"p{n}": f"p{n}@example.com" for n in range(5)} | {"sin": ""}


# Obstacles.


@pytest.mark.parametrize(
    ("attributes", "settings", "obstacle", "reason"),
    [
        ({"portalActive": "TRUE"}, {"active": "portalActive"}, None, ""),
        ({"portalActive": "FALSE"}, {"active": "portalActive"}, "account_inactive", "portalActive"),
        ({}, {"active": "portalActive"}, "account_inactive", "portalActive"),
        (
            {"pwdAccountLockedTime": "000001010000Z"},
            {},
            "account_inactive",
            "pwdAccountLockedTime",
        ),
        ({"pwdAccountLockedTime": "20261122120000Z"}, {}, None, ""),
        (
            {"employeeType": ["contratista", "externo"]},
            {"exclude": rules("EMPLOYEETYPE=externo")},
            "account_excluded",
            "EMPLOYEETYPE=externo",
        ),
        ({"employeeType": "planta"}, {"exclude": rules("employeeType=externo")}, None, ""),
        ({}, {"exclude": rules("uid~^an")}, "account_excluded", "uid~^an"),
        ({}, {"exclude": rules("uid~^svc_")}, None, ""),
    ],
)
def test_obstacles(
    slapd: Slapd,
    make: Make,
    attributes: dict[str, str],
    settings: dict[str, Any],
    obstacle: str | None,
    reason: str,
) -> None:
    """Off, locked for good, or excluded by a rule; a lock-out after failures is no obstacle."""
    dn = slapd.person()
    slapd.set(dn, **attributes)
    ana = only(make(**settings))
    assert (ana.obstacle, ana.reason) == (obstacle, reason)


@pytest.mark.parametrize(
    "group",
    [
        {"objectClass": "groupOfNames", "member": "{dn}"},
        {"objectClass": "groupOfUniqueNames", "uniqueMember": "{dn}"},
        {"objectClass": "posixGroup", "gidNumber": "8", "memberUid": "ana, (TIC)"},
        {"objectClass": "posixGroup", "gidNumber": "8", "memberUid": "apm"},
        {"objectClass": "posixGroup", "gidNumber": "7"},
    ],
    ids=["member", "uniqueMember", "memberUid", "second uid", "primary group"],
)
def test_members_of_groups_are_excluded(slapd: Slapd, make: Make, group: dict[str, str]) -> None:
    """In each of the ways in which a group has members."""
    dn = slapd.person(
        "ana, (TIC)",
        objectClass=["inetOrgPerson", "posixAccount"],
        mail="ana@example.com",
        uidNumber="1",
        gidNumber="7",
        homeDirectory="/",
    )
    slapd.set(dn, uid=["ana, (TIC)", "apm"])
    slapd.person("beto")
    group = {name: value.format(dn=dn) for name, value in group.items()}
    admins = slapd.add(f"cn=admins,{GROUPS}", cn="admins", **group)
    accounts = make(exclude_groups=[admins])
    ana = only(accounts)
    assert (ana.obstacle, ana.reason) == ("account_excluded", admins)
    assert only(accounts, "beto@example.com").obstacle is None


# Changing.


@pytest.mark.parametrize(
    "password",
    [
        NEW,
        'comi"llas\\y\\barra',
        "añoñandú-ÑÁ",
        "emoji😀clave",
        "  espacios en puntas  ",
        "x" * 200,
    ],
)
def test_sets_exactly_the_password(slapd: Slapd, make: Make, password: str) -> None:
    """The person signs in with it, and no longer with the old one."""
    dn = slapd.person()
    make().set_password(only(make()), password)
    assert slapd.lets_in(dn, password)
    assert not slapd.lets_in(dn, OLD)
    assert not slapd.lets_in(dn, password.strip() + "x")


def test_names_with_every_sign(slapd: Slapd, make: Make) -> None:
    """Commas, quotes and several parts in a DN lead to the right entry."""
    dn = rf"cn=Pérez\, Ana \22la jefa\22 (TIC)\2B\5C*+uid=7,{PEOPLE}"
    name = 'Pérez, Ana "la jefa" (TIC)+\\*'
    slapd.person(dn=dn, uid="7", mail="ana@example.com", cn=name)
    beto = slapd.person("beto")
    make().set_password(only(make()), NEW)
    assert slapd.lets_in(dn, NEW)
    assert slapd.lets_in(beto, OLD)


@pytest.mark.parametrize(
    ("policy", "password", "code"),
    [
        ({}, OLD, "in_history"),
        ({}, "Primera-Clave-1", "in_history"),
        ({}, "corta", "too_short_for_portal"),
        ({"pwdMinAge": "3600"}, NEW, "too_young"),
    ],
)
def test_refusals_say_why(
    slapd: Slapd, make: Make, policy: dict[str, str], password: str, code: str
) -> None:
    """The person learns what to do, the old password stays, another try succeeds."""
    dn = slapd.person(userPassword="Primera-Clave-1")
    slapd.set(dn, userPassword=OLD)
    if policy:
        slapd.set(dn, pwdPolicySubentry=slapd.policy(**policy))
    with pytest.raises(PasswordRefused) as refused:
        make().set_password(only(make()), password)
    assert refused.value.codes == [code]
    assert slapd.lets_in(dn, OLD)
    slapd.set(dn, pwdPolicySubentry=None)
    make().set_password(only(make()), NEW)


@pytest.mark.parametrize(
    ("result", "controls", "info", "code"),
    [
        # Source: draft-behera-ldap-password-policy-10, 6.2: error [1] of the response value.
        (ldap.CONSTRAINT_VIOLATION, b"\x30\x03\x81\x01\x03", "", "change_not_allowed"),
        (ldap.CONSTRAINT_VIOLATION, b"\x30\x03\x81\x01\x05", "", "refused_by_portal"),
        (ldap.CONSTRAINT_VIOLATION, b"\x30\x03\x81\x01\x06", "", "too_short_for_portal"),
        (ldap.CONSTRAINT_VIOLATION, b"\x30\x03\x81\x01\x07", "", "too_young"),
        (ldap.CONSTRAINT_VIOLATION, b"\x30\x03\x81\x01\x08", "", "in_history"),
        (ldap.CONSTRAINT_VIOLATION, b"\x30\x00", "", "refused_by_directory"),
        (ldap.CONSTRAINT_VIOLATION, None, "", "refused_by_directory"),
        # Source: Windows Server's own words, with the code of MS-ERREF, 2.2.
        (
            ldap.UNWILLING_TO_PERFORM,
            None,
            "0000052D: SvcErr: DSID-031A12D2, problem 5003 (WILL_NOT_PERFORM), data 0\n",
            "refused_by_directory",
        ),
        (ldap.UNWILLING_TO_PERFORM, None, "0000001F: SvcErr: DSID-031A12D2", None),
        (ldap.INSUFFICIENT_ACCESS, None, "", None),
        (ldap.BUSY, None, "", None),
    ],
)
def test_answers_of_servers(
    result: type[Exception], controls: bytes | None, info: str, code: str | None
) -> None:
    """Whether the password is to blame, and for what, as servers say it."""
    found = [("1.3.6.1.4.1.42.2.27.8.5.1", 0, controls)] if controls else []
    assert ldap_session.refusal(result({"ctrls": found, "info": info})) == code


@pytest.mark.parametrize(
    ("password", "code"), [("", "missing"), ("\ud800", "bad_character")], ids=["empty", "half"]
)
def test_no_password_that_cannot_be_written(
    slapd: Slapd, make: Make, password: str, code: str
) -> None:
    """None at all would let the server make one up."""
    dn = slapd.person()
    with pytest.raises(PasswordRefused, match=code):
        make().set_password(only(make()), password)
    assert slapd.lets_in(dn, OLD)


def test_control_characters_do_no_harm(slapd: Slapd, make: Make) -> None:
    """The policy refuses them long before; here they are letters like any other."""
    dn = slapd.person()
    make().set_password(only(make()), "nul\0y\ttab\n12")
    assert slapd.lets_in(dn, "nul\0y\ttab\n12")


def test_service_without_the_right_is_unavailable(slapd: Slapd, make: Make) -> None:
    """The person is not to blame, and nothing was written."""
    dn = slapd.person()
    accounts = make(bind_dn=servers.READER)
    with pytest.raises(AccountsUnavailable) as refused:
        accounts.set_password(only(accounts), NEW)
    assert not isinstance(refused.value, ChangeUncertain)
    assert slapd.lets_in(dn, OLD)


# The account as it was read, or not at all.


def test_moved_entries_keep_their_links(slapd: Slapd, make: Make) -> None:
    """A new name or place in the tree is the same account."""
    dn = slapd.person()
    slapd.set(dn, userPassword=NEW)
    ana = only(make())
    slapd.add(f"ou=sede,{PEOPLE}", objectClass="organizationalUnit")
    moved = slapd.move(dn, "uid=ana.perez", f"ou=sede,{PEOPLE}")
    make().set_password(ana, "Otra-Clave-Nueva-3")
    assert slapd.lets_in(moved, "Otra-Clave-Nueva-3")


def test_recreated_entries_are_other_accounts(slapd: Slapd, make: Make) -> None:
    """The same name and address do not make the same account."""
    ana = only_after_removal(slapd, make)
    dn = slapd.person()
    assert make().get(ana.id) is None
    with pytest.raises(AccountChanged):
        make().set_password(ana, NEW)
    assert slapd.lets_in(dn, OLD)


def only_after_removal(slapd: Slapd, make: Make) -> Account:
    """An account that was read and is gone."""
    dn = slapd.person()
    ana = only(make())
    slapd.delete(dn)
    return ana


@pytest.mark.parametrize(
    "change",
    [{"mail": "otra@example.com"}, {"userPassword": "Suya-Elegida-7"}],
    ids=["address", "password"],
)
def test_changed_accounts_are_left_alone(slapd: Slapd, make: Make, change: dict[str, str]) -> None:
    """What happened since the account was read wins."""
    dn = slapd.person()
    ana = only(make())
    slapd.set(dn, **change)
    with pytest.raises(AccountChanged):
        make().set_password(ana, NEW)
    assert not slapd.lets_in(dn, NEW)


def test_accounts_locked_meanwhile_are_left_alone(slapd: Slapd, make: Make) -> None:
    """OpenLDAP would lift the administrator's lock with the change."""
    dn = slapd.person()
    slapd.set(dn, userPassword="Segunda-Clave-2")
    ana = only(make())
    slapd.set(dn, pwdAccountLockedTime="000001010000Z")
    with pytest.raises(AccountChanged):
        make().set_password(ana, NEW)
    assert slapd.read(dn, "pwdAccountLockedTime") == [b"000001010000Z"]


def test_entry_that_goes_at_the_last_moment(
    slapd: Slapd, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look and the change it was deleted."""
    dn = slapd.person()
    ana = only(make())
    before(monkeypatch, "set_password", lambda: slapd.delete(dn))
    with pytest.raises(AccountChanged):
        make().set_password(ana, NEW)


def before(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], object]) -> None:
    """Have *act* happen just before the session's operation of that *name* is sent."""
    real = getattr(ldap_session.Session, name)

    def late(self: ldap_session.Session, *args: Any) -> None:
        act()
        real(self, *args)

    monkeypatch.setattr(ldap_session.Session, name, late)


# A portal that reads a hash of its own from the directory.


@pytest.fixture
def hashed(make: Make) -> LdapAccounts:
    return make(password="portalPassword")


def test_hash_of_the_portal(slapd: Slapd, hashed: LdapAccounts) -> None:
    """In the scheme of the old one; a readable hash tells whether a password is the present one."""
    dn = slapd.person(portalPassword=hash_bcrypt(OLD))
    ana = only(hashed)
    assert [hashed.has_password(ana, text) for text in (OLD, NEW)] == [True, False]
    hashed.set_password(ana, NEW)
    (stored,) = slapd.read(dn, "portalPassword")
    assert hashes.verify(NEW, stored.decode())
    assert stored.startswith(b"$2y$04$")


def test_hash_tells_its_own_changes(slapd: Slapd, hashed: LdapAccounts) -> None:
    """The server's time of change is that of another password."""
    dn = slapd.person(portalPassword=hash_bcrypt(OLD))
    slapd.set(dn, userPassword=NEW)
    ana = only(hashed)
    slapd.set(dn, telephoneNumber="300")
    assert only(hashed).identity == ana.identity
    slapd.set(dn, portalPassword=hash_bcrypt(OLD))
    assert only(hashed).identity != ana.identity


@pytest.mark.parametrize(
    "change", [{"portalPassword": "otra"}, {"mail": "otra@example.com"}], ids=["hash", "address"]
)
def test_server_compares_before_it_sets_a_hash(
    slapd: Slapd, hashed: LdapAccounts, monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
) -> None:
    """A change between the last look and ours is never overwritten. Source: RFC 4528."""
    dn = slapd.person(portalPassword=hash_bcrypt(OLD))
    ana = only(hashed)
    meanwhile = slapd.read(dn, "portalPassword")
    before(monkeypatch, "modify", lambda: slapd.set(dn, **change))
    with pytest.raises(AccountChanged):
        hashed.set_password(ana, NEW)
    expected = [change["portalPassword"].encode()] if "portalPassword" in change else meanwhile
    assert slapd.read(dn, "portalPassword") == expected


def test_hash_of_no_known_scheme(slapd: Slapd, make: Make) -> None:
    """Told as an obstacle, unless the settings name a scheme."""
    slapd.person(portalPassword="plain")
    assert only(make(password="portalPassword")).obstacle == "hash_unknown"
    assert only(make(password="portalPassword", scheme="bcrypt")).obstacle is None


def test_hash_that_would_be_a_password(slapd: Slapd, make: Make) -> None:
    """Without its {SCHEME} whoever sees a hash in userPassword could sign in with it."""
    dn = slapd.person()
    accounts = make(password="userPassword", scheme="bcrypt")
    with pytest.raises(AccountsUnavailable, match="SCHEME"):
        accounts.set_password(only(accounts), NEW)
    assert slapd.lets_in(dn, OLD)


def test_only_a_sign_in_could_tell(slapd: Slapd, make: Make) -> None:
    """A hidden password is never tried: that would count as the person's failure."""
    dn = slapd.person()
    assert make().has_password(only(make()), "otra") is None
    assert slapd.read(dn, "pwdFailureTime") == []


# The marks that the server keeps beside the password.


@pytest.mark.parametrize("must_change", [True, False])
@pytest.mark.parametrize("was", ["TRUE", None])
def test_password_for_one_sign_in(
    slapd: Slapd, make: Make, must_change: bool, was: str | None
) -> None:
    """The mark is as the settings say, whatever it was."""
    dn = slapd.person(portalPassword=hash_bcrypt(OLD))
    for attribute in (None, "portalPassword"):
        slapd.set(dn, pwdReset=was)
        accounts = make(must_change=must_change, password=attribute)
        accounts.set_password(only(accounts), NEW + str(attribute))
        assert slapd.read(dn, "pwdReset") == ([b"TRUE"] if must_change else [])


@pytest.mark.parametrize("unlock", [True, False])
def test_lock_after_failures(slapd: Slapd, make: Make, unlock: bool) -> None:
    """Lifted if the settings say so."""
    dn = slapd.person(portalPassword=hash_bcrypt(OLD))
    locked_out(slapd, dn)
    accounts = make(unlock=unlock, password="portalPassword")
    accounts.set_password(only(accounts), NEW)
    assert slapd.lets_in(dn, OLD) is unlock


def test_openldap_lifts_the_lock_by_itself(slapd: Slapd, make: Make) -> None:
    """Whatever the settings say, a new password of its own ends it. Seen with slapd 2.5."""
    dn = slapd.person()
    locked_out(slapd, dn)
    make(unlock=False).set_password(only(make()), NEW)
    assert slapd.lets_in(dn, NEW)


def locked_out(slapd: Slapd, dn: str) -> None:
    """Fail to sign in until even the right password does not help."""
    for _ in range(9):  # Three are enough, but now and then slapd misses one.
        assert not slapd.lets_in(dn, "mala")
    assert not slapd.lets_in(dn, OLD)


def test_marks_that_may_not_be_set(
    slapd: Slapd, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """The password is set, and that is what counts; the log tells the rest."""
    dn = slapd.person(uid="ana", objectClass=["inetOrgPerson"])
    accounts = make(must_change=True, bind_dn=servers.NARROW)
    accounts.set_password(only(accounts), NEW)
    assert slapd.lets_in(dn, NEW)
    assert [record.message for record in caplog.records] == ["account state not set"]


# Lines that break, and people on them.


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.usefixtures("impatient")
def test_silence_ends(make: Make, tls: bool) -> None:
    """A server that takes the connection and says nothing."""
    with Listener() as silent:
        accounts = make(url=f"ldap{'s' if tls else ''}://127.0.0.1:{silent.port}")
        with pytest.raises(AccountsUnavailable) as lost:
            accounts.find_by_address("ana@example.com")
    assert not isinstance(lost.value, ChangeUncertain)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("pause", "connections"), [(3600, 1), (0, 2)])
def test_silent_server_is_asked_once_in_a_while(
    slapd: Slapd, make: Make, monkeypatch: pytest.MonkeyPatch, pause: int, connections: int
) -> None:
    """Who comes next is told at once, or goes straight to the second server."""
    slapd.person()
    monkeypatch.setattr(silence, "LONG_SECONDS", 0.2)
    monkeypatch.setattr(silence, "PAUSE_SECONDS", pause)
    for second in (None, slapd.url):
        with Listener() as silent:
            accounts = make(url=f"ldaps://127.0.0.1:{silent.port} {second or ''}")
            for _ in range(2):
                with suppress(AccountsUnavailable):
                    accounts.find_by_address("ana@example.com")
        assert silent.connections == connections


@pytest.mark.usefixtures("impatient")
def test_silence_of_the_network_ends(make: Make) -> None:
    """Not even the connection is taken, as behind a firewall that drops."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as waiting:
        for _ in range(3):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        with pytest.raises(AccountsUnavailable):
            make(url=f"ldaps://127.0.0.1:{full.getsockname()[1]}").check()


@pytest.mark.parametrize(("cut", "applied"), [("before", False), ("after", True), ("silent", True)])
@pytest.mark.usefixtures("hurried")
def test_lost_answers_are_uncertain(slapd: Slapd, make: Make, cut: str, applied: bool) -> None:
    """Made or not: nobody can know, and nobody claims to."""
    dn = slapd.person()
    ana = only(make())
    with Relay(slapd.connect, EXOP, cut) as relay:
        accounts = make(url=f"ldap://127.0.0.1:{relay.port}", ca=None)
        with pytest.raises(ChangeUncertain):
            accounts.set_password(ana, NEW)
    assert relay.met == 1
    assert (slapd.lets_in(dn, NEW), slapd.lets_in(dn, OLD)) == (applied, not applied)


def test_line_cut_before_the_change(slapd: Slapd, make: Make) -> None:
    """Nothing was sent: the link stays good."""
    slapd.person()
    ana = only(make())
    with Relay(slapd.connect, b"entryUUID", "before") as relay:
        accounts = make(url=f"ldap://127.0.0.1:{relay.port}", ca=None)
        with pytest.raises(AccountsUnavailable) as lost:
            accounts.set_password(ana, NEW)
    assert not isinstance(lost.value, ChangeUncertain)


def test_second_server_stands_in(slapd: Slapd, make: Make) -> None:
    """When the first of several is off."""
    slapd.person()
    assert only(make(url=f"ldaps://127.0.0.1:1 {slapd.url}")).login == "ana"


@pytest.mark.usefixtures("hurried")
def test_second_server_stands_in_for_a_silent_one(slapd: Slapd, make: Make) -> None:
    """When the first of several takes the connection and says nothing."""
    slapd.person()
    with Listener() as silent:
        url = f"ldaps://127.0.0.1:{silent.port} {slapd.url}"
        assert only(make(url=url)).login == "ana"


def test_starttls(slapd: Slapd, make: Make) -> None:
    """The usual port, and TLS before anything else."""
    slapd.person()
    assert only(make(url=slapd.plain, starttls=True)).login == "ana"


@pytest.mark.parametrize(
    "answer",
    [
        # Source: RFC 4511, 4.12: ExtendedResponse, protocolError (2), unavailable (52).
        b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00",
        b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\x00\x04\x00",
        # Success, and then no TLS but more of the same.
        b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00",
    ],
)
@pytest.mark.usefixtures("hurried")
def test_starttls_is_never_skipped(make: Make, answer: bytes) -> None:
    """Who refuses it, or only claims to do it, does not hear the service's password."""
    with Answering(answer) as eavesdropper:
        accounts = make(url=f"ldap://127.0.0.1:{eavesdropper.port}", starttls=True)
        with pytest.raises(AccountsUnavailable):
            accounts.check()
    assert b"1.3.6.1.4.1.1466.20037" in eavesdropper.received
    assert SERVICE_PASSWORD.encode() not in eavesdropper.received


@pytest.mark.parametrize("names", [["DNS:otro.example"], ["IP:127.0.0.9"]])
def test_certificate_for_another_name(make: Make, authority: Authority, names: list[str]) -> None:
    """Signed by the right authority, but not this server: it hears nothing."""
    with Listener(authority.sign(*names)) as stranger:
        accounts = make(url=f"ldaps://127.0.0.1:{stranger.port}")
        with pytest.raises(AccountsUnavailable, match="certificate"):
            accounts.check()
    assert stranger.received == b""


@pytest.mark.parametrize("ours", [False, True], ids=["the system's", "another"])
def test_certificate_of_another_authority(
    make: Make, authority: Authority, tmp_path: Path, ours: bool
) -> None:
    """The right name is not enough."""
    other = Authority(tmp_path / "other", program("the LDAP tests", "openssl", "openssl"))
    with Listener(other.sign("IP:127.0.0.1")) as stranger:
        url = f"ldaps://127.0.0.1:{stranger.port}"
        with pytest.raises(AccountsUnavailable, match="certificate"):
            make(url=url, ca=authority.cert if ours else None).check()
    assert stranger.received == b""


def test_empty_service_password_is_never_sent(make: Make) -> None:
    """A bind without one succeeds, as nobody. Source: RFC 4513, 5.1.2."""
    with Listener() as server:
        with pytest.raises(AccountsUnavailable, match="needs a password"):
            make(url=f"ldap://127.0.0.1:{server.port}", bind_password="").check()
        assert server.connections == 0


# What the operator is told.


def test_check_is_content(slapd: Slapd, make: Make) -> None:
    """With people and without."""
    make().check()
    slapd.person()
    make().check()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bind_password": "mala"}, "service account's name and password"),
        ({"bind_dn": "no DN"}, "DN"),
        ({"base": f"ou=nada,{PEOPLE}"}, "base does not exist"),
        ({"filter": "(objectClass=inetOrgPerson"}, "filter"),
        ({"url": "ldaps://127.0.0.1:1"}, "cannot be reached"),
        ({"url": "no URL"}, "the directory"),
        ({"exclude_groups": [f"cn=nada,{GROUPS}"]}, f"group cn=nada,{GROUPS}"),
    ],
)
def test_check_says_what_is_wrong(
    slapd: Slapd, make: Make, changes: dict[str, Any], words: str
) -> None:
    """In words that lead to the setting; never with the password."""
    slapd.person()
    with pytest.raises(AccountsUnavailable, match=re.escape(words)) as fault:
        make(**changes).check()
    assert SERVICE_PASSWORD not in str(fault.value)


@pytest.mark.parametrize("group", [f"cn=oculto,{GROUPS}", GROUPS], ids=["hidden", "no group"])
def test_check_says_that_members_cannot_be_seen(slapd: Slapd, make: Make, group: str) -> None:
    """Else a right that is missing would let administrators reset their passwords."""
    slapd.add(f"cn=oculto,{GROUPS}", objectClass="groupOfNames", member=PEOPLE)
    with pytest.raises(AccountsUnavailable, match="members may not be seen"):
        make(exclude_groups=[group]).check()


def test_errors_name_nobody(slapd: Slapd, make: Make) -> None:
    """Neither the text nor the cause, which is logged, quotes an entry or a password."""
    slapd.person()
    with pytest.raises(AccountsUnavailable) as fault:
        make(bind_dn=f"uid=ana,{PEOPLE}", bind_password="mala").check()
    assert fault.value.__suppress_context__
    assert not {"ana", "mala"} & set(re.findall(r"\w+", str(fault.value)))
    assert SERVICE_PASSWORD not in repr(make()._directory)


def test_findings_of_a_good_directory(slapd: Slapd, make: Make) -> None:
    """Encrypted, fast, and with times of change."""
    slapd.set(slapd.person(), userPassword=NEW)
    assert {finding.level for finding in make().examine()} == {"ok"}


@pytest.mark.parametrize(
    ("url", "starttls", "level"),
    [
        ("ldap://ldap.example", False, "warning"),
        ("ldaps://a.example ldap://b.example", False, "warning"),
        ("ldap://ldap.example", True, "ok"),
        ("ldaps://a.example ldaps://b.example", False, "ok"),
        ("ldapi://%2Frun%2Fldapi", False, "ok"),
        ("ldap://127.0.0.1:389", False, "ok"),
        ("ldap://127.0.0.1.example", False, "warning"),
    ],
)
def test_finding_about_encryption(
    directory: Directory, url: str, starttls: bool, level: str
) -> None:
    """Every server that may be asked counts."""
    asked = replace(directory, url=url, starttls=starttls)
    assert ldap_findings.encryption(asked).level == level


def test_finding_about_coarse_times(slapd: Slapd, make: Make) -> None:
    """Without times of change a link dies with any change of the entry: of all, or of some."""
    dn = slapd.person()
    slapd.person("beto")
    (warning,) = (f for f in make().examine() if f.level != "ok")
    slapd.set(dn, userPassword=NEW)
    (note,) = (f for f in make().examine() if f.level != "ok")
    assert (warning.level, note.level) == ("warning", "note")
    assert "in the first 2: 1; any change" in note.text


def test_finding_about_hidden_attributes(slapd: Slapd, make: Make) -> None:
    """An attribute that nobody has, or that the service may not read."""
    slapd.set(slapd.person(), userPassword=NEW)
    faults = [f.text for f in make(email="mailRoutingAddress").examine() if f.level == "fault"]
    assert faults == ["no entry shows its mailRoutingAddress"]


def test_changes_cannot_be_rehearsed(slapd: Slapd, make: Make) -> None:
    """And nothing is tried."""
    dn = slapd.person()
    assert make().rehearse(only(make())).level == "note"
    assert slapd.lets_in(dn, OLD)
