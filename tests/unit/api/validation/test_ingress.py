"""Checks of Ingress (I1-I3, I5, I6) and IngressClass (I8)."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api import codec, defaults, validation
from skerry.api.types import networking

BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
PATH = {"path": "/", "pathType": "Prefix", "backend": BACKEND}


def ingress(annotations: dict[str, str] | None = None, **spec: Any) -> networking.Ingress:
    metadata = {"name": "web", "namespace": "default", "annotations": annotations or {}}
    return codec.convert(networking.Ingress, {"metadata": metadata, "spec": spec})


def with_path(**changes: Any) -> dict[str, Any]:
    return {"rules": [{"host": "a.example", "http": {"paths": [{**PATH, **changes}]}}]}


def with_backend(backend: dict[str, Any]) -> dict[str, Any]:
    return {"defaultBackend": backend}


def texts(errors: list[Any]) -> list[str]:
    return [str(one) for one in errors]


AT = "spec.rules[0].http.paths[0]"


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (with_path(), []),
        ({"defaultBackend": BACKEND}, []),
        ({"rules": [{"host": "*.example"}]}, []),
        (with_path(pathType="ImplementationSpecific", path=""), []),
        ({}, ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]),  # I1
        ({"rules": [{"host": "192.0.2.1"}]},  # I2
         ['spec.rules[0].host: Invalid value: "192.0.2.1": must be a DNS name, not an IP address']),
        ({"rules": [{"host": "*"}]}, ['spec.rules[0].host: Invalid value: "*": a wildcard DNS-1123 subdomain']),
        ({"rules": [{"host": "a:80"}]}, ['spec.rules[0].host: Invalid value: "a:80": a lowercase RFC 1123 subdomain']),
        ({"rules": [{"http": {"paths": []}}]}, ["spec.rules[0].http.paths: Required value"]),  # I3
        (with_path(pathType=None), [f"{AT}.pathType: Required value: pathType must be specified"]),
        (with_path(pathType="Regex"), [(f'{AT}.pathType: Unsupported value: "Regex": '
                                       'supported values: "Exact", "ImplementationSpecific", "Prefix"')]),
        (with_path(path="a"), [f'{AT}.path: Invalid value: "a": must be an absolute path']),
        (with_path(path="/a//b/.."), [f"{AT}.path: Invalid value: \"/a//b/..\": must not contain '//'",
                                      f"{AT}.path: Invalid value: \"/a//b/..\": cannot end with '/..'"]),
        (with_path(path="/%2F"), [f"{AT}.path: Invalid value: \"/%2F\": must not contain '%2F'"]),
        (with_backend({}),  # I5
         ['spec.defaultBackend: Invalid value: "": resource or service backend is required']),
        (with_backend({**BACKEND, "resource": {"kind": "A", "name": "b"}}),
         ['spec.defaultBackend: Invalid value: "": cannot set both resource and service backends']),
        (with_backend({"service": {"name": "web", "port": {}}}),
         ["spec.defaultBackend: Required value: port name or number is required"]),
        (with_backend({"service": {"name": "web", "port": {"name": "a", "number": 1}}}),
         ['spec.defaultBackend: Invalid value: "": cannot set both port name & port number']),
        (with_backend({"service": {"name": "", "port": {"number": 70000}}}),
         ["spec.defaultBackend.service.name: Required value",
          "spec.defaultBackend.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive"]),
        ({"ingressClassName": "nginx", "defaultBackend": BACKEND, "annotations": {"kubernetes.io/ingress.class": "x"}},
         [('annotations.kubernetes.io/ingress.class: Invalid value: "x": '
          "must match `ingressClassName` when both are specified")]),  # I6
        ({"defaultBackend": BACKEND, "tls": [{"hosts": ["A"], "secretName": "b c"}]},
         ['spec.tls[0].hosts[0]: Invalid value: "A"', 'spec.tls[0].secretName: Invalid value: "b c"']),
    ],
)  # fmt: skip
def test_ingress(spec: dict[str, Any], wanted: list[str]) -> None:
    found = texts(validation.create(ingress(**spec)))
    assert len(found) == len(wanted), found
    for one, start in zip(found, wanted, strict=True):
        assert one.startswith(start)


def ingress_class(**spec: Any) -> networking.IngressClass:
    obj = codec.convert(networking.IngressClass, {"metadata": {"name": "nginx"}, "spec": spec})
    defaults.apply(obj)
    return obj


GOOD = {"controller": "example.com/nginx"}
REFERENCE = {"kind": "Settings", "name": "s"}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({**GOOD, "parameters": REFERENCE}, []),
        ({}, ["spec.controller: Required value"]),
        ({"controller": "nginx"},
         ['spec.controller: Invalid value: "nginx": must be a domain-prefixed path (such as "acme.io/foo")']),
        ({"controller": "a.b/" + "c" * 250}, ["spec.controller: Too long: may not be more than 250 bytes"]),
        ({**GOOD, "parameters": {**REFERENCE, "scope": "Namespace"}},
         ["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"]),
        ({**GOOD, "parameters": {**REFERENCE, "namespace": "a"}},
         ["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"]),
        ({**GOOD, "parameters": {**REFERENCE, "scope": "Galaxy"}},
         ['spec.parameters.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespace"']),
    ],
)  # fmt: skip
def test_i8_class(spec: dict[str, Any], wanted: list[str]) -> None:
    assert texts(validation.create(ingress_class(**spec))) == wanted


def test_i8_controller_is_immutable() -> None:
    old, new = ingress_class(**GOOD), ingress_class(controller="example.com/other")
    wanted = ['spec.controller: Invalid value: "example.com/other": field is immutable']
    assert texts(validation.update(new, old)) == wanted
