"""`deploy/install.sh` on a Debian that systemd runs: first, again, and with a new version."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pip
import pytest

from tests.conftest import ADDRESS, NEW_PASSWORD, Portal, leave_out, program
from tests.servers.certificates import Authority
from tests.servers.front import Visitor
from tests.servers.machine import Machine, booted
from tests.servers.service import ROOT, Client, until
from tests.servers.smtp import Sink, link_in, serving

SETTINGS = "etc/restablecer/settings.env"
KEYS = "etc/restablecer/secret_keys"
UNITS = ("restablecer.socket", "restablecer-web.service", "restablecer-worker.service")
# A portal in a file is written by the web: docs/install.md.
DROP_IN = "[Service]\nReadWritePaths=/srv/portal\n"


@dataclass
class Site:
    """A machine with the service on it, as install.sh left it after a first and a second run."""

    machine: Machine
    portal: Portal
    sink: Sink
    tls: ssl.SSLContext
    wheels: Path
    said: list[str]

    def install(self, source: Path = ROOT, status: int = 0, **environ: str) -> str:
        """Run install.sh of the code in *source*; what it says."""
        # The machine has no network: pip's own settings name a folder instead of an index.
        settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), **environ}
        given = [f"{name}={value}" for name, value in settings.items()]
        return self.machine.run("env", *given, f"{source}/deploy/install.sh", status=status)

    def client(self, address: str = "127.0.0.1") -> Client:
        """A visitor on the machine itself."""
        keys = [(self.machine.root / KEYS).read_text().strip()]
        return Visitor(443, self.tls, "/restablecer", address, keys)

    @property
    def settings(self) -> Path:
        return self.machine.root / SETTINGS


@pytest.fixture(scope="module")
def site(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, what = tmp_path_factory.mktemp("machine"), "the tests of install.sh"
    program(what, "nginx", "nginx")
    program(what, "systemd", "systemd-analyze")
    unshare = [program(what, "util-linux", "unshare"), "--mount", "true"]
    if subprocess.run(unshare, capture_output=True, check=False).returncode:
        leave_out(what, "run as root: they start a systemd of their own")
    wheels = tmp_path_factory.mktemp("wheels")
    download = ["/usr/bin/python3", str(Path(pip.__file__).parent), "download", "--quiet"]
    required = ["--require-hashes", "--no-deps", "-r", f"{ROOT}/requirements.txt"]
    subprocess.run([*download, "--dest", wheels, *required], check=True, capture_output=True)
    tls, sink = ssl.create_default_context(cafile=authority.cert), Sink()
    with booted(folder) as machine, ExitStack() as stack:
        with machine.network():
            stack.enter_context(serving(sink, 25))
        portal = _portal(machine, tmp_path_factory.mktemp("portal"))
        made = Site(machine, portal, sink, tls, wheels, [])
        made.said.append(made.install(PUBLIC_URL="https://localhost/restablecer"))
        _fill_in(made, authority)
        made.said.append(made.install())
        yield made


def _portal(machine: Machine, folder: Path) -> Portal:
    (machine.root / "srv/portal").mkdir()
    machine.run("mount", "--bind", str(folder), "/srv/portal")
    portal = Portal(folder / "portal.sqlite")
    portal.add()
    return portal


def _fill_in(site: Site, authority: Authority) -> None:
    text = site.settings.read_text().replace("oficina.example", "caja.test")
    text = text.replace("/srv/hanna/", "/srv/portal/")
    text = re.sub("RESET_BRAND_NAME=.*", "RESET_BRAND_NAME='Caja \"Uno\" # 1'", text)
    text += "RESET_LIMIT_PER_ADDRESS=1000 per hour\n"
    site.settings.write_text(text)
    site.machine.run("chown", "-R", "restablecer:", "/srv/portal")
    folder = site.machine.root / "etc/systemd/system/restablecer-web.service.d"
    folder.mkdir()
    (folder / "accounts.conf").write_text(DROP_IN)
    live = site.machine.root / "etc/letsencrypt/live/localhost"
    live.mkdir(parents=True)
    certificate = authority.sign("DNS:localhost")
    shutil.copy(certificate.cert, live / "fullchain.pem")
    shutil.copy(certificate.key, live / "privkey.pem")
    trusted = site.machine.root / "etc/ssl/certs/ca-certificates.crt"
    trusted.write_text(trusted.read_text() + authority.cert.read_text())


def test_first_run_names_what_is_to_be_filled_in(site: Site) -> None:
    """What still is the example's, and not what the script knows."""
    assert "RESET_MAIL_DEFAULT_SENDER\n" in site.said[0]
    assert "RESET_PUBLIC_URL\n" not in site.said[0]


def test_doctor_ends_an_installation(site: Site) -> None:
    """With the settings filled in, what the script has set up is well."""
    assert "all is well" in site.said[1]


def test_key_is_never_shown(site: Site) -> None:
    """It is made once, is strong, and belongs to the service's group alone."""
    keys = site.machine.root / KEYS
    assert len(keys.read_text().strip()) == 64
    assert keys.read_text().strip() not in "".join(site.said)
    assert keys.stat().st_mode & 0o777 == 0o640


