"""The mails, looked at and tried: `flask reset mail`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from flask import current_app

from reset.cli.root import commands
from reset.language import configured
from reset.mail.samples import letters
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


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    click.echo(path)
