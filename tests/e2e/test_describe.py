"""What kubectl shows of Services, Endpoints, EndpointSlices and PriorityClasses: `describe`, whole, and `get`."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.helpers import look
from tests.helpers.cluster import Cluster, eventually
from tests.helpers.kubectl import Kubectl


def create(kubectl: Kubectl, name: str, **spec: Any) -> None:
    labels = {"tier": "front"}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels}, "spec": spec}
    kubectl("create", "-f", "-", stdin=json.dumps(body))


def described(kubectl: Kubectl, *what: str) -> list[str]:
    """The lines, with single spaces."""
    return [" ".join(line.split()) for line in kubectl("describe", *what).splitlines()]


def head(name: str, namespace: str, selector: str = "app=web") -> list[str]:
    named = [f"Name: {name}", f"Namespace: {namespace}"]
    return [*named, "Labels: tier=front", "Annotations: <none>", f"Selector: {selector}"]


FAMILIES = ["IP Family Policy: SingleStack", "IP Families: IPv4"]


def test_a_service_with_everything(kubectl: Kubectl, namespace: str) -> None:
    """T18: the optional lines too; an older kubectl does not know all of them."""
    ports = [
        {"name": "http", "port": 80, "targetPort": "web", "appProtocol": "http"},
        {"name": "dns", "port": 53, "protocol": "UDP"},
    ]
    create(
        kubectl,
        "all",
        type="LoadBalancer",
        selector={"app": "web"},
        ports=ports,
        externalIPs=["203.0.113.7"],
        loadBalancerSourceRanges=["192.0.2.0/24"],
        externalTrafficPolicy="Local",
        sessionAffinity="ClientIP",
        trafficDistribution="PreferClose",
    )
    spec = kubectl.json("get", "svc", "all")["spec"]
    ip, (http, dns), health = spec["clusterIP"], (one["nodePort"] for one in spec["ports"]), spec["healthCheckNodePort"]
    assert len({http, dns, health}) == 3
    wanted = [
        *head("all", namespace),
        "Type: LoadBalancer",
        *FAMILIES,
        f"IP: {ip}",
        f"IPs: {ip}",
        "External IPs: 203.0.113.7",
        "Port: http 80/TCP",
        "TargetPort: web/TCP",
        "AppProtocol: http",
        f"NodePort: http {http}/TCP",
        "Endpoints:",
        "Port: dns 53/UDP",
        "TargetPort: 53/UDP",
        f"NodePort: dns {dns}/UDP",
        "Endpoints:",
        "Session Affinity: ClientIP",
        "External Traffic Policy: Local",
        "Internal Traffic Policy: Cluster",
        f"HealthCheck NodePort: {health}",
        "LoadBalancer Source Ranges: 192.0.2.0/24",
        "Traffic Distribution: PreferClose",
        "Events: <none>",
    ]
    if kubectl.minor == "1.33":
        wanted = [line for line in wanted if not line.startswith(("AppProtocol:", "Traffic Distribution:"))]

    def right() -> bool:
        assert described(kubectl, "svc", "all") == wanted
        return True

    eventually(right, 10)  # without the placeholder slice, which comes a moment after the Service, kubectl says <none>


@pytest.mark.parametrize(
    ("spec", "lines", "row"),
    [
        (
            {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 80}]},
            ["Type: ClusterIP", *FAMILIES, "IP: None", "IPs: None", "Port: <unset> 80/TCP", "TargetPort: 80/TCP",
             "Endpoints:", "Session Affinity: None", "Internal Traffic Policy: Cluster", "Events: <none>"],
            ["ClusterIP", "None", "<none>", "80/TCP"],
        ),
        (
            {"type": "ExternalName", "externalName": "example.test"},
            ["Type: ExternalName", "IP Families: <none>", "IP:", "IPs: <none>", "External Name: example.test",
             "Session Affinity: None", "Events: <none>"],
            ["ExternalName", "<none>", "example.test", "<none>"],
        ),
    ],
    ids=["headless", "external-name"],
)  # fmt: skip
def test_services_without_an_address(
    kubectl: Kubectl, namespace: str, spec: dict[str, Any], lines: list[str], row: list[str]
) -> None:
    create(kubectl, "web", **spec)
    selector = "app=web" if "selector" in spec else "<none>"
    wanted = [*head("web", namespace, selector), *lines]
    eventually(lambda: described(kubectl, "svc", "web") == wanted, 10, f"{wanted}")
    assert kubectl("get", "svc", "web", "--no-headers").split()[1:5] == row


def test_the_columns_of_services(kubectl: Kubectl) -> None:
    """T6."""
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 53, "protocol": "UDP"}]
    create(kubectl, "node", type="NodePort", ports=ports)
    create(kubectl, "balanced", type="LoadBalancer", selector={"b": "2", "a": "1"}, ports=[{"port": 80}])
    a, b = (one["nodePort"] for one in kubectl.json("get", "svc", "node")["spec"]["ports"])
    header, *rows = kubectl("get", "svc", "-o", "wide").splitlines()
    assert header.split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"]
    balanced, node = (row.split() for row in rows)
    assert [node[1], node[3], node[4], node[6]] == ["NodePort", "<none>", f"80:{a}/TCP,53:{b}/UDP", "<none>"]
    assert [balanced[1], balanced[3], balanced[6]] == ["LoadBalancer", "<pending>", "a=1,b=2"]
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}}}
    kubectl("patch", "svc", "balanced", "--subresource=status", "-p", json.dumps(status))
    assert kubectl("get", "svc", "balanced", "--no-headers").split()[3] == "203.0.113.9"
    assert "LoadBalancer Ingress: 203.0.113.9 (VIP)" in described(kubectl, "svc", "balanced")


def test_endpoints_and_slices(cluster: Cluster, pods: Kubectl, namespace: str) -> None:
    """T7, T8, T20, T21: with one pod that is ready and one that is not."""
    pods("create", "service", "clusterip", "web", "--tcp=80:8080")
    pods("label", "svc", "web", "tier=front")
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1}
    for name in ("good", "waiting"):
        container = {"name": "web", "image": "busybox", "command": ["sleep", "1000"]}
        if name == "waiting":
            container["readinessProbe"] = probe
        spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
        metadata = {"name": name, "labels": {"app": "web"}}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        pods("create", "-f", "-", stdin=json.dumps(body))
    pods("wait", "pod/good", "--for=condition=Ready", "--timeout=30s")
    pods("wait", "pod/waiting", "--for=jsonpath={.status.phase}=Running", "--timeout=30s")
    good, waiting = (pods.json("get", "pod", name)["status"]["podIP"] for name in ("good", "waiting"))
    eventually(lambda: look.lists(pods, "web") == ([f"{good}:8080"], [f"{waiting}:8080"]), 10, "both")
    lines = described(pods, "endpoints", "web")
    assert lines[:3] == ["Name: web", f"Namespace: {namespace}", "Labels: app=web"]
    assert lines[3:5] == ["endpoints.kubernetes.io/managed-by=endpoint-controller", "tier=front"]  # E40
    rest = lines[lines.index("Subsets:") :]
    assert rest == [
        "Subsets:", f"Addresses: {good}", f"NotReadyAddresses: {waiting}", "Ports:", "Name Port Protocol",
        "---- ---- --------", "80-8080 8080 TCP", "", "Events: <none>",
    ]  # fmt: skip
    assert re.split(r" {2,}", pods("get", "ep", "web", "--no-headers").strip())[:2] == ["web", f"{good}:8080"]
    (one,) = look.slices_of(pods, "web")
    lines = described(pods, "endpointslice", one["metadata"]["name"])
    assert "AddressType: IPv4" in lines
    rest = lines[lines.index("Ports:") :]
    shown = {
        name: [f"- Addresses: {ip}", "Conditions:", f"Ready: {ready}", "Hostname: <unset>", f"TargetRef: Pod/{name}",
               "NodeName: node-1", "Zone: <unset>"]
        for name, ip, ready in (("good", good, "true"), ("waiting", waiting, "false"))
    }  # fmt: skip
    order = [endpoint["targetRef"]["name"] for endpoint in one["endpoints"]]
    assert rest == [
        "Ports:", "Name Port Protocol", "---- ---- --------", "80-8080 8080 TCP", "Endpoints:",
        *shown[order[0]], *shown[order[1]], "Events: <none>",
    ]  # fmt: skip
    row = re.split(r" {2,}", pods("get", "endpointslice", one["metadata"]["name"], "--no-headers").strip())
    assert row[1:3] == ["IPv4", "8080"] and sorted(row[3].split(",")) == sorted([good, waiting])


def test_priority_classes(kubectl: Kubectl, namespace: str) -> None:
    """Made, shown and used; the two of the system are there."""
    name = f"high-{namespace}"
    says = ["--value=1000", "--description=goes first", "--preemption-policy=Never"]
    assert kubectl("create", "priorityclass", name, *says) == f"priorityclass.scheduling.k8s.io/{name} created\n"
    try:
        header, *rows = kubectl("get", "priorityclasses").splitlines()
        assert header.split() == ["NAME", "VALUE", "GLOBAL-DEFAULT", "AGE", "PREEMPTIONPOLICY"]
        shown = {row.split()[0]: row.split()[1:3] + row.split()[4:] for row in rows}
        assert shown[name] == ["1000", "false", "Never"]
        assert shown["system-node-critical"] == ["2000001000", "false", "PreemptLowerPriority"]
        lines = described(kubectl, "pc", name)
        assert lines[:2] == [f"Name: {name}", "Value: 1000"] and "Description: goes first" in lines
        kubectl("run", "web", "--image=nginx", f"--overrides={json.dumps({'spec': {'priorityClassName': name}})}")
        lines = described(kubectl, "pod", "web")
        assert "Priority: 1000" in lines and f"Priority Class Name: {name}" in lines
        overrides = json.dumps({"spec": {"priorityClassName": "gold"}})
        refused = kubectl.run("run", "b", "--image=nginx", f"--overrides={overrides}").err
        assert 'pods "b" is forbidden: no PriorityClass with name gold was found' in refused
    finally:
        kubectl("delete", "priorityclass", name)
