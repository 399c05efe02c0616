"""The pages behind the door of the help desk: the search, one request, and the twelve hours."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from flask import Blueprint, abort, make_response, redirect, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as AnyResponse

from reset import audit, texts
from reset.audit import Event, ResetRequest
from reset.errors import ActRefused, RateLimited
from reset.help_desk.access import require_operator
from reset.help_desk.acts import ACTS, DONE, REFUSED, ActForm, reasons
from reset.help_desk.answers import reading
from reset.help_desk.desk import Asked, Case, Found
from reset.help_desk.forms import SearchForm, accept_form
from reset.help_desk.standing import Judge, Standing
from reset.help_desk.timeline import lines, obstacle
from reset.mail.outbox import OVERDUE
from reset.policy import LONGEST
from reset.service import service


def add_to(pages: Blueprint) -> None:
    """Put the help desk's pages beside *pages*."""
    pages.get("/ayuda/", strict_slashes=False)(desk)
    pages.post("/ayuda/", strict_slashes=False)(desk_search)
    pages.get("/ayuda/solicitud/<number>")(desk_request)
    pages.post("/ayuda/solicitud/<number>")(desk_act)
    pages.get("/ayuda/pendientes")(desk_pending)


def desk() -> str:
    """Where an operator begins: the search."""
    require_operator()
    return render_template("help_desk/desk.html", form=SearchForm(formdata=None))


def desk_search() -> AnyResponse:
    """What there is to a number, an address or a login; in the body, as addresses get logged."""
    operator = require_operator()
    accept_form("q")
    parts, form = service(), SearchForm()
    if not form.validate():
        return _search_page(form)
    try:
        parts.limits.count_search(operator)
    except RateLimited as limited:
        wait = texts.duration(timedelta(seconds=limited.retry_after))
        form.form_errors = [_("Fueron demasiadas búsquedas seguidas. Espere %(wait)s.", wait=wait)]
        retry = {"Retry-After": str(limited.retry_after)}
        return _search_page(form, status=HTTPStatus.TOO_MANY_REQUESTS, headers=retry)
    found = parts.desk.search(form.q.data, operator, now=parts.clock())
    if found.kind == "number" and found.cases:
        number = audit.spoken(found.cases[0].request.number)
        return redirect(url_for("reset.desk_request", number=number), HTTPStatus.SEE_OTHER)
    return _search_page(form, found=found)


def desk_request(number: str) -> AnyResponse:
    """One request: how it stands, what to say, what happened, and what can be done."""
    return _request_page(number, require_operator(), done=request.args.get("hecho", ""))


def desk_act(number: str) -> AnyResponse:
    """Do one of the acts with a request."""
    operator = require_operator()
    accept_form("act", "seen", "why", "detail")
    form, digits = ActForm(), audit.unspoken(number)
    is_known = form.act.data in ACTS and re.fullmatch("[0-9]{1,6}", form.seen.data)
    if digits is None or not is_known:
        abort(HTTPStatus.BAD_REQUEST)
    if not form.validate():
        return _request_page(number, operator, form=form)
    parts = service()
    asked = Asked(digits, operator, form.reason, int(form.seen.data), now=parts.clock())
    try:
        _do(form.act.data, asked)
    except ActRefused as refused:
        return _request_page(number, operator, refused=refused.code)
    page = url_for("reset.desk_request", number=audit.spoken(digits), hecho=form.act.data)
    return redirect(page, HTTPStatus.SEE_OTHER)


def desk_pending() -> str:
    """What nobody took or used within twelve hours."""
    parts, now = service(), service().clock()
    lists = parts.desk.lists(require_operator(), now=now)
    return render_template(
        "help_desk/pending.html",
        lists=lists,
        spoken=audit.spoken,
        said=_judge(now).said,
        age=lambda moment: texts.age(now - moment),
        reading=reading,
    )


def _do(act: str, asked: Asked) -> None:
    parts = service()
    if act == "sent_again":
        parts.desk.send_again(asked)
    elif act == "links_cancelled":
        parts.desk.cancel_links(asked)
    elif act == "limit_cleared":
        parts.limits.clear_address(parts.desk.clear_limit(asked))
    else:
        parts.desk.attend(asked)


def _search_page(
    form: SearchForm,
    *,
    found: Found | None = None,
    status: int = HTTPStatus.OK,
    headers: dict[str, str] | None = None,
) -> AnyResponse:
    judge = _judge(service().clock())
    page = render_template(
        "help_desk/desk.html",
        form=form,
        found=found,
        cases=_stands(judge, found.cases) if found else [],
        obstacle=obstacle,
        spoken=audit.spoken,
        said=judge.said,
    )
    return make_response(page, status, headers or {})


def _request_page(
    number: str,
    operator: str,
    *,
    form: ActForm | None = None,
    refused: str = "",
    done: str = "",
) -> AnyResponse:
    parts, now = service(), service().clock()
    digits = audit.unspoken(number)
    seen = parts.desk.view(digits, operator, now=now) if digits else None
    if seen is None:
        search = SearchForm(formdata=None, q=number)
        return _search_page(search, found=Found("number", []), status=HTTPStatus.NOT_FOUND)
    case, others = seen
    judge = _judge(now)
    standing = judge.judge(case.request.events, case.due_at)
    page = render_template(
        "help_desk/request.html",
        search=SearchForm(formdata=None),
        number=audit.spoken(case.request.number),
        asked=case.request,
        standing=standing,
        lines=lines(_told(case, standing), min_length=parts.profile.min_length, max_length=LONGEST),
        others=_stands(judge, others),
        acts=_acts(case, standing, form, is_late=now - case.request.created_at >= OVERDUE),
        mend=form,
        now=texts.local_time(now, parts.timezone),
        refused=REFUSED.get(refused),
        done=DONE.get(done),
        spoken=audit.spoken,
        said=judge.said,
    )
    return make_response(page)


def _acts(
    case: Case, standing: Standing, sent: ActForm | None, *, is_late: bool
) -> list[dict[str, Any]]:
    """What can be done, each with a form: an empty one, or that which was *sent*, to be mended."""
    return [
        {
            "name": name,
            "words": words,
            "form": sent if sent and sent.act.data == name else ActForm(formdata=None),
            "reasons": reasons(name),
            "seen": sum(event.name == name for event in case.request.events),
            "open": name == (sent.act.data if sent else standing.helps),
        }
        for name, words in ACTS.items()
        if is_late or name != "attended"
    ]


def _told(case: Case, standing: Standing) -> list[Event]:
    """The trace, and the end of a link that nobody used, which nobody noted."""
    events = case.request.events
    if standing.expired_at is None:
        return events
    return sorted([*events, Event(standing.expired_at, "expired", {})], key=lambda event: event.at)


def _stands(judge: Judge, cases: list[Case]) -> list[tuple[ResetRequest, Standing]]:
    return [(case.request, judge.judge(case.request.events, case.due_at)) for case in cases]


def _judge(now: datetime) -> Judge:
    parts = service()
    return Judge(
        now=now,
        zone=parts.timezone,
        link_lifetime=parts.link_lifetime,
        min_length=parts.profile.min_length,
    )
