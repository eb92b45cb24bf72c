"""Scheduling on three nodes: spreading, taints, cordon, affinity, and what a pod that has to wait says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.helpers.cluster import eventually
from tests.helpers.kubectl import Kubectl

pytestmark = pytest.mark.rootless


def pod(name: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "host", "command": ["sleep", "1000"], **spec.pop("container", {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": spec.pop("app", name)}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
    }


def create(kubectl: Kubectl, *objects: dict[str, Any]) -> None:
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def places(kubectl: Kubectl, **labels: str) -> dict[str, str]:
    """Which pod is on which node."""
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    found = kubectl.json("get", "pods", "-l", selector)["items"]
    return {one["metadata"]["name"]: one["spec"].get("nodeName", "") for one in found}


def why(kubectl: Kubectl, name: str) -> str:
    """The event that `kubectl describe` shows of a pod that waits; its condition says the same."""

    def said() -> str:
        lines = [one for one in kubectl("describe", "pod", name).splitlines() if "FailedScheduling" in one]
        return lines[-1].partition("default-scheduler  ")[2] if lines else ""

    text = eventually(said)
    [condition] = [
        one for one in kubectl.json("get", "pod", name)["status"]["conditions"] if one["type"] == "PodScheduled"
    ]
    assert (condition["status"], condition["reason"], condition["message"]) == ("False", "Unschedulable", text)
    return text


USELESS = "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."


def test_pods_are_spread_and_kept_apart(pods3: Kubectl) -> None:
    names = [one["metadata"]["name"] for one in pods3.json("get", "nodes")["items"]]
    assert len(names) == 3
    pods3("create", "deployment", "web", "--image=host", "--replicas=6", "--", "sleep", "1000")
    pods3("rollout", "status", "deployment/web", "--timeout=30s")
    assert sorted(places(pods3, app="web").values()) == sorted(names * 2)
    apart = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "lone"}}}
            ]
        }
    }
    create(pods3, *(pod(f"lone-{n}", app="lone", affinity=apart) for n in range(4)))
    eventually(lambda: sum(map(bool, places(pods3, app="lone").values())) == 3)
    found = places(pods3, app="lone")
    assert sorted(found.values()) == sorted(["", *names])
    [waiting] = [name for name, node in found.items() if not node]
    assert why(pods3, waiting) == (
        "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules. "
        "preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
    )
    [gone] = [name for name, node in found.items() if node == names[0]]
    pods3("delete", "pod", gone)
    pods3("wait", f"pod/{waiting}", "--for=condition=Ready", "--timeout=20s")
    assert places(pods3, app="lone")[waiting] == names[0]


def test_cordon_taints_labels_and_room(pods3: Kubectl) -> None:
    first, second, third = [one["metadata"]["name"] for one in pods3.json("get", "nodes")["items"]]
    try:
        pods3("cordon", first)
        pods3("taint", "node", second, "gpu=yes:NoSchedule")
        pods3("label", "node", third, "disk=ssd")
        create(
            pods3,
            pod("free"),
            pod("gpu", tolerations=[{"key": "gpu", "value": "yes"}], nodeSelector={"kubernetes.io/hostname": second}),
            pod("ssd", nodeSelector={"disk": "ssd"}),
            pod("nvme", nodeSelector={"disk": "nvme"}),
            pod("huge", container={"resources": {"requests": {"cpu": "1000"}}}),
            pod("bound", nodeName=first),
        )
        for name, node in (("free", third), ("gpu", second), ("ssd", third), ("bound", first)):
            pods3("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=20s")
            assert places(pods3, app=name) == {name: node}
        rest = "1 node(s) had untolerated taint(s), 1 node(s) were unschedulable"
        head = "0/3 nodes are available: 1 "
        assert why(pods3, "nvme") == f"{head}node(s) didn't match Pod's node affinity/selector, {rest}. {USELESS}"
        assert why(pods3, "huge") == f"{head}Insufficient cpu, {rest}. {USELESS}"
        pods3("label", "node", third, "disk=nvme", "--overwrite")
        pods3("wait", "pod/nvme", "--for=condition=Ready", "--timeout=20s")
    finally:
        pods3("uncordon", first)
        pods3("taint", "node", second, "gpu-")
        pods3("label", "node", third, "disk-")
