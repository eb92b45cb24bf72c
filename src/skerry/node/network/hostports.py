"""hostPort: a port of the node's addresses leads to a port of a pod. Called by pods.py, in the node's network.

One table of nf_tables a family with a fixed number of rules; the ports are elements of its maps. Connections keep their
client's address. It comes after the service proxy, which so has its node ports first.

As on other nodes the ports answer on the node's loopback too (IPv4 only: no ::1 can leave a machine). For that the
kernel must let 127.0.0.1 leave through a pod's link, and so what comes to that address from any other link than the
loopback is dropped before all else.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence

from skerry import linux
from skerry.netlink import nft, nft_expr, nft_set
from skerry.netlink.nft_expr import Meta, register
from skerry.netlink.nft_set import Set, Type
from skerry.node.runtime.spec import PortMapping

TABLE = "skerry-hostports"
_PORTS, _AT, _HAIRPIN = "ports", "ports-at", "hairpin"
_PROTOCOLS = {"TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP, "SCTP": socket.IPPROTO_SCTP}
_DNAT, _SNAT = -98, 99
"""Beside the usual -100 and 100, which the service proxy has."""
_RAW = -300
"""Before connections are known, when an answer to the loopback still has the address of the node."""
_LOOPBACK = "127.0.0.0/8"

_LO = b"lo".ljust(16, b"\0")

_Taken = tuple[str, str, int]
_Make = Callable[[str, str, Sequence[bytes]], Iterator[nft.Request]]


class PortTakenError(OSError):
    """Another pod of this node has the port."""


class HostPorts:
    """The ports of one node's addresses that lead to pods. Made when the first pod wants one."""

    def __init__(self) -> None:
        self._tables: dict[bool, nft.Nft] = {}
        """By whether it is that of IPv6; made when the first pod of the family wants a port."""
        self._owners: dict[_Taken, str] = {}
        self._of: dict[str, tuple[Sequence[str], tuple[PortMapping, ...]]] = {}

    def open(self, uid: str, ips: Sequence[str], ports: Iterable[PortMapping]) -> None:
        """Leads `ports` to the pod `uid`, which has `ips`, one a family. PortTakenError, OSError: then none of them."""
        wanted = tuple(dict.fromkeys(ports))
        for one in wanted:
            if self._taken(one):
                raise PortTakenError(f"host port {one.host_port}/{one.protocol} is taken by another pod")
        done: list[str] = []
        try:
            for ip in ips:
                self._table(ip).commit([*_elements(nft_set.add_elements, ip, wanted)])
                done.append(ip)
        except OSError:
            self._remove(done, wanted)
            raise
        self._of[uid] = (tuple(ips), wanted)
        self._owners.update(dict.fromkeys(map(_place, wanted), uid))

    def close(self, uid: str) -> None:
        """Takes a pod's ports back. Of a pod without any: nothing."""
        ips, ports = self._of.pop(uid, ((), ()))
        for one in ports:
            del self._owners[_place(one)]
        if ports:
            self._remove(ips, ports)

    def _remove(self, ips: Sequence[str], ports: tuple[PortMapping, ...]) -> None:
        for ip in ips:
            self._table(ip).commit([*_elements(nft_set.delete_elements, ip, ports)])

    def _table(self, ip: str) -> nft.Nft:
        """The table of this address's family."""
        v6 = ":" in ip
        if v6 not in self._tables:
            made = nft.Nft(nft.IPV6 if v6 else nft.IPV4)
            if TABLE in made.tables():
                made.commit([nft.delete_table(TABLE)])
            made.commit(list(_table(v6)))
            if not v6:
                linux.sysctl("net.ipv4.conf.all.route_localnet", "1")
            self._tables[v6] = made
        return self._tables[v6]

    def end(self) -> None:
        """Lets go of the kernel; the tables stay."""
        for one in self._tables.values():
            one.close()

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
    own = _packed(ip)
    found: dict[str, list[bytes]] = {_PORTS: [], _AT: [], _HAIRPIN: [nft_set.element(own * 2)]}
    for one in ports:
        data = own + struct.pack("!Hxx", one.container_port)
        key = struct.pack("!BxxxHxx", _PROTOCOLS[one.protocol], one.host_port)
        if one.host_ip:
            at = _packed(one.host_ip)
            if len(at) != len(own):
                continue
            key = at + key
        found[_AT if one.host_ip else _PORTS].append(nft_set.element(key, data))
    for name, elements in found.items():
        if elements:
            yield from make(TABLE, name, elements)


