"""Checks of Endpoints (V1-V3, V5) and EndpointSlice (V4)."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api import codec, defaults, validation
from skerry.api.types import core, discovery

META = {"metadata": {"name": "web.v1", "namespace": "default"}}
ADDRESS = {"addresses": [{"ip": "10.0.0.1"}]}


def endpoints(*subsets: dict[str, Any]) -> core.Endpoints:
    obj = codec.convert(core.Endpoints, {**META, "subsets": list(subsets)})
    defaults.apply(obj)
    return obj


def endpoint_slice(**fields: Any) -> discovery.EndpointSlice:
    obj = codec.convert(
        discovery.EndpointSlice, {**META, "addressType": "IPv4", "endpoints": [], "ports": [], **fields}
    )
    defaults.apply(obj)
    return obj


def texts(errors: list[Any]) -> list[str]:
    return [str(one) for one in errors]


@pytest.mark.parametrize(
    ("subset", "wanted"),
    [
        (ADDRESS, []),  # V3: ports may be empty
        ({"notReadyAddresses": [{"ip": "10.0.0.1", "nodeName": "", "targetRef": {"kind": "Any thing"}}]}, []),  # V2
        ({**ADDRESS, "ports": [{"port": 80}]}, []),
        ({}, ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]),
        ({"addresses": [{"ip": "127.0.0.1"}]}, [('subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": '
                                                "may not be in the loopback range (127.0.0.0/8, ::1/128)")]),
        ({"notReadyAddresses": [{"ip": "10.0.0.01"}]},
         ['subsets[0].notReadyAddresses[0].ip: Invalid value: "10.0.0.01": must not have leading 0s']),
        ({"addresses": [{"ip": "10.0.0.1", "hostname": "a.b"}]},
         ['subsets[0].addresses[0].hostname: Invalid value: "a.b": must not contain dots']),
        ({**ADDRESS, "ports": [{"port": 80}, {"name": "b", "port": 81}]}, ["subsets[0].ports[0].name: Required value"]),
        ({**ADDRESS, "ports": [{"port": 0}]},
         ["subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"]),
        ({**ADDRESS, "ports": [{"port": 80, "protocol": "X"}]},
         ['subsets[0].ports[0].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"']),
    ],
)  # fmt: skip
def test_v1_v3(subset: dict[str, Any], wanted: list[str]) -> None:
    assert texts(validation.create(endpoints(subset))) == wanted


def test_old_addresses_may_stay_as_they_are() -> None:
    old = endpoints({"addresses": [{"ip": "10.0.0.01"}]})
    new = endpoints({"addresses": [{"ip": "10.0.0.01"}, {"ip": "10.0.0.2"}]})
    assert validation.update(new, old) == []
    newer = endpoints({"addresses": [{"ip": "10.0.0.02"}]})
    assert len(validation.update(newer, old)) == 1


ENDPOINT = {"addresses": ["10.0.0.1"]}
MANY = [f"10.0.{i // 256}.{i % 256}" for i in range(101)]


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"endpoints": [ENDPOINT], "ports": [{"name": "", "port": 80}, {"name": "b"}]}, []),
        ({"addressType": "FQDN", "endpoints": [{"addresses": ["a.example"]}]}, []),
        ({"addressType": ""}, ["addressType: Required value"]),
        ({"addressType": "IP"}, ['addressType: Unsupported value: "IP": supported values: "FQDN", "IPv4", "IPv6"']),
        ({"endpoints": [{"addresses": []}]},
         ["endpoints[0].addresses: Required value: must contain at least 1 address"]),
        ({"endpoints": [{"addresses": MANY}]}, ["endpoints[0].addresses: Too many: 101: must have at most 100 items"]),
        ({"endpoints": [ENDPOINT] * 1001}, ["endpoints: Too many: 1001: must have at most 1000 items"]),
        ({"endpoints": [{"addresses": ["fd00::1"]}]},
         ['endpoints[0].addresses[0]: Invalid value: "fd00::1": must be an IPv4 address']),
        ({"addressType": "FQDN", "endpoints": [{"addresses": ["a"]}]},
         [('endpoints[0].addresses[0]: Invalid value: "a": '
         "should be a domain with at least two segments separated by dots")]),
        ({"endpoints": [{**ENDPOINT, "zone": "a b"}]}, ['endpoints[0].zone: Invalid value: "a b": a valid label']),
        ({"endpoints": [{**ENDPOINT, "hints": {"forZones": [{"name": "a"}, {"name": "a"}]}}]},
         ['endpoints[0].hints.forZones[1].name: Duplicate value: "a"']),
        ({"endpoints": [{**ENDPOINT, "hints": {"forZones": [{"name": f"z{i}"} for i in range(9)]}}]},
         ["endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"]),
        ({"ports": [{"port": 80}, {"port": 81}]}, ['ports[1].name: Duplicate value: ""']),
        ({"ports": [{"port": 0}]}, ["ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"]),
        ({"ports": [{"protocol": "X"}]},
         ['ports[0].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"']),
    ],
)  # fmt: skip
def test_v4(fields: dict[str, Any], wanted: list[str]) -> None:
    found = texts(validation.create(endpoint_slice(**fields)))
    assert len(found) == len(wanted), found
    for one, start in zip(found, wanted, strict=True):
        assert one.startswith(start)


def test_v4_address_type_is_immutable() -> None:
    old, new = endpoint_slice(), endpoint_slice(addressType="IPv6")
    assert texts(validation.update(new, old)) == ['addressType: Invalid value: "IPv6": field is immutable']
