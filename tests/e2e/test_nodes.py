"""Several nodes on one machine: what kubectl shows of them, packets between them, emptying one, losing one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.e2e.conftest import skip_without_namespaces
from tests.helpers import look
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import Kubectl

from skerry.cluster import entrance, paths

SERVER = "import http.server, os; os.chdir('/etc'); http.server.test(http.server.SimpleHTTPRequestHandler, port=8080)"
"""Serves /hostname: the pod's name."""

LOOK = """
import json, socket, sys, urllib.request
def name(where):
    return urllib.request.urlopen(f"http://{where}/hostname", timeout=5).read().decode().strip()
pods, places, times = json.loads(sys.argv[1])
print(json.dumps({
    "pods": [name(f"{ip}:8080") for ip in pods],
    "headless": pods and sorted({one[4][0] for one in socket.getaddrinfo("each", 8080, type=socket.SOCK_STREAM)}),
    "places": {where: sorted({name(where) for _ in range(times)}) for where in places},
}))
"""
"""Run in a pod: whom it reaches by address, by the headless Service's name, and at other places."""


def web(name: str, **spec: Any) -> dict[str, Any]:
    """A pod that serves its own name."""
    container = {
        "name": "web",
        "image": "host",
        "command": ["python3", "-c", SERVER],
        "readinessProbe": {"httpGet": {"path": "/hostname", "port": 8080}},
    }
    more = {"containers": [container], "terminationGracePeriodSeconds": 1}
    labels = {"app": "web"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": more | spec}


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": 8080}]
    body = {"selector": {"app": "web"}, "ports": ports} | spec
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": body}


def create(kubectl: Kubectl, *objects: dict[str, Any]) -> None:
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def ready(kubectl: Kubectl) -> None:
    kubectl("wait", "pods", "-l", "app=web", "--for=condition=Ready", "--timeout=30s")


@pytest.mark.rootless
def test_three_nodes_show_with_their_addresses(nodes3: Cluster) -> None:
    lines = nodes3.kubectl()("get", "nodes", "-o", "wide", "--no-headers").splitlines()
    shown = [(words[0], words[1], words[5]) for words in (line.split() for line in lines)]
    assert shown == [(f"node-{index}", "Ready", f"10.243.0.{index + 1}") for index in (1, 2, 3)]
    networks = nodes3.kubectl()("get", "nodes", "-o", "jsonpath={.items[*].spec.podCIDR}").split()
    assert networks == ["10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24"]
    assert [(one["name"], one["ready"], one["running"]) for one in nodes3.status()["nodeStatus"]] == [
        (f"node-{index}", True, True) for index in (1, 2, 3)
    ]


@pytest.mark.rootless
def test_pods_reach_each_other_and_every_service_across_nodes(nodes3: Cluster, pods3: Kubectl) -> None:
    names = ["on-1", "on-2", "on-3"]
    create(
        pods3,
        *(web(name, nodeName=f"node-{name[-1]}") for name in names),
        service("web", type="NodePort"),
        service("each", clusterIP="None"),
    )
    ready(pods3)
    rows = [line.split() for line in pods3("get", "pods", "-o", "wide", "--no-headers").splitlines()]
    assert [(row[0], row[6]) for row in rows] == [(name, f"node-{name[-1]}") for name in names]
    addresses = [row[5] for row in rows]
    assert [ip.rpartition(".")[0] for ip in addresses] == ["10.244.1", "10.244.2", "10.244.3"]
    port = pods3.json("get", "service", "web")["spec"]["ports"][0]["nodePort"]
    places = ["web", *(f"10.243.0.{index + 1}:{port}" for index in (1, 2, 3))]
    expected = {"pods": names, "headless": addresses, "places": dict.fromkeys(places, names)}
    asked = json.dumps([addresses, places, 24])
    for name in names:
        # Of 24 connections each of three pods gets one, but for once in 6,000 times.
        eventually(lambda name=name: _seen(pods3, name, asked, expected), 20, f"{name} reaches all")  # type: ignore[misc]
    assert {fetch(port) for _ in range(24)} == set(names)


def _seen(kubectl: Kubectl, pod: str, asked: str, expected: dict[str, Any]) -> bool:
    assert json.loads(kubectl("exec", pod, "--", "python3", "-c", LOOK, asked)) == expected
    return True


def fetch(port: int, address: str = "127.0.0.1") -> str:
    """Who answers on the host's loopback. AssertionError if nobody does."""
    try:
        with urllib.request.urlopen(f"http://{address}:{port}/hostname", timeout=2) as answer:
            found: str = answer.read().decode().strip()
    except OSError as error:
        raise AssertionError(f"port {port}: {error}") from None
    return found


# Emptying a node --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def restored(kubectl: Kubectl, node: str) -> Iterator[None]:
    """Leaves the shared node as it was."""
    try:
        yield
    finally:
        kubectl("patch", "node", node, "--type=merge", "-p", '{"spec":{"unschedulable":null,"taints":null}}')


def taints(kubectl: Kubectl, node: str) -> list[tuple[str, str]]:
    found = kubectl.json("get", "node", node)["spec"].get("taints", [])
    return [(one["key"], one["effect"]) for one in found]


def test_cordon_and_uncordon(pods3: Kubectl) -> None:
    with restored(pods3, "node-3"):
        assert pods3("cordon", "node-3").strip() == "node/node-3 cordoned"
        assert pods3("get", "node", "node-3", "--no-headers").split()[1] == "Ready,SchedulingDisabled"
        unschedulable = [("node.kubernetes.io/unschedulable", "NoSchedule")]
        eventually(lambda: taints(pods3, "node-3") == unschedulable, 20, "the taint")
        create(pods3, web("kept-off", nodeSelector={"kubernetes.io/hostname": "node-3"}))
        pods3("wait", "pod/kept-off", "--for=condition=PodScheduled=False", "--timeout=30s")
        assert pods3("uncordon", "node-3").strip() == "node/node-3 uncordoned"
        ready(pods3)  # now it fits
        eventually(lambda: not taints(pods3, "node-3"), 20, "its end")


def test_drain_moves_a_deployment_and_refuses_what_nobody_would_make_again(pods3: Kubectl) -> None:
    template = web("", affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [PREFER_3]}})
    template["spec"]["volumes"] = [{"name": "scratch", "emptyDir": {}}]
    pod = {"metadata": {"labels": {"app": "web"}}, "spec": template["spec"]}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": pod}
    create(pods3, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
    create(pods3, web("alone", nodeName="node-3"))
    pods3("rollout", "status", "deploy/web", "--timeout=30s")
    ready(pods3)
    own = "--pod-selector=app=web"  # other tests' pods are none of ours
    with restored(pods3, "node-3"):
        refused = pods3.run("drain", "node-3", own)
        assert refused.code == 1
        for why in ("declare no controller (use --force to override)", "local storage (use --delete-emptydir-data"):
            assert f"cannot delete Pods {'that' if 'declare' in why else 'with'} {why}" in refused.err
        options = (own, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=30s")
        create(pods3, BUDGET)
        pods3("wait", "pdb/web", "--for=jsonpath={.status.expectedPods}=3", "--timeout=30s")
        assert pods3("get", "pdb", "--no-headers").split()[:4] == ["web", "3", "N/A", "0"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "alone"}}
        where = f"/api/v1/namespaces/{namespace_of(pods3)}/pods/alone/eviction"
        kept = pods3.run("create", "--raw", where, "-f", "-", stdin=json.dumps(eviction))  # drain retries for long
        said = "(TooManyRequests): Cannot evict pod as it would violate the pod's disruption budget."
        assert kept.code == 1 and said in kept.err, kept.err
        assert len(look.names(pods3, "app=web")) == 3
        pods3("patch", "pdb", "web", "-p", '{"spec":{"minAvailable":0}}')
        pods3("wait", "pdb/web", "--for=jsonpath={.status.disruptionsAllowed}=3", "--timeout=30s")
        done = pods3("drain", "node-3", *options)
        assert "evicting pod" in done and "node/node-3 drained" in done
        pods3("rollout", "status", "deploy/web", "--timeout=30s")
        rows = [line.split() for line in pods3("get", "pods", "-o", "wide", "--no-headers").splitlines()]
        running = [row for row in rows if row[2] == "Running"]
        assert len(running) == 2 and all(row[6] in ("node-1", "node-2") for row in running), rows


BUDGET = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "web"},
    "spec": {"minAvailable": 3, "selector": {"matchLabels": {"app": "web"}}},
}
PREFER_3 = {
    "weight": 100,
    "preference": {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-3"]}]},
}


def test_a_no_execute_taint_evicts_what_does_not_tolerate_it(pods3: Kubectl) -> None:
    forever = {"key": "k", "operator": "Exists", "effect": "NoExecute"}
    create(pods3, web("plain", nodeName="node-2"), web("tolerant", nodeName="node-2", tolerations=[forever]))
    ready(pods3)
    with restored(pods3, "node-2"):
        assert pods3("taint", "node", "node-2", "k=v:NoExecute").strip() == "node/node-2 tainted"
        pods3("wait", "pod/plain", "--for=delete", "--timeout=30s")
        assert look.shown_status(pods3, "tolerant") == "Running"
        said = ("Normal", "TaintManagerEviction", f"Marking for deletion Pod {namespace_of(pods3)}/plain")
        assert said in look.events(pods3, "plain")
        assert pods3("taint", "node", "node-2", "k-").strip() == "node/node-2 untainted"


def namespace_of(kubectl: Kubectl) -> str:
    return kubectl("config", "view", "--minify", "-o", "jsonpath={.contexts[0].context.namespace}")


def test_pods_tolerate_lost_nodes_for_five_minutes_unless_they_say_otherwise(pods3: Kubectl) -> None:
    own = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    create(pods3, web("default"), web("own", tolerations=[own]))
    found = {
        name: [(one["key"].partition("/")[2], one["tolerationSeconds"]) for one in pod["spec"]["tolerations"]]
        for name, pod in ((name, pods3.json("get", "pod", name)) for name in ("default", "own"))
    }
    assert found == {
        "default": [("not-ready", 300), ("unreachable", 300)],
        "own": [("unreachable", 5), ("not-ready", 300)],
    }


# Losing a node ----------------------------------------------------------------------------------------------------


def kill(cluster: Cluster, node: str) -> None:
    """Ends a node as a power cut would; returns when the cluster has noticed."""
    os.kill(processes(cluster)[node], signal.SIGKILL)
    eventually(lambda: node not in processes(cluster), 20, f"the end of {node}")


def processes(cluster: Cluster) -> dict[str, int]:
    return entrance.node_processes(paths.cluster_paths(cluster.name, cluster.data))


def restarts(kubectl: Kubectl) -> dict[str, int]:
    items = kubectl.json("get", "pods", "-l", "app=web")["items"]
    return {item["metadata"]["name"]: item["status"]["containerStatuses"][0]["restartCount"] for item in items}


@pytest.mark.rootless
def test_a_killed_node_stays_down_until_up_brings_it_back(new_cluster: Callable[..., Cluster]) -> None:
    skip_without_namespaces()
    cluster = new_cluster("--nodes", "2", "--ephemeral")
    cluster.up()
    kubectl = cluster.kubectl()
    names = ("a-1", "b-1", "a-2", "b-2", "going-2")
    made = [web(name, nodeName=f"node-{name[-1]}") for name in names]
    for pod in made:
        pod["metadata"]["labels"]["on"] = pod["spec"]["nodeName"]
    one, two = (service(f"web-{index}", type="NodePort", selector={"on": f"node-{index}"}) for index in (1, 2))
    balanced = service("balanced", type="LoadBalancer", ports=[{"port": 18081, "targetPort": 8080}])
    create(kubectl, service("web", type="NodePort"), one, two, balanced, *made)
    ready(kubectl)
    port, port_1, port_2 = (
        kubectl.json("get", "service", name)["spec"]["ports"][0]["nodePort"] for name in ("web", "web-1", "web-2")
    )
    eventually(lambda: fetch(port), 20, "an answer on the host's loopback")

    kill(cluster, "node-2")
    down = "its processes have ended: `skerry up` starts it again"
    shown = {"name": "node-2", "ready": False, "running": False, "message": down, "connections": None}
    assert shown in cluster.status()["nodeStatus"]
    assert f"Node      node-2: not ready: {down}" in cluster.skerry("status").out
    refused = kubectl.run("logs", "a-2")
    assert refused.code == 1
    assert "the agent of node-2 cannot be reached: Connection refused; `skerry status`" in refused.err
    kubectl("delete", "pod", "going-2", "--wait=false")
    eventually(lambda: fetch(port_1) in ("a-1", "b-1"), 20, "the host's ports, at node-1")
    up = cluster.skerry("up", *cluster.options)
    assert up.code == 0, up.err
    sentence = (
        f'Cluster "{cluster.name}" is running already; node-2 was down and runs again; the current kubectl context'
    )
    assert up.out.splitlines()[-1].startswith(sentence)
    kubectl("wait", "pod/going-2", "--for=delete", "--timeout=30s")
    again = {"a-1": 0, "b-1": 0, "a-2": 1, "b-2": 1}
    eventually(lambda: restarts(kubectl) == again, 20, "the pods of node-2, started again")

    address = kubectl("get", "service", "balanced", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
    kill(cluster, "node-1")
    eventually(lambda: fetch(port_2) in ("a-2", "b-2"), 20, "the host's ports, at node-2")
    eventually(lambda: fetch(18081, address), 20, "the balancer's ports, at node-2")
    cluster.up()
    again |= {"a-1": 1, "b-1": 1}
    eventually(lambda: restarts(kubectl) == again, 20, "the pods of node-1, started again")
    everything_is_right(cluster, kubectl, port, set(again))
    assert "is running already; the current" in cluster.skerry("up", *cluster.options).out

    assert kubectl("delete", "node", "node-2").strip() == 'node "node-2" deleted'
    assert kubectl("get", "nodes", "-o", "name").split() == ["node/node-1"]
    gone = next(one for one in cluster.status()["nodeStatus"] if one["name"] == "node-2")
    assert (gone["running"], gone["message"]) == (True, "its Node object was deleted: `skerry up` starts it anew")
    assert "node-2 was down and runs again" in cluster.skerry("up", *cluster.options).out
    assert kubectl("get", "node", "node-2", "--no-headers").split()[1] == "Ready"


def everything_is_right(cluster: Cluster, kubectl: Kubectl, port: int, names: set[str]) -> None:
    """All pods are ready with addresses of their own, and all of them answer behind their Service, from everywhere."""
    ready(kubectl)
    addresses = look.addresses(kubectl, "app=web")
    assert len(set(addresses)) == len(names)
    eventually(lambda: look.lists(kubectl, "web") == ([f"{ip}:8080" for ip in addresses], []), 20, "the endpoints")

    def inside() -> bool:
        found = cluster.run("python3", "-c", LOOK, json.dumps([[], ["web"], 40]))
        assert found.code == 0, found.err
        return set(json.loads(found.out)["places"]["web"]) == names

    eventually(inside, 20, "every pod behind the Service")
    eventually(lambda: {fetch(port) for _ in range(40)} == names, 20, "every pod behind the node port")


def test_a_node_that_is_alone_is_started_again_by_itself(new_cluster: Callable[..., Cluster]) -> None:
    skip_without_namespaces()
    cluster = new_cluster("--ephemeral")
    cluster.up()
    kubectl = cluster.kubectl()
    create(kubectl, service("web"), web("web"), web("going"))
    ready(kubectl)
    before = processes(cluster)["node-1"]
    kubectl("delete", "pod", "going", "--wait=false")
    os.kill(before, signal.SIGKILL)
    eventually(lambda: processes(cluster).get("node-1", before) != before, 20, "a new process")
    kubectl("wait", "pod/going", "--for=delete", "--timeout=30s")
    eventually(lambda: restarts(kubectl) == {"web": 1}, 20, "the pod, started again")
    ready(kubectl)
    eventually(lambda: look.fetch(cluster, "default", "http://web/hostname") == "web\n", 20, "its answer")
    assert cluster.status()["nodeStatus"][0]["ready"]
