"""Checks of Services: S8-S24, S31, S32, S47. Every case changes one thing of a good Service."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api import codec, defaults, validation
from skerry.api.types import core

PORT = {"port": 80}
HTTP, HTTPS = {"name": "http", "port": 80}, {"name": "https", "port": 443}
NODE_PORT = {"type": "NodePort"}
LB = {"type": "LoadBalancer"}


def service(name: str = "web", annotations: dict[str, str] | None = None, **spec: Any) -> core.Service:
    metadata = {"name": name, "namespace": "default", "annotations": annotations or {}}
    value = {"metadata": metadata, "spec": {"ports": [PORT], "selector": {"app": "web"}, **spec}}
    obj = codec.convert(core.Service, value)
    defaults.apply(obj)
    return obj


def texts(errors: list[Any]) -> list[str]:
    return [str(one) for one in errors]


GOOD: list[dict[str, Any]] = [
    {},
    {"name": "1web"},  # S8 as of 1.36
    {"clusterIP": "None", "clusterIPs": ["None"], "ports": []},  # S9
    {"type": "ExternalName", "externalName": "example.com.", "ports": []},  # S11
    {"ports": [{"port": 65535, "targetPort": "http-alt", "appProtocol": "example.com/h2"}]},
    {"ports": [{"name": "a", "port": 53, "protocol": "UDP"}, {"name": "b", "port": 53, "protocol": "TCP"}]},  # S13
    {"sessionAffinity": "ClientIP"},  # S16: 10800 by default
    {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86400}}},  # G9
    {"externalIPs": ["192.0.2.1", "2001:db8::1", "239.1.1.1"]},
    {**LB, "loadBalancerSourceRanges": [" 10.0.0.0/8 "], "loadBalancerClass": "example.com/lb"},
    {**LB, "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000},
    {"trafficDistribution": "PreferSameNode"},
    {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"], "ipFamilies": ["IPv4", "IPv6"]},
    {"selector": {}},
]


@pytest.mark.parametrize("case", GOOD)
def test_good(case: dict[str, Any]) -> None:
    assert texts(validation.create(service(**case))) == []


BAD: list[tuple[dict[str, Any], list[str]]] = [
    # S8
    ({"name": "web.one"}, ['metadata.name: Invalid value: "web.one": must not contain dots']),
    # S9
    ({"ports": []}, ["spec.ports: Required value"]),
    # S10
    ({**NODE_PORT, "clusterIP": "None", "clusterIPs": ["None"]},
     ['spec.clusterIPs[0]: Invalid value: "None": may not be set to \'None\' for NodePort services']),
    ({**LB, "clusterIP": "None", "clusterIPs": ["None"]},
     ['spec.clusterIPs[0]: Invalid value: "None": may not be set to \'None\' for LoadBalancer services']),
    # S11
    ({"type": "ExternalName"}, ["spec.externalName: Required value"]),
    ({"type": "ExternalName", "externalName": "a.b", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"},
     ["spec.ipFamilies: Forbidden: may not be set for ExternalName services",
      "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services"]),
    # S12
    ({"ports": [{"port": 70000, "targetPort": 80}]},
     ["spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive"]),
    ({"ports": [{"port": 80, "targetPort": 0x10000}]},
     ["spec.ports[0].targetPort: Invalid value: 65536: must be between 1 and 65535, inclusive"]),
    ({"ports": [{"port": 80, "protocol": "ICMP"}]},
     ['spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"']),
    ({"ports": [HTTP, {"port": 81}]}, ["spec.ports[1].name: Required value"]),
    ({"ports": [HTTP, {"name": "http", "port": 81}]}, ['spec.ports[1].name: Duplicate value: "http"']),
    ({"ports": [{"port": 80, "targetPort": "80"}]},
     ['spec.ports[0].targetPort: Invalid value: "80": must contain at least one letter (a-z)']),
    # S13
    ({"ports": [HTTP, {"name": "b", "port": 80}]},
     [('spec.ports[1]: Duplicate value: '
      '{"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,"NodePort":0}')]),
    ({**NODE_PORT, "ports": [{**HTTP, "nodePort": 30080}, {**HTTPS, "nodePort": 30080}]},
     ["spec.ports[1].nodePort: Duplicate value: 30080"]),
    # S14
    ({"ports": [{"port": 80, "nodePort": 30080}]},
     ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]),
    # S15
    ({"selector": {"a b": "c"}}, ['spec.selector: Invalid value: "a b": name part must consist of']),
    # S16
    ({"sessionAffinity": "Cookie"},
     ['spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"']),
    *[({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}},
       [(f"spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: {seconds}: "
        "must be greater than 0 and less than 86400")]) for seconds in (0, 86401)],
    # S17, V5
    ({"externalIPs": ["0.0.0.0"]},
     ['spec.externalIPs[0]: Invalid value: "0.0.0.0": may not be unspecified (0.0.0.0)']),
    ({"externalIPs": ["127.0.0.1"]},
     ['spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)']),
    ({"externalIPs": ["169.254.1.1"]}, [('spec.externalIPs[0]: Invalid value: "169.254.1.1": '
                                        "may not be in the link-local range (169.254.0.0/16, fe80::/10)")]),
    ({"externalIPs": ["ff02::1"]}, [('spec.externalIPs[0]: Invalid value: "ff02::1": '
                                    "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")]),
    ({"externalIPs": ["example.com"]}, [('spec.externalIPs[0]: Invalid value: "example.com": '
                                        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]),
    ({"externalIPs": ["10.0.0.010"]}, ['spec.externalIPs[0]: Invalid value: "10.0.0.010": must not have leading 0s']),
    ({"externalIPs": ["::ffff:10.0.0.1"]},
     ['spec.externalIPs[0]: Invalid value: "::ffff:10.0.0.1": must not be an IPv4-mapped IPv6 address']),
    # S18
    ({"loadBalancerSourceRanges": ["10.0.0.0/8"]},
     ["spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"]),
    ({**LB, "loadBalancerSourceRanges": ["10.0.0.1"]}, [('spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.1": '
     "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")]),
    ({**LB, "annotations": {"service.beta.kubernetes.io/load-balancer-source-ranges": "10.0.0.1/8"}},
     [('metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]: Invalid value: "10.0.0.1/8": '
      "must not have bits set beyond the prefix length")]),
    # S19
    ({"loadBalancerClass": "a/b"},
     ["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"]),
    ({"allocateLoadBalancerNodePorts": True},
     ["spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'"]),
    # S20
    ({"externalTrafficPolicy": "Local"},
     ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services']),
    ({**NODE_PORT, "externalTrafficPolicy": "Global"},
     ['spec.externalTrafficPolicy: Unsupported value: "Global": supported values: "Cluster", "Local"']),
    # S21
    ({**NODE_PORT, "healthCheckNodePort": 31000}, [("spec.healthCheckNodePort: Invalid value: 31000: "
     "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'")]),
    # S22, S23
    ({"internalTrafficPolicy": "Node"},
     ['spec.internalTrafficPolicy: Unsupported value: "Node": supported values: "Cluster", "Local"']),
    ({"trafficDistribution": "Near"}, [('spec.trafficDistribution: Unsupported value: "Near": '
                                       'supported values: "PreferClose", "PreferSameNode", "PreferSameZone"')]),
    ({"annotations": {"service.kubernetes.io/topology-mode": "Auto",
                      "service.kubernetes.io/topology-aware-hints": "Disabled"}},
     [('metadata.annotations[service.kubernetes.io/topology-mode]: Invalid value: "Auto": '
      "must match annotations[service.kubernetes.io/topology-aware-hints] when both are specified")]),
    # S24
    ({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.2"]},
     ['spec.clusterIPs: Invalid value: ["10.96.0.2"]: first value must match `clusterIP`']),
    ({"clusterIPs": ["10.96.0.2"]},
     ['spec.clusterIPs: Invalid value: ["10.96.0.2"]: must be empty when `clusterIP` is not specified']),
    ({"clusterIP": "None", "clusterIPs": ["None", "10.96.0.2"]},
     ['spec.clusterIPs: Invalid value: ["None","10.96.0.2"]: \'None\' must be the first and only value']),
    ({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1", "fd00::2"]},
     ['spec.clusterIPs: Invalid value: ["10.0.0.1","fd00::1","fd00::2"]: may only hold up to 2 values']),
    ({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "10.0.0.2"]}, [('spec.clusterIPs: Invalid value: '
     '["10.0.0.1","10.0.0.2"]: may specify no more than one IP for each IP family')]),
    ({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1"], "ipFamilies": ["IPv4"]},
     ['spec.clusterIPs[0]: Invalid value: "fd00::1": expected an IPv4 value as indicated by `ipFamilies[0]`']),
    ({"ipFamilies": ["IPv4", "IPv4"]}, ['spec.ipFamilies[1]: Duplicate value: "IPv4"']),
    ({"ipFamilyPolicy": "Any"}, [('spec.ipFamilyPolicy: Unsupported value: "Any": '
                                 'supported values: "PreferDualStack", "RequireDualStack", "SingleStack"')]),
    ({"type": "Internal"}, [('spec.type: Unsupported value: "Internal": '
                            'supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"')]),
]  # fmt: skip


@pytest.mark.parametrize(("case", "wanted"), BAD)
def test_bad(case: dict[str, Any], wanted: list[str]) -> None:
    found = texts(validation.create(service(**case)))
    assert len(found) == len(wanted), found
    for one, start in zip(found, wanted, strict=True):
        assert one.startswith(start)


IP = {"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
DUAL = {
    **IP,
    "clusterIPs": ["10.96.0.5", "fd00::5"],
    "ipFamilies": ["IPv4", "IPv6"],
    "ipFamilyPolicy": "RequireDualStack",
}
HEADLESS = {"clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
EXTERNAL = {"type": "ExternalName", "externalName": "a.b"}
LOCAL = {**IP, **LB, "externalTrafficPolicy": "Local"}


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        (IP, IP, []),
        (IP, {**IP, "clusterIP": "10.96.0.6", "clusterIPs": ["10.96.0.6"]},
         ['spec.clusterIPs[0]: Invalid value: ["10.96.0.6"]: may not change once set']),
        (IP, {"ipFamilies": ["IPv4"]}, ["spec.clusterIPs[0]: Invalid value: null: primary clusterIP can not be unset"]),
        (IP, HEADLESS, ['spec.clusterIPs[0]: Invalid value: ["None"]: may not change once set']),
        (HEADLESS, {**HEADLESS, "ipFamilies": ["IPv6"]}, []),  # families of headless Services are free
        (EXTERNAL, IP, []),
        (IP, EXTERNAL, []),
        (IP, DUAL, []),  # S32: a second one may be added
        (DUAL, {**IP, "ipFamilyPolicy": "PreferDualStack"},
         [('spec.ipFamilyPolicy: Invalid value: "PreferDualStack": '
          "must be set to 'SingleStack' when releasing the secondary clusterIP"),
          ('spec.ipFamilyPolicy: Invalid value: "PreferDualStack": '
          "must be set to 'SingleStack' when releasing the secondary ipFamily")]),
        (DUAL, IP, []),
        ({**IP, **LB, "loadBalancerClass": "a/b"}, {**IP, **LB, "loadBalancerClass": "a/c"},
         ['spec.loadBalancerClass: Invalid value: "a/c": may not change once set']),  # S19
        ({**LOCAL, "healthCheckNodePort": 31000}, {**LOCAL, "healthCheckNodePort": 31001},
         ["spec.healthCheckNodePort: Forbidden: field is immutable"]),  # S21
        # What was good under older rules may stay.
        ({**IP, "externalIPs": ["10.0.0.010"]}, {**IP, "externalIPs": ["10.0.0.010"]}, []),
    ],
)  # fmt: skip
def test_s31_s32_update(old: dict[str, Any], new: dict[str, Any], wanted: list[str]) -> None:
    assert texts(validation.update(service(**new), service(**old))) == wanted


@pytest.mark.parametrize(
    ("ingress", "spec", "wanted"),
    [
        ({"ip": "192.0.2.1", "ipMode": "VIP"}, LB, []),
        ({"ip": "192.0.2.1", "ipMode": "VIP"}, {}, [("status.loadBalancer.ingress: Forbidden: "
         "may only be used when `spec.type` is 'LoadBalancer'")]),
        ({"hostname": "a.b", "ipMode": "VIP"}, LB,
         ["status.loadBalancer.ingress[0].ipMode: Forbidden: may not be specified when `ip` is not set"]),
        ({"ip": "192.0.2.1", "ipMode": "X"}, LB, [('status.loadBalancer.ingress[0].ipMode: Unsupported value: "X": '
                                                  'supported values: "Proxy", "VIP"')]),
    ],
)  # fmt: skip
def test_s47_status(ingress: dict[str, Any], spec: dict[str, Any], wanted: list[str]) -> None:
    obj = service(**spec)
    obj.status.load_balancer.ingress = [codec.convert(core.LoadBalancerIngress, ingress)]
    assert texts(validation.update(obj, service(**spec), "status")) == wanted
