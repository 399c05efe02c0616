"""Samba as a domain controller, with a service account that may reset passwords, no more.

Its ports are fixed; an address of its own in 127.0.0.0/8 keeps them out of everybody's way.
"""

from __future__ import annotations

import os
import random
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import ldap
from ldap.dn import escape_dn_chars

from tests.recipes import recipe
from tests.servers import stop, wait_for
from tests.servers.certificates import Authority
from tests.servers.directory import DirectoryServer

DOMAIN = "DC=caja,DC=example"
PEOPLE = f"OU=Personas,{DOMAIN}"
SERVICE = "svc-reset@caja.example"
SERVICE_PASSWORD = "Serv1cio-Clave-77"
FIRST_PASSWORD = "Viejita-2019"
ADMIN_PASSWORD = "Adm1n-Secreta-9"

_CONFIG = """
[global]
netbios name = DC1
realm = CAJA.EXAMPLE
workgroup = CAJA
server role = active directory domain controller
server services = ldap
interfaces = {address}/8
bind interfaces only = yes
private dir = {folder}/private
lock directory = {folder}
state directory = {folder}/state
cache directory = {folder}/cache
pid directory = {folder}
ncalrpc dir = {folder}/ncalrpc
winbindd socket directory = {folder}/winbindd
ntp signd socket directory = {folder}/ntp
log file = {folder}/log.%m
# For an hour the old password would go on being good, too.
old password allowed period = 0
# A temporary folder need not keep extended attributes.
vfs objects = dfs_samba4 acl_xattr xattr_tdb
tls keyfile = {key}
tls certfile = {cert}
tls cafile = {ca}
"""


class Samba(DirectoryServer):
    """One domain; ``add`` and ``set`` act as its administrator."""

    people = PEOPLE
    administrator = ("Administrator@caja.example", ADMIN_PASSWORD)

    def __init__(self, folder: Path, samba: str, tool: str, authority: Authority) -> None:
        # Processes that run at once need not agree on one.
        self.address = ".".join(["127", *(str(random.randint(2, 250)) for _ in range(3))])  # noqa: S311
        self.url = f"ldaps://{self.address}"
        self.ca = authority.cert
        self._tool = tool
        self._folder = folder
        self._config = folder / "smb.conf"
        self.certificate = authority.sign(f"IP:{self.address}", "IP:127.0.0.1", "DNS:localhost")
        self._program = samba

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Provisioned and ready during the block, ended after it."""
        self._provision()
        files = {"cert": self.certificate.cert, "key": self.certificate.key, "ca": self.ca}
        config = _CONFIG.format(address=self.address, folder=self._folder, **files)
        self._config.write_text(config, encoding="utf-8")
        self._delegate()
        command = [
            self._program,
            "-s",
            str(self._config),
            "-F",
            "--no-process-group",
            "-M",
            "single",
        ]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            wait_for(self.address, 636, server)
            yield self
        finally:
            stop(server)

    @property
    def settings(self) -> dict[str, str]:
        """What the manual tells an operator to write, for this server."""
        return recipe("Active Directory").settings | {
            "RESET_ACCOUNTS_URL": self.url,
            "RESET_ACCOUNTS_LDAP_CA": str(self.ca),
            "RESET_ACCOUNTS_LDAP_BIND_PASSWORD": SERVICE_PASSWORD,
        }

    def connect(self) -> socket.socket:
        """A connection with TLS."""
        plain = socket.create_connection((self.address, 636), timeout=30)
        trusted = ssl.create_default_context(cafile=str(self.ca))
        return trusted.wrap_socket(plain, server_hostname=self.address)

    def person(self, login: str = "ana", password: str = FIRST_PASSWORD, **attributes: Any) -> str:
        """A person; returns the DN."""
        given = {
            "objectClass": "user",
            "sAMAccountName": login,
            "userPrincipalName": f"{login}@caja.example",
            "displayName": "Ana Pérez",
            "mail": f"{login}@example.com",
            "userAccountControl": "512",
            "unicodePwd": f'"{password}"'.encode("utf-16-le"),
        }
        dn = attributes.pop("dn", f"CN={escape_dn_chars(login)},{PEOPLE}")
        return self.add(dn, **given | attributes)

    def set_password(self, dn: str, password: str) -> None:
        """As the administrator would."""
        self.set(dn, unicodePwd=f'"{password}"'.encode("utf-16-le"))

    def lets_in(self, login: str, password: str) -> bool:
        """Whether the person signs in with *password*."""
        return self._signs_in(f"{login}@caja.example", password)

    def clear(self) -> None:
        """Remove all that tests made."""
        self._remove_below(PEOPLE)

    def _as(self, name: str, password: str) -> Any:
        connection = ldap.initialize(self.url)
        connection.set_option(ldap.OPT_REFERRALS, 0)
        connection.set_option(ldap.OPT_X_TLS_CACERTFILE, str(self.ca))
        connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        connection.simple_bind_s(name, password)
        return connection

    def _provision(self) -> None:
        options = [
            "--realm=CAJA.EXAMPLE",
            "--domain=CAJA",
            "--server-role=dc",
            "--dns-backend=NONE",
        ]
        host = ["--host-name=dc1", "--host-ip=127.0.0.1", "--option=interfaces=lo"]
        attributes = "--option=vfs objects=dfs_samba4 acl_xattr xattr_tdb"
        first = self._folder / "first.conf"
        first.write_text(f"[global]\nlog file = {self._folder}/log\n", encoding="utf-8")
        where = [f"--targetdir={self._folder}", f"--configfile={first}", attributes]
        secret = f"--adminpass={ADMIN_PASSWORD}"
        self._run("domain", "provision", *options, *host, *where, secret)

    def _delegate(self) -> None:
        """What the manual tells: reset passwords below one unit, lift locks, ask for a new one."""
        own = self._own
        self._run("ou", "create", PEOPLE, *own)
        self._run("user", "create", SERVICE.partition("@")[0], SERVICE_PASSWORD, *own)
        (rights,) = re.findall(r'--sddl="(.*?)"', recipe("Active Directory").rules, re.DOTALL)
        rights = rights.replace("\\\n", "")
        self._grant(PEOPLE, rights)
        policy = ["--history-length=5", "--min-pwd-age=0", "--complexity=on", "--min-pwd-length=8"]
        lock = "--account-lockout-threshold=3"
        self._run("domain", "passwordsettings", "set", *policy, lock, *own)

    def hide_restrictions(self, dn: str) -> None:
        """Let the service read neither userAccountControl nor what belongs to it."""
        # The property set "Account Restrictions". Source: MS-ADTS, 3.1.1.2.3.3.
        self._grant(dn, "(OD;;RP;4c164200-20c0-11d0-a768-00aa006e0529;;SID)")

    @property
    def _own(self) -> list[str]:
        return ["--configfile", str(self._config), "-H", str(self._folder / "private" / "sam.ldb")]

    def _grant(self, dn: str, rights: str) -> None:
        """Give *rights*, in which SID stands for the service's account."""
        shown = self._run("user", "show", "svc-reset", "--attributes=objectSid", *self._own)
        sid = shown.partition("objectSid: ")[2].split()[0]
        sddl = f"--sddl={rights.replace('SID', sid)}"
        self._run("dsacl", "set", f"--objectdn={dn}", sddl, *self._own)

    def _run(self, *words: str) -> str:
        command = [self._tool, *words]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8"}
        )
        if done.returncode:
            raise AssertionError(f"{words[0]} {words[1]}: {done.stdout}{done.stderr}")
        return done.stdout
