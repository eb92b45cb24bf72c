"""Ingress and IngressClass as kubectl shows them and as the API refuses them; what they do is in test_ingress.py."""

from __future__ import annotations

import json
from typing import Any

from tests.helpers.kubectl import Kubectl


def apply(kubectl: Kubectl, kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> None:
    body = {"apiVersion": "networking.k8s.io/v1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}
    kubectl("apply", "-f", "-", stdin=json.dumps(body))


def path(service: str, port: int | str, text: str = "/") -> dict[str, Any]:
    named = {"name": service, "port": {"name" if isinstance(port, str) else "number": port}}
    return {"path": text, "pathType": "Prefix", "backend": {"service": named}}


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_described_and_listed(kubectl: Kubectl, namespace: str) -> None:
    """T14, T15, T22: nobody of ours implements this class, so nothing else has a say."""
    apply(kubectl, "IngressClass", namespace, {"controller": "example.com/none"})
    try:
        service: dict[str, Any] = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
        service["spec"] = {"ports": [{"name": "http", "port": 80}]}
        kubectl("create", "-f", "-", stdin=json.dumps(service))
        spec = {
            "ingressClassName": namespace,
            "defaultBackend": path("web", "http")["backend"],
            "tls": [{"hosts": ["a.example", "b.example"], "secretName": "cert"}, {"hosts": ["c.example"]}],
            "rules": [
                {"host": "a.example", "http": {"paths": [path("web", 80), path("gone", 81, "/x")]}},
                {"http": {"paths": [path("web", "http", "/any")]}},
            ],
        }
        apply(kubectl, "Ingress", "web", spec, annotations={"a": "b"})
        told = lines(kubectl("describe", "ingress", "web"))
        assert told[:6] == [
            "Name: web",
            "Labels: <none>",
            f"Namespace: {namespace}",
            "Address:",
            f"Ingress Class: {namespace}",
            "Default backend: web:http (<none>)",
        ]
        assert "cert terminates a.example,b.example" in told
        assert "SNI routes c.example" in told
        start = told.index("Host Path Backends")
        assert told[start + 2 : start + 8] == [
            "a.example",
            "/ web:80 (<none>)",
            '/x gone:81 (<error: services "gone" not found>)',
            "*",
            "/any web:http (<none>)",
            "Annotations: a: b",
        ]
        row = lines(kubectl("get", "ingress", "web", "--no-headers"))[0].split()
        assert row[:5] == ["web", namespace, "a.example", "80,", "443"]
        found = lines(kubectl("get", "ingressclass", namespace, "--no-headers"))[0]
        assert found.startswith(f"{namespace} example.com/none <none>")
        assert "Controller: example.com/none" in lines(kubectl("describe", "ingressclass", namespace))
        # I9: the status is a client's to write, the rest stays.
        status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}, "spec": {"rules": None}}
        kubectl("patch", "ingress", "web", "--subresource=status", "--type=merge", "-p", json.dumps(status))
        row = lines(kubectl("get", "ingress", "web", "--no-headers"))[0].split()
        assert row[:4] == ["web", namespace, "a.example", "192.0.2.7"]
    finally:
        kubectl("delete", "ingressclass", namespace)


BAD = {
    "i1": ({}, "either `defaultBackend` or `rules` must be specified"),
    "i2": ({"rules": [{"host": "*"}]}, "a wildcard DNS-1123 subdomain"),
    "i3": ({"rules": [{"http": {"paths": [path("web", 80, "relative")]}}]}, "must be an absolute path"),
    "i5": ({"defaultBackend": {}}, "resource or service backend is required"),
}


def test_i1_i5_refused(kubectl: Kubectl) -> None:
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}
    items = [{**kind, "metadata": {"name": name}, "spec": spec} for name, (spec, _) in BAD.items()]
    done = kubectl.run("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    assert done.code == 1
    for name, (_, why) in BAD.items():
        assert [
            one
            for one in done.err.splitlines()
            if f'Ingress.networking.k8s.io "{name}" is invalid' in one and why in one
        ]