def test_visitor_sets_a_password(site: Site) -> None:
    """Web and worker do their work in all their restrictions."""
    with site.machine.network(), site.client() as client:
        assert client.ask(ADDRESS).status == 303
        until(lambda: site.sink.envelopes)
        assert client.set_password(link_in(site.sink.mail())).status == 303
    assert site.portal.lets_in(1, NEW_PASSWORD)


def test_value_with_quotes_is_read_as_it_stands(site: Site) -> None:
    """One reader for the settings, whoever starts the service."""
    with site.machine.network(), site.client() as client:
        assert "Caja &#34;Uno&#34; # 1" in client.get("/").body


def test_units_are_sound_and_shut_in(site: Site) -> None:
    """systemd finds nothing wrong, and little that the service could harm."""
    assert site.machine.run("systemd-analyze", "verify", *UNITS) == ""
    for unit in UNITS[1:]:
        site.machine.run("systemd-analyze", "security", "--threshold=13", unit)


def test_commands_leave_nothing_to_root(site: Site) -> None:
    """The operator's command works as the service's user, and its files are for nobody else."""
    site.machine.run("restablecer", "mail", "preview", "/srv/portal/mails")
    where = ["/srv/portal/mails", "/var/lib/restablecer"]
    made = site.machine.run("find", *where, "-type", "f", "-printf", "%u %m\n")
    assert set(made.splitlines()) == {"restablecer 600"}


def test_second_run_changes_nothing(site: Site) -> None:
    """Settings, key, code, units and nginx's files stay, and so does what was changed in them."""
    proxy = site.machine.root / "etc/nginx/snippets/restablecer-proxy.conf"
    proxy.write_text(proxy.read_text() + "# ours\n")
    sums = "sha256sum /etc/restablecer/* /etc/nginx/*/* /etc/systemd/system/rest* 2>/dev/null"
    before = site.machine.run("sh", "-c", sums, status=None)
    said = site.install()
    assert "wrote" not in said
    assert "kept /etc/nginx/snippets/restablecer-proxy.conf" in said
    after = site.machine.run("sh", "-c", sums, status=None)
    assert {*after.splitlines()} - {*before.splitlines()} == {
        line for line in after.splitlines() if line.endswith(".new")
    }


def test_refused_settings_stop_nothing_that_runs(site: Site) -> None:
    """Neither an installation nor a reload ends the service for a slip in its settings."""
    good = site.settings.read_text()
    site.settings.write_text(good + "RESET_NO_SUCH=1\n")
    assert "there is no such setting" in site.install(status=3)
    site.machine.run("systemctl", "reload", "restablecer-web", status=1)
    site.settings.write_text(good)
    with site.machine.network(), site.client() as client:
        assert client.get("/").status == 200
    site.machine.run("systemctl", "reload", "restablecer-web")


@pytest.mark.long
def test_portal_on_the_same_host_gets_the_line_for_it(site: Site) -> None:
    """Where another site serves the host none is added; the operator is told what to write."""
    enabled = site.machine.root / "etc/nginx/sites-enabled"
    (enabled / "restablecer.conf").rename(enabled.parent / "away")
    (enabled / "portal").write_text("server { server_name www.example.org localhost; }")
    said = site.install()
    assert "    include snippets/restablecer.conf;\n" in said
    assert not (enabled / "restablecer.conf").exists()
    (enabled / "portal").unlink()
    (enabled.parent / "away").rename(enabled / "restablecer.conf")
    site.machine.run("systemctl", "reload", "nginx")


@pytest.mark.long
def test_works_where_systemd_does_not(site: Site) -> None:
    """In a container everything is written, and the operator is told what remains."""
    hide = "mount -t tmpfs tmpfs /run/systemd && NGINX=no exec "
    script = f"{hide} {ROOT}/deploy/install.sh"
    assert "systemd does not run here" in site.machine.run("unshare", "-m", "sh", "-c", script)


@pytest.mark.long
def test_upgrade_fails_nobody(site: Site, tmp_path: Path) -> None:
    """A new version takes over while visitors keep asking, and the one before is kept."""
    source = tmp_path / "new"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".venv", ".git", "instance"))
    page = source / "templates/base.html"
    page.write_text(page.read_text() + "<!-- new -->")
    over, statuses = threading.Event(), Counter[int]()

    def keep_asking() -> None:
        for turn in range(1, 250):
            with site.client(f"127.0.9.{turn}") as client:
                statuses.update([client.ask(f"nadie{turn}@caja.test").status])
            if over.wait(0.1):
                return

    with site.machine.network():
        thread = threading.Thread(target=keep_asking)
        thread.start()
        site.install(source)
        over.set()
        thread.join()
        assert set(statuses) == {303}
        with site.client() as client:
            assert "<!-- new -->" in client.get("/").body
    assert len([*(site.machine.root / "opt/restablecer/releases").iterdir()]) == 2
