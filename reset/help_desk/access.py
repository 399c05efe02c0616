"""The door of the help desk: who is there, signing in and out.

While there is no operator there is no help desk either: its addresses are unknown ones.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from flask import (
    Blueprint,
    abort,
    g,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask_babel import gettext as _
from flask_wtf.csrf import generate_csrf
from werkzeug.wrappers import Response as AnyResponse

from reset import texts
from reset.errors import OperatorRefused, RateLimited
from reset.help_desk import sessions
from reset.help_desk.forms import OperatorForm, SignInForm, accept_form
from reset.origin import coarse
from reset.service import service

log = logging.getLogger(__name__)


def add_to(pages: Blueprint) -> None:
    """Put the door beside *pages*, and hide all that lies behind it while nobody may enter."""
    pages.before_app_request(_hide_while_nobody_may_enter)
    pages.add_app_template_global(generate_csrf, "csrf_token")
    pages.get("/ayuda/entrar")(sign_in_page)
    pages.post("/ayuda/entrar")(sign_in)
    pages.post("/ayuda/salir")(sign_out)


def require_operator() -> str:
    """The name of the operator who is asking, for a view to call first; others see the door."""
    parts = service()
    if parts.user_header:
        g.operator = _vouched(request.headers.get(parts.user_header, ""))
        return str(g.operator)
    found = sessions.current(now=parts.clock())
    if found is None or not parts.operators.holds(*found):
        if "operator" in session:
            session.clear()
            session["over"] = True
        abort(redirect(url_for("reset.sign_in_page"), 303))
    g.operator = found[0]
    return found[0]


def sign_in_page() -> str | AnyResponse:
    """The form for name and password."""
    _refuse_where_a_proxy_vouches()
    if sessions.current(now=service().clock()):
        return redirect(url_for("reset.desk"), 303)  # Which sees whether it still is good.
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        # A link in webmail, say: the browser kept the cookie back, and a new one would replace it.
        page = render_template("help_desk/arrival.html")
        return make_response(page, {"Refresh": f"0; url={url_for('reset.desk')}"})
    notice = _("Su sesión terminó. Entre de nuevo.") if session.pop("over", False) else ""
    return render_template("help_desk/sign_in.html", form=SignInForm(), notice=notice)


def sign_in() -> AnyResponse:
    """Begin a session; the answer does not tell which of name and password was wrong."""
    _refuse_where_a_proxy_vouches()
    parts = service()
    form, status, headers = SignInForm(formdata=None), 200, {}
    try:
        parts.limits.count_client("sign_in")
        accept_form("name", "password")
        form = SignInForm()
        if form.validate():
            parts.limits.count_operator(form.name.data)
            name, seal = parts.operators.sign_in(
                form.name.data, form.password.data, origin=_origin(), now=parts.clock()
            )
            sessions.begin(name, seal, now=parts.clock())
            log.info("operator signed in", extra={"operator": name})
            return redirect(url_for("reset.desk"), 303)
    except OperatorRefused:
        log.warning("operator refused")
        form.form_errors = [_("El usuario o la contraseña no son correctos.")]
    except RateLimited as limited:
        wait = texts.duration(timedelta(seconds=limited.retry_after))
        form.form_errors = [_("Hubo demasiados intentos. Espere %(wait)s.", wait=wait)]
        status, headers = 429, {"Retry-After": str(limited.retry_after)}
    page = render_template("help_desk/sign_in.html", form=form)
    return make_response(page, status, headers)


def sign_out() -> AnyResponse:
    """End the sessions of the operator, here and elsewhere."""
    _refuse_where_a_proxy_vouches()
    accept_form()
    name = require_operator()
    if OperatorForm().validate():
        service().operators.sign_out(name, origin=_origin(), now=service().clock())
        session.clear()
        log.info("operator signed out", extra={"operator": name})
    return redirect(url_for("reset.sign_in_page"), 303)


def _hide_while_nobody_may_enter() -> None:
    if "/ayuda" not in request.path:  # Most pages: nothing else is asked for them.
        return
    parts = service()
    if sessions.is_desk(request.path, parts.public_url) and not parts.operators.may_anybody():
        abort(404)


def _refuse_where_a_proxy_vouches() -> None:
    if service().user_header:
        abort(404)


def _vouched(name: str) -> str:
    try:
        return service().operators.vouched(name)
    except OperatorRefused:
        abort(make_response(render_template("help_desk/stranger.html"), 403))


def _origin() -> str:
    return coarse(request.remote_addr or "", request.headers.get("User-Agent", ""))
