"""Services without a selector: what a person writes as Endpoints or as EndpointSlices is where connections go."""

from __future__ import annotations

import json
from typing import Any

from tests.helpers import look
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import Kubectl

MIRRORED = "endpointslicemirroring-controller.k8s.io"


def servers(kubectl: Kubectl, *names: str) -> list[str]:
    """Pods that answer with their names on port 8080; their addresses."""
    for name in names:
        look.busybox(kubectl, name, "exec httpd -f -p 8080 -h /etc")
    kubectl("wait", *(f"pod/{name}" for name in names), "--for=condition=Ready", "--timeout=30s")
    return [kubectl.json("get", "pod", name)["status"]["podIP"] for name in names]


def service(kubectl: Kubectl, *ports: dict[str, Any]) -> None:
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "outside"}, "spec": {"ports": ports}}
    kubectl("apply", "-f", "-", stdin=json.dumps(body))


def endpoints(kubectl: Kubectl, subsets: list[dict[str, Any]], **labels: str) -> None:
    metadata = {"name": "outside", "labels": labels, "annotations": {"note": "mine"}}
    body = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}
    kubectl("apply", "-f", "-", stdin=json.dumps(body))


def test_endpoints_are_mirrored_followed_and_forgotten(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    """C16, X2, X4, X6."""
    one, two = servers(pods, "one", "two")
    service(pods, {"name": "web", "port": 80})
    port = [{"name": "web", "port": 8080}]
    endpoints(pods, [{"addresses": [{"ip": one}], "notReadyAddresses": [{"ip": two}], "ports": port}], tier="db")
    wanted = {one: {"ready": True}, two: {"ready": False}}  # X4: only `ready` is set
    eventually(lambda: look.conditions(pods, "outside") == wanted, 10, "the mirrored slice")
    (found,) = look.slices_of(pods, "outside")
    metadata = found["metadata"]
    assert metadata["generateName"] == "outside-" and metadata["annotations"] == {"note": "mine"}  # X6
    assert metadata["labels"] == {
        "tier": "db",
        "kubernetes.io/service-name": "outside",
        "endpointslice.kubernetes.io/managed-by": MIRRORED,
    }
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Endpoints", "outside", True)
    assert found["ports"] == [{"name": "web", "port": 8080, "protocol": "TCP"}]

    def reached(times: int = 20) -> set[str]:
        return set(look.fetch_often(cluster, namespace, "http://outside/hostname", times))

    eventually(lambda: reached() == {"one"}, 10, "the ready one")
    endpoints(pods, [{"addresses": [{"ip": one}, {"ip": two}], "ports": port}])
    eventually(lambda: reached() == {"one", "two"}, 10, "both")
    (changed,) = look.slices_of(pods, "outside")
    assert changed["metadata"]["name"] == metadata["name"] and "tier" not in changed["metadata"]["labels"]
    pods("delete", "endpoints", "outside")
    eventually(lambda: look.slices_of(pods, "outside") == [], 10, "the slice's end")  # X2
    eventually(lambda: cluster.run("curl", "-s", "http://outside", namespace=namespace).code == 7, 10, "a refusal")


def test_what_is_not_mirrored(pods: Kubectl) -> None:
    """X2: the label, and the selector."""
    service(pods, {"name": "web", "port": 80})
    subsets = [{"addresses": [{"ip": "10.244.1.250"}], "ports": [{"name": "web", "port": 8080}]}]
    endpoints(pods, subsets)
    eventually(lambda: look.slices_of(pods, "outside"), 10, "the mirrored slice")
    pods("label", "endpoints", "outside", "endpointslice.kubernetes.io/skip-mirror=true")
    eventually(lambda: look.slices_of(pods, "outside") == [], 10, "the slice's end")
    pods("label", "endpoints", "outside", "endpointslice.kubernetes.io/skip-mirror-")
    eventually(lambda: look.slices_of(pods, "outside"), 10, "the mirrored slice again")
    pods("patch", "svc", "outside", "-p", '{"spec":{"selector":{"app":"mine"}}}')

    def managers() -> list[str]:
        label = "endpointslice.kubernetes.io/managed-by"
        return [item["metadata"]["labels"][label] for item in look.slices_of(pods, "outside")]

    eventually(lambda: managers() == ["endpointslice-controller.k8s.io"], 10, "the other controller's slice")  # X8
    eventually(lambda: "subsets" not in pods.json("get", "endpoints", "outside"), 10, "Endpoints taken over")


def test_subsets_are_packed_and_split(pods: Kubectl) -> None:
    """E33: the server regroups what a person writes. X3: a slice for each set of ports."""
    service(pods, {"name": "a", "port": 80}, {"name": "b", "port": 81})
    a, b = {"name": "a", "port": 1}, {"name": "b", "port": 2}
    x, y = {"ip": "10.244.1.250"}, {"ip": "10.244.1.251"}
    endpoints(pods, [{"addresses": [x], "ports": [a]}, {"addresses": [y], "ports": [a]}])
    (subset,) = pods.json("get", "endpoints", "outside")["subsets"]
    assert subset["addresses"] == [x, y]
    endpoints(pods, [{"addresses": [x, y], "ports": [a]}, {"addresses": [x], "ports": [b]}])
    assert len(pods.json("get", "endpoints", "outside")["subsets"]) == 2

    def by_port() -> dict[str, list[str]]:
        return {
            item["ports"][0]["name"]: sorted(one["addresses"][0] for one in item["endpoints"])
            for item in look.slices_of(pods, "outside")
        }

    wanted = {"a": ["10.244.1.250", "10.244.1.251"], "b": ["10.244.1.250"]}
    eventually(lambda: by_port() == wanted, 10, "two slices")


def test_slices_by_hand(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    """X9, C13, C14: several slices of one Service, each with what the other has not; `ready` absent is ready (L3)."""
    one, two = servers(pods, "one", "two")
    service(pods, {"name": "web", "port": 80}, {"name": "admin", "port": 81})

    def write(name: str, port: str, endpoint: dict[str, Any]) -> None:
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "outside"}},
            "addressType": "IPv4",
            "endpoints": [endpoint],
            "ports": [{"name": port, "port": 8080}],
        }
        pods("apply", "-f", "-", stdin=json.dumps(body))

    def reached(url: str) -> set[str]:
        return set(look.fetch_often(cluster, namespace, f"{url}/hostname", 20))

    write("a", "web", {"addresses": [one]})
    write("b", "admin", {"addresses": [two], "conditions": {"ready": True}})
    eventually(lambda: reached("http://outside") == {"one"}, 10, "the first port")
    eventually(lambda: reached("http://outside:81") == {"two"}, 10, "the second")
    write("c", "web", {"addresses": [two]})
    eventually(lambda: reached("http://outside") == {"one", "two"}, 10, "both slices")
    write("a", "web", {"addresses": [one], "conditions": {"ready": False}})
    eventually(lambda: reached("http://outside") == {"two"}, 10, "the ready one")
    pods("delete", "endpointslice", "c")
    eventually(lambda: cluster.run("curl", "-s", "http://outside", namespace=namespace).code == 7, 10, "a refusal")
    assert reached("http://outside:81") == {"two"}
