"""Defaults: S1-S5, S7, A1, R1 and those of pods."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api import codec, defaults, resources
from skerry.api.defaults.pod import admit, pull_policy
from skerry.api.types import apps, core, discovery, networking


def spec_of(obj: Any) -> dict[str, Any]:
    spec: dict[str, Any] = codec.plain(obj)["spec"]
    return spec


def service(**spec: Any) -> core.Service:
    obj = codec.convert(core.Service, {"spec": spec})
    defaults.apply(obj)
    return obj


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"}),  # S1, S4
        ({"sessionAffinity": "None", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}}},
         {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"}),
        *[({"sessionAffinity": "ClientIP", **config},
           {"type": "ClusterIP", "sessionAffinity": "ClientIP", "internalTrafficPolicy": "Cluster",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}})
          for config in ({}, {"sessionAffinityConfig": {}}, {"sessionAffinityConfig": {"clientIP": {}}})],
        ({"ports": [{"port": 80}, {"port": 53, "protocol": "UDP", "targetPort": "dns"},
         {"port": 1, "targetPort": ""}]},  # S2
         {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
          "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80},
           {"port": 53, "protocol": "UDP", "targetPort": "dns"},
                    {"port": 1, "protocol": "TCP", "targetPort": 1}]}),
        ({"externalIPs": ["192.0.2.1"]},  # S3
         {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
          "externalIPs": ["192.0.2.1"], "externalTrafficPolicy": "Cluster"}),
        ({"type": "NodePort"}, {"type": "NodePort", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
                                "externalTrafficPolicy": "Cluster"}),
        ({"type": "LoadBalancer"},  # S5
         {"type": "LoadBalancer", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
          "externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": True}),
        ({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "externalTrafficPolicy": "Local"},
         {"type": "LoadBalancer", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
          "externalTrafficPolicy": "Local", "allocateLoadBalancerNodePorts": False}),
        ({"type": "ExternalName", "externalName": "a.b"},
         {"type": "ExternalName", "sessionAffinity": "None", "externalName": "a.b"}),
    ],
)  # fmt: skip
def test_s1_s5(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert spec_of(service(**given)) == wanted


def test_s5_ip_mode() -> None:
    obj = service(type="LoadBalancer")
    obj.status.load_balancer.ingress = [
        core.LoadBalancerIngress(ip="192.0.2.1"),
        core.LoadBalancerIngress(hostname="a"),
    ]
    defaults.apply(obj)
    assert [one.ip_mode for one in obj.status.load_balancer.ingress] == ["VIP", None]


def test_s7() -> None:
    endpoints = core.Endpoints(subsets=[core.EndpointSubset(ports=[core.EndpointPort(port=80)])])
    defaults.apply(endpoints)
    assert endpoints.subsets[0].ports[0].protocol == "TCP"
    one = discovery.EndpointSlice(ports=[discovery.EndpointPort(port=80)])
    defaults.apply(one)
    assert (one.ports[0].name, one.ports[0].protocol) == ("", "TCP")


def test_a1_deployment() -> None:
    obj = apps.Deployment()
    defaults.apply(obj)
    wanted = codec.plain(obj.spec)
    assert wanted.pop("template")["spec"]["restartPolicy"] == "Always"
    assert wanted == {
        "replicas": 1,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }


def test_zero_replicas_are_kept() -> None:
    for kind in (apps.Deployment, apps.ReplicaSet):
        obj: Any = codec.convert(kind, {"spec": {"replicas": 0}})
        defaults.apply(obj)
        assert obj.spec.replicas == 0


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.14.2", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
        ("nginx:latest@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)
def test_pull_policy(image: str, wanted: str) -> None:
    assert pull_policy(image) == wanted


def pod(**spec: Any) -> core.Pod:
    obj = codec.convert(core.Pod, {"spec": {"containers": [{"name": "web", "image": "nginx:1", **spec}]}})
    defaults.apply(obj)
    return obj


def test_pod() -> None:
    assert spec_of(pod(ports=[{"containerPort": 80}])) == {
        "containers": [{
            "name": "web", "image": "nginx:1", "imagePullPolicy": "IfNotPresent", "resources": {},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
        }],
        "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
        "securityContext": {}, "terminationGracePeriodSeconds": 30, "enableServiceLinks": True,
    }  # fmt: skip


def test_r1_probes() -> None:
    probe = pod(readinessProbe={"httpGet": {"port": 80}}).spec.containers[0].readiness_probe
    assert codec.plain(probe) == {
        "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
        "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
    }  # fmt: skip


def test_requests_from_limits_in_pods_only() -> None:
    limits = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}
    assert pod(resources=limits).spec.containers[0].resources.requests == {"cpu": "500m", "memory": "1Gi"}
    value = {"spec": {"template": {"spec": {"containers": [{"name": "a", "resources": limits}]}}}}
    obj = codec.convert(apps.Deployment, value)
    defaults.apply(obj)
    assert obj.spec.template.spec.containers[0].resources.requests == {"cpu": "500m"}


def test_admission_of_pods() -> None:
    obj = pod()
    obj.spec.tolerations = [
        core.Toleration(key="node.kubernetes.io/not-ready", operator="Exists", toleration_seconds=1)
    ]
    admit(obj)
    admit(obj)
    assert obj.spec.service_account_name == obj.spec.service_account == "default"
    assert [(one.key, one.effect, one.toleration_seconds) for one in obj.spec.tolerations] == [
        ("node.kubernetes.io/not-ready", "", 1),
        ("node.kubernetes.io/unreachable", "NoExecute", 300),
    ]


def test_others() -> None:
    secret, namespace = core.Secret(), core.Namespace()
    namespace.metadata.name = "demo"
    kind = codec.convert(networking.IngressClass, {"spec": {"parameters": {"kind": "A", "name": "b"}}})
    for obj in (secret, namespace, kind):
        defaults.apply(obj)
    assert secret.type == "Opaque"
    assert namespace.metadata.labels == {"kubernetes.io/metadata.name": "demo"}
    assert kind.spec.parameters is not None and kind.spec.parameters.scope == "Cluster"


@pytest.mark.parametrize("resource", resources.RESOURCES, ids=lambda one: one.kind)
def test_defaults_are_idempotent(resource: resources.Resource) -> None:
    obj = resource.type()
    defaults.apply(obj)
    again = codec.copy(obj)
    defaults.apply(again)
    assert again == obj
