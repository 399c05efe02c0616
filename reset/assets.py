"""What pages load, by addresses that change with the content, so that browsers may keep it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from flask import Flask

from reset import logo, overrides
from reset.brand import Brand

_STATIC = {
    "script_url": "js/reset.js",
    "worker_url": "js/work.js",
    "icon_url": "img/icon.svg",
}


def stylesheet(app: Flask, brand: Brand, templates: Path | None) -> str:
    """Ours, the brand's and the operator's own in one: a page asks for few files.

    Raises:
        ConfigurationError: the operator's own cannot be read.
    """
    ours = _static_bytes(app, "css/reset.css").decode()
    return f"{ours}\n{brand.stylesheet}\n{overrides.style(templates)}"


def urls(app: Flask, path: str, picture: Path | None, stylesheet: str) -> dict[str, Any]:
    """Addresses below *path* that every page needs.

    Error pages for a forged Host header need them, too: nothing here follows the request.
    """
    urls: dict[str, Any] = {
        name: f"{path}/static/{file}?v={_digest(_static_bytes(app, file))}"
        for name, file in _STATIC.items()
    }
    urls["home_url"] = f"{path}/"
    urls["stylesheet_url"] = f"{path}/marca.css?v={_digest(stylesheet.encode())}"
    urls["logo_url"] = picture and f"{path}/marca/logo?v={_digest(picture.read_bytes())}"
    urls["logo_width"], urls["logo_height"] = picture and logo.width(picture), logo.HEIGHT
    return urls


def _static_bytes(app: Flask, file: str) -> bytes:
    return (Path(app.root_path) / "static" / file).read_bytes()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
