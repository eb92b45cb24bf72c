"""The objects that every cluster has from its first moment, the `kubernetes` Service among them (K1-K4).

Called by cluster/.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from skerry.api import claims, status
from skerry.api.types import core, discovery, meta, networking, scheduling, storage
from skerry.api.validation.policy import SYSTEM_PRIORITIES
from skerry.clock import rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skerry.client.client import Client
    from skerry.clock import Clock

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_CHECK = 10.0


async def ensure(client: Client, obj: Any) -> None:
    """Creates an object unless one of its name is there (which is left as it is)."""
    try:
        await client.get(type(obj), obj.metadata.name, obj.metadata.namespace)
    except status.ApiError as error:
        if not status.is_not_found(error):
            raise
        try:
            await client.create(obj)
        except status.ApiError as error:
            if not status.is_already_exists(error):
                raise


async def namespaces(client: Client) -> None:
    for name in NAMESPACES:
        await ensure(client, core.Namespace(metadata=meta.ObjectMeta(name=name)))


async def priority_classes(client: Client) -> None:
    """The two classes that pods of a cluster's own parts have, on every Kubernetes."""
    for name, value in SYSTEM_PRIORITIES.items():
        whose = "the cluster" if "cluster" in name else "its node"
        await ensure(
            client,
            scheduling.PriorityClass(
                metadata=meta.ObjectMeta(name=name),
                value=value,
                description=f"For pods that {whose} cannot do without.",
            ),
        )


def service_cidr(ranges: Sequence[str]) -> networking.ServiceCIDR:
    """Where addresses of Services are from."""
    return networking.ServiceCIDR(
        metadata=meta.ObjectMeta(name="kubernetes"), spec=networking.ServiceCIDRSpec(cidrs=list(ranges))
    )


def storage_class() -> storage.StorageClass:
    """The class of claims that name none: directories on the node of the first pod that uses them."""
    return storage.StorageClass(
        metadata=meta.ObjectMeta(name=claims.STANDARD, annotations={claims.IS_DEFAULT: "true"}),
        provisioner=claims.PROVISIONER,
        volume_binding_mode=claims.WAITS,
    )


def family_of(address: str) -> str:
    """IPv4 or IPv6."""
    return "IPv6" if ":" in address else "IPv4"


def kubernetes_service(cluster_ip: str, port: int) -> core.Service:
    """K1."""
    return core.Service(
        metadata=meta.ObjectMeta(
            name="kubernetes", namespace="default", labels={"component": "apiserver", "provider": "kubernetes"}
        ),
        spec=core.ServiceSpec(
            type="ClusterIP",
            cluster_ip=cluster_ip,
            cluster_i_ps=[cluster_ip],
            ip_families=[family_of(cluster_ip)],
            ip_family_policy="SingleStack",
            session_affinity="None",
            ports=[core.ServicePort(name="https", port=443, target_port=port, protocol="TCP")],
        ),
    )


def kubernetes_endpoints(addresses: Sequence[str], port: int) -> core.Endpoints:
    """K3."""
    return core.Endpoints(
        metadata=meta.ObjectMeta(
            name="kubernetes",
            namespace="default",
            labels={"endpointslice.kubernetes.io/skip-mirror": "true"},
        ),
        subsets=[
            core.EndpointSubset(
                addresses=[core.EndpointAddress(ip=one) for one in sorted(addresses)],
                ports=[core.EndpointPort(name="https", port=port, protocol="TCP")],
            )
        ],
    )


def kubernetes_slice(addresses: Sequence[str], port: int) -> discovery.EndpointSlice:
    """K4."""
    return discovery.EndpointSlice(
        metadata=meta.ObjectMeta(
            name="kubernetes", namespace="default", labels={"kubernetes.io/service-name": "kubernetes"}
        ),
        address_type=family_of(addresses[0]),
        endpoints=[
            discovery.Endpoint(addresses=[one], conditions=discovery.EndpointConditions(ready=True))
            for one in sorted(addresses)
        ],
        ports=[discovery.EndpointPort(name="https", port=port, protocol="TCP")],
    )


