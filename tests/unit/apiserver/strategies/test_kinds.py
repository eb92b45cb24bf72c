"""What is special about the other kinds: pods, endpoints, workloads, namespaces, secrets, events."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api import codec, defaults, resources
from skerry.api.types import apps, core, discovery, networking
from skerry.apiserver import strategies
from skerry.apiserver.strategies import Context


def make(kind: Any, **fields: Any) -> Any:
    metadata = {"name": "web", "namespace": "default", **fields.pop("metadata", {})}
    obj = codec.convert(kind, {"metadata": metadata, **fields})
    defaults.apply(obj)
    return obj


def strategy(kind: Any) -> strategies.Strategy:
    return strategies.of(resources.of(kind))


def created(kind: Any, **fields: Any) -> Any:
    obj = make(kind, **fields)
    strategy(kind).prepare_create(obj, Context())
    strategy(kind).canonicalize(obj)
    return obj


CONTAINER = {"name": "a", "image": "x:1"}
POD = {"spec": {"containers": [CONTAINER]}}
WORKLOAD = {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": POD}}


def test_pod_begins_pending_whatever_the_client_says() -> None:
    pod = created(core.Pod, **POD, status={"phase": "Running", "podIP": "1.2.3.4"})
    assert codec.plain(pod.status) == {"phase": "Pending", "qosClass": "BestEffort"}
    assert pod.spec.service_account_name == "default"
    assert [one.toleration_seconds for one in pod.spec.tolerations] == [300, 300]


def test_gated_pod_says_so() -> None:
    pod = created(core.Pod, spec={"containers": [CONTAINER], "schedulingGates": [{"name": "a/b"}]})
    assert [(one.type, one.status, one.reason) for one in pod.status.conditions] == [
        ("PodScheduled", "False", "SchedulingGated")
    ]


@pytest.mark.parametrize(
    ("spec", "phase", "seconds"),
    [
        ({"nodeName": "n"}, "Running", 30),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 5}, "Running", 5),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 0}, "Running", 0),
        ({"nodeName": "n", "terminationGracePeriodSeconds": -3}, "Running", 1),
        ({}, "Pending", 0),  # on no node: nothing to wait for
        ({"nodeName": "n"}, "Succeeded", 0),
        ({"nodeName": "n"}, "Failed", 0),
    ],
)
def test_r14_grace(spec: dict[str, Any], phase: str, seconds: int) -> None:
    pod = make(core.Pod, spec={"containers": [CONTAINER], **spec})
    pod.status.phase = phase
    assert strategy(core.Pod).default_delete_grace(pod) == seconds


def test_other_kinds_go_at_once() -> None:
    assert strategy(core.ConfigMap).default_delete_grace(make(core.ConfigMap)) == 0


def test_binding_keeps_the_condition_and_the_generation() -> None:
    old = created(core.Pod, **POD)
    new = codec.copy(old)
    new.spec.node_name = "node-1"
    new.status.conditions = [core.PodCondition(type="PodScheduled", status="True")]
    strategy(core.Pod).prepare_update(new, old, "binding", Context())
    assert new.spec.node_name == "node-1" and new.status.conditions
    assert not strategy(core.Pod).changes_generation(new, old)


def test_pod_status_write_keeps_the_spec_and_the_qos_class() -> None:
    old = created(core.Pod, **POD)
    new = codec.copy(old)
    new.spec.containers = []
    new.metadata.owner_references = []
    new.status = core.PodStatus(phase="Running")
    strategy(core.Pod).prepare_update(new, old, "status", Context())
    assert new.spec is old.spec
    assert (new.status.phase, new.status.qos_class) == ("Running", "BestEffort")


def test_pod_fields() -> None:
    pod = make(core.Pod, spec={"nodeName": "n", "hostNetwork": True, "containers": []},
               status={"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]})  # fmt: skip
    found = strategy(core.Pod).fields(pod)
    assert found["metadata.name"] == "web" and found["metadata.namespace"] == "default"
    assert (found["spec.nodeName"], found["spec.hostNetwork"], found["status.podIP"]) == ("n", "true", "10.0.0.1")


def test_pod_warnings() -> None:
    env = [{"name": "A"}, {"name": "A"}]
    pod = make(core.Pod, metadata={"name": "a.b"}, spec={"containers": [{**CONTAINER, "env": env}]})
    assert strategy(core.Pod).warnings(pod, None) == [
        (
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
            "a DNS label is recommended: [must not contain dots]"
        ),
        'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply',
    ]
    assert strategy(core.Pod).warnings(pod, pod) == []


ONE = {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"name": "a", "port": 1}]}
TWO = {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"name": "b", "port": 2}]}


def test_e33_endpoints_are_packed() -> None:
    obj = created(core.Endpoints, subsets=[ONE, TWO])
    assert [[port.name for port in one.ports] for one in obj.subsets] == [["a", "b"]]


def test_e53_endpoints_are_deprecated() -> None:
    assert strategy(core.Endpoints).standing_warnings() == [
        "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    ]
    assert strategy(core.Service).standing_warnings() == []


def test_e54_odd_addresses_are_told_unless_the_controller_wrote_them() -> None:
    obj = make(core.Endpoints, subsets=[{"addresses": [{"ip": "FD00::1"}]}])
    wanted = 'subsets[0].addresses[0].ip: IPv6 address "FD00::1" should be in RFC 5952 canonical format ("fd00::1")'
    assert strategy(core.Endpoints).warnings(obj, None) == [wanted]
    assert strategy(core.Endpoints).warnings(obj, obj) == []
    obj.metadata.labels["endpoints.kubernetes.io/managed-by"] = "endpoint-controller"
    assert strategy(core.Endpoints).warnings(obj, None) == []


def test_l2_l6_slices() -> None:
    endpoint = {"addresses": ["10.0.0.1"], "deprecatedTopology": {"a": "b"}}
    old = created(discovery.EndpointSlice, addressType="IPv4", endpoints=[endpoint], ports=[])
    assert old.endpoints[0].deprecated_topology == {}
    same, labelled, changed, annotated = (codec.copy(old) for _ in range(4))
    labelled.metadata.labels["x"] = "y"
    changed.endpoints = []
    annotated.metadata.annotations["x"] = "y"
    moved = [
        strategy(discovery.EndpointSlice).changes_generation(one, old) for one in (same, labelled, changed, annotated)
    ]
    assert moved == [False, True, True, False]


def test_workloads_generation() -> None:
    for kind, wanted in ((apps.Deployment, [False, False, True, True]), (apps.ReplicaSet, [False, False, False, True])):
        old = created(kind, **WORKLOAD)
        same, labelled, annotated, scaled = (codec.copy(old) for _ in range(4))
        labelled.metadata.labels["x"] = "y"
        annotated.metadata.annotations["x"] = "y"
        scaled.spec.replicas = 9
        found = [strategy(kind).changes_generation(one, old) for one in (same, labelled, annotated, scaled)]
        assert found == wanted


def test_s27_status_split_of_workloads() -> None:
    old = created(apps.Deployment, **WORKLOAD, status={"replicas": 5})
    assert old.status.replicas == 0
    new = codec.copy(old)
    new.spec.replicas, new.status.replicas = 9, 3
    new.metadata.labels["x"] = "y"
    both = codec.copy(new)
    strategy(apps.Deployment).prepare_update(new, old, "status", Context())
    assert (new.spec.replicas, new.status.replicas, new.metadata.labels) == (1, 3, {})
    strategy(apps.Deployment).prepare_update(both, old, "", Context())
    assert (both.spec.replicas, both.status.replicas, both.metadata.labels) == (9, 0, {"x": "y"})


def test_namespace_life() -> None:
    obj = created(core.Namespace, metadata={"namespace": ""}, status={"phase": "Terminating"})
    assert (obj.status.phase, obj.spec.finalizers) == ("Active", ["kubernetes"])
    assert obj.metadata.labels == {"kubernetes.io/metadata.name": "web"}
    new = codec.copy(obj)
    new.spec.finalizers = []
    ordinary, finalize = codec.copy(new), codec.copy(new)
    strategy(core.Namespace).prepare_update(ordinary, obj, "", Context())
    assert ordinary.spec.finalizers == ["kubernetes"]
    finalize.status.phase = "Gone"
    strategy(core.Namespace).prepare_update(finalize, obj, "finalize", Context())
    assert (finalize.spec.finalizers, finalize.status.phase) == ([], "Active")


def test_node_may_come_with_a_status() -> None:
    node = created(core.Node, metadata={"namespace": ""}, status={"capacity": {"cpu": "2"}})
    assert node.status.allocatable == {"cpu": "2"}


def test_secret_string_data_becomes_data() -> None:
    secret = created(core.Secret, data={"a": "YQ==", "b": "Yg=="}, stringData={"b": "c", "d": "é"})
    assert (secret.data, secret.string_data) == ({"a": "YQ==", "b": "Yw==", "d": "w6k="}, {})


def test_a_secret_that_waits_for_a_token_is_told_that_none_comes() -> None:
    account = {"annotations": {"kubernetes.io/service-account.name": "robot"}}
    waiting = created(core.Secret, metadata=account, type="kubernetes.io/service-account-token")
    [said] = strategy(core.Secret).warnings(waiting, None)
    assert "kubectl create token" in said
    assert strategy(core.Secret).warnings(created(core.Secret), None) == []


def test_event_fields() -> None:
    event = make(
        core.Event, involvedObject={"kind": "Pod", "name": "p"}, source={"component": "kubelet"}, type="Normal"
    )
    found = strategy(core.Event).fields(event)
    assert (found["involvedObject.name"], found["source"], found["type"]) == ("p", "kubelet", "Normal")


def test_ingress_annotation_is_deprecated() -> None:
    obj = make(networking.Ingress, metadata={"annotations": {"kubernetes.io/ingress.class": "x"}})
    assert strategy(networking.Ingress).warnings(obj, None) == [
        "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
    ]


@pytest.mark.parametrize("resource", resources.RESOURCES, ids=lambda one: one.kind)
def test_every_kind_tells_the_fields_of_its_row(resource: resources.Resource) -> None:
    found = strategies.of(resource).fields(resource.type())
    assert set(resource.fields) <= set(found)
    assert all(isinstance(value, str) for value in found.values())
