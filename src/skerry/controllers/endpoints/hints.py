"""Which consumers each endpoint is meant for: the hints of EndpointSlices, by what the Service asks for (L35-L37).

Called by `placement`. Hints by trafficDistribution are an endpoint's own matter and are made here; those of the
topology mode Auto depend on all endpoints and nodes and are made in `topology`. Pure.
"""

from __future__ import annotations

from skerry.api.types import core, discovery

AUTO = "Auto"
MODE_ANNOTATION = "service.kubernetes.io/topology-mode"
OLD_MODE_ANNOTATION = "service.kubernetes.io/topology-aware-hints"
PREFER_CLOSE = "PreferClose"
PREFER_SAME_ZONE = "PreferSameZone"
PREFER_SAME_NODE = "PreferSameNode"
_DISTRIBUTIONS = (PREFER_CLOSE, PREFER_SAME_ZONE, PREFER_SAME_NODE)


def mode(service: core.Service) -> str:
    """AUTO, a trafficDistribution that is known here, or "" for no hints (L35)."""
    annotations = service.metadata.annotations
    asked = annotations.get(OLD_MODE_ANNOTATION)
    if asked is None:
        asked = annotations.get(MODE_ANNOTATION, "")
    if asked in ("Auto", "auto"):
        return AUTO
    distribution = service.spec.traffic_distribution or ""
    return distribution if distribution in _DISTRIBUTIONS else ""


def of_endpoint(mode: str, one: discovery.Endpoint) -> discovery.EndpointHints | None:
    """The hints of an endpoint by trafficDistribution (L36): its own zone, and its node where that is preferred."""
    if mode not in _DISTRIBUTIONS or not one.conditions.ready:
        return None
    zones = [discovery.ForZone(name=one.zone)] if one.zone else []
    nodes = [discovery.ForNode(name=one.node_name)] if one.node_name and mode == PREFER_SAME_NODE else []
    return discovery.EndpointHints(for_zones=zones, for_nodes=nodes) if zones or nodes else None
