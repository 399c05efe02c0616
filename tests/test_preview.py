"""Mails to look at before anybody gets one."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from pathlib import Path

from flask import Flask

from tests.conftest import Portal, Visitor


def preview(app: Flask, folder: Path) -> list[Path]:
    """What `flask reset mail preview` wrote."""
    told = app.test_cli_runner().invoke(args=["reset", "mail", "preview", str(folder)])
    assert told.exit_code == 0, told.output
    return [Path(line) for line in told.output.splitlines()]


def test_every_mail_can_be_looked_at_before_it_is_sent(
    app: Flask, portal: Portal, tmp_path: Path
) -> None:
    """Each in each language and form, without any account; a second time replaces the first."""
    with portal.down():
        names = {path.name for path in preview(app, tmp_path / "mails")}
    assert names == {path.name for path in preview(app, tmp_path / "mails")}
    assert names == {path.name for path in (tmp_path / "mails").iterdir()}
    kinds = (
        *("reset_link", "reset_link-several", "reset_link-nameless", "password_changed"),
        *("digest", "test"),
    )
    assert names == {
        f"{language}-{kind}.{form}"
        for language in ("es", "en")
        for kind in kinds
        for form in ("html", "txt", "eml")
    }


def test_preview_is_what_would_be_sent(app: Flask, tmp_path: Path) -> None:
    """The .eml is a whole mail, whose two parts are the other two files."""
    preview(app, tmp_path)
    mail = message_from_bytes((tmp_path / "es-reset_link.eml").read_bytes(), policy=policy.default)
    assert mail["From"] == '"Hanna, Soporte" <no-responder@example.com>'
    assert mail["To"] == "muestra@example.com"
    for kind, form in (("plain", "txt"), ("html", "html")):
        part = mail.get_body((kind,))
        assert part is not None
        written = (tmp_path / f"es-reset_link.{form}").read_text("utf-8")
        assert part.get_content().splitlines() == written.splitlines()


def test_preview_speaks_the_language_of_each_mail(app: Flask, tmp_path: Path) -> None:
    """Its sample facts, too, as far as the service words them."""
    preview(app, tmp_path)
    changed = (tmp_path / "en-password_changed.txt").read_text("utf-8")
    assert "From: Chrome on Android, network 203.0.x.x" in changed


def test_preview_opens_nothing(visitor: Visitor, tmp_path: Path) -> None:
    """Its links are as long as real ones, say that they are samples, and are dead."""
    preview(visitor.app, tmp_path)
    body = (tmp_path / "es-reset_link.txt").read_text("utf-8")
    (link,) = re.findall(r"http://localhost:5000(/nueva/muestra-\S+)", body)
    assert len(link) == len("/nueva/") + 57
    assert visitor.client.get(link).status_code == 410


def test_preview_that_cannot_be_written_is_one_line(app: Flask, tmp_path: Path) -> None:
    """No traceback for what an operator can mend."""
    (tmp_path / "mails").write_text("a file")
    told = app.test_cli_runner().invoke(args=["reset", "mail", "preview", f"{tmp_path}/mails"])
    assert told.exit_code == 1
    assert told.output == f"Error: {tmp_path}/mails cannot be written (File exists)\n"
