"""The mails, looked at and tried: `flask reset mail`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from email.utils import make_msgid, parseaddr
from pathlib import Path

import click
from flask import current_app

from reset.cli.output import echo_json, json_option, recipient, told
from reset.cli.root import commands
from reset.doctor import Case
from reset.doctor.mail import dialogue
from reset.language import configured
from reset.mail.samples import letters, trial
from reset.service import service


@commands.group()
def mail() -> None:
    """Look after the mails."""


@mail.command("preview")
@click.argument("folder", required=False, metavar="[DIR]")
def preview_mails(folder: str | None) -> None:
    """Write each mail, in each language, as .html, .txt and .eml files with sample facts.

    DIR is made if need be (default: instance/mail-preview); files of an earlier preview are
    replaced. Nothing is sent.
    """
    parts = service()
    target = Path(folder or Path(current_app.instance_path) / "mail-preview")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for language in configured():
            sample = letters(parts.public_url, parts.link_lifetime, language, now=datetime.now(UTC))
            for name, letter in sample.items():
                message = parts.compose(letter)
                _write(target / f"{language}-{name}.html", str(message.html).encode())
                _write(target / f"{language}-{name}.txt", str(message.body).encode())
                _write(target / f"{language}-{name}.eml", message.as_bytes())
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written ({error.strerror})") from error


@mail.command("send-test")
@click.argument("address")
@json_option
def send_test(address: str, as_json: bool) -> None:
    """Send one mail to ADDRESS through the configured server, and tell each step.

    It is marked as a test in its subject and looks like the others; nothing in it can be opened.
    Ends with status 1 if the server did not take it. Where it goes from there, its log knows.
    """
    parts, to = service(), recipient(address)
    sender = parseaddr(parts.settings.mail.default_sender)[1]
    message_id = make_msgid(domain=sender.rpartition("@")[2])
    letter = trial(to, configured()[0], message_id, now=parts.clock())
    case = Case(current_app._get_current_object(), parts, to)  # type: ignore[attr-defined]
    found = []
    for finding in dialogue(case, parts.compose(letter).as_bytes()):
        found.append(finding)
        if not as_json:
            click.echo(told(finding))
    if as_json:
        echo_json([asdict(finding) for finding in found])
    if found[-1].level != "ok":
        sys.exit(1)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    click.echo(path)
