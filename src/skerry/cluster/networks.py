"""Which addresses a cluster uses: the pods' and the Services' ranges that `skerry up` was given, and what follows.

Everything in the tree that needs one of these numbers takes it from a `Networks`. Called by the command line (which
checks what was asked for), the control plane's assembly and the node processes. Pure.
"""

from __future__ import annotations

import ipaddress
from functools import cached_property

from skerry.cluster.errors import ClusterError

POD_CIDR, SERVICE_CIDR = "10.244.0.0/16", "10.96.0.0/12"
"""The defaults, those of kubeadm and most of its users."""

_FABRICS = ("10.243.0.0/24", "10.242.0.0/24", "172.29.243.0/24", "192.168.243.0/24")
"""Where the nodes' own network may be: the first that overlaps neither range. Two ranges cannot cover them all."""
MAX_PODS = 110
"""How many pods a node takes unless it is told otherwise: the kubelet's default."""
_NODE_PREFIX = 24
"""A node's share of the pods' range, unless --max-pods wants more."""
_NOT_FOR_HOSTS = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")
"""This network, loopback, link-local (pods' gateways are there), multicast and what is reserved."""

Network = ipaddress.IPv4Network


class Networks:
    """The addresses of one cluster. Two with the same ranges are the same."""

    def __init__(self, pod_cidr: str = POD_CIDR, service_cidr: str = SERVICE_CIDR, max_pods: int = MAX_PODS) -> None:
        """ClusterError where the two overlap; each alone must have passed `pod_range` or `service_range`.

        `max_pods`: of one node.
        """
        self.pod_cidr, self.service_cidr, self.max_pods = pod_cidr, service_cidr, max_pods
        # Three addresses of a range are no pod's.
        self.node_prefix = min(_NODE_PREFIX, 32 - (max_pods + 2).bit_length())
        self._pods, self._services = Network(pod_cidr), Network(service_cidr)
        if self._pods.overlaps(self._services):
            raise ClusterError(
                f"The pods' addresses {pod_cidr} and the Services' {service_cidr} overlap: choose another --pod-cidr "
                "or --service-cidr."
            )

    @property
    def kubernetes_ip(self) -> str:
        """The ClusterIP of default/kubernetes: the first address."""
        return str(self._services[1])

    @property
    def dns_ip(self) -> str:
        """The ClusterIP of kube-system/kube-dns: the tenth, as kubeadm has it."""
        return str(self._services[10])

    @cached_property
    def fabric(self) -> Network:
        """The network that links the nodes, at the init of the cluster."""
        found = map(Network, _FABRICS)
        return next(one for one in found if not (one.overlaps(self._pods) or one.overlaps(self._services)))

    @property
    def api_address(self) -> str:
        """Where the API server answers inside the cluster: what default/kubernetes leads to. The nodes' gateway."""
        return str(self.fabric[1])

    @property
    def nodes(self) -> int:
        """How many nodes have room."""
        return min(self._pods.num_addresses >> (32 - self.node_prefix), self.fabric.num_addresses - 3)

    def node_ip(self, index: int) -> str:
        """The address of node `index` (from 1)."""
        return str(self.fabric[index + 1])

    def node_pods(self, index: int) -> str:
        """The range of the pods of node `index` (from 1): 10.244.1.0/24 for the first, unless it takes more pods."""
        size = 1 << (32 - self.node_prefix)
        # The first one is left for the last node, so that a node's number can be read from its pods' addresses.
        block = index % (self._pods.num_addresses // size)
        return f"{self._pods[block * size]}/{self.node_prefix}"


def pod_range(text: str) -> str:
    """`text` if pods can have these addresses. ClusterError with the reason if not."""
    found = _range(text)
    if found.prefixlen > _NODE_PREFIX:
        raise ClusterError(f"{text} is too small for pods: every node needs 256 addresses (a /{_NODE_PREFIX}) of it.")
    if found.prefixlen < 8:
        raise ClusterError(f"{text} is too large for pods: take a /8 or less.")
    return text


def service_range(text: str) -> str:
    """`text` if Services can have these addresses. ClusterError with the reason if not."""
    found = _range(text)
    if found.prefixlen > 28:
        raise ClusterError(
            f"{text} is too small for Services: the cluster's DNS has the tenth address; take a /28 or more."
        )
    if found.prefixlen < 12:
        raise ClusterError(f"{text} is too large for Services: take a /12 or less.")
    return text


def _range(text: str) -> Network:
    """An IPv4 network that hosts may have addresses of."""
    try:
        given = ipaddress.ip_interface(text)
    except ValueError:
        given = None
    if given is None or "/" not in text:
        raise ClusterError(f'"{text}" is no range of addresses, as in {POD_CIDR}.') from None
    if not isinstance(given, ipaddress.IPv4Interface):
        raise ClusterError(f"{text} is IPv6: clusters have IPv4 addresses here.")
    found = given.network
    if given.ip != found.network_address:
        raise ClusterError(f"{text} does not begin a range: {found} does.")
    if text != str(found):
        raise ClusterError(f"{text} is written {found}.")
    for kept in map(Network, _NOT_FOR_HOSTS):
        if found.overlaps(kept):
            raise ClusterError(f"{text} overlaps {kept}, which no pod or Service can have.")
    return found
