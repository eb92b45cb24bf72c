"""Clients for longer: helm 3 (which merges by itself) and a release that fails; a watch and a leader over a crash."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.conftest import _started, in_namespace, skip_without_namespaces
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.helm import CHART, HELM_3, Helm
from tests.helpers.kubectl import MINORS, Kubectl, KubectlMissing, binary

pytestmark = pytest.mark.long
WAIT = ("--wait", "--timeout=60s")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    skip_without_namespaces()
    yield from _started("--nodes", "1", "--ephemeral")


@pytest.fixture
def kubectl(cluster: Cluster) -> Iterator[Kubectl]:
    yield from in_namespace(cluster, MINORS[-1], "t-" + uuid.uuid4().hex[:8])


def test_helm_3_and_a_release_that_fails(kubectl: Kubectl) -> None:
    try:
        binary(HELM_3, "helm")
    except KubectlMissing as error:
        pytest.skip(str(error))
    helm = Helm(kubectl, HELM_3)
    helm("install", "sea", str(CHART), *WAIT)
    helm("upgrade", "sea", str(CHART), "--set", "colour=red,extra=false,replicas=2", *WAIT)
    assert "the page says red" in helm("test", "sea", "--logs")
    refused = helm.run("upgrade", "sea", str(CHART), "--set", "colour=black,fail=true", "--wait", "--timeout=3s")
    assert refused.code == 1 and "context deadline exceeded" in refused.err
    assert helm.revisions("sea") == [(1, "superseded"), (2, "deployed"), (3, "failed")]
    helm("rollback", "sea", "1", *WAIT)
    assert kubectl("get", "cm", "sea-settings", "sea-extra", "-o", "jsonpath={.items[0].data.colour}") == "blue"
    assert kubectl("get", "deploy", "sea", "--no-headers").split()[1] == "1/1"
    # Merges of three: what another hand added stays, what the chart says is put back
    kubectl("patch", "deploy", "sea", "-p", '{"metadata":{"annotations":{"by":"hand"}},"spec":{"replicas":3}}')
    helm("upgrade", "sea", str(CHART), "--set", "colour=green,replicas=2", *WAIT)
    found = kubectl.json("get", "deploy", "sea")
    assert found["metadata"]["annotations"]["by"] == "hand" and found["spec"]["replicas"] == 2
    assert "v1/StatefulSet" in helm("status", "sea", "--show-resources")
    helm("uninstall", "sea", *WAIT)
    assert kubectl("get", "deploy,sts,ing,pdb,boats.harbour.example", "-o", "name") == ""


def test_the_official_client_over_a_crash() -> None:
    """A watch from before is told 410, so the client lists, and has missed nothing; a leader stays the leader."""
    pytest.importorskip("kubernetes")
    from kubernetes import client, config, watch
    from kubernetes.leaderelection import electionconfig, leaderelection
    from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

    cluster = Cluster("--nodes", "0")
    try:
        cluster.up()
        connection = config.new_client_from_config(str(cluster.kubeconfig))
        core, coordination = client.CoreV1Api(connection), client.CoordinationV1Api(connection)
        seen: queue.Queue[tuple[str, str]] = queue.Queue()
        done, led, lost = threading.Event(), threading.Event(), threading.Event()

        def follow() -> None:
            """As an informer: lists and watches, and lists anew when it is told to, or when nobody answers."""
            known: dict[str, Any] = {}
            while not done.is_set():
                try:
                    listed = core.list_namespaced_config_map("default", label_selector="w=1")
                    now = {one.metadata.name: one.data for one in listed.items}
                    for name in [name for name in now if known.get(name) != now[name]]:
                        seen.put(("there", name))
                    known = now
                    since = {"resource_version": listed.metadata.resource_version, "timeout_seconds": 30}
                    for event in watch.Watch().stream(
                        core.list_namespaced_config_map, "default", label_selector="w=1", **since
                    ):
                        name = event["object"].metadata.name
                        known[name] = event["object"].data
                        seen.put(("there", name))
                except Exception:  # noqa: BLE001 - refused, cut off, 410: begin again
                    done.wait(0.1)

        threading.Thread(target=follow, daemon=True).start()
        config.load_kube_config(str(cluster.kubeconfig))  # the lock makes itself a client when it is made
        lock = LeaseLock("leader", "default", "me")
        settings = electionconfig.Config(
            lock, lease_duration=20, renew_deadline=15, retry_period=1,
            onstarted_leading=lambda: (led.set(), done.wait(60)), onstopped_leading=lost.set,
        )  # fmt: skip

        def lead() -> None:
            """The library's election ends with the first connection that is refused; programs begin it again."""
            while not done.is_set():
                with contextlib.suppress(Exception):
                    leaderelection.LeaderElection(settings).run()
                done.wait(0.1)

        threading.Thread(target=lead, daemon=True).start()
        assert led.wait(10)

        def make(name: str) -> None:
            labels = {"w": "1"}
            core.create_namespaced_config_map(
                "default", {"metadata": {"name": name, "labels": labels}, "data": {"a": "b"}}
            )

        make("before")
        assert seen.get(timeout=10) == ("there", "before")
        old = core.list_namespaced_config_map("default").metadata.resource_version
        os.kill(int(cluster.status()["pid"]), signal.SIGKILL)
        cluster.up()
        make("after")
        assert seen.get(timeout=20) == ("there", "after")
        assert seen.empty()  # `before` was not told twice
        listed = core.list_namespaced_config_map("default", label_selector="w=1").items
        assert [one.metadata.name for one in listed] == ["after", "before"]
        stale = watch.Watch().stream(core.list_namespaced_config_map, "default", resource_version=old)
        with pytest.raises(client.ApiException) as gone:
            next(stale)
        assert gone.value.status == 410
        renewed = coordination.read_namespaced_lease("leader", "default").spec.renew_time

        def again() -> bool:
            lease = coordination.read_namespaced_lease("leader", "default").spec
            return bool(lease.renew_time > renewed and lease.holder_identity == "me")

        eventually(again, 15, "the leader renews its lease")
        assert not lost.is_set()
        done.set()
    finally:
        cluster.delete()
