"""UDP flows that conntrack holds on to although their backend has gone (P33).

Called by server.py when it starts, after it has programmed a change, and once more seconds later. UDP has no end: a
client that keeps sending from one port stays with the backend of its first packet, so flows of changed frontends are
compared with the endpoints that still serve. TCP flows are never touched. Numbers are those of
linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from skerry.netlink import wire
from skerry.netlink.wire import NetlinkError, attribute, nested, u8, u32
from skerry.proxy.table import IPV4, IPV6, Backend, Frontend, ServiceTable, family_of

_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID, _FILTER = 1, 2, 12, 25
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_IP_SOURCE, _IP_DESTINATION = (1, 3), (2, 4)
"""Attributes of IPv4 and IPv6."""
_PROTO_NUMBER, _PROTO_SOURCE_PORT, _PROTO_DESTINATION_PORT = 1, 2, 3
_FILTER_PROTO_NUMBER = 1 << 3


class Flow(NamedTuple):
    """A UDP flow: where the client sent it, who answers, and how the kernel calls it (its family and attributes)."""

    frontend: Frontend
    backend: Backend
    name: bytes


def outdated(
    flows: Iterable[Flow], changed: set[Frontend] | None, table: ServiceTable, service_cidrs: Iterable[str] = ()
) -> Iterator[Flow]:
    """The flows of changed frontends that should choose anew. Pure.

    Those of a frontend that has gone, and those whose backend no longer serves while another one does. With None in
    place of changed frontends all are looked at; what led from `service_cidrs` to another place is then taken for a
    flow of a frontend that has gone (of translated flows elsewhere one cannot tell whose they were).
    """
    services = [known for one in service_cidrs if (known := ipaddress.ip_network(one)).prefixlen]
    for flow in flows:
        frontend, entry = flow.frontend, table.frontends.get(flow.frontend)
        if changed is not None:
            if frontend not in changed:
                continue
        elif entry is None:
            translated = flow.backend != Backend(frontend.address, frontend.port)
            address = ipaddress.ip_address(frontend.address)
            if not translated or not any(address in one for one in services):
                continue
        serving = table.serving.get(entry.list, frozenset()) if entry is not None else frozenset()
        if entry is None or (serving and flow.backend not in serving):
            yield flow


class Conntrack:
    """Connection tracking of the network namespace in which this was made."""

    def __init__(self) -> None:
        self._socket = wire.Socket(wire.NETFILTER)

    def close(self) -> None:
        self._socket.close()

    def heal(self, changed: Iterable[Frontend], table: ServiceTable) -> int:
        """Forgets the outdated flows of changed frontends; how many. NetlinkError where there is no conntrack."""
        udp = {one for one in changed if one.protocol == "UDP"}
        families = {family_of(one.address) for one in udp}
        return self._forget(outdated(self.udp_flows(families), udp, table)) if udp else 0

    def reconcile(self, table: ServiceTable, service_cidrs: Sequence[str]) -> int:
        """The same for all flows, also those of Services that went while nobody looked."""
        families = set(map(family_of, service_cidrs))
        return self._forget(outdated(self.udp_flows(families), None, table, service_cidrs))

    def _forget(self, flows: Iterable[Flow]) -> int:
        gone = 0
        for flow in flows:
            try:
                self._socket.request(wire.Message(_DELETE, 0, flow.name))
                gone += 1
            except NetlinkError as error:
                if error.errno != errno.ENOENT:
                    raise
        return gone

    def udp_flows(self, families: Iterable[str] = (IPV4,)) -> list[Flow]:
        """All UDP flows of these families."""
        only_udp = nested(_TUPLE_ORIGINAL, nested(_TUPLE_PROTO, u8(_PROTO_NUMBER, socket.IPPROTO_UDP)))
        only_udp += nested(_FILTER, u32(1, _FILTER_PROTO_NUMBER), u32(2, 0))
        found = []
        heads = {one: struct.pack("!BBH", socket.AF_INET6 if one == IPV6 else socket.AF_INET, 0, 0) for one in families}
        messages = (
            (head, one) for head in heads.values() for one in self._socket.dump(wire.Message(_GET, 0, head + only_udp))
        )
        for head, message in messages:
            parts = wire.table(message.payload[4:])
            original, reply = parts[_TUPLE_ORIGINAL], parts[_TUPLE_REPLY]
            if _protocol(original) != socket.IPPROTO_UDP:
                continue
            frontend = Frontend(_address(original, _IP_DESTINATION), "UDP", _port(original, _PROTO_DESTINATION_PORT))
            backend = Backend(_address(reply, _IP_SOURCE), _port(reply, _PROTO_SOURCE_PORT))
            name = nested(_TUPLE_ORIGINAL, bytes(original)) + attribute(_ID, bytes(parts[_ID]))
            found.append(Flow(frontend, backend, head + name))
        return found


def _protocol(flow: memoryview) -> int:
    return wire.table(wire.table(flow)[_TUPLE_PROTO])[_PROTO_NUMBER][0]


def _address(flow: memoryview, which: tuple[int, int]) -> str:
    parts, (v4, v6) = wire.table(wire.table(flow)[_TUPLE_IP]), which
    return socket.inet_ntoa(parts[v4]) if v4 in parts else socket.inet_ntop(socket.AF_INET6, bytes(parts[v6]))


def _port(flow: memoryview, which: int) -> int:
    return int.from_bytes(wire.table(wire.table(flow)[_TUPLE_PROTO])[which], "big")
