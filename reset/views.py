"""The pages of the service: each view is a form, a call and an answer."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from werkzeug.wrappers import Response as AnyResponse

from reset import audit, files, language, metrics, texts
from reset.bearer import OpenLink
from reset.embed import may_be_framed, refuse_foreign_form
from reset.errors import CaptchaRefused, LinkUnknown, PasswordRefused
from reset.forms import PasswordForm, RequestForm, require_fields
from reset.help_desk import access
from reset.help_desk import views as help_desk
from reset.origin import coarse
from reset.policy import LONGEST
from reset.service import service

ALL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
pages = Blueprint("reset", __name__)
files.add_to(pages)
access.add_to(pages)
help_desk.add_to(pages)
# What a portal may show in a frame; the pages with a token never.
FRAMED = ("reset.request_reset", "reset.submit_request", "reset.request_sent")


@pages.app_url_defaults
def _carry_language(endpoint: str, values: dict[str, Any]) -> None:
    if endpoint not in files.ALL:  # They are the same in every language.
        for name, value in language.carried().items():
            values.setdefault(name, value)


# Without its last slash, too: the router's redirect there would follow the request's Host.
@pages.get("/", strict_slashes=False)
def request_reset() -> str | bytes:
    """The form for e-mail and captcha."""
    # What a server says of where we are mounted would be in the picture's address.
    if "email" in request.args or request.root_path:
        return _request_page(RequestForm(email=request.args.get("email", "")[:254]))
    return _blank_page()


@pages.post("/", strict_slashes=False)
def submit_request() -> str | AnyResponse:
    """Store a request; the answer is the same for every address."""
    parts = service()
    _accept_form("request", "email", "captcha", "challenge", optional="proof")
    form = RequestForm()
    if form.refresh.data:
        metrics.note("refreshed")
        return _refreshed(form)
    if not form.validate():
        metrics.note("address_invalid" if form.email.errors else "captcha_refused")
        return _request_page(form)
    try:
        _check_captcha(form)
    except CaptchaRefused:
        metrics.note("captcha_refused")
        form.refuse_captcha()
        return _request_page(form)
    allowed = parts.limits.allows_address(form.address)
    number = parts.flow.request(
        form.address,
        allowed=allowed,
        origin=_origin(),
        language=language.current(),
        now=parts.clock(),
    )
    return redirect(url_for(".request_sent", number=audit.spoken(number)), code=303)


@pages.get("/enviada/<number>")
def request_sent(number: str) -> str:
    """What happens next; looks nothing up, so that it tells nothing."""
    digits = audit.unspoken(number)
    if digits is None:
        abort(404)
    return render_template("reset/sent.html", number=audit.spoken(digits))


@pages.get("/nueva/<token>")
def open_link(token: str) -> str:
    """The form for a new password. Mail scanners open every link: this uses nothing up."""
    parts = service()
    parts.limits.count_client("link")
    opened = parts.bearer.open_link(token, now=parts.clock())
    return _password_page(PasswordForm(formdata=None), token, opened)


@pages.get("/nueva")
@pages.get("/no-fui-yo")
def missing_token() -> str:
    """The address bar after the token was taken out of it: reloading cannot work."""
    raise LinkUnknown


@pages.post("/nueva")
def new_password() -> str | AnyResponse:
    """Set the password; only success uses the link up."""
    parts = service()
    _accept_form("password", "token", "password", "confirm")
    form = PasswordForm()
    token = form.token.data
    if form.validate():
        try:
            parts.bearer.set_password(
                token, form.password.data, origin=_origin(), now=parts.clock()
            )
            return redirect(url_for(".done"), code=303)
        except PasswordRefused as refused:
            form.refuse(_sentences(refused.codes))
            opened = parts.bearer.open_link(token, now=parts.clock())
    else:
        opened = parts.bearer.open_link(token, now=parts.clock())
        if form.password.data:
            form.refuse(_sentences(parts.bearer.weaknesses(opened, form.password.data)))
    return _password_page(form, token, opened)


@pages.get("/lista")
def done() -> str:
    """The password was changed."""
    return render_template("reset/done.html")


@pages.get("/no-fui-yo/<token>")
def ask_denial(token: str) -> str:
    """Asks once; scanners that follow the link change nothing."""
    service().limits.count_client("link")
    language.use(service().bearer.check_denial(token, now=service().clock()))
    return render_template("reset/deny.html", token=token, action=url_for(".deny"))


@pages.post("/no-fui-yo")
def deny() -> str:
    """Close the open links of the account."""
    parts = service()
    _accept_form("deny", "token")
    parts.bearer.deny(request.form["token"], now=parts.clock())
    return render_template("reset/denied.html")


@pages.get("/.well-known/change-password")
def change_password() -> AnyResponse:
    """Where password managers send people. Source: W3C, well-known URL for changing passwords."""
    return redirect(url_for(".request_reset"), code=302)


@pages.get("/healthz")
def healthz() -> Response:
    """This process answers."""
    return Response("ok\n", mimetype="text/plain")


@pages.get("/readyz")
def readyz() -> Response:
    """Requests can be stored and a worker attends to the queue."""
    ready = service().flow.is_ready(now=service().clock())
    return Response(
        "ready\n" if ready else "not ready\n", 200 if ready else 503, None, "text/plain"
    )


# Whoever may not see it must find nothing here, by any method.
@pages.route("/metrics", methods=ALL_METHODS)
def show_metrics() -> Response:
    """Figures for Prometheus; only for the networks that the operator named."""
    if not service().metrics.allows(request.remote_addr or ""):
        abort(404)
    if request.method not in ("GET", "HEAD"):
        abort(405, valid_methods=("GET", "HEAD"))
    return Response(service().metrics.text(), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _accept_form(purpose: str, *names: str, optional: str = "") -> None:
    """What every form must pass before it is read."""
    service().limits.count_client(purpose)
    refuse_foreign_form(service().public_url)
    require_fields(*names, optional=optional)


def _check_captcha(form: RequestForm) -> None:
    parts = service()
    proof = form.proof.data or ""
    if proof:
        parts.limits.count_client("proof")
    right = False
    try:
        parts.flow.check_captcha(
            form.challenge.data, form.captcha.data, proof=proof, now=parts.clock()
        )
        right = True
    finally:
        parts.metrics.count_captcha(by_proof=bool(proof), right=right)


def _blank_page() -> bytes:
    """The form before anything is typed: of its visitor it has these two and nothing else."""
    parts = service()
    key = (language.spoken(), may_be_framed())
    challenge, puzzle = parts.captcha.issue_with_puzzle(now=parts.clock())
    return parts.kept.filled(
        key, lambda *values: _form_page(RequestForm(), *values), challenge, puzzle
    )


def _request_page(form: RequestForm, notice: str = "") -> str:
    challenge = form.shown_challenge
    return _form_page(form, challenge, service().captcha.puzzle(challenge), notice)


def _form_page(form: RequestForm, challenge: str, puzzle: str, notice: str = "") -> str:
    return render_template(
        "reset/request.html",
        form=form,
        challenge=challenge,
        puzzle=puzzle,
        captcha_length=service().captcha_length,
        framed=may_be_framed(),
        notice=notice,
    )


def _refreshed(form: RequestForm) -> str:
    """Other letters; the ones before are spent, so that they are right for nobody any more."""
    with suppress(CaptchaRefused):
        service().flow.check_captcha(form.challenge.data, "", now=service().clock())
    form.show_new_challenge()
    return _request_page(form, notice=texts.text("captcha_fresh"))


def _password_page(form: PasswordForm, token: str, opened: OpenLink) -> str:
    language.use(opened.language)
    profile = service().profile
    kinds = ("length", "upper", "lower", "digit") if profile.classes else ("length",)
    minimum = profile.min_length
    rules = [
        {"kind": kind, "text": texts.rule(kind, min_length=minimum), "min_length": minimum}
        for kind in kinds
    ]
    wanted = " required: upper; required: lower; required: digit;" if profile.classes else ""
    return render_template(
        "reset/new_password.html",
        form=form,
        token=token,
        login=opened.account.login,
        rules=rules,
        passwordrules=f"minlength: {minimum};{wanted}",
        action=url_for(".new_password"),
    )


def _sentences(codes: list[str]) -> list[str]:
    minimum = service().profile.min_length
    return [texts.text(code, min_length=minimum, max_length=LONGEST) for code in codes]


def _origin() -> str:
    return coarse(request.remote_addr or "", request.headers.get("User-Agent", ""))
