"""What every test may count on: tests that need root are skipped, by name, where we are not."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# gRPC, which some tests use, would start a thread in whatever is forked later, and a process that has threads can make
# no user namespace: our clusters begin with a fork.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

# How long one example takes says more of the machine than of the code; on CI examples are also the same every time.
settings.register_profile("skerry", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("skerry")


LONG = 900
"""What a test marked `long` may take, in seconds: that of pyproject.toml is for the others."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give long tests their time; skip what is marked `root` for an ordinary user."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(LONG))
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root")
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(skip)
