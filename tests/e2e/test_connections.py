"""Connections per endpoint, counted by every node's proxy: `skerry why`, `skerry status` and the API behind them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.helpers.cluster import Cluster
from tests.helpers.kubectl import Kubectl

pytestmark = pytest.mark.rootless

ASK = "for i in $(seq $2); do curl -sS -m 5 -o /dev/null http://$1; done"


def pod(name: str, node: str) -> dict[str, Any]:
    web = {
        "name": "web",
        "image": "host",
        "command": ["python3", "-m", "http.server", "8080", "--bind", "::"],
        "readinessProbe": {"tcpSocket": {"port": 8080}},
    }
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [web]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name.split("-")[0]}},
        "spec": spec,
    }


def service(name: str, **spec: Any) -> dict[str, Any]:
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def counts(cluster: Cluster, namespace: str, name: str) -> dict[str, dict[str, int]]:
    """By pod, what `skerry why` says each node sent it."""
    done = cluster.skerry("why", name, "-n", namespace, "-o", "json")
    return {one["pod"]: one["connections"] for one in json.loads(done.out)["endpoints"]}


def test_ten_connections_of_one_node_and_three_of_another_are_ten_and_three(nodes3: Cluster, pods3: Kubectl) -> None:
    ns = pods3.namespace
    other = service("other", sessionAffinity="ClientIP")
    objects = [service("web"), other, pod("web-1", "node-1"), pod("web-2", "node-2"), pod("idle", "node-3")]
    pods3("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    pods3("wait", "pod", "--all", "--for=condition=Ready", "--timeout=30s")
    for name, times in (("web-1", 10), ("idle", 3)):
        pods3("exec", name, "--", "sh", "-c", ASK, "sh", "web", str(times))
    pods3("exec", "web-1", "--", "sh", "-c", ASK, "sh", "other", "4")

    found = counts(nodes3, ns, "web")
    by_node = {node: sum(one[node] for one in found.values()) for node in ("node-1", "node-2", "node-3")}
    assert by_node == {"node-1": 10, "node-2": 0, "node-3": 3}
    sticky = counts(nodes3, ns, "other")  # P23: all of one client to one endpoint
    assert sorted(one["node-1"] for one in sticky.values()) == [0, 4]
    text = nodes3.skerry("why", "web", "-n", ns).out
    said = re.findall(r"ready for .*, (\d+) connections?( \(|$)", text, re.M)
    assert sum(int(number) for number, _ in said) == 13, text

    # The same from the API, of this Service and of all that the node has.
    path = "/api/v1/nodes/node-1/proxy/connections"
    one = json.loads(pods3("get", "--raw", f"{path}?service={ns}/web"))
    assert (one["total"], one["endpoints"], len(one["items"])) == (10, 2, 2)
    assert {(each["service"], each["port"], each["protocol"]) for each in one["items"]} == {(f"{ns}/web", 8080, "TCP")}
    everything = json.loads(pods3("get", "--raw", path))
    assert everything["total"] >= 14 and everything["items"] == []
    (node,) = (each for each in nodes3.status()["nodeStatus"] if each["name"] == "node-1")
    assert node["connections"] >= 14
    assert re.search(r"^Node +node-1: ready, \d+ connections to Services$", nodes3.skerry("status").out, re.M)

    # Who leaves takes its count along; the others keep theirs.
    pods3("delete", "pod", "web-2")
    kept = counts(nodes3, ns, "web")
    assert kept == {"web-1": found["web-1"]}
