"""OpenLDAP with password policies, TLS and a service account that may do what it must, no more."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import ldap
from ldap.dn import escape_dn_chars
from ldap.modlist import addModlist

from tests.recipes import recipe
from tests.servers import free_port, stop, wait_for
from tests.servers.certificates import Authority

SUFFIX = "dc=caja,dc=example"
PEOPLE = f"ou=personas,{SUFFIX}"
GROUPS = f"ou=grupos,{SUFFIX}"
POLICIES = f"ou=politicas,{SUFFIX}"
SERVICE = f"cn=reset,ou=servicios,{SUFFIX}"
READER = f"cn=lector,ou=servicios,{SUFFIX}"  # The same, but may write nothing.
NARROW = f"cn=estrecho,ou=servicios,{SUFFIX}"  # The same, but sees one entry at a time.
SERVICE_PASSWORD = "Serv1cio-Clave-77"
_ADMIN = f"cn=admin,{SUFFIX}"

_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
# 32473 is the enterprise number for examples. Source: RFC 5612.
attributetype ( 1.3.6.1.4.1.32473.1.1 NAME 'portalPassword'
  EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
attributetype ( 1.3.6.1.4.1.32473.1.2 NAME 'portalActive'
  EQUALITY booleanMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.32473.2.1 NAME 'portalPerson' SUP top AUXILIARY
  MAY ( portalPassword $ portalActive ) )
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
TLSCACertificateFile {ca}
TLSCertificateFile {cert}
TLSCertificateKeyFile {key}
database mdb
suffix "{suffix}"
rootdn "{admin}"
rootpw admin
directory {folder}/db
overlay ppolicy
ppolicy_default "cn=default,{policies}"
limits dn.exact="{narrow}" size=1

access to dn.exact="cn=oculto,{groups}" attrs=member by * none
# Not for the manual: without it nobody is sent on to other servers, and a portal's own attributes.
access to dn.subtree="{people}" attrs=ref by dn.exact="{service}" read
access to dn.subtree="{people}" attrs=portalPassword by dn.exact="{service}" write
access to dn.subtree="{people}" attrs=portalActive by dn.exact="{service}" read
{manual}
access to attrs=userPassword by anonymous auth
access to * by * none
"""


