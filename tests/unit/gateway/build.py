"""Objects that tests of Ingress are about, and a reading of the rendered route table by Envoy's documented rules."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from skerry.api import codec
from skerry.api.types import core, discovery, networking
from skerry.gateway.desired import desired
from skerry.gateway.model import CONTROLLER, Desired
from skerry.gateway.xds.routes import routes_response

CLASSES = [
    codec.convert(networking.IngressClass, {"metadata": {"name": "skerry"}, "spec": {"controller": CONTROLLER}}),
    codec.convert(networking.IngressClass, {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/nginx"}}),
]


def backend(service: str = "web", port: int | str = 80) -> dict[str, Any]:
    return {"service": {"name": service, "port": {"name" if isinstance(port, str) else "number": port}}}


def path(text: str = "/", service: str = "web", kind: str = "Prefix", port: int | str = 80) -> dict[str, Any]:
    return {"path": text, "pathType": kind, "backend": backend(service, port)}


def rule(host: str, *paths: dict[str, Any]) -> dict[str, Any]:
    return {"host": host, "http": {"paths": list(paths)}}


def ingress(name: str = "web", *rules: dict[str, Any], age: int = 0, **spec: Any) -> networking.Ingress:
    """`age`: the larger, the older. `default`: the Service of a default backend."""
    metadata = {"name": name, "namespace": spec.pop("namespace", "shop"), "annotations": spec.pop("annotations", {})}
    metadata["creationTimestamp"] = f"2026-01-01T00:{59 - age:02}:00Z"
    if "default" in spec:
        spec["defaultBackend"] = backend(spec.pop("default"))
    whole = {"ingressClassName": "skerry", "rules": list(rules), **spec}
    return codec.convert(networking.Ingress, {"metadata": metadata, "spec": whole})


def service(name: str = "web", *ports: dict[str, Any], **spec: Any) -> core.Service:
    metadata = {"name": name, "namespace": spec.pop("namespace", "shop")}
    whole = {"ports": list(ports) or [{"port": 80}], "ipFamilies": ["IPv4"], **spec}
    return codec.convert(core.Service, {"metadata": metadata, "spec": whole})


def tls(name: str, *hosts: str) -> list[dict[str, Any]]:
    return [{"secretName": name, "hosts": list(hosts)}]


def secret(name: str, chain: bytes, key: bytes) -> core.Secret:
    data = {"tls.crt": base64.b64encode(chain).decode(), "tls.key": base64.b64encode(key).decode()}
    return codec.convert(core.Secret, {"metadata": {"name": name, "namespace": "shop"}, "data": data})


def endpoint_slice(name: str, *endpoints: dict[str, Any], **fields: Any) -> discovery.EndpointSlice:
    metadata = {"name": name, "namespace": "shop", "annotations": fields.pop("annotations", {})}
    metadata["labels"] = {"kubernetes.io/service-name": "web"}
    whole = {"addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}], **fields}
    return codec.convert(discovery.EndpointSlice, {"metadata": metadata, "endpoints": list(endpoints), **whole})


def want(*ingresses: networking.Ingress, services: list[core.Service] | None = None, **more: Any) -> Desired:
    """What these ask for, where the Services web and api are there."""
    found = [service("web"), service("api")] if services is None else services
    secrets = {f"shop/{one.metadata.name}": one for one in more.pop("secrets", ())}
    named = {f"{one.metadata.namespace}/{one.metadata.name}": one for one in found}
    return desired(ingresses, CLASSES, named, secrets, **more)


class Table:
    """The route table as Envoy reads it: the host that fits best, then the first route."""

    def __init__(self, wanted: Desired) -> None:
        (table,) = json.loads(routes_response(wanted))["resources"]
        self._hosts = {domain: one for one in table["virtual_hosts"] for domain in one["domains"]}

    def route(self, host: str, text: str, method: str = "GET") -> dict[str, Any]:
        """The route that a request takes."""
        return next(one for one in self._host(host)["routes"] if _matches(one["match"], host, text, method))

    def __call__(self, host: str, text: str) -> str:
        """The cluster that a request goes to, or the status that it is answered with."""
        found = self.route(host, text)
        return found["route"]["cluster"] if "route" in found else str(found["direct_response"]["status"])

    def _host(self, host: str) -> dict[str, Any]:
        name = re.sub(":[0-9]+$", "", host).lower()
        if name in self._hosts:
            return self._hosts[name]
        fits = [one for one in self._hosts if one.startswith("*.") and name.endswith(one[1:]) and name != one[1:]]
        return self._hosts[max(fits, key=len, default="*")]


def _matches(match: dict[str, Any], host: str, text: str, method: str) -> bool:
    for header in match.get("headers", ()):
        value = {":authority": host, ":method": method}[header["name"]]
        regex = header["string_match"]["safe_regex"]["regex"]
        if (re.fullmatch(regex, value) is not None) == header.get("invert_match", False):
            return False
    if "path" in match:
        return text == match["path"]
    if "path_separated_prefix" in match:
        prefix = match["path_separated_prefix"]
        assert re.fullmatch("[^?#]+[^?#/]", prefix)
        return text == prefix or text.startswith(prefix + "/")
    return text.startswith(match["prefix"])
