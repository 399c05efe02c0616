"""The door of the help desk: operators, their passwords and sessions."""

from __future__ import annotations

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import hidden

PASSWORD = "Tres-Canoas-Bajo-Lluvia"


def add(app: Flask, name: str = "marta", password: str = PASSWORD) -> None:
    """Through the command, as an operator of the service does."""
    told = app.test_cli_runner().invoke(args=["reset", "operators", "add", name], input=password)
    assert told.exit_code == 0, told.output


def sign_in(
    client: FlaskClient, name: str = "marta", password: str = PASSWORD, **headers: str
) -> TestResponse:
    """Open the page and send its form."""
    token = hidden(client.get("/ayuda/entrar").text, "csrf_token")
    data = {"name": name, "password": password, "csrf_token": token}
    return client.post("/ayuda/entrar", data=data, headers=headers)


def test_operator_signs_in(app: Flask) -> None:
    """With name and password, upper case or not in the name."""
    add(app)
    client = app.test_client()
    answer = sign_in(client, " Marta")
    assert (answer.status_code, answer.location) == (303, "/ayuda/")
    page = client.get("/ayuda/")
    assert page.status_code == 200
    assert "marta" in page.text
