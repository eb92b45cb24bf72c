"""Requests and limits: what the Node says it has, what containers are told, and the kernel that keeps them to it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import look
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import Kubectl

pytestmark = pytest.mark.rootless
HOG = "x=[]\nwhile True: x.append(bytearray(1 << 20))"


def limits(cluster: Cluster) -> dict[str, str]:
    """The Node's condition that tells whether limits are kept."""
    (node,) = cluster.kubectl().json("get", "nodes")["items"]
    found: dict[str, str] = next(one for one in node["status"]["conditions"] if one["type"] == "LimitsNotEnforced")
    return found


def run(kubectl: Kubectl, name: str, script: str, resources: Any, **more: Any) -> None:
    container = {"name": "c", "image": "host", "command": ["sh", "-c", script], "resources": resources, **more}
    spec = {"restartPolicy": "Never", "containers": [container], "terminationGracePeriodSeconds": 0}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    kubectl("create", "-f", "-", stdin=json.dumps(body))


def test_the_node_tells_what_it_has(cluster: Cluster, pods: Kubectl) -> None:
    run(pods, "asks", "sleep 1000", {"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}})
    eventually(lambda: look.shown_status(pods, "asks") == "Running", 30, "the pod")
    (node,) = pods.json("get", "nodes")["items"]
    has = node["status"]["capacity"]
    assert has == node["status"]["allocatable"] and has["pods"] == "110"
    assert int(has["cpu"]) == len(os.sched_getaffinity(0))
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert has["memory"] == total.split()[1] + "Ki" and has["ephemeral-storage"].endswith("Ki")
    described = pods("describe", "node", node["metadata"]["name"])
    row = next(line for line in described.splitlines() if line.split()[1:2] == ["asks"])
    assert row.split()[2] == "250m" and "64Mi" in row and "128Mi" in row
    assert any(line.split()[:1] == ["cpu"] for line in described.partition("Allocated resources:")[2].splitlines())


def test_a_container_is_told_its_limits(pods: Kubectl) -> None:
    """By resourceFieldRef; what has no limit may use all that the node has."""

    def told(name: str, resource: str, divisor: str) -> Any:
        return {"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": divisor}}}

    asked = {"requests": {"cpu": "250m"}, "limits": {"memory": "64Mi"}}
    env = [told("M", "limits.memory", "1Mi"), told("C", "limits.cpu", "1"), told("R", "requests.cpu", "1m")]
    run(pods, "told", "echo $M $C $R", asked, env=env)
    pods("wait", "pod/told", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")
    assert pods("logs", "told").split() == ["64", str(len(os.sched_getaffinity(0))), "250"]


def test_more_memory_than_allowed_is_the_end(cluster: Cluster, pods: Kubectl) -> None:
    """OOMKilled with 137, where cgroups can be written; and its own limits are what the container sees."""
    if limits(cluster)["status"] == "True":
        pytest.skip(f"limits are not enforced here: {limits(cluster)['message']}")
    allowed = {"limits": {"memory": "48Mi", "cpu": "500m"}}
    run(pods, "hog", f"exec python3 -c '{HOG}'", allowed)
    run(pods, "sees", "cd /sys/fs/cgroup; cat memory.max memory/memory.limit_in_bytes 2>/dev/null; true", allowed)
    pods("wait", "pod/hog", "--for=jsonpath={.status.phase}=Failed", "--timeout=30s")
    pods("wait", "pod/sees", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")
    found = look.pod_status(pods, "hog")
    assert (found["is"], found["reason"], found["exitCode"]) == ("terminated", "OOMKilled", 137)
    assert look.shown_status(pods, "hog") == "OOMKilled"
    assert "OOMKilled" in pods("describe", "pod", "hog")
    assert pods("logs", "sees").split() == [str(48 << 20)]


def test_limits_that_nobody_keeps_are_admitted(cluster: Cluster) -> None:
    """Where cgroups cannot be written, the Node, its events and `skerry status` say so; else none of them does."""
    condition = limits(cluster)
    events = cluster.kubectl().json("get", "events", "-n", "default")["items"]
    said = [one["message"] for one in events if one["reason"] == "LimitsNotEnforced"]
    shown = [one["message"] for one in cluster.status()["limits"] if one["name"] == "cgroups"]
    if condition["status"] == "True":
        assert "accepted and not enforced" in condition["message"]
        assert said == shown == [condition["message"]]
        assert condition["message"] in cluster.skerry("status").out
    else:
        assert said == shown == [] and "enforced by cgroups of version" in condition["message"]


def test_the_node_tells_its_images(cluster: Cluster, pods: Kubectl) -> None:
    pods("run", "box", "--image=busybox", "--restart=Never", "--command", "--", "true")
    pods("wait", "pod/box", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")

    def told() -> bool:
        (node,) = pods.json("get", "nodes")["items"]
        names = [name for one in node["status"]["images"] for name in one["names"] if one["sizeBytes"] > 0]
        return "docker.io/library/busybox:latest" in names and any("busybox@sha256:" in name for name in names)

    eventually(told, 15, "the image in the Node's status")
