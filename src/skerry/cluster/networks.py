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
POD_CIDR6, SERVICE_CIDR6 = "fd00:10:244::/56", "fd00:10:96::/112"
"""What to add to them for a cluster of both families."""

_FABRICS = ("10.243.0.0/24", "10.242.0.0/24", "172.29.243.0/24", "192.168.243.0/24")
_FABRICS6 = ("fd00:10:243::/64", "fd00:10:242::/64", "fd29:243::/64")
"""Where the nodes' own network may be: the first that overlaps neither range. Two ranges cannot cover them all."""
MAX_PODS = 110
"""How many pods a node takes unless it is told otherwise: the kubelet's default."""
_NODE_PREFIX, _NODE_PREFIX6 = 24, 64
"""A node's share of the pods' range, unless --max-pods wants more."""
_NOT_FOR_HOSTS = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")
"""This network, loopback, link-local (pods' gateways are there), multicast and what is reserved."""
_NOT_FOR_HOSTS6 = ("::/16", "64:ff9b::/32", "fe80::/10", "fec0::/10", "ff00::/8")
"""The same of IPv6, with addresses that stand for IPv4 ones."""

Network = ipaddress.IPv4Network
Network6 = ipaddress.IPv6Network
AnyNetwork = Network | Network6


class Networks:
    """The addresses of one cluster. Two with the same ranges are the same.

    A range may be two, `10.244.0.0/16,fd00:10:244::/56`: then nodes, pods and Services have addresses of both families,
    and the first one is the primary. Whatever is said of one address here is said of the primary family's.
    """

    def __init__(self, pod_cidr: str = POD_CIDR, service_cidr: str = SERVICE_CIDR, max_pods: int = MAX_PODS) -> None:
        """ClusterError where the two do not fit; each alone must have passed `pod_range` or `service_range`.

        `max_pods`: of one node.
        """
        self.pod_cidr, self.service_cidr, self.max_pods = pod_cidr, service_cidr, max_pods
        self.pod_cidrs, self.service_cidrs = tuple(pod_cidr.split(",")), tuple(service_cidr.split(","))
        self._pods, self._services = [*map(_network, self.pod_cidrs)], [*map(_network, self.service_cidrs)]
        if [one.version for one in self._pods] != [one.version for one in self._services]:
            raise ClusterError(
                f"--pod-cidr {pod_cidr} and --service-cidr {service_cidr} are not of the same families in the same "
                "order: give both one range of each family that the cluster is to have, as in --pod-cidr "
                f"{POD_CIDR},{POD_CIDR6} --service-cidr {SERVICE_CIDR},{SERVICE_CIDR6}."
            )
        self.node_prefix = self._share(self._pods[0])
        for pods, services in zip(self._pods, self._services, strict=True):
            if pods.overlaps(services):
                raise ClusterError(
                    f"The pods' addresses {pods} and the Services' {services} overlap: choose another --pod-cidr "
                    "or --service-cidr."
                )

    machine = False
    """Whether the one node is the machine itself: see MachineNetworks."""
    dns_link = "lo"
    """The link of each node that has the addresses of the cluster's DNS."""

    @property
    def kubernetes_ip(self) -> str:
        """The ClusterIP of default/kubernetes: the first address."""
        return str(self._services[0][1])

    @property
    def dns_ips(self) -> tuple[str, ...]:
        """The ClusterIPs of kube-system/kube-dns: of each family the tenth, as kubeadm has it."""
        return tuple(str(one[10]) for one in self._services)

    @property
    def dns_ip(self) -> str:
        """The one that pods are told of."""
        return self.dns_ips[0]

    @property
    def has_ipv6(self) -> bool:
        """Whether anything in the cluster has an IPv6 address."""
        return any(one.version == 6 for one in self._pods)

    @cached_property
    def fabric(self) -> Network:
        """The network that links the nodes, at the init of the cluster; IPv4 in every cluster."""
        return next(one for one in map(Network, _FABRICS) if not self._overlap(one))

    @cached_property
    def fabrics(self) -> tuple[AnyNetwork, ...]:
        """The same, and where IPv6 is wanted its other half."""
        if not self.has_ipv6:
            return (self.fabric,)
        return (self.fabric, next(one for one in map(Network6, _FABRICS6) if not self._overlap(one)))

    def _overlap(self, one: AnyNetwork) -> bool:
        return any(one.version == each.version and one.overlaps(each) for each in (*self._pods, *self._services))

    def _of_fabric(self, family: int) -> AnyNetwork:
        return next(one for one in self.fabrics if one.version == family)

    @property
    def api_address(self) -> str:
        """Where the API server answers inside the cluster: what default/kubernetes leads to. The nodes' gateway."""
        return str(self._of_fabric(self._pods[0].version)[1])

    @property
    def host_ips(self) -> tuple[str, ...]:
        """What host.skerry.internal leads to, of each family: nobody's in the nodes' network, caught on every node."""
        return tuple(str(self._of_fabric(one.version)[-2]) for one in self._pods)

    @property
    def nodes(self) -> int:
        """How many nodes have room."""
        return min(self.fabric.num_addresses - 4, *(len(one) for one in self._shares))

    @cached_property
    def _shares(self) -> list[range]:
        """Of each family the first addresses of the nodes' shares, as numbers."""
        found = []
        for one in self._pods:
            size = 1 << (one.max_prefixlen - self._share(one))
            first = int(one.network_address)
            found.append(range(first, first + one.num_addresses // size * size, size))
        return found

    def _share(self, pods: AnyNetwork) -> int:
        """The prefix of a node's share; three addresses of it are no pod's."""
        return _NODE_PREFIX6 if pods.version == 6 else min(_NODE_PREFIX, 32 - (self.max_pods + 2).bit_length())

    def node_ips(self, index: int) -> tuple[str, ...]:
        """The addresses of node `index` (from 1), one a family of the cluster."""
        return tuple(str(self._of_fabric(one.version)[index + 1]) for one in self._pods)

    def node_pods(self, index: int) -> tuple[str, ...]:
        """The ranges of the pods of node `index` (from 1): 10.244.1.0/24 for the first, unless it takes more pods."""
        # The first one is left for the last node, so that a node's number can be read from its pods' addresses.
        starts = (
            (one, shares[index % len(shares)] - int(one.network_address))
            for one, shares in zip(self._pods, self._shares, strict=True)
        )
        return tuple(f"{one[offset]}/{self._share(one)}" for one, offset in starts)


class MachineNetworks(Networks):
    """Those of a cluster whose node is the machine itself (`--network host`): nothing lies between nodes.

    The machine has an address among its pods', the first one, which no pod gets: there they reach the API server and
    the machine's own programs.
    """

    machine = True
    dns_link = "skerry0"

    @cached_property
    def fabrics(self) -> tuple[AnyNetwork, ...]:
        """None."""
        return ()

    @property
    def api_address(self) -> str:
        """The machine's address among its pods'."""
        return str(_network(self.node_pods(1)[0])[1])

    @property
    def host_ips(self) -> tuple[str, ...]:
        """The same: nothing has to be caught."""
        return (self.api_address,)

    @property
    def nodes(self) -> int:
        """The machine."""
        return 1


def pod_range(text: str) -> str:
    """`text` if pods can have these addresses. ClusterError with the reason if not."""
    for found in _ranges(text):
        least, most = (48, _NODE_PREFIX6) if found.version == 6 else (8, _NODE_PREFIX)
        if found.prefixlen > most:
            need = f"256 addresses (a /{most})" if found.version == 4 else f"a /{most}"
            raise ClusterError(f"{found} is too small for pods: every node needs {need} of it.")
        if found.prefixlen < least:
            raise ClusterError(f"{found} is too large for pods: take a /{least} or less.")
    return text


def service_range(text: str) -> str:
    """`text` if Services can have these addresses. ClusterError with the reason if not."""
    for found in _ranges(text):
        least, most = (64, 124) if found.version == 6 else (12, 28)
        if found.prefixlen > most:
            raise ClusterError(
                f"{found} is too small for Services: the cluster's DNS has the tenth address; take a /{most} or more."
            )
        if found.prefixlen < least:
            raise ClusterError(f"{found} is too large for Services: take a /{least} or less.")
    return text


def _ranges(text: str) -> list[AnyNetwork]:
    """One network that hosts may have addresses of, or one of each family."""
    found = [_range(one) for one in text.split(",")]
    if len({one.version for one in found}) < len(found):
        raise ClusterError(f"{text} has two ranges of one family: a cluster has one of IPv4, one of IPv6, or both.")
    return found


def _range(text: str) -> AnyNetwork:
    """A network that hosts may have addresses of."""
    try:
        given = ipaddress.ip_interface(text)
    except ValueError:
        given = None
    if given is None or "/" not in text:
        raise ClusterError(f'"{text}" is no range of addresses, as in {POD_CIDR}.') from None
    found = given.network
    if given.ip != found.network_address:
        raise ClusterError(f"{text} does not begin a range: {found} does.")
    if text != str(found):
        raise ClusterError(f"{text} is written {found}.")
    for kept in map(_network, _NOT_FOR_HOSTS if found.version == 4 else _NOT_FOR_HOSTS6):
        if found.overlaps(kept):
            raise ClusterError(f"{text} overlaps {kept}, which no pod or Service can have.")
    return found


def _network(text: str) -> AnyNetwork:
    return ipaddress.ip_network(text)
