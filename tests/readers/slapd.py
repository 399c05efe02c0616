"""A real slapd with a few entries, that answers whether a bind succeeds."""

from __future__ import annotations

import base64
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tests.conftest import program

BASE = "dc=example,dc=com"
CONFIGURATION = """
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload pw-sha2
database mdb
suffix {BASE}
directory {folder}
maxsize 10485760
"""
TOP = f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Hanna\n\n"


@contextmanager
def directory(stored: Iterable[str]) -> Iterator[Callable[[int, str], bool]]:
    """Entries 0, 1, 2... with these userPasswords; whether the password binds as an entry."""
    server = program("the slapd tests", "slapd", "slapd")
    program("the slapd tests", "ldap-utils", "ldapwhoami")
    # Not pytest's folder: the path of a socket may have no more than a hundred letters.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = folder / "slapd.conf"
        settings.write_text(CONFIGURATION.format(BASE=BASE, folder=folder))
        entries = TOP + "".join(map(_entry, range(10**6), stored))
        loader = program("the slapd tests", "slapd", "slapadd")
        subprocess.run([loader, "-f", settings], input=entries, text=True, check=True)
        url = f"ldapi://{quote(str(folder / 'socket'), safe='')}"
        process = subprocess.Popen([server, "-d", "0", "-f", settings, "-h", url])
        try:
            _wait(url)
            yield lambda number, password: _binds(url, f"cn={number},{BASE}", password)
        finally:
            process.terminate()
            process.wait(10)


def _entry(number: int, stored: str) -> str:
    secret = base64.b64encode(stored.encode()).decode()
    return f"dn: cn={number},{BASE}\nobjectClass: person\nsn: {number}\nuserPassword:: {secret}\n\n"


def _wait(url: str) -> None:
    until = time.monotonic() + 10
    while not _binds(url, "", "") and time.monotonic() < until:
        time.sleep(0.05)  # It says nowhere that it is ready.


def _binds(url: str, dn: str, password: str) -> bool:
    command = ["ldapwhoami", "-x", "-H", url, "-D", dn, "-w", password]
    return subprocess.run(command, capture_output=True, timeout=10).returncode == 0
