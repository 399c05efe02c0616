"""The service's state in PostgreSQL and MariaDB: the same promises over each of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.test_captcha import *  # noqa: F403
from tests.test_desk_acts import *  # noqa: F403
from tests.test_limits import *  # noqa: F403
from tests.test_links import *  # noqa: F403
from tests.test_operators import *  # noqa: F403
from tests.test_pending import *  # noqa: F403
from tests.test_worker import *  # noqa: F403


@pytest.fixture(params=["postgresql", pytest.param("mysql", marks=pytest.mark.long)])
def state_url(request: pytest.FixtureRequest, state_servers: Callable[[str], str]) -> str:
    return state_servers(request.param)
