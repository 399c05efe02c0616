"""The pages behind the door of the help desk."""

from __future__ import annotations

from flask import Blueprint, render_template

from reset.help_desk.access import require_operator


def add_to(pages: Blueprint) -> None:
    """Put the help desk's pages beside *pages*."""
    pages.get("/ayuda/", strict_slashes=False)(desk)
    pages.get("/ayuda/pendientes")(desk_pending)


def desk() -> str:
    """Where an operator begins."""
    require_operator()
    return render_template("help_desk/desk.html")


def desk_pending() -> str:
    """What waits for somebody."""
    require_operator()
    return render_template("help_desk/desk.html")
