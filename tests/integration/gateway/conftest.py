"""One Envoy a file of tests, and the servers behind it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.helpers.tls import pair
from tests.integration.gateway.world import Backend, World


@pytest.fixture(scope="module")
def backends() -> Iterator[dict[str, Backend]]:
    """`bad` reads each request and hangs up."""
    made = {name: Backend(name, hangs_up=name == "bad") for name in ("web", "api", "old", "bad")}
    yield made
    for one in made.values():
        one.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    chain, key = pair("default")
    made = World(tmp_path_factory.mktemp("envoy"), (chain.decode(), key.decode()))
    yield made
    made.close()
