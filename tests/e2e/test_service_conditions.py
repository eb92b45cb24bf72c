"""Waiting for a Service: `kubectl wait` instead of polling loops, and who is named when a node does not follow."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.cluster import Cluster
from tests.helpers.kubectl import Kubectl

pytestmark = pytest.mark.rootless


def conditions(kubectl: Kubectl, name: str) -> dict[str, dict[str, Any]]:
    status = kubectl.json("get", "service", name)["status"]
    return {one["type"]: one for one in status.get("conditions", [])}


def agent(cluster: Cluster, node: str) -> int:
    """The process of a node's agent, proxy and DNS: the first child of the node's init (ids begin again at a limit)."""
    init = json.loads((cluster.data / "run" / "nodes.json").read_text())[node]["pid"]
    children: list[int] = [int(one) for one in Path(f"/proc/{init}/task/{init}/children").read_text().split()]
    return min(children, key=lambda pid: int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]))


def test_waiting_for_a_service(nodes3: Cluster, pods3: Kubectl) -> None:
    pods3("create", "deployment", "web", "--image=host", "--port=8000", "--", "python3", "-m", "http.server", "8000")
    pods3("expose", "deployment", "web", "--port=80", "--target-port=8000")
    page = (Path(__file__).parents[2] / "docs" / "how-to.md").read_text()
    commands = [
        line for line in page.splitlines() if line.startswith("kubectl wait --for=condition=") and "svc/" in line
    ]
    assert len(commands) == 2
    for command in commands:
        pods3(*command.replace("my-service", "web").split()[1:])
    # It is true what it says: the first connection is answered, and by name.
    namespace = pods3.json("get", "deployment", "web")["metadata"]["namespace"]
    done = nodes3.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://web", namespace=namespace)
    assert (done.code, done.out) == (0, "200"), done.err
    found = conditions(pods3, "web")
    assert found["EndpointsReady"]["message"] == "The only endpoint is ready."
    described = pods3("describe", "service", "web")
    assert "Endpoints:                10.244." in described and "Events:                   <none>" in described
    pods3("scale", "deployment", "web", "--replicas=0")
    pods3("wait", "--for=condition=EndpointsReady=false", "svc/web", "--timeout=20s")
    assert conditions(pods3, "web")["EndpointsReady"]["reason"] == "NoReadyEndpoints", "the pod takes its time to end"
    pods3("create", "service", "clusterip", "headless", "--clusterip=None", "--tcp=80")
    pods3("create", "service", "externalname", "alias", "--external-name=example.com")
    pods3("wait", "--for=condition=Programmed", "svc/headless", "svc/alias", "--timeout=20s")
    assert conditions(pods3, "alias")["EndpointsReady"]["reason"] == "ExternalName"
    assert "DNS servers" in conditions(pods3, "headless")["Programmed"]["message"]


def test_a_node_that_does_not_follow_is_named(nodes3: Cluster, pods3: Kubectl) -> None:
    names = [f"{node}.{what}" for node in ("node-1", "node-2", "node-3") for what in ("dns", "proxy")]
    header, *lines = pods3("get", "ack").splitlines()
    assert header.split() == ["NAME", "NODE", "COMPONENT", "REVISION", "AGE"]
    assert [line.split()[:3] for line in lines] == [[one, *one.split(".")] for one in names]
    assert "appliedRevision" in pods3("explain", "acknowledgement.status")
    frozen = agent(nodes3, "node-3")
    os.kill(frozen, signal.SIGSTOP)
    try:
        pods3("create", "service", "clusterip", "late", "--tcp=80")
        pods3("wait", "--for=condition=Programmed=false", "svc/late", "--timeout=20s")
        found = conditions(pods3, "late")["Programmed"]
        assert found["reason"] == "ProxyBehind"
        assert found["message"].endswith("do not know the newest state of the Service yet: node-3.")
    finally:
        os.kill(frozen, signal.SIGCONT)
    pods3("wait", "--for=condition=Programmed", "svc/late", "--timeout=20s")
