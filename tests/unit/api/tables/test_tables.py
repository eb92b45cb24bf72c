"""Printed columns: T1-T17 and G6."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api import codec, resources, tables
from skerry.api.tables.duration import human, since
from skerry.api.types import apps, coordination, core, discovery, networking
from skerry.clock import parse_rfc3339

CREATED = "2026-01-01T00:00:00Z"
NOW = parse_rfc3339(CREATED) + 300
META = {"metadata": {"name": "a", "namespace": "default", "creationTimestamp": CREATED}}
MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400


def cells(kind: Any, **fields: Any) -> list[Any]:
    return tables.cells(codec.convert(kind, {**META, **fields}), NOW)


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        (0, "0s"), (95.9, "95s"), (119, "119s"), (120, "2m"), (200, "3m20s"), (599, "9m59s"), (600, "10m"),
        (175 * MINUTE, "175m"), (3 * HOUR, "3h"), (5 * HOUR + 12 * MINUTE, "5h12m"), (8 * HOUR, "8h"),
         (30 * HOUR, "30h"),
        (2 * DAY, "2d"), (4 * DAY + 3 * HOUR, "4d3h"), (8 * DAY, "8d"), (400 * DAY, "400d"), (2 * YEAR, "2y"),
        (3 * YEAR + 20 * DAY, "3y20d"), (9 * YEAR, "9y"), (-1, "0s"), (-1.9, "0s"), (-2, "<invalid>"),
    ],
)  # fmt: skip
def test_t3_ages(seconds: float, wanted: str) -> None:
    assert human(seconds) == wanted


def test_t3_missing_timestamp() -> None:
    assert since(None, NOW) == since("", NOW) == "<unknown>"


@pytest.mark.parametrize("resource", resources.RESOURCES, ids=lambda one: one.kind)
def test_every_kind_has_a_cell_for_every_column(resource: resources.Resource) -> None:
    columns, row = tables.columns(resource), tables.cells(resource.type(), NOW)
    assert len(columns) == len(row)
    for column in columns:
        assert set(column) == {"name", "type", "format", "description", "priority"}
        assert column["description"]
    assert [one["name"] for one in columns if one["format"] == "name"] == ["Name"]


NAMES = {
    "Pod": "Name Ready Status Restarts Age IP1 Node1 Nominated-Node1 Readiness-Gates1",
    "Service": "Name Type Cluster-IP External-IP Port(s) Age Selector1",
    "Endpoints": "Name Endpoints Age",
    "EndpointSlice": "Name AddressType Ports Endpoints Age",
    "Deployment": "Name Ready Up-to-date Available Age Containers1 Images1 Selector1",
    "PodDisruptionBudget": "Name Min-Available Max-Unavailable Allowed-Disruptions Age",
    "ReplicaSet": "Name Desired Current Ready Age Containers1 Images1 Selector1",
    "StatefulSet": "Name Ready Age Containers1 Images1",
    "DaemonSet": ("Name Desired Current Ready Up-to-date Available Node-Selector Age Containers1 Images1 Selector1"),
    "ControllerRevision": "Name Controller Revision Age",
    "Job": "Name Status Completions Duration Age Containers1 Images1 Selector1",
    "CronJob": "Name Schedule Timezone Suspend Active Last-Schedule Age Containers1 Images1 Selector1",
    "Node": "Name Status Roles Age Version Internal-IP1 External-IP1 OS-Image1 Kernel-Version1 Container-Runtime1",
    "Namespace": "Name Status Age",
    "Event": "Last-Seen Type Reason Object Subobject1 Source1 Message First-Seen1 Count1 Name1",
    "Ingress": "Name Class Hosts Address Ports Age",
    "IngressClass": "Name Controller Parameters Age",
    "PriorityClass": "Name Value Global-Default Age PreemptionPolicy",
    "ConfigMap": "Name Data Age",
    "Secret": "Name Type Data Age",
    "ServiceAccount": "Name Age",
    "Lease": "Name Holder Age",
    "LimitRange": "Name Created-At",
    "ResourceQuota": "Name Request Limit Age",
    "PersistentVolume": (
        "Name Capacity Access-Modes Reclaim-Policy Status Claim StorageClass VolumeAttributesClass Reason Age "
        "VolumeMode1"
    ),
    "PersistentVolumeClaim": (
        "Name Status Volume Capacity Access-Modes StorageClass VolumeAttributesClass Age VolumeMode1"
    ),
    "NetworkPolicy": "Name Pod-Selector Age",
    "HorizontalPodAutoscaler": "Name Reference Targets MinPods MaxPods Replicas Age",
    "RuntimeClass": "Name Handler Age",
    "ServiceCIDR": "Name CIDRs Age",
    "IPAddress": "Name ParentRef Age",
    "StorageClass": "Name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age",
    "Role": "Name Created-At",
    "ClusterRole": "Name Created-At",
    "RoleBinding": "Name Role Age Users1 Groups1 ServiceAccounts1",
    "ClusterRoleBinding": "Name Role Age Users1 Groups1 ServiceAccounts1",
    "CustomResourceDefinition": "Name Created-At",
    "MutatingWebhookConfiguration": "Name Webhooks Age",
    "ValidatingWebhookConfiguration": "Name Webhooks Age",
    "Acknowledgement": "Name Node Component Revision Services1 Age",
}


@pytest.mark.parametrize("resource", resources.RESOURCES, ids=lambda one: one.kind)
def test_t5_t17_columns(resource: resources.Resource) -> None:
    shown = [f"{one['name'].replace(' ', '-')}{one['priority'] or ''}" for one in tables.columns(resource)]
    if resource.kind in NAMES:
        assert " ".join(shown) == NAMES[resource.kind]
    else:
        assert shown == ["Name", "Age"]


@pytest.mark.parametrize(
    ("spec", "service_status", "wanted"),
    [
        ({"type": "ClusterIP", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"], "selector": {"b": "2", "a": "1"},
          "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}, {},
         ["ClusterIP", "10.96.0.5", "<none>", "80/TCP,53/UDP", "5m", "a=1,b=2"]),
        ({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"]}, {},
         ["ClusterIP", "None", "<none>", "<none>", "5m", "<none>"]),
        ({"type": "NodePort", "clusterIPs": ["10.96.0.5"], "externalIPs": ["192.0.2.1", "192.0.2.2"],
          "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]}, {},
         ["NodePort", "10.96.0.5", "192.0.2.1,192.0.2.2", "80:30080/TCP", "5m", "<none>"]),
        ({"type": "LoadBalancer"}, {}, ["LoadBalancer", "<none>", "<pending>", "<none>", "5m", "<none>"]),
        ({"type": "LoadBalancer", "externalIPs": ["192.0.2.9"]},
         {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}, {"hostname": "a.example"}, {"ip": "192.0.2.1"}]}},
         ["LoadBalancer", "<none>", "192.0.2.1,192.0.2.2,a.example,192.0.2.9", "<none>", "5m", "<none>"]),
        ({"type": "ExternalName", "externalName": "a.example"}, {},
         ["ExternalName", "<none>", "a.example", "<none>", "5m", "<none>"]),
    ],
)  # fmt: skip
def test_t6_service(spec: dict[str, Any], service_status: dict[str, Any], wanted: list[str]) -> None:
    assert cells(core.Service, spec=spec, status=service_status) == ["a", *wanted]


def addresses(*ips: str) -> list[dict[str, str]]:
    return [{"ip": one} for one in ips]


FIVE = addresses(*[f"10.0.0.{i}" for i in range(1, 6)])
TWO = addresses("10.0.0.1", "10.0.0.2")


@pytest.mark.parametrize(
    ("subsets", "wanted"),
    [
        ([{"addresses": FIVE, "ports": [{"port": 80}]}], "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more..."),
        ([{"addresses": TWO, "ports": [{"port": 80}, {"port": 443}]}],
         "10.0.0.1:80,10.0.0.2:80,10.0.0.1:443 + 1 more..."),
        ([], "<none>"),
        ([{"notReadyAddresses": TWO, "ports": [{"port": 80}]}], ""),
        ([{"addresses": TWO}], "10.0.0.1,10.0.0.2"),
        ([{"addresses": addresses("fd00::1"), "ports": [{"port": 80}]}], "[fd00::1]:80"),
    ],
)  # fmt: skip
def test_g6_t7_endpoints(subsets: list[dict[str, Any]], wanted: str) -> None:
    assert cells(core.Endpoints, subsets=subsets) == ["a", wanted, "5m"]


@pytest.mark.parametrize(
    ("ports", "ips", "wanted"),
    [
        ([], [], ["<unset>", "<unset>"]),  # a placeholder
        ([{"port": 80}, {"name": "any"}, {"name": ""}], ["10.0.0.1"], ["80,any,*", "10.0.0.1"]),
        ([{"port": i} for i in range(1, 6)], [f"10.0.0.{i}" for i in range(1, 5)],
         ["1,2,3 + 2 more...", "10.0.0.1,10.0.0.2,10.0.0.3 + 1 more..."]),
    ],
)  # fmt: skip
def test_t8_slices(ports: list[dict[str, Any]], ips: list[str], wanted: list[str]) -> None:
    endpoints = [{"addresses": [ip], "conditions": {"ready": False}} for ip in ips]
    row = cells(discovery.EndpointSlice, addressType="IPv4", endpoints=endpoints, ports=ports)
    assert row == ["a", "IPv4", *wanted, "5m"]


TEMPLATE = {"spec": {"containers": [{"name": "web", "image": "nginx:1"}, {"name": "b", "image": "x"}]}}
SELECTOR = {
    "matchLabels": {"b": "2", "a": "1"},
    "matchExpressions": [{"key": "c", "operator": "In", "values": ["y", "x"]}],
}


def test_t9_t10_workloads() -> None:
    spec = {"replicas": 3, "selector": SELECTOR, "template": TEMPLATE}
    wide = ["5m", "web,b", "nginx:1,x", "a=1,b=2,c in (x,y)"]
    numbers = {"replicas": 3, "readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}
    assert cells(apps.Deployment, spec=spec, status=numbers) == ["a", "1/3", 2, 1, *wide]
    assert cells(apps.ReplicaSet, spec=spec, status=numbers) == ["a", 3, 3, 1, *wide]


@pytest.mark.parametrize(
    ("spec", "conditions", "labels", "wanted"),
    [
        ({}, [{"type": "Ready", "status": "True"}], {}, ["Ready", "<none>"]),
        ({}, [{"type": "Ready", "status": "Unknown"}], {}, ["NotReady", "<none>"]),
        ({}, [], {}, ["Unknown", "<none>"]),
        ({"unschedulable": True}, [{"type": "Ready", "status": "True"}],
         {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge",
          "node-role.kubernetes.io/control-plane": ""},
         ["Ready,SchedulingDisabled", "control-plane,edge,worker"]),
    ],
)  # fmt: skip
def test_t11_node(
    spec: dict[str, Any], conditions: list[dict[str, str]], labels: dict[str, str], wanted: list[str]
) -> None:
    info = {
        "kubeletVersion": "v1.36.0",
        "osImage": "Debian",
        "kernelVersion": "6.1",
        "containerRuntimeVersion": "x://1",
    }
    node_status = {
        "conditions": conditions,
        "nodeInfo": info,
        "addresses": [{"type": "InternalIP", "address": "10.243.0.2"}],
    }
    row = cells(core.Node, metadata={**META["metadata"], "labels": labels}, spec=spec, status=node_status)
    assert row == ["a", *wanted, "5m", "v1.36.0", "10.243.0.2", "<none>", "Debian", "6.1", "x://1"]


def test_t12_namespace() -> None:
    assert cells(core.Namespace, status={"phase": "Active"}) == ["a", "Active", "5m"]


def test_t13_event() -> None:
    row = cells(
        core.Event,
        involvedObject={"kind": "Pod", "name": "web", "fieldPath": "spec.containers{web}"},
        type="Warning", reason="BackOff", message=" back-off \n", count=3,
         source={"component": "kubelet", "host": "n1"},
        firstTimestamp=CREATED, lastTimestamp="2026-01-01T00:04:50Z",
    )  # fmt: skip
    assert row == [
        "10s",
        "Warning",
        "BackOff",
        "pod/web",
        "spec.containers{web}",
        "kubelet, n1",
        "back-off",
        "5m",
        3,
        "a",
    ]


def test_t13_newer_events() -> None:
    row = cells(
        core.Event,
        eventTime="2026-01-01T00:00:00.000000Z", reportingComponent="scheduler", reportingInstance="s-1",
        series={"count": 7, "lastObservedTime": "2026-01-01T00:04:00.000000Z"}, involvedObject={"kind": "Node"},
    )  # fmt: skip
    assert (row[0], row[3], row[5], row[7], row[8]) == ("60s", "node", "scheduler, s-1", "5m", 7)


def rules(*hosts: str) -> list[dict[str, str]]:
    return [{"host": host} for host in hosts]


@pytest.mark.parametrize(
    ("spec", "addresses_", "wanted"),
    [
        ({}, [], ["<none>", "*", "", "80"]),
        ({"ingressClassName": "nginx", "rules": rules("a", "b"), "tls": [{}]}, [{"ip": "192.0.2.1"}],
         ["nginx", "a,b", "192.0.2.1", "80, 443"]),
        ({"rules": rules("a", "b", "c", "d", "e")}, [], ["<none>", "a,b,c + 2 more...", "", "80"]),
    ],
)  # fmt: skip
def test_t14_ingress(spec: dict[str, Any], addresses_: list[dict[str, str]], wanted: list[str]) -> None:
    row = cells(networking.Ingress, spec=spec, status={"loadBalancer": {"ingress": addresses_}})
    assert row == ["a", *wanted, "5m"]


def test_t15_ingress_class() -> None:
    parameters = {"apiGroup": "example.com", "kind": "Settings", "name": "s"}
    assert cells(networking.IngressClass, spec={"controller": "a/b", "parameters": parameters})[1:3] == [
        "a/b",
        "Settings.example.com/s",
    ]
    assert cells(networking.IngressClass, spec={"controller": "a/b"})[2] == "<none>"


def test_t17_and_small_kinds() -> None:
    assert cells(core.ConfigMap, data={"a": ""}, binaryData={"b": ""}) == ["a", 2, "5m"]
    assert cells(core.Secret, type="Opaque", data={"a": ""}) == ["a", "Opaque", 1, "5m"]
    assert cells(core.ServiceAccount) == ["a", "5m"]
    assert cells(coordination.Lease, spec={"holderIdentity": "node-1"}) == ["a", "node-1", "5m"]


def test_t1_table() -> None:
    row = resources.of(core.Namespace)
    obj = codec.convert(core.Namespace, {**META, "status": {"phase": "Active"}})
    made = tables.table(row, [obj], NOW, metadata={"resourceVersion": "7"})
    assert (made["kind"], made["apiVersion"], made["metadata"]) == ("Table", "meta.k8s.io/v1", {"resourceVersion": "7"})
    assert made["rows"][0]["object"] == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": META["metadata"],
    }
    assert tables.row(obj, NOW, "None")["object"] is None
    assert tables.row(obj, NOW, "Object")["object"]["kind"] == "Namespace"
    assert tables.table(row, [obj], NOW, with_columns=False)["columnDefinitions"] is None
