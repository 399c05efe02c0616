"""One bound connection to a directory, and what its errors mean for the service."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ldap
from ldap.controls import RequestControl, SimplePagedResultsControl
from ldap.controls.ppolicy import PasswordPolicyControl

from reset.accounts.fields import as_text
from reset.accounts.ldap import Directory
from reset.accounts.silence import Silence
from reset.errors import AccountChanged, AccountsUnavailable, ChangeUncertain, PasswordRefused

TIMEOUT_SECONDS = 4  # So that a page that needs the directory says within five that it is away.
PAGE = 500

# After these nobody knows what the server did. Any other error is the server's own answer: no.
_LOST = (ldap.SERVER_DOWN, ldap.TIMEOUT, ldap.CONNECT_ERROR, ldap.DECODING_ERROR, ldap.LOCAL_ERROR)
# Source: draft-behera-ldap-password-policy-10, 6.2.
_POLICY = {
    3: "change_not_allowed",
    5: "refused_by_portal",
    6: "too_short_for_portal",
    7: "too_young",
    8: "in_history",
}
# Source: MS-ERREF, 2.2: ERROR_PASSWORD_RESTRICTION.
_RESTRICTION = "0000052D"
_MEANINGS = {
    ldap.INVALID_CREDENTIALS: "it does not accept the service account's name and password",
    ldap.NO_SUCH_OBJECT: "the search base does not exist, or may not be seen",
    ldap.REFERRAL: "this server does not hold the search base",
    ldap.INVALID_DN_SYNTAX: "a DN in the settings cannot be read",
    ldap.FILTER_ERROR: "the filter in the settings cannot be read",
    ldap.SIZELIMIT_EXCEEDED: "it returns fewer entries than there are: raise the size limit",
    ldap.SERVER_DOWN: (
        "it cannot be reached, or its certificate is not trusted or is for another name"
    ),
    ldap.CONNECT_ERROR: "no TLS: its certificate is not trusted or is for another name",
    ldap.TIMEOUT: f"no answer within {TIMEOUT_SECONDS} seconds",
}


@dataclass(frozen=True)
class Entry:
    """One entry as the directory returned it; ``values`` has its keys in lower case."""

    dn: str
    values: dict[str, list[bytes]]

    def raw(self, attribute: str) -> list[bytes]:
        """The values of *attribute*; empty if it has none or none may be read."""
        return self.values.get(attribute.lower(), [])

    def texts(self, attribute: str) -> list[str]:
        """The values of *attribute*, each as one line of text."""
        return [as_text(value.decode("utf-8", "replace")) for value in self.raw(attribute)]

    def text(self, attribute: str) -> str:
        """The first value of *attribute*, or the empty text."""
        return next(iter(self.texts(attribute)), "")


class Session:
    """The operations of one connection; any of them may raise ldap.LDAPError."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def search(
        self, base: str, condition: str, attributes: Collection[str], scope: int
    ) -> list[Entry]:
        """The entries that fulfil *condition*, referrals to other servers left out."""
        return _entries(
            self._connection.search_ext_s(
                base, scope, condition, sorted(attributes), timeout=TIMEOUT_SECONDS
            )
        )

    def read(self, dn: str, attributes: Collection[str]) -> Entry | None:
        """The entry at *dn*; None if it cannot be seen."""
        found = self.search(dn, "(objectClass=*)", attributes, ldap.SCOPE_BASE)
        return next(iter(found), None)

    def pages(
        self, base: str, condition: str, attributes: Collection[str], size: int
    ) -> Iterator[list[Entry]]:
        """All entries that fulfil *condition*, at most *size* at a time."""
        control = SimplePagedResultsControl(True, size=size, cookie="")
        while True:
            sent = self._connection.search_ext(
                base,
                ldap.SCOPE_SUBTREE,
                condition,
                sorted(attributes),
                serverctrls=[control],
                timeout=TIMEOUT_SECONDS,
            )
            _, found, _, controls = self._connection.result3(sent)
            yield _entries(found)
            cookies = [c.cookie for c in controls if c.controlType == control.controlType]
            if not cookies or not cookies[0]:
                return
            control.cookie = cookies[0]

    def supports(self, control: str) -> bool:
        """Whether the server announces the control of that OID."""
        root = self.read("", ["supportedControl"])
        return root is not None and control in root.texts("supportedControl")

    def modify(
        self, dn: str, changes: Sequence[tuple[Any, ...]], controls: Sequence[RequestControl] = ()
    ) -> None:
        """Make all *changes* to the entry at *dn*, or none."""
        self._connection.modify_ext_s(dn, list(changes), serverctrls=list(controls))

    def set_password(self, dn: str, password: str) -> None:
        """RFC 3062. The answer to the policy control says why a password is refused."""
        controls = [PasswordPolicyControl()]
        self._connection.passwd_s(dn, None, password, serverctrls=controls)