class Kubernetes:
    """Keeps the `kubernetes` Service and its endpoints in place; `addresses` are those of the API servers."""

    def __init__(self, client: Client, cluster_ip: str, addresses: Sequence[str], port: int) -> None:
        self._client, self._cluster_ip, self._addresses, self._port = client, cluster_ip, addresses, port

    async def ensure(self) -> None:
        """Makes the Service if it is missing (an edited one is left, K2), and its endpoints as they must be."""
        await ensure(self._client, kubernetes_service(self._cluster_ip, self._port))
        await ensure_content(self._client, kubernetes_endpoints(self._addresses, self._port))
        await ensure_content(self._client, kubernetes_slice(self._addresses, self._port))

    async def keep(self, clock: Clock) -> None:
        """K2: looks every ten seconds, until cancelled."""
        while True:
            await clock.sleep(_CHECK)
            with contextlib.suppress(status.ApiError):
                await self.ensure()


async def ensure_content(client: Client, wanted: core.Endpoints | discovery.EndpointSlice) -> None:
    """Creates the object, or gives the one that is there the wanted endpoints and ports."""
    await ensure(client, wanted)
    found = await client.get(type(wanted), wanted.metadata.name, wanted.metadata.namespace)
    if _content(found) != _content(wanted):
        wanted.metadata.resource_version = found.metadata.resource_version
        await client.update(wanted)


def _content(obj: Any) -> list[Any]:
    if isinstance(obj, core.Endpoints):
        return [obj.subsets]
    return [obj.endpoints, obj.ports]


async def forget_nodes(client: Client, clock: Clock) -> None:
    """Nothing is known of the nodes of an earlier run: they are not ready until they say so themselves."""
    for node in (await client.list(core.Node)).items:
        now = rfc3339(clock.now())
        condition = core.NodeCondition(
            type="Ready",
            status="Unknown",
            reason="NodeStatusUnknown",
            message="the node has not reported since the cluster was opened",
            last_heartbeat_time=now,
            last_transition_time=now,
        )
        node.status.conditions = [one for one in node.status.conditions if one.type != "Ready"] + [condition]
        await client.update(node, subresource="status")


def dns_service(cluster_ips: Sequence[str]) -> core.Service:
    """D17. The nodes' DNS servers answer on this address themselves, so no proxy is to touch it."""
    return core.Service(
        metadata=meta.ObjectMeta(
            name="kube-dns",
            namespace="kube-system",
            labels={
                "k8s-app": "kube-dns",
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
                "service.kubernetes.io/service-proxy-name": "skerry-dns",
            },
        ),
        spec=core.ServiceSpec(
            type="ClusterIP",
            cluster_ip=cluster_ips[0],
            cluster_i_ps=list(cluster_ips),
            ip_family_policy="SingleStack" if len(cluster_ips) == 1 else "RequireDualStack",
            ports=[
                core.ServicePort(name="dns", port=53, target_port=53, protocol="UDP"),
                core.ServicePort(name="dns-tcp", port=53, target_port=53, protocol="TCP"),
                core.ServicePort(name="metrics", port=9153, target_port=9153, protocol="TCP"),
            ],
        ),
    )


def dns_slice(node_ips: Sequence[str], family: str, *, second: bool = False) -> discovery.EndpointSlice:
    """Where the DNS servers are, for people and tools that look; one a family. `second`: not the primary one's."""
    return discovery.EndpointSlice(
        metadata=meta.ObjectMeta(
            name=f"kube-dns-{family.lower()}" if second else "kube-dns",
            namespace="kube-system",
            labels={
                "kubernetes.io/service-name": "kube-dns",
                "service.kubernetes.io/service-proxy-name": "skerry-dns",
            },
        ),
        address_type=family,
        endpoints=[
            discovery.Endpoint(addresses=[one], conditions=discovery.EndpointConditions(ready=True)) for one in node_ips
        ],
        ports=[
            discovery.EndpointPort(name="dns", port=53, protocol="UDP"),
            discovery.EndpointPort(name="dns-tcp", port=53, protocol="TCP"),
            discovery.EndpointPort(name="metrics", port=9153, protocol="TCP"),
        ],
    )


async def dns(client: Client, *, cluster_ips: Sequence[str]) -> None:
    """The `kube-dns` Service, and its slices without endpoints: no node is ready yet."""
    await ensure(client, dns_service(cluster_ips))
    for at, one in enumerate(cluster_ips):
        await ensure_content(client, dns_slice([], family_of(one), second=at > 0))
