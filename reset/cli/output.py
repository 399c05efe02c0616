"""What commands share: the option for programs, and what is said when the database is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from reset.errors import StoreUnavailable

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@contextmanager
def told_when_down() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as error:
        raise click.ClickException(f"the service's database does not answer ({error})") from error