def _packed(ip: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)


def _sets(address: Type) -> tuple[Set, ...]:
    to = (address, Type.SERVICE)
    return (
        Set(_PORTS, (Type.PROTOCOL, Type.SERVICE), to, comment="on every address of the node"),
        Set(_AT, (address, Type.PROTOCOL, Type.SERVICE), to, comment="on the address asked for"),
        Set(_HAIRPIN, (address, address), comment="pods that call themselves"),
    )


def _table(v6: bool) -> Iterator[nft.Request]:
    """A family's table with its chains, hooked in, without elements."""
    width = 4 if v6 else 1
    r = [register(0), register(width), register(width + 1)]
    local = nft_expr.fib_daddr_type(r[0]) + nft_expr.compare(r[0], struct.pack("=I", nft_expr.LOCAL_ADDRESS))
    destination, dnat = nft_expr.destination(r[0], v6=v6), nft_expr.dnat(r[0], r[1], v6=v6)
    not_loopback = destination + nft_expr.in_prefix(r[0], "::1/128" if v6 else _LOOPBACK, inside=False)
    protocol_port = nft_expr.meta(Meta.L4PROTO, r[1]) + nft_expr.destination_port(r[2])
    both = nft_expr.meta(Meta.L4PROTO, r[0]) + nft_expr.destination_port(register(1))
    yield nft.add_table(TABLE, "Skerry host ports")
    for identity, one in enumerate(_sets(Type.IPV6 if v6 else Type.IPV4), 1):
        yield nft_set.define(TABLE, one, identity)
    yield nft.add_chain(TABLE, "lead")
    yield nft.add_rule(TABLE, "lead", destination, protocol_port, nft_expr.lookup(_AT, r[0], r[0]), dnat)
    yield nft.add_rule(TABLE, "lead", both, nft_expr.lookup(_PORTS, r[0], r[0]), dnat)
    for name, hook in (("prerouting", nft.Hook.PREROUTING), ("output", nft.Hook.OUTPUT)):
        yield nft.add_base_chain(TABLE, name, "nat", hook, _DNAT)
        anywhere = b"" if name == "output" and not v6 else not_loopback
        yield nft.add_rule(TABLE, name, local, anywhere, nft_expr.jump("lead"))
    yield nft.add_base_chain(TABLE, "postrouting", "nat", nft.Hook.POSTROUTING, _SNAT)
    itself = nft_expr.source(r[0], v6=v6) + nft_expr.destination(r[1], v6=v6) + nft_expr.lookup(_HAIRPIN, r[0])
    yield nft.add_rule(TABLE, "postrouting", itself, nft_expr.masquerade(), comment="a pod that calls itself")
    if not v6:
        elsewhere = nft_expr.meta(Meta.OIFNAME, r[0]) + nft_expr.compare(r[0], _LO, equal=False)
        loopback = nft_expr.source(r[0]) + nft_expr.in_prefix(r[0], _LOOPBACK)
        yield nft.add_rule(TABLE, "postrouting", elsewhere, loopback, nft_expr.masquerade(), comment="from 127.0.0.1")
        yield nft.add_base_chain(TABLE, "guard", "filter", nft.Hook.PREROUTING, _RAW)
        foreign = nft_expr.meta(Meta.IIFNAME, r[0]) + nft_expr.compare(r[0], _LO, equal=False)
        inside = destination + nft_expr.in_prefix(r[0], _LOOPBACK)
        yield nft.add_rule(TABLE, "guard", foreign, inside, nft_expr.drop(), comment="to 127.0.0.1 from elsewhere")
