"""A node that is lost: its Lease runs out, endpoints leave, pods are made elsewhere; it returns, nothing is double."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import skip_without_namespaces
from tests.e2e.test_nodes import create, everything_is_right, kill, processes, ready, restarts, service, web
from tests.helpers import look
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import Kubectl
from tests.long import machine

pytestmark = pytest.mark.long

GRACE = 50
"""Seconds after its last sign of life until a node is lost."""


def deployment(replicas: int, tolerated: int) -> dict[str, Any]:
    """Pods that stay on a lost node for `tolerated` seconds, and that spread over the nodes."""
    keys = ("not-ready", "unreachable")
    tolerations = [
        {
            "key": f"node.kubernetes.io/{key}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": tolerated,
        }
        for key in keys
    ]
    template = {"metadata": {"labels": {"app": "web"}}, "spec": web("", tolerations=tolerations)["spec"]}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def on(kubectl: Kubectl, node: str) -> list[dict[str, Any]]:
    """The pods of the Deployment on a node, those on their way out too."""
    items: list[dict[str, Any]] = kubectl.json("get", "pods", f"--field-selector=spec.nodeName={node}")["items"]
    return items


def evicted(kubectl: Kubectl, node: str) -> bool:
    return all("deletionTimestamp" in pod["metadata"] for pod in on(kubectl, node))


def condition(kubectl: Kubectl, node: str) -> tuple[str, str, str]:
    found = kubectl.json("get", "node", node)["status"]["conditions"]
    return next((one["status"], one["reason"], one["message"]) for one in found if one["type"] == "Ready")


@pytest.mark.rootless
def test_a_lost_node_is_replaced_and_returns(new_cluster: Callable[..., Cluster]) -> None:
    """R13."""
    skip_without_namespaces()
    cluster = new_cluster("--nodes", "3", "--ephemeral")
    cluster.up()
    kubectl = cluster.kubectl()
    create(kubectl, service("web", type="NodePort"), deployment(6, 3))
    kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    ready(kubectl)
    port = kubectl.json("get", "service", "web")["spec"]["ports"][0]["nodePort"]
    lost = on(kubectl, "node-3")
    assert lost, "the scheduler spreads"
    dead = {f"{pod['status']['podIP']}:8080" for pod in lost}

    kill(cluster, "node-3")
    began = time.monotonic()
    eventually(lambda: condition(kubectl, "node-3")[0] == "Unknown", GRACE + 30, "the end of the grace period")
    assert time.monotonic() - began > GRACE - 12  # it may have renewed its Lease up to 10 s before
    assert condition(kubectl, "node-3")[1:] == ("NodeStatusUnknown", "Kubelet stopped posting node status.")
    eventually(lambda: not dead & set(look.lists(kubectl, "web")[0]), 20, "the dead pods out of the Endpoints")
    found = {(one["key"], one["effect"]) for one in kubectl.json("get", "node", "node-3")["spec"]["taints"]}
    assert found == {("node.kubernetes.io/unreachable", effect) for effect in ("NoSchedule", "NoExecute")}
    dns = ("get", "endpointslice", "kube-dns", "-n", "kube-system", "-o", "jsonpath={.endpoints[*].addresses[0]}")
    eventually(lambda: kubectl(*dns).split() == ["10.243.0.2", "10.243.0.3"], 20, "the DNS of two nodes")
    eventually(lambda: evicted(kubectl, "node-3"), 20, "the eviction after three seconds")
    kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    living = look.names(kubectl, "app=web")
    assert len(living) == 6
    for pod in lost:  # nobody has confirmed their end
        assert look.shown_status(kubectl, pod["metadata"]["name"]) == "Terminating"
    addresses = look.addresses(kubectl, "app=web")
    expected = [f"{ip}:8080" for ip in addresses]
    eventually(lambda: look.lists(kubectl, "web")[0] == expected, 20, "six new endpoints")
    for reason in ("NodeNotReady", "RegisteredNode"):
        assert reason in {one[1] for one in look.events(kubectl, "node-3")}

    assert "node-3 was down and runs again" in cluster.skerry("up", *cluster.options).out
    eventually(lambda: not on(kubectl, "node-3"), 20, "the end of the pods that were deleted meanwhile")
    eventually(lambda: not kubectl.json("get", "node", "node-3")["spec"].get("taints"), 20, "a node without taints")
    assert sum(restarts(kubectl).values()) == 0
    everything_is_right(cluster, kubectl, port, set(living))
    kubectl("delete", "pods", "-l", "app=web", "--wait=false")  # the node takes pods again
    kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    assert on(kubectl, "node-3")


def test_a_node_that_hangs_is_lost_until_it_goes_on_and_one_that_is_deleted_takes_its_pods_along(
    new_cluster: Callable[..., Cluster],
) -> None:
    """Stopped with SIGSTOP, as a machine that swaps: when it goes on, it takes over again without `skerry up`."""
    skip_without_namespaces()
    cluster = new_cluster("--nodes", "3", "--ephemeral")
    cluster.up()
    kubectl = cluster.kubectl()
    create(kubectl, service("web", type="NodePort"), *(web(f"a-{one}", nodeName=f"node-{one}") for one in (1, 2, 3)))
    ready(kubectl)
    port = kubectl.json("get", "service", "web")["spec"]["ports"][0]["nodePort"]
    (agent,) = (pid for pid in machine.children(processes(cluster)["node-2"]) if "agent" in name_of(pid))
    os.kill(agent, signal.SIGSTOP)
    kubectl("delete", "node", "node-3")
    began = time.monotonic()
    eventually(lambda: not on(kubectl, "node-3"), 60, "the end of the deleted node's pod after 40 s")
    assert time.monotonic() - began > 39
    eventually(lambda: condition(kubectl, "node-2")[0] == "Unknown", GRACE + 30, "the end of the grace period")
    ip = kubectl.json("get", "pod", "a-2")["status"]["podIP"]
    eventually(lambda: f"{ip}:8080" in look.lists(kubectl, "web")[1], 20, "the pod among those not ready")
    found = " ".join(cluster.skerry("why", "web").out.split())
    assert "Pod a-2 is on node node-2, which is not Ready: Kubelet stopped posting node status." in found
    assert ("Warning", "NodeNotReady", "Node is not ready") in look.events(kubectl, "a-2")
    os.kill(agent, signal.SIGCONT)
    kubectl("wait", "node/node-2", "--for=condition=Ready", "--timeout=20s")
    ready(kubectl)
    assert restarts(kubectl) == {"a-1": 0, "a-2": 0}
    everything_is_right(cluster, kubectl, port, {"a-1", "a-2"})
    assert kubectl("get", "nodes", "-o", "name").split() == ["node/node-1", "node/node-2"]


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text()
