"""The security headers on their way through proxies: each once, as they were sent."""

from __future__ import annotations

from collections.abc import Iterator

from reset.doctor import Case
from reset.doctor.visit import Reply
from reset.embed import page_headers
from reset.findings import Finding

_NAMES = (
    "Content-Security-Policy",
    "X-Content-Type-Options",
    "Referrer-Policy",
    "X-Robots-Tag",
    "Permissions-Policy",
    "Cross-Origin-Resource-Policy",
    "Cross-Origin-Opener-Policy",
    "X-Frame-Options",
    "Strict-Transport-Security",
    "Cache-Control",
)
_WHY = {
    "Content-Security-Policy": "browsers obey all at once: the form loses its looks or its frame",
    "X-Frame-Options": "old browsers show no form in the portal's frame",
    "Referrer-Policy": "with another value browsers send forms that must be refused",
    "Cache-Control": "pages with a link or an address may be kept where others find them",
    "Strict-Transport-Security": "without it the first visit may be led astray",
}


def check(case: Case, first: Reply) -> Iterator[Finding]:
    """Compare what came with what the service sends for that page."""
    settings = case.settings
    wanted = page_headers(settings.public_url, settings.frame_ancestors)
    wanted["Cache-Control"] = "no-store"
    good = True
    for name in _NAMES:
        finding = _compared(name, wanted.get(name), first.all(name))
        if finding is not None:
            good = False
            yield finding
    if first.all("Set-Cookie"):
        good = False
        text = "the proxy sets a cookie"
        remedy = "switch off what ties visitors to one host: any host serves any step"
        yield Finding("warning", text, remedy, "visitors were promised none")
    if good:
        yield Finding("ok", f"all {len(wanted)} security headers arrive as they are sent")


def _compared(name: str, wanted: str | None, came: list[str]) -> Finding | None:
    why = _WHY.get(name, "it keeps browsers from what attackers want of them")
    if wanted is None and came:
        remedy = f"in nginx: take out add_header {name}"
        return Finding("warning", f"the proxy adds {name}: {came[0][:60]}", remedy, why)
    if wanted is None or came == [wanted]:
        return None
    if not came:
        text = f"{name} does not arrive"
        return Finding("fault", text, f"in nginx: take out proxy_hide_header {name}", why)
    if len(came) > 1:
        level = "warning" if set(came) == {wanted} else "fault"
        text = f"{name} arrives {len(came)} times: the proxy adds its own"
        return Finding(level, text, f"in nginx: take out add_header {name}", why)
    text = f"{name} arrives changed: {came[0][:60]}"
    remedy = f"restart web after a change of settings; in nginx: take out what sets {name}"
    return Finding("fault", text, remedy, why)
