"""Accounts in the portal's own SQL database: PostgreSQL, MySQL, MariaDB or SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from reset.accounts.fields import Rule


@dataclass(frozen=True)
class Table:
    """Where the portal keeps what; `docs/portals.md` shows it for common portals.

    Attributes:
        id, email, password, login, name, active, personal: names of columns.
        table: a table or view, perhaps with its schema; or
        find_sql: a SELECT of all accounts that has these columns.
        update_sql: instead of an UPDATE of the table; with `:id`, `:password` (the new hash) and
            `:present` (the hash as it was read).
        after_change_sql: statements with `:id`, `:login`, `:email`, in the same transaction.
        assignments: further columns to set with the password: `failed_logins=0, updated_at=now`.
        exclude: which accounts get no link.
        scheme: how to hash where there is no usable hash to follow.
        upgrade: use *scheme* in place of weak ones, too.
    """

    url: str = field(repr=False)
    id: str
    email: str
    password: str
    table: str = ""
    find_sql: str = ""
    update_sql: str = ""
    after_change_sql: str = ""
    login: str | None = None
    name: str | None = None
    active: str | None = None
    personal: Sequence[str] = ()
    assignments: str = ""
    exclude: Sequence[Rule] = ()
    scheme: str = "auto"
    upgrade: bool = False

    @property
    def columns(self) -> list[str]:
        """Every column that is read, each once."""
        optional = (self.login, self.name, self.active, *self.personal)
        rules = (rule.field for rule in self.exclude)
        return sorted({self.id, self.email, self.password, *filter(None, optional), *rules})
