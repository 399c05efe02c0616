"""gunicorn's settings; PORT and WEB_CONCURRENCY come from the environment."""

from __future__ import annotations

import os

wsgi_app = "app:create_app()"
bind = f"127.0.0.1:{os.environ.get('PORT', '5000')}"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = 4
timeout = 30
graceful_timeout = 20
max_requests = 20_000
max_requests_jitter = 2_000
# Instances of one user would overwrite each other's socket.
control_socket_disable = True
