"""The service's state in PostgreSQL and MariaDB: the same promises over each of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.test_captcha import *  # noqa: F403
from tests.test_limits import *  # noqa: F403
from tests.test_links import *  # noqa: F403
from tests.test_operators import (  # noqa: F401
    desk,
    test_disabled_operator_comes_back_with_a_new_password,
    test_hash_of_other_parameters_is_renewed,
    test_operators_are_listed,
    test_refusals_are_all_alike,
    test_session_ends_with_its_sign_out,
    test_trail_tells_who_came_and_went,
)
from tests.test_worker import *  # noqa: F403


@pytest.fixture(params=["postgresql", pytest.param("mysql", marks=pytest.mark.long)])
def state_url(request: pytest.FixtureRequest, state_servers: Callable[[str], str]) -> str:
    return state_servers(request.param)
