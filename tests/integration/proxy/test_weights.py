"""Weights in the kernel and in user space: connections are split as they say, and go on while weights change."""

from __future__ import annotations

from tests.helpers.namespaces import in_network_namespace
from tests.integration.proxy.net import Host, Network, both_back_ends, over
from tests.unit.proxy.build import endpoint, service, slice_of

from skerry.api.types import discovery
from skerry.api.weights import WEIGHTS, encode

VIP = "10.96.0.9"


def weighed(network: Network, pods: list[Host], *weights: int) -> discovery.EndpointSlice:
    made = slice_of(*[endpoint(one.ip, node="a") for one in pods])
    said = encode({over(network.families[0], one.ip): weight for one, weight in zip(pods, weights, strict=True)})
    made.metadata.annotations = {WEIGHTS: said} if said else {}
    return made


@both_back_ends
@in_network_namespace
async def test_connections_are_split_by_weight(mode: str) -> None:
    """By chi-square, at one in a million."""
    network = Network(mode=mode)
    client = network.pod()
    pods = [network.pod() for _ in range(4)]
    for one in pods:
        await one.serve()
    network.service(service())
    for weights, times in (((100, 50, 10, 0), 320), ((0, 0, 0, 0), 80), ((100, 100, 100, 100), 80)):
        network.put_slice(weighed(network, pods, *weights))
        found = await client.spread(VIP, 80, times)
        heavy = weights if any(weights) else (1, 1, 1, 1)
        shares = {one.ip: times * weight / sum(heavy) for one, weight in zip(pods, heavy, strict=True) if weight}
        assert set(found) == set(shares), (weights, found)
        assert sum((found[ip] - share) ** 2 / share for ip, share in shares.items()) < 30.7, (weights, found)
    assert sum(one.total for one in network.kernel.connections()) == 480
    network.finish()
