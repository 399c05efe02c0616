"""The service with planted leaks: what is typed before the @ says which one shows."""

from __future__ import annotations

import time

from flask import Flask, Response, request

from app import create_app

# Long enough for a slow machine to stand out, short enough for a few dozen requests.
DELAY_SECONDS = 0.05


def leaky() -> Flask:
    """`header`, `throttled`, `slow` and `next` leak; everybody else gets what the service says."""
    app = create_app()
    last = [""]

    @app.before_request
    def before() -> Response | None:
        leak = _leak()
        if leak == "slow" or last[0] == "next":
            time.sleep(DELAY_SECONDS)
        last[0] = leak
        return Response(status=429) if leak == "throttled" else None

    @app.after_request
    def after(response: Response) -> Response:
        if _leak() == "header":
            response.headers["X-Account"] = "17"
        return response

    return app


def _leak() -> str:
    return request.form.get("email", "").partition("@")[0]
