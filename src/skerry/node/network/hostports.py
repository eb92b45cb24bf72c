"""hostPort: a port of the node's addresses leads to a port of a pod. Called by pods.py, in the node's network.

One table of nf_tables with a fixed number of rules; the ports are elements of its maps. Connections keep their client's
address. It comes after the service proxy, which so has its node ports first.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence

from skerry.netlink import nft, nft_expr, nft_set
from skerry.netlink.nft_expr import Meta, register
from skerry.netlink.nft_set import Set, Type
from skerry.node.runtime.spec import PortMapping

TABLE = "skerry-hostports"
_PORTS, _AT, _HAIRPIN = "ports", "ports-at", "hairpin"
_SETS = (
    Set(_PORTS, (Type.PROTOCOL, Type.SERVICE), (Type.IPV4, Type.SERVICE), comment="on every address of the node"),
    Set(_AT, (Type.IPV4, Type.PROTOCOL, Type.SERVICE), (Type.IPV4, Type.SERVICE), comment="on the address asked for"),
    Set(_HAIRPIN, (Type.IPV4, Type.IPV4), comment="pods that call themselves"),
)
_PROTOCOLS = {"TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP, "SCTP": socket.IPPROTO_SCTP}
_DNAT, _SNAT = -98, 99
"""Beside the usual -100 and 100, which the service proxy has."""

_Taken = tuple[str, str, int]
_Make = Callable[[str, str, Sequence[bytes]], Iterator[nft.Request]]


class PortTakenError(OSError):
    """Another pod of this node has the port."""


class HostPorts:
    """The ports of one node's addresses that lead to pods. Made when the first pod wants one."""

    def __init__(self) -> None:
        self._nft = nft.Nft()
        if TABLE in self._nft.tables():
            self._nft.commit([nft.delete_table(TABLE)])
        self._nft.commit(list(_table()))
        self._owners: dict[_Taken, str] = {}
        self._of: dict[str, tuple[str, tuple[PortMapping, ...]]] = {}

    def open(self, uid: str, ip: str, ports: Iterable[PortMapping]) -> None:
        """Leads `ports` to the pod `uid` at `ip`. PortTakenError, OSError: then none of them."""
        wanted = tuple(dict.fromkeys(ports))
        for one in wanted:
            if self._taken(one):
                raise PortTakenError(f"host port {one.host_port}/{one.protocol} is taken by another pod")
        self._nft.commit([*_elements(nft_set.add_elements, ip, wanted)])
        self._of[uid] = (ip, wanted)
        self._owners.update(dict.fromkeys(map(_place, wanted), uid))

    def close(self, uid: str) -> None:
        """Takes a pod's ports back. Of a pod without any: nothing."""
        ip, ports = self._of.pop(uid, ("", ()))
        for one in ports:
            del self._owners[_place(one)]
        if ports:
            self._nft.commit([*_elements(nft_set.delete_elements, ip, ports)])

    def end(self) -> None:
        """Lets go of the kernel; the table stays."""
        self._nft.close()

    def _taken(self, one: PortMapping) -> bool:
        """Whether the port is in use, at this address or at every one."""
        return any(
            (protocol, port) == (one.protocol, one.host_port)
            and (not address or not one.host_ip or address == one.host_ip)
            for protocol, address, port in self._owners
        )


def _place(one: PortMapping) -> _Taken:
    return one.protocol, one.host_ip, one.host_port


def _elements(make: _Make, ip: str, ports: tuple[PortMapping, ...]) -> Iterator[nft.Request]:
    found: dict[str, list[bytes]] = {_PORTS: [], _AT: [], _HAIRPIN: [nft_set.element(socket.inet_aton(ip) * 2)]}
    for one in ports:
        data = struct.pack("!4sHxx", socket.inet_aton(ip), one.container_port)
        key = struct.pack("!BxxxHxx", _PROTOCOLS[one.protocol], one.host_port)
        if one.host_ip:
            key = socket.inet_aton(one.host_ip) + key
        found[_AT if one.host_ip else _PORTS].append(nft_set.element(key, data))
    for name, elements in found.items():
        if elements:
            yield from make(TABLE, name, elements)


def _table() -> Iterator[nft.Request]:
    """The table with its chains, hooked in, without elements."""
    r = [register(index) for index in range(3)]
    local = nft_expr.fib_daddr_type(r[0]) + nft_expr.compare(r[0], struct.pack("=I", nft_expr.LOCAL_ADDRESS))
    not_loopback = nft_expr.destination(r[0]) + nft_expr.in_prefix(r[0], "127.0.0.0/8", inside=False)
    protocol_port = nft_expr.meta(Meta.L4PROTO, r[1]) + nft_expr.destination_port(r[2])
    both = nft_expr.meta(Meta.L4PROTO, r[0]) + nft_expr.destination_port(r[1])
    yield nft.add_table(TABLE, "Skerry host ports")
    for identity, one in enumerate(_SETS, 1):
        yield nft_set.define(TABLE, one, identity)
    yield nft.add_chain(TABLE, "lead")
    at = nft_expr.destination(r[0]) + protocol_port + nft_expr.lookup(_AT, r[0], r[0])
    yield nft.add_rule(TABLE, "lead", at, nft_expr.dnat(r[0], r[1]))
    yield nft.add_rule(TABLE, "lead", both, nft_expr.lookup(_PORTS, r[0], r[0]), nft_expr.dnat(r[0], r[1]))
    for name, hook in (("prerouting", nft.Hook.PREROUTING), ("output", nft.Hook.OUTPUT)):
        yield nft.add_base_chain(TABLE, name, "nat", hook, _DNAT)
        yield nft.add_rule(TABLE, name, local, not_loopback, nft_expr.jump("lead"))
    yield nft.add_base_chain(TABLE, "postrouting", "nat", nft.Hook.POSTROUTING, _SNAT)
    itself = nft_expr.source(r[0]) + nft_expr.destination(r[1]) + nft_expr.lookup(_HAIRPIN, r[0])
    yield nft.add_rule(TABLE, "postrouting", itself, nft_expr.masquerade(), comment="a pod that calls itself")
