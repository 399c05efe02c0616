"""The demo portal "Hanna": a login page, a page behind it, and the reset service in an iframe."""

import argparse
import secrets
import sqlite3
from pathlib import Path

from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from werkzeug.serving import run_simple

from demo import accounts

WRONG = "El usuario o la contraseña no son correctos. Inténtelo de nuevo."
CLOSED = "Su cuenta está inactiva. Comuníquese con la línea de atención al cliente."

pages = Blueprint("portal", __name__)


def create_app(database: Path, service_url: str) -> Flask:
    """The portal over the accounts in *database*; *service_url* is where the reset service is."""
    app = Flask("demo")
    app.config.update(
        # A new key at each start: whoever was signed in signs in again.
        SECRET_KEY=secrets.token_bytes(32),
        SESSION_COOKIE_NAME="hanna_portal",
        SESSION_COOKIE_SAMESITE="Lax",
        ACCOUNTS_DATABASE=database,
        SERVICE_URL=service_url.rstrip("/"),
    )
    app.register_blueprint(pages)
    app.register_error_handler(404, missing)
    app.after_request(add_headers)
    return app


@pages.get("/")
def login() -> ResponseReturnValue:
    if signed_in():
        return redirect(url_for(".home"))
    return login_page()


@pages.post("/")
def sign_in() -> ResponseReturnValue:
    typed = request.form.get("usuario", "").strip()
    account = matching(typed, request.form.get("clave", ""))
    if account is None:
        return login_page(typed, WRONG)
    if not account["activo"]:
        return login_page(typed, CLOSED)
    session["account"] = account["id"]
    return redirect(url_for(".home"), code=303)


@pages.get("/inicio")
def home() -> ResponseReturnValue:
    account = signed_in()
    if account is None:
        return redirect(url_for(".login"))
    return render_template("portal/home.html", account=account, welcome=welcome(account["nombre"]))


@pages.post("/salir")
def sign_out() -> ResponseReturnValue:
    session.clear()
    return redirect(url_for(".login"), code=303)


@pages.get("/restablecer")
def reset() -> str:
    return render_template("portal/reset.html", service_url=current_app.config["SERVICE_URL"])


@pages.get("/restablecer-ajustado")
def fitted() -> str:
    """The frame as embed.js makes it, as high as what it shows."""
    return render_template("portal/fitted.html", service_url=current_app.config["SERVICE_URL"])


def login_page(typed: str = "", error: str = "") -> str:
    # Always with status 200: Chromium reports a page with 401 as an error on its console.
    service_url = current_app.config["SERVICE_URL"]
    return render_template("portal/login.html", typed=typed, error=error, service_url=service_url)


def matching(typed: str, password: str) -> sqlite3.Row | None:
    """The account that *typed* names and *password* opens; a shared mailbox has several."""
    found = accounts.find(current_app.config["ACCOUNTS_DATABASE"], typed)
    return next((row for row in found if accounts.check(password, row["clave"])), None)


def signed_in() -> sqlite3.Row | None:
    if "account" not in session:
        return None
    account = accounts.get(current_app.config["ACCOUNTS_DATABASE"], session["account"])
    return account if account and account["activo"] else None


def welcome(name: str) -> str:
    """The greeting that fits the first name; good enough for the people of the demo."""
    return "Bienvenida" if name.split()[0].endswith("a") else "Bienvenido"


def missing(error: Exception) -> tuple[str, int]:
    return render_template("portal/missing.html"), 404


def add_headers(response: Response) -> Response:
    # A portal with a policy of its own has to name the service in `frame-src`, and, for embed.js,
    # in `script-src`.
    service = current_app.config["SERVICE_URL"]
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none';"
        f" frame-ancestors 'none'; frame-src {service}/; script-src {service}/embed.js"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the demo portal.")
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--service-url", required=True)
    parser.add_argument("--port", type=int, default=5001)
    options = parser.parse_args()
    app = create_app(options.database, options.service_url)
    run_simple("127.0.0.1", options.port, app, threaded=True)


if __name__ == "__main__":
    main()
