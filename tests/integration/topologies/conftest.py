"""Binaries to build topologies of; a missing one skips on a laptop and fails in CI."""

import pytest

from tests.conftest import IN_CI
from tests.support import servers, topologies


@pytest.fixture(params=["6.2", "7", "valkey"])
def binary(request: pytest.FixtureRequest) -> str:
    """A server of each kind."""
    find = {"6.2": servers.binary_62, "7": servers.binary_7, "valkey": topologies.valkey}
    path = find[request.param]()
    if path is None:
        # Valkey is no requirement: it is tried where somebody has put it on PATH.
        missing = f"no server of kind {request.param} on PATH"
        (pytest.fail if IN_CI and request.param != "valkey" else pytest.skip)(missing)
    return path


@pytest.fixture
def one_binary() -> str:
    """One server, where the kind does not matter."""
    path = servers.binary_7() or servers.binary_62()
    if path is None:
        pytest.skip("no redis-server")
    return path
