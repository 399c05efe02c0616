"""What answers visitors: pages, with their headers, errors and figures, and what stands before.

Commands, the mail worker among them, do without it: here is what only pages need.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

from reset import faults, files, mirror, texts
from reset.captcha import ALPHABET, audio, image
from reset.embed import Headers
from reset.help_desk.sessions import DeskSessions
from reset.logs import RequestIds
from reset.policy import is_common
from reset.service import Service
from reset.views import FRAMED, pages

log = logging.getLogger("reset.app")


def read_ahead() -> None:
    """Load what no setting changes and visitors need: who forks after it shares it with the others.

    Else each process reads at its first use, and keeps, dictionaries, languages, a voice and fonts.
    """
    is_common("Frailejon-2026")  # One that is not: only then all of them are asked.
    texts.duration(timedelta(hours=1))
    audio.load(audio.VOICE_DIR, ALPHABET)
    image.draw(ALPHABET[:8], b"")


def register(app: Flask, parts: Service) -> None:
    """Let *app* serve the pages of *parts*."""
    settings, public_url = parts.settings, parts.public_url
    app.url_map.merge_slashes = False  # A redirect would follow Host and X-Forwarded-Proto.
    trusted = settings.trusted_proxies > 0
    app.wsgi_app = RequestIds(app.wsgi_app, trusted=trusted)  # type: ignore[method-assign]
    if trusted:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, hops, hops, 0, 0, 0)  # type: ignore[method-assign]
    app.session_interface = DeskSessions(settings.secret_keys, public_url)
    app.register_blueprint(pages, url_prefix=settings.path or None)
    faults.register(app)
    app.after_request(_log_answer)
    parts.metrics.register(app, requests=FRAMED, files=files.ALL)
    keys, ancestors = settings.secret_keys, settings.frame_ancestors
    Headers(app, framed=FRAMED, lent=files.LENT, ancestors=ancestors, public_url=public_url)
    mirror.register(app, keys, public_url, user_header=parts.user_header, clock=parts.clock)


def _log_answer(response: Response) -> Response:
    if not log.isEnabledFor(logging.DEBUG):
        return response
    # Not the path, which may hold a link, but the rule that it follows.
    page = request.url_rule.rule if request.url_rule else "-"
    fields = {"method": request.method, "page": page, "status": response.status_code}
    log.debug("request done", extra=fields)
    return response
