"""What a cluster that was killed has left in the machine's cgroups goes with the next command that looks at it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from tests.e2e.conftest import skip_without_namespaces
from tests.helpers.cluster import Cluster, eventually

from skerry.cluster import paths, state

pytestmark = [pytest.mark.long, pytest.mark.root]


@pytest.mark.parametrize("command", ["up", "down", "delete"])
def test_after_kill_9(new_cluster: Callable[..., Cluster], command: str) -> None:
    skip_without_namespaces()
    cluster = new_cluster()
    cluster.up()
    where = paths.cluster_paths(cluster.name, cluster.data)
    if not where.cgroups.exists():
        pytest.skip("no cgroups can be written here")
    before = where.cgroups.read_text().split()
    assert all(os.path.isdir(one) for one in before)
    node = cluster.kubectl()
    node("run", "web", "--image=host", "--command", "--", "sleep", "1000")
    node("wait", "pod/web", "--for=condition=Ready", "--timeout=30s")
    held = state.holder(where)
    assert held is not None
    os.kill(held.pid, signal.SIGKILL)
    eventually(lambda: state.wait_until_gone(where, 1), 20, "the end of all processes")
    pods = [one for top in before for one, _, _ in os.walk(top) if os.path.basename(one).startswith("pod")]
    assert pods and all(os.path.isdir(one) for one in before)  # empty, and known
    if command == "up":
        cluster.up()
        eventually(lambda: cluster.kubectl()("get", "pod", "web", "-o", "jsonpath={.status.phase}") == "Running", 30)
        assert where.cgroups.read_text().split() == before
        running = {one for top in before for one, _, _ in os.walk(top) if os.path.basename(one).startswith("pod")}
        held_by = [name for one in running for name in os.listdir(one) if os.path.isdir(f"{one}/{name}")]
        assert running == set(pods) and len(set(held_by)) == 1  # one container, and nothing of its earlier life
    else:
        assert cluster.skerry(command).code == 0
        assert not any(os.path.isdir(one) for one in before) and not where.cgroups.exists()
