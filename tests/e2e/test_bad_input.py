"""What bad objects and commands get: refusals in upstream's words, as kubectl prints them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.helpers.cluster import Cluster
from tests.helpers.kubectl import Kubectl

LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
PORT = "must be between 1 and 65535, inclusive"


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    spec.setdefault("ports", [{"port": 80}])
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def deployment(selector: Any = ..., labels: Any = ..., **spec: Any) -> dict[str, Any]:
    container = {"name": "web", "image": "nginx"}
    spec = {
        "selector": {"matchLabels": {"app": "web"}} if selector is ... else selector,
        "template": {
            "metadata": {"labels": {"app": "web"} if labels is ... else labels},
            "spec": {"containers": [container]},
        },
        **spec,
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def pod(**spec: Any) -> dict[str, Any]:
    spec.setdefault("containers", [{"name": "web", "image": "nginx"}])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}


def endpoints(ip: str, port: int) -> dict[str, Any]:
    subsets = [{"addresses": [{"ip": ip}], "ports": [{"port": port}]}]
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"}, "subsets": subsets}


def endpointslice(kind: str, *addresses: str) -> dict[str, Any]:
    endpoints = [{"addresses": addresses}]
    body = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "web"}}
    return {**body, "addressType": kind, "endpoints": endpoints, "ports": []}


def refusal(kubectl: Kubectl, body: dict[str, Any]) -> tuple[str, list[str]]:
    """What kubectl says of an invalid object: its first words and the causes."""
    done = kubectl.run("create", "-f", "-", stdin=json.dumps(body))
    assert done.code == 1 and done.out == "", done
    head, _, rest = done.err.strip().partition(" is invalid: ")
    return head, [line.removeprefix("* ") for line in rest.strip().splitlines()]


def invalid(path: str, value: str, why: str) -> str:
    return f"{path}: Invalid value: {value}: {why}"


def unsupported(path: str, value: str, *allowed: str) -> str:
    return f'{path}: Unsupported value: "{value}": supported values: ' + ", ".join(f'"{one}"' for one in allowed)


NO_MATCH = "`selector` does not match template `labels`"
TAKEN = "failed to allocate IP 10.96.0.1: provided IP is already allocated"
ELSEWHERE = (
    "failed to allocate IP 192.168.0.1: provided IP is not in the valid range. The range of valid IPs is 10.96.0.0/12"
)
OUTSIDE = "provided port is not in the valid range. The range of valid ports is 30000-32767"
TWICE = '{"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,"NodePort":0}'
NEGATIVE = "must be greater than or equal to 0"
FORBIDDEN = (
    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
LOOPBACK = "may not be in the loopback range (127.0.0.0/8, ::1/128)"

# 422 --------------------------------------------------------------------------------------------------------------

INVALID = {
    "a port out of range": (
        service(ports=[{"port": 70000}]),
        [invalid(f"spec.ports[0].{field}", "70000", PORT) for field in ("port", "targetPort")],
    ),
    "no ports": (service(ports=[]), ["spec.ports: Required value"]),
    "a port name twice": (
        service(ports=[{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]),
        ['spec.ports[1].name: Duplicate value: "a"'],
    ),
    "a port twice": (
        service(ports=[{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]),
        [f"spec.ports[1]: Duplicate value: {TWICE}"],
    ),
    "two ports without names": (
        service(ports=[{"port": 80}, {"port": 81}]),
        ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
    ),
    "a bad name": (service("My_Service"), [invalid("metadata.name", '"My_Service"', LABEL)]),
    "an unknown type": (
        service(type="Loud"),
        [unsupported("spec.type", "Loud", "ClusterIP", "ExternalName", "LoadBalancer", "NodePort")],
    ),
    "a taken cluster IP": (service(clusterIP="10.96.0.1"), [invalid("spec.clusterIPs", '["10.96.0.1"]', TAKEN)]),
    "a cluster IP of elsewhere": (
        service(clusterIP="192.168.0.1"),
        [invalid("spec.clusterIPs", '["192.168.0.1"]', ELSEWHERE)],
    ),
    "a node port out of range": (
        service(type="NodePort", ports=[{"port": 80, "nodePort": 80}]),
        [invalid("spec.ports[0].nodePort", "80", OUTSIDE)],
    ),
    "a selector that does not match": (
        deployment(labels={"app": "other"}),
        [invalid("spec.template.metadata.labels", '{"app":"other"}', NO_MATCH)],
    ),
    "no selector": (
        deployment(selector=None),
        ["spec.selector: Required value", invalid("spec.template.metadata.labels", '{"app":"web"}', NO_MATCH)],
    ),
    "replicas below 0": (deployment(replicas=-1), [invalid("spec.replicas", "-1", NEGATIVE)]),
    "no containers": (pod(containers=[]), ["spec.containers: Required value"]),
    "a container without image": (
        pod(containers=[{"name": "A", "image": ""}]),
        [invalid("spec.containers[0].name", '"A"', LABEL), "spec.containers[0].image: Required value"],
    ),
    "an unknown restart policy": (
        pod(restartPolicy="Sometimes"),
        [unsupported("spec.restartPolicy", "Sometimes", "Always", "Never", "OnFailure")],
    ),
    "endpoints on loopback": (
        endpoints("127.0.0.1", 80),
        [invalid("subsets[0].addresses[0].ip", '"127.0.0.1"', LOOPBACK)],
    ),
    "endpoints without a port": (endpoints("192.0.2.1", 0), [invalid("subsets[0].ports[0].port", "0", PORT)]),
    "an IPv6 address in an IPv4 slice": (
        endpointslice("IPv4", "fe80::1"),
        [invalid("endpoints[0].addresses[0]", '"fe80::1"', "must be an IPv4 address")],
    ),
    "an unknown address type": (
        endpointslice("IPv5", "10.0.0.1"),
        [unsupported("addressType", "IPv5", "FQDN", "IPv4", "IPv6")],
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_object(api: Cluster, case: str) -> None:
    """Rules S8-S18, S40, S43, V2-V5, A1."""
    body, causes = INVALID[case]
    name = body["metadata"]["name"]
    assert refusal(api.kubectl(), body) == (f'The {body["kind"]} "{name}"', causes)


def test_a_taken_node_port(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=json.dumps(service("first", type="NodePort")))
    port = kubectl.json("get", "svc", "first")["spec"]["ports"][0]["nodePort"]
    _, causes = refusal(kubectl, service("second", type="NodePort", ports=[{"port": 80, "nodePort": port}]))
    assert causes == [f"spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated"]
    kubectl("delete", "svc", "first")
    now_free = service("second", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    kubectl("create", "-f", "-", stdin=json.dumps(now_free))


@pytest.mark.parametrize(
    ("body", "patch", "cause"),
    [
        (
            service(),
            {"spec": {"clusterIP": "10.96.99.99"}},
            'spec.clusterIPs[0]: Invalid value: ["10.96.99.99"]: may not change once set',
        ),
        (
            deployment(),
            {"spec": {"selector": {"matchLabels": {"tier": "x"}}, "template": {"metadata": {"labels": {"tier": "x"}}}}},
            'spec.selector: Invalid value: {"matchLabels":{"app":"web","tier":"x"}}: field is immutable',
        ),
        (pod(), {"spec": {"restartPolicy": "Never"}}, FORBIDDEN),
        (endpointslice("IPv4", "10.0.0.1"), {"addressType": "IPv6", "endpoints": []}, "field is immutable"),
    ],
    ids=["cluster-ip", "selector", "pod", "address-type"],
)
def test_what_may_not_change(kubectl: Kubectl, body: dict[str, Any], patch: dict[str, Any], cause: str) -> None:
    kubectl("create", "-f", "-", stdin=json.dumps(body))
    kind = body["kind"].lower()
    before = kubectl.json("get", kind, "web")
    done = kubectl.run("patch", kind, "web", "-p", json.dumps(patch))
    assert done.code == 1 and f'The {body["kind"]} "web" is invalid: ' in done.err and cause in done.err
    # Not the resourceVersion: controllers tell a Service's status meanwhile.
    assert {**kubectl.json("get", kind, "web"), "status": 0, "metadata": 0} == {**before, "status": 0, "metadata": 0}


# 404, 409, 403, 413 -----------------------------------------------------------------------------------------------


def test_what_is_not_there(kubectl: Kubectl) -> None:
    for command, sentence in (
        (("get", "pod", "none"), 'Error from server (NotFound): pods "none" not found'),
        (("delete", "svc", "none"), 'Error from server (NotFound): services "none" not found'),
        (("scale", "deploy/none", "--replicas=1"), 'deployments.apps "none" not found'),
        (("logs", "none"), 'pods "none" not found'),
        (("get", "nonsense"), 'error: the server doesn\'t have a resource type "nonsense"'),
    ):
        done = kubectl.run(*command)
        assert done.code == 1 and sentence in done.err
    unknown = {"apiVersion": "example.test/v1", "kind": "Nonsense", "metadata": {"name": "x"}}
    done = kubectl.run("create", "-f", "-", stdin=json.dumps(unknown))
    assert done.code == 1 and 'no matches for kind "Nonsense" in version "example.test/v1"' in done.err
    done = kubectl.run("create", "-n", "nowhere", "-f", "-", stdin=json.dumps(service()))
    assert done.code == 1 and 'error when creating "STDIN": namespaces "nowhere" not found' in done.err


def test_conflicts(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "settings", "--from-literal=a=1")
    done = kubectl.run("create", "configmap", "settings")
    sentence = 'error: failed to create configmap: configmaps "settings" already exists'
    assert done.code == 1 and done.err.strip() == sentence
    old = kubectl.json("get", "configmap", "settings")
    kubectl("patch", "configmap", "settings", "-p", '{"data":{"a":"2"}}')
    done = kubectl.run("replace", "-f", "-", stdin=json.dumps({**old, "data": {"a": "3"}}))
    sentence = (
        'Operation cannot be fulfilled on configmaps "settings": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    assert done.code == 1 and "Error from server (Conflict): " in done.err and sentence in done.err
    assert kubectl.json("get", "configmap", "settings")["data"] == {"a": "2"}


def test_a_namespace_that_ends_takes_nothing_new(api: Cluster, minor: str, namespace: str) -> None:
    kubectl = api.kubectl(minor)
    kubectl("create", "namespace", namespace)
    kubectl("create", "configmap", "held", "-n", namespace)
    kubectl("patch", "configmap", "held", "-n", namespace, "-p", '{"metadata":{"finalizers":["example.test/hold"]}}')
    kubectl("delete", "namespace", namespace, "--wait=false")
    done = kubectl.run("create", "configmap", "late", "-n", namespace)
    sentence = (
        f'configmaps "late" is forbidden: unable to create new content in namespace {namespace} because it is being '
        "terminated"
    )
    assert done.code == 1 and sentence in done.err
    kubectl("patch", "configmap", "held", "-n", namespace, "-p", '{"metadata":{"finalizers":null}}')
    kubectl("wait", f"namespace/{namespace}", "--for=delete", "--timeout=30s")


def test_a_body_that_is_too_large(kubectl: Kubectl) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}, "data": {"a": "x" * 3_200_000}}
    done = kubectl.run("create", "-f", "-", stdin=json.dumps(body))
    assert done.code == 1 and "Request entity too large: limit is 3145728" in done.err
    body["data"] = {"a": "x" * 1_100_000}
    done = kubectl.run("create", "-f", "-", stdin=json.dumps(body))
    assert done.code == 1 and "Too long: may not be more than 1048576 bytes" in done.err
