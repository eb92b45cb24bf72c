"""Checks of pods. Every case changes one thing of a good pod."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api import codec, defaults, validation
from skerry.api.types import core

CONTAINER = {"name": "web", "image": "nginx"}


def pod(**spec: Any) -> core.Pod:
    value = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"containers": [CONTAINER], **spec}}
    obj = codec.convert(core.Pod, value)
    defaults.apply(obj)
    return obj


def of(**container: Any) -> dict[str, Any]:
    return {"containers": [{**CONTAINER, **container}]}


def volume(**source: Any) -> dict[str, Any]:
    return {"volumes": [{"name": "v", **source}]}


def texts(errors: list[Any]) -> list[str]:
    return [str(one) for one in errors]


COST = "controller.kubernetes.io/pod-deletion-cost"
C, V = "spec.containers[0]", "spec.volumes[0]"
RANGE = "must be between 1 and 65535, inclusive"

GOOD: list[dict[str, Any]] = [
    {},
    of(ports=[{"name": "http", "containerPort": 80}], env=[{"name": "A", "value": "b"}]),
    of(env=[{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]),
    of(env=[{"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}}]),
    of(readinessProbe={"httpGet": {"port": "http"}, "successThreshold": 3}),
    of(livenessProbe={"exec": {"command": ["true"]}}, lifecycle={"preStop": {"sleep": {"seconds": 5}}}),
    of(resources={"limits": {"cpu": "1", "example.com/gpu": "1"}, "requests": {"cpu": "500m"}}),
    {**volume(emptyDir={"sizeLimit": "1Gi"}), **of(volumeMounts=[{"name": "v", "mountPath": "/v"}])},
    volume(configMap={"name": "c", "items": [{"key": "a", "path": "b/c"}]}),
    {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.96.0.10"], "searches": ["a.b.", "_x.y"]}},
    {"tolerations": [{"operator": "Exists"}], "hostname": "h", "subdomain": "s", "nodeSelector": {"a": "b"}},
    {"initContainers": [{"name": "i", "image": "x", "restartPolicy": "Always",
     "readinessProbe": {"tcpSocket": {"port": 1}}}]},
    {"hostNetwork": True, **of(ports=[{"containerPort": 80}])},
]  # fmt: skip


@pytest.mark.parametrize("spec", GOOD)
def test_good(spec: dict[str, Any]) -> None:
    assert texts(validation.create(pod(**spec))) == []


BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"containers": []}, ["spec.containers: Required value"]),
    (of(name="", image=""), [f"{C}.name: Required value", f"{C}.image: Required value"]),
    (of(name="Web"), [f'{C}.name: Invalid value: "Web": a lowercase RFC 1123 label must consist of']),
    (of(image=" nginx"), [f'{C}.image: Invalid value: " nginx": must not have leading or trailing whitespace']),
    ({"containers": [CONTAINER, CONTAINER]}, ['spec.containers[1].name: Duplicate value: "web"']),
    ({"initContainers": [CONTAINER]}, ['spec.initContainers[0].name: Duplicate value: "web"']),
    (of(imagePullPolicy="Sometimes"), [(f'{C}.imagePullPolicy: Unsupported value: "Sometimes": '
                                       'supported values: "Always", "IfNotPresent", "Never"')]),
    (of(ports=[{"containerPort": 0}]), [f"{C}.ports[0].containerPort: Required value"]),
    (of(ports=[{"containerPort": 70000, "hostPort": 70001}]),
     [f"{C}.ports[0].containerPort: Invalid value: 70000: {RANGE}",
      f"{C}.ports[0].hostPort: Invalid value: 70001: {RANGE}"]),
    (of(ports=[{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]),
     [f'{C}.ports[1].name: Duplicate value: "a"']),
    (of(ports=[{"containerPort": 1, "hostPort": 5}, {"containerPort": 2, "hostPort": 5}]),
     [f'{C}.ports[1].hostPort: Duplicate value: "TCP//5"']),
    (of(env=[{"name": ""}]), [f"{C}.env[0].name: Required value"]),
    (of(env=[{"name": "A=B"}]), [f'{C}.env[0].name: Invalid value: "A=B": a valid environment variable name']),
    (of(env=[{"name": "A", "valueFrom": {}}]), [(f'{C}.env[0].valueFrom: Invalid value: "": must specify one of: '
     "`fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`")]),
    (of(env=[{"name": "A", "value": "b", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
     [f'{C}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty']),
    (of(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.image"}}}]),
     [(f'{C}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.image": '
      "error converting fieldPath: field label not supported: spec.image")]),
    (of(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}]),
     [f'{C}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: "']),
    (of(envFrom=[{}]), [f'{C}.envFrom[0]: Invalid value: "": must specify one of: `configMapRef` or `secretRef`']),
    (of(volumeMounts=[{"name": "v", "mountPath": "/v"}]), [f'{C}.volumeMounts[0].name: Not found: "v"']),
    ({**volume(), **of(volumeMounts=[{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}])},
     [f'{C}.volumeMounts[1].mountPath: Invalid value: "/a": must be unique']),
    ({**volume(), **of(volumeMounts=[{"name": "v", "mountPath": "/a", "subPath": "../b"}])},
     [f"{C}.volumeMounts[0].subPath: Invalid value: \"../b\": must not contain '..'"]),
    (of(readinessProbe={}), [f"{C}.readinessProbe: Required value: must specify a handler type"]),
    (of(livenessProbe={"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}, "successThreshold": 2}),  # R1
     [f"{C}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
      f"{C}.livenessProbe.successThreshold: Invalid value: 2: must be 1"]),
    (of(startupProbe={"tcpSocket": {"port": 0}, "periodSeconds": -1}),
     [f"{C}.startupProbe.tcpSocket.port: Invalid value: 0: {RANGE}",
      f"{C}.startupProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"]),
    (of(readinessProbe={"httpGet": {"port": 80, "scheme": "FTP"}, "terminationGracePeriodSeconds": 1}),
     [f'{C}.readinessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"',
      f"{C}.readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes"]),
    (of(lifecycle={"preStop": {"exec": {"command": []}}}), [f"{C}.lifecycle.preStop.exec.command: Required value"]),
    (of(lifecycle={"preStop": {"sleep": {"seconds": 31}}}), [(f"{C}.lifecycle.preStop.sleep: Invalid value: 31: "
     "must be non-negative and less than terminationGracePeriodSeconds (30)")]),
    (of(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}),
     [f'{C}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1']),
    (of(resources={"limits": {"memory": "-1"}}),
     [f'{C}.resources.limits[memory]: Invalid value: "-1": must be greater than or equal to 0',
      f'{C}.resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0']),
    (of(resources={"requests": {"example.com/gpu": "1"}}),
     [f"{C}.resources.limits: Required value: Limit must be set for non overcommitable resources"]),
    (of(securityContext={"runAsUser": -1}),
     [f"{C}.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"]),
    ({"initContainers": [{**CONTAINER, "name": "i", "livenessProbe": {"tcpSocket": {"port": 1}}}]},
     ["spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy="]),
    (volume(hostPath={"path": "/a/../b"}), [f"{V}.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]),
    (volume(hostPath={"path": "/a", "type": "Pipe"}), [f'{V}.hostPath.type: Unsupported value: "Pipe"']),
    (volume(emptyDir={}, hostPath={"path": "/a"}),
     [f"{V}.emptyDir: Forbidden: may not specify more than 1 volume type"]),
    (volume(secret={"secretName": "", "defaultMode": 0o1000}), [f"{V}.secret.secretName: Required value",
     f"{V}.secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"]),
    (volume(configMap={"name": "c", "items": [{"key": "", "path": "/a"}]}),
     [f"{V}.configMap.items[0].key: Required value",
     f'{V}.configMap.items[0].path: Invalid value: "/a": must be a relative path']),
    (volume(downwardAPI={"items": [{"path": "a"}]}),
     [f"{V}.downwardAPI.items[0]: Required value: one of fieldRef and resourceFieldRef is required"]),
    (volume(persistentVolumeClaim={"claimName": ""}), [f"{V}.persistentVolumeClaim.claimName: Required value"]),
    ({"volumes": [{"name": "v"}, {"name": "v"}]}, ['spec.volumes[1].name: Duplicate value: "v"']),
    ({"restartPolicy": "Maybe"},
     ['spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "Never", "OnFailure"']),
    ({"dnsPolicy": "Own"}, [('spec.dnsPolicy: Unsupported value: "Own": '
                            'supported values: "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"')]),
    ({"dnsPolicy": "None"}, ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]),
    ({"dnsPolicy": "None", "dnsConfig": {}}, [("spec.dnsConfig.nameservers: Required value: "
                                              "must provide at least one DNS nameserver when `dnsPolicy` is None")]),
    ({"dnsConfig": {"nameservers": ["1.1.1.1"] * 4}}, [('spec.dnsConfig.nameservers: Invalid value: '
     '["1.1.1.1","1.1.1.1","1.1.1.1","1.1.1.1"]: must not have more than 3 nameservers')]),
    ({"hostname": "a.b"}, ['spec.hostname: Invalid value: "a.b": must not contain dots']),
    ({"activeDeadlineSeconds": 0},
     ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"]),
    ({"hostNetwork": True, **of(ports=[{"containerPort": 80, "hostPort": 81}])},
     [f"{C}.ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"]),
    ({"tolerations": [{"operator": "Equal"}]}, [('spec.tolerations[0].operator: Invalid value: "Equal": '
     'operator must be Exists when `key` is empty, which means "match all values and all keys"')]),
    ({"tolerations": [{"key": "a", "operator": "Exists", "tolerationSeconds": 1}]},
     ['spec.tolerations[0].effect: Invalid value: "": effect must be \'NoExecute\' when `tolerationSeconds` is set']),
    ({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}},
     [("spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: "
      "must have at least one node selector term")]),
    ({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]},
     ["spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"]),
    ({"ephemeralContainers": [{**CONTAINER, "name": "e"}]},
     ["spec.ephemeralContainers: Forbidden: cannot be set on create"]),
    ({"shareProcessNamespace": True, "hostPID": True}, [("spec.shareProcessNamespace: Invalid value: true: "
     "ShareProcessNamespace and HostPID cannot both be enabled")]),
    ({"nodeName": "n", "schedulingGates": [{"name": "a/b"}]},
     ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"]),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "wanted"), BAD)
def test_bad(spec: dict[str, Any], wanted: list[str]) -> None:
    found = texts(validation.create(pod(**spec)))
    assert len(found) == len(wanted), found
    for one, start in zip(found, wanted, strict=True):
        assert one.startswith(start), one


TOLERATION = {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ({}, of(image="nginx:2"), []),
        ({}, {"activeDeadlineSeconds": 5}, []),
        ({}, {"tolerations": [TOLERATION]}, []),
        ({"tolerations": [TOLERATION]}, {"tolerations": [{**TOLERATION, "tolerationSeconds": 6}]}, []),
        ({"tolerations": [TOLERATION]}, {},
         ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"]),
        ({"activeDeadlineSeconds": 5}, {"activeDeadlineSeconds": 6},
         ["spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"]),
        ({"activeDeadlineSeconds": 5}, {},
         ["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"]),
        ({}, {"containers": [CONTAINER, {**CONTAINER, "name": "b"}]},
         ["spec.containers: Forbidden: pod updates may not add or remove containers"]),
        ({}, of(image=""), [f"{C}.image: Required value"]),
        ({"terminationGracePeriodSeconds": -5}, {"terminationGracePeriodSeconds": 1}, []),
        ({"schedulingGates": [{"name": "a/b"}]}, {}, []),
    ],
)  # fmt: skip
def test_update(old: dict[str, Any], new: dict[str, Any], wanted: list[str]) -> None:
    # imagePullPolicy is a default of the first image; a client sends it back.
    before, after = pod(**old), pod(**new)
    for one, other in zip(after.spec.containers, before.spec.containers, strict=False):
        one.image_pull_policy = other.image_pull_policy
    assert texts(validation.update(after, before)) == wanted


def test_update_names_what_may_not_change() -> None:
    found = validation.update(pod(**of(command=["b"], args=["x"]), hostname="h"), pod(**of(command=["a"])))
    assert [one.reason for one in found] == ["FieldValueForbidden"]
    first, *lines = found[0].detail.splitlines()
    assert first == (
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
        "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
        "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
    )
    assert lines == [
        '+ spec.containers[0].args: ["x"]',
        '- spec.containers[0].command[0]: "a"',
        '+ spec.containers[0].command[0]: "b"',
        '+ spec.hostname: "h"',
    ]


def test_binding_may_set_the_node() -> None:
    assert validation.update(pod(nodeName="n"), pod(), "binding") == []
    assert validation.update(pod(nodeName="n"), pod()) != []


def test_status() -> None:
    new = pod()
    new.status.pod_i_ps = [core.PodIP(ip="10.244.1.999")]
    assert texts(validation.update(new, pod(), "status")) == [
        'status.podIPs[0]: Invalid value: "10.244.1.999": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'
    ]


def test_deletion_cost_annotation() -> None:
    obj = pod()
    obj.metadata.annotations[COST] = "1.5"
    assert texts(validation.create(obj)) == [
        f'metadata.annotations[{COST}]: Invalid value: "1.5": must be a 32bit integer'
    ]
