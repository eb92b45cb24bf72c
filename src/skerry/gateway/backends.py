"""What a backend of an Ingress or an HTTPRoute means: a cluster, or why there is none (I5). Pure.

Called by desired.py and routes/rules.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from skerry.api.types import core, networking
from skerry.gateway.model import Action, Answer, Cluster, Forward, Problem, Protocol

_PROTOCOLS = {
    "kubernetes.io/h2c": Protocol.H2C,
    "h2c": Protocol.H2C,
    "http2": Protocol.H2C,
    "grpc": Protocol.H2C,
    "https": Protocol.HTTPS,
    "kubernetes.io/wss": Protocol.HTTPS,
    "wss": Protocol.HTTPS,
    "grpcs": Protocol.H2,
}
"""By appProtocol in lower case. The rest, kubernetes.io/ws among them, is HTTP/1.1."""

_NO_SERVICE = Answer(503, "The Service of this path does not exist.")
_NO_PORT = Answer(503, "The Service of this path has no such port.")
_UNSUPPORTED = Answer(503, "The backend of this path is of a kind that is not supported.")


class Found(NamedTuple):
    """A cluster by name; or "", with a reason of the Gateway API and a sentence."""

    cluster: str
    reason: str = ""
    message: str = ""


class Backends:
    """Looks backends up among Services; `clusters` and `looked_up` are what was found and what was asked for."""

    def __init__(self, services: Mapping[str, core.Service]) -> None:
        self._services = services
        self.clusters: dict[str, Cluster] = {}
        self.looked_up: set[str] = set()

    def action(self, namespace: str, backend: networking.IngressBackend, problems: list[Problem]) -> Action:
        """Where requests for a backend go; what is wrong with it is added to `problems`."""
        named = backend.service
        if named is None:
            what = f"{backend.resource.kind} {backend.resource.name}" if backend.resource else "none"
            why = f"The backend is {what}: only Services are supported."
            problems.append(Problem("UnsupportedBackend", why))
            return _UNSUPPORTED
        key = f"{namespace}/{named.name}"
        self.looked_up.add(key)
        service = self._services.get(key)
        if service is None:
            problems.append(Problem("MissingService", f"Service {key} does not exist."))
            return _NO_SERVICE
        if service.spec.type == "ExternalName":
            why = f"Service {key} is of type ExternalName, which has no endpoints: it cannot be a backend."
            problems.append(Problem("UnsupportedBackend", why))
            return _UNSUPPORTED
        port = _port(service, named.port)
        if port is None:
            which = f'named "{named.port.name}"' if named.port.name else str(named.port.number)
            problems.append(Problem("MissingPort", f"Service {key} has no TCP port {which}."))
            return _NO_PORT
        return Forward(self._cluster(key, service, port))

    def find(self, key: str, number: int) -> Found:
        """The cluster of a Service's port."""
        self.looked_up.add(key)
        service = self._services.get(key)
        if service is None:
            return Found("", "BackendNotFound", f"Service {key} does not exist.")
        if service.spec.type == "ExternalName":
            return Found("", "UnsupportedValue", f"Service {key} is of type ExternalName, which has no endpoints.")
        port = _port(service, networking.ServiceBackendPort(number=number))
        if port is None:
            return Found("", "BackendNotFound", f"Service {key} has no TCP port {number}.")
        return Found(self._cluster(key, service, port))

    def _cluster(self, key: str, service: core.Service, port: core.ServicePort) -> str:
        name = f"{key}:{port.port}"
        if name not in self.clusters:
            protocol = _PROTOCOLS.get((port.app_protocol or "").lower(), Protocol.HTTP)
            family = service.spec.ip_families[0] if service.spec.ip_families else "IPv4"
            self.clusters[name] = Cluster(name, key, port.port, port.name, protocol, family)
        return name


def _port(service: core.Service, wanted: networking.ServiceBackendPort) -> core.ServicePort | None:
    for one in service.spec.ports:
        if (one.protocol or "TCP") == "TCP":
            if wanted.name and one.name == wanted.name:
                return one
            if not wanted.name and one.port == wanted.number:
                return one
    return None
