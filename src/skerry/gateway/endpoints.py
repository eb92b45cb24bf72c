"""Where the pods of a cluster are, straight from EndpointSlices. Pure; O(slices of one Service).

Called for each new cluster, and for the clusters of a Service one of whose slices changed. Which endpoints count is as
in the service proxy: the ready ones; if there are none, those that still serve while they terminate (P5-P7). A weight
of 0 takes an endpoint out unless all have it.
"""

from __future__ import annotations

from collections.abc import Iterable

from skerry.api import weights
from skerry.api.types import discovery
from skerry.gateway.model import Cluster, Endpoint

SERVICE_NAME = "kubernetes.io/service-name"


def service_of(one: discovery.EndpointSlice) -> str:
    """The Service (namespace/name) that a slice belongs to, "" for none."""
    name = one.metadata.labels.get(SERVICE_NAME, "")
    return f"{one.metadata.namespace}/{name}" if name else ""


def endpoints_of(cluster: Cluster, slices: Iterable[discovery.EndpointSlice]) -> tuple[Endpoint, ...]:
    """The endpoints of a cluster, sorted, each address and port once. `slices` are all those of its Service."""
    ready: dict[tuple[str, int], int] = {}
    leaving: dict[tuple[str, int], int] = {}
    for one in slices:
        if one.address_type != cluster.family:
            continue
        numbers = [
            each.port
            for each in one.ports
            if each.port and (each.name or "") == cluster.port and (each.protocol or "TCP") == "TCP"
        ]
        if not numbers:
            continue
        unusual = weights.decode(one.metadata.annotations.get(weights.WEIGHTS, ""))
        for endpoint in one.endpoints:
            if not endpoint.addresses:
                continue
            address, conditions = endpoint.addresses[0], endpoint.conditions
            weight = unusual.get(address, weights.USUAL)
            if conditions.ready is not False:
                ready.update(((address, number), weight) for number in numbers)
            elif conditions.serving is not False and conditions.terminating is True:
                leaving.update(((address, number), weight) for number in numbers)
    return _chosen(ready or leaving)


def _chosen(found: dict[tuple[str, int], int]) -> tuple[Endpoint, ...]:
    weighty = {place: weight for place, weight in found.items() if weight} or dict.fromkeys(found, 1)
    if len(set(weighty.values())) == 1:
        weighty = dict.fromkeys(weighty, 1)
    return tuple(Endpoint(address, port, weight) for (address, port), weight in sorted(weighty.items()))
