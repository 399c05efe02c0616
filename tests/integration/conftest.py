"""What the tests of several servers share."""

from __future__ import annotations

import pytest

from tests.conftest import program
from tests.servers.certificates import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs the certificates of the servers; the clients trust it."""
    openssl = program("the tests with certificates", "openssl", "openssl")
    return Authority(tmp_path_factory.mktemp("authority"), openssl)
