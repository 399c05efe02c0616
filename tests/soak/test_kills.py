"""Processes that are killed at any moment: what was accepted arrives."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import NEW_PASSWORD, Portal
from tests.servers.service import Host, until
from tests.servers.smtp import Sink, serving, text_of


def test_whole_flow_over_real_processes(tmp_path: Path, portal: Portal, ana: int) -> None:
    """Asked, mailed, changed, confirmed: web and worker as the Procfile starts them."""
    sink = Sink()
    with serving(sink) as smtp:
        environ = {
            "RESET_DATABASE_URL": f"sqlite:///{tmp_path}/reset.sqlite",
            "RESET_ACCOUNTS_URL": f"sqlite:///{portal.path}",
            "RESET_MAIL_PORT": str(smtp),
        }
        with Host(tmp_path, environ) as host:
            host.start_web()
            host.start_worker()
            client = host.client()
            assert client.ask().status == 303
            until(lambda: len(sink.envelopes) == 1)
            link = re.search(r"/nueva/\S+", text_of(sink.mail()))
            assert link
            assert client.set_password(link[0]).location == "/lista"
            until(lambda: len(sink.envelopes) == 2)
            client.close()
    assert portal.lets_in(ana, NEW_PASSWORD)
