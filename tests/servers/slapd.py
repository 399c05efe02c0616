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

from tests.recipes import recipe
from tests.servers import free_port, stop, wait_for
from tests.servers.certificates import Authority
from tests.servers.directory import DirectoryServer

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


class Slapd(DirectoryServer):
    """One server; ``add`` and ``set`` act as its administrator."""

    people = PEOPLE
    administrator = (_ADMIN, "admin")

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
        return self.add(dn, **wanted)

    def policy(self, **attributes: str) -> str:
        """A password policy for ``pwdPolicySubentry``; returns the DN."""
        name = "-".join(attributes)
        classes = ["person", "pwdPolicy"]
        given = {"cn": name, "sn": name, "pwdAttribute": "userPassword"}
        return self.add(f"cn={name},{POLICIES}", objectClass=classes, **given, **attributes)

    def lets_in(self, dn: str, password: str) -> bool:
        """Whether the person signs in with *password*."""
        return self._signs_in(dn, password)

    def clear(self) -> None:
        """Remove all people, groups and policies that tests made."""
        for base in (PEOPLE, GROUPS, POLICIES):
            self._remove_below(base, f"cn=default,{POLICIES}")

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
