"""The whole flow in a browser on each kind of store, whose own log-in takes the new password."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.conftest import Demo, Opener, ask_for_link, link_in_mail, mail_of, running_demo
from tests.conftest import ADDRESS, ENVIRON, OLD_PASSWORD, Ask
from tests.stores import Store

if TYPE_CHECKING:  # They need python-ldap.
    from tests.servers.samba import Samba
    from tests.servers.slapd import Slapd

NEW_PASSWORD = " Lluvia-Canoa-Guitarra 7ñ"
# Of the demo's own portal nothing may be left.
CLEARED = {name: "" for name in ENVIRON if "_ACCOUNTS_" in name}
LogIn = Callable[[str], bool]


@pytest.mark.parametrize("store", ["postgresql", "mysql"], indirect=True)  # The demo is SQLite.
def test_sql(store: Store, new_context: Opener, php: Ask, tmp_path: Path) -> None:
    """PHP's password_verify() over the row of PostgreSQL or MariaDB."""
    ana = store.add()
    reset_everything(
        new_context(),
        tmp_path,
        store.settings,
        lambda password: php("php", password, store.row(ana).clave),
    )


def reset_everything(
    context: BrowserContext, folder: Path, settings: dict[str, str], logs_in: LogIn
) -> None:
    """From the form to the confirmation, over *settings*; *logs_in* asks the store itself."""
    assert logs_in(OLD_PASSWORD)
    with running_demo(folder / "demo", CLEARED | settings) as demo:
        page = context.new_page()
        page.goto(demo.service)
        ask_for_link(demo, page, ADDRESS.upper())
        set_password(context, demo)
        with mail_of(context, demo, ADDRESS, "actualizada") as mail:
            expect(mail.frame_locator("iframe").locator("body")).to_contain_text("ana.perez")
    assert logs_in(NEW_PASSWORD)
    assert not logs_in(OLD_PASSWORD)


def set_password(context: BrowserContext, demo: Demo) -> None:
    page = context.new_page()
    page.goto(link_in_mail(context, demo, ADDRESS))
    page.get_by_label("Nueva Contraseña", exact=True).fill(NEW_PASSWORD)
    page.get_by_label("Confirmar Contraseña", exact=True).fill(NEW_PASSWORD)
    page.get_by_role("button", name="Actualizar Contraseña").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Contraseña actualizada")


def test_openldap(slapd: Slapd, new_context: Opener, tmp_path: Path) -> None:
    """The person binds with the new password."""
    ana = slapd.person("ana.perez", mail=ADDRESS)
    group = slapd.settings["RESET_ACCOUNTS_LDAP_EXCLUDE_GROUPS"]
    slapd.add(group, objectClass="groupOfNames", member="cn=nadie")
    reset_everything(new_context(), tmp_path, slapd.settings, partial(slapd.lets_in, ana))


def test_active_directory(samba: Samba, new_context: Opener, tmp_path: Path) -> None:
    """The person signs in to the domain with the new password."""
    samba.person("ana.perez", OLD_PASSWORD, mail=ADDRESS)
    samba.add(
        samba.settings["RESET_ACCOUNTS_LDAP_EXCLUDE_GROUPS"].partition(";")[0], objectClass="group"
    )
    logs_in = partial(samba.lets_in, "ana.perez")
    reset_everything(new_context(), tmp_path, samba.settings, logs_in)
