"""Upstream's conformance tests that concern endpoints (C entries of the specification), as real kubectl sees them.

C13 and C14 (several slices by hand) and C16 (mirroring) are in test_hand_written_endpoints.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from tests.helpers import look
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import Kubectl

pytestmark = pytest.mark.rootless

SERVICE_NAME, MANAGED_BY = "kubernetes.io/service-name", "endpointslice.kubernetes.io/managed-by"
DEPRECATED = "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\n"
SERVE = """
import socket, sys, threading
name = socket.gethostname().encode()
def tcp(port):
    server = socket.create_server(("", port))
    while True:
        one, _ = server.accept()
        one.sendall(name)
        one.close()
def udp(port):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", port))
    while True:
        _, who = server.recvfrom(99)
        server.sendto(name, who)
for word in sys.argv[1:]:
    kind, port = word.split("/")
    threading.Thread(target={"tcp": tcp, "udp": udp}[kind], args=[int(port)]).start()
"""
ASK = """
import socket, sys
host, port, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with socket.socket(socket.AF_INET, {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[kind]) as one:
    one.settimeout(2)
    one.connect((host, port))
    if kind == "udp":
        one.send(b"?")
    print(one.recv(99).decode())
"""


def item(kind: str, name: str, *, version: str = "v1", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, **more.pop("metadata", {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **more}


def create(kubectl: Kubectl, *items: dict[str, Any], verb: str = "create") -> None:
    kubectl(verb, "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def pod(name: str, labels: Mapping[str, str], *serves: str, ports: Mapping[str, int] | None = None) -> dict[str, Any]:
    """A pod that answers with its name at `serves`, such as `tcp/8000`."""
    declared = [{"name": key, "containerPort": value} for key, value in (ports or {}).items()]
    ready = {"tcpSocket": {"port": int(serves[0].removeprefix("tcp/"))}} if serves[0].startswith("tcp/") else None
    container = {"name": "c", "image": "host", "command": ["python3", "-c", SERVE, *serves], "ports": declared}
    if ready is not None:
        container["readinessProbe"] = ready
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    return item("Pod", name, metadata={"labels": dict(labels)}, spec=spec)


def service(name: str, selector: Mapping[str, str] | None, *ports: dict[str, Any], **more: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {"ports": list(ports), **more}
    if selector is not None:
        spec["selector"] = dict(selector)
    return item("Service", name, spec=spec)


def targets(kubectl: Kubectl, name: str) -> set[tuple[str, str, int, str]]:
    """What v1.Endpoints has: port name, pod, number, protocol."""
    found = kubectl.json("get", "endpoints", name).get("subsets") or []
    return {
        (port.get("name", ""), address["targetRef"]["name"], port["port"], port["protocol"])
        for subset in found
        for address in subset.get("addresses", [])
        for port in subset["ports"]
    }


def sliced(kubectl: Kubectl, name: str) -> set[tuple[str, str, int, str]]:
    """The same by the slices, of ready endpoints."""
    return {
        (port["name"], one["targetRef"]["name"], port["port"], port["protocol"])
        for each in look.slices_of(kubectl, name)
        for one in each["endpoints"] or []
        for port in each["ports"] or []
        if one["conditions"]["ready"]
    }


def agree_on(kubectl: Kubectl, name: str, *wanted: tuple[str, str, int, str]) -> None:
    both = set(wanted), set(wanted)
    eventually(lambda: (targets(kubectl, name), sliced(kubectl, name)) == both, 20, f"{name}: {wanted}")


def answers(cluster: Cluster, namespace: str, host: str, port: int, kind: str = "tcp") -> str:
    """Who answers a connection from within the cluster; AssertionError if nobody does."""
    done = cluster.run("python3", "-c", ASK, host, str(port), kind, namespace=namespace)
    assert done.code == 0, done.err
    return done.out.strip()


def test_c1_c2_c37_the_api_servers_own_endpoints(nodes3: Cluster, pods3: Kubectl) -> None:
    kubectl = nodes3.kubectl()
    (found,) = [
        one
        for one in kubectl.json("get", "services", "-A")["items"]
        if (one["metadata"]["namespace"], one["metadata"]["name"]) == ("default", "kubernetes")
    ]
    assert kubectl.json("get", "service", "kubernetes")["metadata"]["uid"] == found["metadata"]["uid"]
    endpoints = kubectl.json("get", "endpoints", "kubernetes")
    addresses = [one["ip"] for subset in endpoints["subsets"] for one in subset["addresses"]]
    slices = look.slices_of(kubectl, "kubernetes")
    assert addresses and [one["addresses"] for each in slices for one in each["endpoints"]] == [
        [ip] for ip in addresses
    ]
    assert {one["addressType"] for one in slices} == {"IPv4"}
    done = nodes3.run("curl", "-sk", f"https://{addresses[0]}:6443/livez", namespace=pods3.namespace)
    assert done.out == "ok"


def test_c11_c18_numbers_and_names(pods3: Kubectl) -> None:
    """Two Services over the same pods, by number and by a name that means another port in each; pods change."""
    labels = {"foo": "bar"}
    create(
        pods3,
        service("by-number", labels, {"name": "example", "port": 80, "targetPort": 3000}),
        service("by-name", labels, {"name": "http", "port": 80, "targetPort": "web"}),
        pod("one", labels, "tcp/3000", ports={"web": 3000}),
        pod("two", labels, "tcp/3001", ports={"web": 3001}),
    )
    agree_on(pods3, "by-number", ("example", "one", 3000, "TCP"), ("example", "two", 3000, "TCP"))
    agree_on(pods3, "by-name", ("http", "one", 3000, "TCP"), ("http", "two", 3001, "TCP"))
    assert len(look.slices_of(pods3, "by-number")) == 1 and len(look.slices_of(pods3, "by-name")) == 2
    for each in look.slices_of(pods3, "by-name"):
        (endpoint,) = each["endpoints"]
        name = endpoint["targetRef"]["name"]
        found = pods3.json("get", "pod", name)
        assert endpoint["targetRef"] == {
            "kind": "Pod",
            "namespace": pods3.namespace,
            "name": name,
            "uid": found["metadata"]["uid"],
        }
        assert endpoint["addresses"] == [found["status"]["podIP"]]
        assert endpoint["nodeName"] == found["spec"]["nodeName"]
    pods3("label", "pod", "two", "foo=other", "--overwrite")
    agree_on(pods3, "by-name", ("http", "one", 3000, "TCP"))
    pods3("delete", "pod", "one")
    agree_on(pods3, "by-number")
    pods3("label", "pod", "two", "foo=bar", "--overwrite")
    agree_on(pods3, "by-name", ("http", "two", 3001, "TCP"))


def test_c12_c19_a_selector_that_matches_no_pod(pods3: Kubectl) -> None:
    create(pods3, service("empty", {"does-not-match-anything": "x"}, {"port": 80}))
    eventually(lambda: pods3.run("get", "endpoints", "empty").code == 0, 10, "Endpoints")
    assert "subsets" not in pods3.json("get", "endpoints", "empty")
    (placeholder,) = eventually(lambda: look.slices_of(pods3, "empty"), 10, "the placeholder")
    assert not placeholder["endpoints"] and not placeholder["ports"]
    assert placeholder["metadata"]["labels"][MANAGED_BY] == "endpointslice-controller.k8s.io"
    pods3("delete", "service", "empty")
    eventually(lambda: look.slices_of(pods3, "empty") == [], 90, "the end of the slice")
    assert "not found" in pods3.run("get", "endpoints", "empty").err


def test_c15_every_operation_on_slices(nodes3: Cluster, pods3: Kubectl) -> None:
    assert '"name":"discovery.k8s.io"' in pods3("get", "--raw", "/apis")
    assert '"version":"v1"' in pods3("get", "--raw", "/apis/discovery.k8s.io")
    (row,) = [
        one
        for one in json.loads(pods3("get", "--raw", "/apis/discovery.k8s.io/v1"))["resources"]
        if one["name"] == "endpointslices"
    ]
    assert set(row["verbs"]) >= {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
    mark = {"special": pods3.namespace}
    items = [
        item(
            "EndpointSlice",
            name,
            version="discovery.k8s.io/v1",
            metadata={"labels": mark},
            addressType="IPv4",
            endpoints=[{"addresses": ["192.0.2.1"]}],
            ports=[{"name": "p", "port": 80}],
        )
        for name in ("a", "b", "c")
    ]
    chosen = ("-l", f"special={pods3.namespace}")
    with look.lines(pods3, "get", "endpointslices", *chosen, "-w", "--output-watch-events", "--no-headers") as watch:
        create(pods3, *items)
        for _ in items:
            watch.until(lambda line: line.startswith("ADDED"))
        assert len(pods3.json("get", "endpointslices", *chosen)["items"]) == 3
        assert len(nodes3.kubectl().json("get", "endpointslices", "-A", *chosen)["items"]) == 3
        pods3("patch", "endpointslice", "a", "--type=merge", "-p", '{"metadata":{"annotations":{"patched":"true"}}}')
        watch.until(lambda line: line.startswith("MODIFIED"))
        patched = pods3.json("get", "endpointslice", "a")
        assert patched["metadata"]["annotations"] == {"patched": "true"}
        assert patched["metadata"]["generation"] == 1, "annotations are no change of what it says (L6)"
        patched["metadata"]["annotations"]["updated"] = "true"
        patched["endpoints"] = [{"addresses": ["192.0.2.2"]}]
        pods3("replace", "-f", "-", stdin=json.dumps(patched))
        watch.until(lambda line: line.startswith("MODIFIED"))
        assert pods3.json("get", "endpointslice", "a")["metadata"]["generation"] == 2
        stale = pods3.run("replace", "-f", "-", stdin=json.dumps(patched))
        assert "the object has been modified" in stale.err, "an update names the version that it was made from"
        pods3("delete", "endpointslice", "a")
        watch.until(lambda line: line.startswith("DELETED"))
        path = f"/apis/discovery.k8s.io/v1/namespaces/{pods3.namespace}/endpointslices"
        pods3("delete", "--raw", f"{path}?labelSelector=special%3D{pods3.namespace}")  # deletecollection
        for _ in "bc":
            watch.until(lambda line: line.startswith("DELETED"))
    assert pods3.json("get", "endpointslices", *chosen)["items"] == []


def test_c17_the_life_of_an_endpoints(nodes3: Cluster, pods3: Kubectl) -> None:
    subset = {"addresses": [{"ip": "10.0.0.24"}], "ports": [{"name": "http", "port": 80}]}
    labels = {"test": pods3.namespace}
    create(pods3, item("Endpoints", "testservice", metadata={"labels": labels}, subsets=[subset]))
    chosen = ("-l", f"test={pods3.namespace}")
    (found,) = nodes3.kubectl().json("get", "endpoints", "-A", *chosen)["items"]
    found["metadata"]["labels"]["updated"] = "true"
    pods3("replace", "-f", "-", stdin=json.dumps(found))
    (found,) = pods3.json("get", "endpoints", "-l", "updated=true")["items"]
    more = {"addresses": [{"ip": "10.0.0.25"}], "ports": [{"name": "http-test", "port": 8080}]}
    pods3("patch", "endpoints", "testservice", "-p", json.dumps({"subsets": [more]}))  # a strategic merge
    found = pods3.json("get", "endpoints", "testservice")
    assert found["subsets"] == [more | {"ports": [more["ports"][0] | {"protocol": "TCP"}]}]
    path = f"/api/v1/namespaces/{pods3.namespace}/endpoints"
    for words in (("--raw", f"{path}?watch=1&timeoutSeconds=1"), ("--raw", path), ("endpoints", "testservice")):
        assert pods3.run("get", *words).err == DEPRECATED  # E53: once for each answer, a watch's too
    pods3("delete", "--raw", f"{path}?labelSelector=test%3D{pods3.namespace}")
    assert pods3.json("get", "endpoints", *chosen)["items"] == []


def test_c27_a_hundred_services_have_their_endpoints(pods3: Kubectl) -> None:
    """Upstream allows a median of 20 s and a tail of 50 s; this is one file, and seconds for all of it."""
    create(pods3, pod("here", {"app": "here"}, "tcp/8000"))
    pods3("wait", "pod/here", "--for=condition=Ready", "--timeout=30s")
    many = [service(f"latency-{number}", {"app": "here"}, {"port": 80, "targetPort": 8000}) for number in range(100)]
    begun = time.monotonic()
    with look.lines(pods3, "get", "endpoints", "-w", "--no-headers") as watch:
        create(pods3, *many)
        seen: set[str] = set()
        while len(seen) < len(many):
            line = watch.until(lambda line: line.startswith("latency-") and ":8000" in line)
            seen.add(line.split()[0])
    assert time.monotonic() - begun < 20


def test_c30_endpoints_follow_pods_one_by_one(nodes3: Cluster, pods3: Kubectl) -> None:
    labels = {"app": "basic"}
    create(pods3, service("basic", labels, {"port": 80, "targetPort": 8000}))
    agree_on(pods3, "basic")
    create(pods3, pod("one", labels, "tcp/8000"))
    agree_on(pods3, "basic", ("", "one", 8000, "TCP"))
    create(pods3, pod("two", labels, "tcp/8000"))
    agree_on(pods3, "basic", ("", "one", 8000, "TCP"), ("", "two", 8000, "TCP"))
    pods3("delete", "pod", "one")
    agree_on(pods3, "basic", ("", "two", 8000, "TCP"))
    assert answers(nodes3, pods3.namespace, "basic", 80) == "two"
    pods3("delete", "pod", "two")
    agree_on(pods3, "basic")


def test_c31_two_ports_to_two_pods(nodes3: Cluster, pods3: Kubectl) -> None:
    labels = {"app": "multi"}
    ports = [{"name": f"portname{n}", "port": 80 + n, "targetPort": f"svc{n}"} for n in (1, 2)]
    create(pods3, service("multi", labels, *ports), pod("one", labels, "tcp/100", ports={"svc1": 100}))
    agree_on(pods3, "multi", ("portname1", "one", 100, "TCP"))
    create(pods3, pod("two", labels, "tcp/101", ports={"svc2": 101}))
    agree_on(pods3, "multi", ("portname1", "one", 100, "TCP"), ("portname2", "two", 101, "TCP"))
    for port, name in ((81, "one"), (82, "two")):
        eventually(lambda port=port, name=name: answers(nodes3, pods3.namespace, "multi", port) == name, 10, name)
    pods3("delete", "pod", "one")
    agree_on(pods3, "multi", ("portname2", "two", 101, "TCP"))


def test_c32_one_port_two_protocols(nodes3: Cluster, pods3: Kubectl) -> None:
    labels = {"app": "both"}
    tcp, udp = ({"name": f"{kind}-port", "port": 80, "protocol": kind.upper()} for kind in ("tcp", "udp"))
    create(pods3, service("both", labels, tcp, udp), pod("one", labels, "tcp/80", "udp/80"))
    rows = [("tcp-port", "one", 80, "TCP"), ("udp-port", "one", 80, "UDP")]
    agree_on(pods3, "both", *rows)
    for kind in ("tcp", "udp"):
        eventually(lambda kind=kind: answers(nodes3, pods3.namespace, "both", 80, kind) == "one", 10, kind)
    for port, row in ((tcp, rows[0]), (udp, rows[1])):
        steps = [{"op": "replace", "path": "/spec/ports", "value": [port]}]
        pods3("patch", "service", "both", "--type=json", "-p", json.dumps(steps))
        agree_on(pods3, "both", row)
    assert answers(nodes3, pods3.namespace, "both", 80, "udp") == "one"


def test_c34_external_name_and_back(nodes3: Cluster, pods3: Kubectl) -> None:
    """What a change of type does to endpoints: none are made for a name, and the old ones stay untouched (E9)."""
    labels = {"app": "turn"}
    outside = item("Service", "turn", spec={"type": "ExternalName", "externalName": "example.com"})
    create(pods3, outside, pod("one", labels, "tcp/8000"))
    inside = {
        "type": "ClusterIP",
        "externalName": None,
        "selector": labels,
        "ports": [{"port": 80, "targetPort": 8000}],
    }
    pods3("patch", "service", "turn", "--type=merge", "-p", json.dumps({"spec": inside}))
    agree_on(pods3, "turn", ("", "one", 8000, "TCP"))
    eventually(lambda: answers(nodes3, pods3.namespace, "turn", 80) == "one", 10, "the pod")
    back = {"type": "ExternalName", "externalName": "example.com", "clusterIP": "", "clusterIPs": None}
    pods3("patch", "service", "turn", "--type=merge", "-p", json.dumps({"spec": back}))
    pods3("delete", "pod", "one")
    agree_on(pods3, "turn", ("", "one", 8000, "TCP"))