@contextmanager
def open_session(directory: Directory, silences: Mapping[str, Silence]) -> Iterator[Session]:
    """A connection of its own, bound as the service account, closed at the end.

    *silences* has what is known of each server, by its URI.

    Raises:
        AccountsUnavailable: no connection, or an ldap.LDAPError of the block.
    """
    if not directory.bind_password:
        # RFC 4513, 5.1.2: a bind without a password succeeds, and as nobody.
        raise AccountsUnavailable("the service account needs a password")
    connection = None
    try:
        connection = _bound(directory, silences)
        yield Session(connection)
    except ldap.LDAPError as error:
        # Not as its cause, which would be logged: servers quote DNs, and those name people.
        raise AccountsUnavailable(described(error)) from None
    finally:
        if connection is not None:
            with suppress(ldap.LDAPError):
                connection.unbind_s()


def change(send: Callable[[], None]) -> None:
    """Let *send* change a password.

    Raises:
        ChangeUncertain, PasswordRefused, AccountChanged: as AccountBackend.set_password promises.
        ldap.LDAPError: the server said no for a reason of its own; nothing was written.
    """
    try:
        send()
    except _LOST as error:
        raise ChangeUncertain(described(error)) from None
    except (ldap.NO_SUCH_OBJECT, ldap.ASSERTION_FAILED):
        raise AccountChanged from None
    except ldap.LDAPError as error:
        code = refusal(error)
        if code is None:
            raise
        raise PasswordRefused([code]) from None


def refusal(error: ldap.LDAPError) -> str | None:
    """The code that tells the person why the password is not taken; None if it is not to blame."""
    answer = _answer(error)
    for oid, _, value in answer.get("ctrls") or ():
        if oid == PasswordPolicyControl.controlType:
            policy = PasswordPolicyControl()
            policy.decodeControlValue(value)
            if policy.error in _POLICY:
                return _POLICY[policy.error]
    restricted = str(answer.get("info", "")).startswith(_RESTRICTION)
    violates = isinstance(error, ldap.CONSTRAINT_VIOLATION)
    return "refused_by_directory" if restricted or violates else None


def described(error: ldap.LDAPError) -> str:
    """*error* for the operator. A server's own words are left out: they may quote an entry."""
    answer = _answer(error)
    words = [_MEANINGS.get(type(error), "it refuses"), answer.get("desc", type(error).__name__)]
    if isinstance(error, _LOST) and answer.get("info"):
        words.append(answer["info"])  # Of the TLS library on this side.
    return f"the directory: {words[0]} ({': '.join(words[1:])})"


def escaped(value: bytes) -> str:
    """*value*, whatever is in it, for a search filter. Source: RFC 4515, 3."""
    return "".join(f"\\{byte:02x}" for byte in value)


def _bound(directory: Directory, silences: Mapping[str, Silence]) -> Any:
    """A connection to the first server that lets the service account in."""
    servers = [uri for uri in directory.url.split() if not silences[uri].lasts()]
    if not servers:
        raise AccountsUnavailable("the directory: it was silent a moment ago")
    *others, last = servers
    for uri in others:
        # libldap would try the next one after a refused connection, but not after a silent one.
        with suppress(*_LOST), silences[uri].noticed():
            return _bound_to(uri, directory)
    with silences[last].noticed():
        return _bound_to(last, directory)


def _bound_to(uri: str, directory: Directory) -> Any:
    connection = ldap.initialize(uri)
    connection.set_option(ldap.OPT_PROTOCOL_VERSION, ldap.VERSION3)
    connection.set_option(ldap.OPT_REFERRALS, 0)  # They would take the password to other servers.
    connection.set_option(ldap.OPT_NETWORK_TIMEOUT, TIMEOUT_SECONDS)
    connection.set_option(ldap.OPT_TIMEOUT, TIMEOUT_SECONDS)
    # Without it libldap 2.5 over GnuTLS waits for ever in a handshake that is not answered.
    connection.set_option(ldap.OPT_CONNECT_ASYNC, 1)
    connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
    if directory.ca is not None:
        connection.set_option(ldap.OPT_X_TLS_CACERTFILE, str(directory.ca))
    # Last: it makes the options above count.
    connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
    if directory.starttls and uri.lower().startswith("ldap:"):
        connection.start_tls_s()
    connection.simple_bind_s(directory.bind_dn, directory.bind_password)
    return connection


def _entries(found: list[Any]) -> list[Entry]:
    # A referral has no DN, and a list of URIs in place of attributes.
    return [
        Entry(dn, {name.lower(): values for name, values in attributes.items()})
        for dn, attributes, *_ in found
        if dn is not None
    ]


def _answer(error: ldap.LDAPError) -> dict[str, Any]:
    """What python-ldap puts into its errors, where it does."""
    first = error.args[0] if error.args else None
    return first if isinstance(first, dict) else {}