class Slapd:
    """One server; ``add`` and ``set`` act as its administrator."""

    def __init__(self, folder: Path, program: str, authority: Authority) -> None:
        self.port, self.tls_port = free_port(), free_port()
        self.plain = f"ldap://127.0.0.1:{self.port}"
        self.url = f"ldaps://127.0.0.1:{self.tls_port}"
        self.ca = authority.cert
        certificate = authority.sign("IP:127.0.0.1", "DNS:localhost")
        (folder / "db").mkdir(parents=True)
        names = {"suffix": SUFFIX, "people": PEOPLE, "groups": GROUPS, "policies": POLICIES}
        accounts = {"service": SERVICE, "narrow": NARROW, "admin": _ADMIN, "folder": folder}
        files = {"ca": self.ca, "cert": certificate.cert, "key": certificate.key}
        config = folder / "slapd.conf"
        everything = _CONFIG.format(**names, **accounts, **files, manual=_rules())
        config.write_text(everything, encoding="utf-8")
        # With -d it stays in the foreground, and ends with us.
        command = [program, "-d", "0", "-f", str(config), "-h", f"{self.plain} {self.url}"]
        self._process = subprocess.Popen(command)

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Filled and ready during the block, ended after it."""
        try:
            wait_for("127.0.0.1", self.tls_port, self._process)
            self._fill()
            yield self
        finally:
            stop(self._process)

    @property
    def settings(self) -> dict[str, str]:
        """What the manual tells an operator to write, for this server."""
        return recipe("OpenLDAP").settings | {
            "RESET_ACCOUNTS_URL": self.url,
            "RESET_ACCOUNTS_LDAP_CA": str(self.ca),
            "RESET_ACCOUNTS_LDAP_BIND_PASSWORD": SERVICE_PASSWORD,
        }

    def connect(self) -> socket.socket:
        """A connection to the port without TLS."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def add(self, dn: str, **attributes: Any) -> str:
        """A new entry; each attribute is a text or a list of them. Returns *dn*."""
        with self._admin() as connection:
            connection.add_s(dn, addModlist({k: _values(v) for k, v in attributes.items()}))
        return dn

    def person(self, uid: str = "ana", **attributes: Any) -> str:
        """A person; returns the DN."""
        given = {
            "objectClass": ["inetOrgPerson", "portalPerson"],
            "cn": "Ana Pérez",
            "sn": "Pérez",
            "mail": f"{uid}@example.com",
            "userPassword": "Viejita-2019",
        }
        dn = attributes.pop("dn", f"uid={escape_dn_chars(uid)},{PEOPLE}")
        wanted = {"uid": uid} | given | attributes
        return self.add(dn, **{k: v for k, v in wanted.items() if v is not None})

    def policy(self, **attributes: str) -> str:
        """A password policy for ``pwdPolicySubentry``; returns the DN."""
        name = "-".join(attributes)
        classes = ["person", "pwdPolicy"]
        given = {"cn": name, "sn": name, "pwdAttribute": "userPassword"}
        return self.add(f"cn={name},{POLICIES}", objectClass=classes, **given, **attributes)

    def set(self, dn: str, **attributes: Any) -> None:
        """Replace attributes; None removes one."""
        changes = [
            (ldap.MOD_REPLACE, name, None if value is None else _values(value))
            for name, value in attributes.items()
        ]
        with self._admin() as connection:
            connection.modify_s(dn, changes)

    def move(self, dn: str, rdn: str, to: str = PEOPLE) -> str:
        """Rename an entry; returns the new DN."""
        with self._admin() as connection:
            connection.rename_s(dn, rdn, to)
        return f"{rdn},{to}"

    def delete(self, dn: str) -> None:
        """Remove an entry."""
        with self._admin() as connection:
            connection.delete_s(dn)

    def read(self, dn: str, attribute: str) -> list[bytes]:
        """The values of an attribute, operational ones included."""
        with self._admin() as connection:
            found = connection.search_s(dn, ldap.SCOPE_BASE, attrlist=[attribute])
        return list(found[0][1].get(attribute, []))

    def lets_in(self, dn: str, password: str) -> bool:
        """Whether the person signs in with *password*."""
        try:
            self._as(dn, password).unbind_s()
        except ldap.INVALID_CREDENTIALS:
            return False
        return True

    def clear(self) -> None:
        """Remove all people, groups and policies that tests made."""
        with self._admin() as connection:
            connection.set_option(ldap.OPT_SERVER_CONTROLS, [ldap.controls.ManageDSAITControl()])
            for base in (PEOPLE, GROUPS, POLICIES):
                found = connection.search_s(base, ldap.SCOPE_SUBTREE, attrlist=["1.1"])
                for dn in sorted((dn for dn, _ in found), key=len, reverse=True):
                    if dn not in (base, f"cn=default,{POLICIES}"):
                        connection.delete_s(dn)

    @contextmanager
    def _admin(self) -> Iterator[Any]:
        connection = self._as(_ADMIN, "admin")
        try:
            yield connection
        finally:
            connection.unbind_s()

    def _as(self, dn: str, password: str) -> Any:
        connection = ldap.initialize(self.plain)
        connection.set_option(ldap.OPT_REFERRALS, 0)
        connection.simple_bind_s(dn, password)
        return connection

    def _fill(self) -> None:
        self.add(SUFFIX, objectClass=["dcObject", "organization"], o="Caja", dc="caja")
        for base in (PEOPLE, GROUPS, POLICIES, f"ou=servicios,{SUFFIX}"):
            self.add(base, objectClass="organizationalUnit")
        for dn in (SERVICE, NARROW, READER):
            self.add(dn, objectClass="person", sn="reset", userPassword=SERVICE_PASSWORD)
        self.add(
            f"cn=default,{POLICIES}",
            objectClass=["person", "pwdPolicy"],
            sn="default",
            pwdAttribute="userPassword",
            pwdInHistory="3",
            pwdMinLength="8",
            pwdCheckQuality="2",
            pwdLockout="TRUE",
            pwdMaxFailure="3",
        )


def _rules() -> str:
    """The rules of the manual, and what the other accounts have of them."""
    manual = recipe("OpenLDAP").rules
    writes, reads = (f'  by dn.exact="{SERVICE}" {right}\n' for right in ("=w", "read"))
    narrow = manual.replace(writes, writes + writes.replace(SERVICE, NARROW))
    others = "".join(reads.replace(SERVICE, other) for other in (NARROW, READER))
    return narrow.replace(reads, reads + others)


def _values(value: Any) -> list[bytes]:
    values = value if isinstance(value, list) else [value]
    return [one if isinstance(one, bytes) else str(one).encode() for one in values]
