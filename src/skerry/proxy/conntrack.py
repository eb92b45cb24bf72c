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
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from skerry.netlink import wire
from skerry.netlink.wire import NetlinkError, attribute, nested, u8, u32
from skerry.proxy.table import Backend, Frontend, ServiceTable

_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID, _FILTER = 1, 2, 12, 25
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_IP_SOURCE, _IP_DESTINATION = 1, 2
_PROTO_NUMBER, _PROTO_SOURCE_PORT, _PROTO_DESTINATION_PORT = 1, 2, 3
_FILTER_PROTO_NUMBER = 1 << 3
_HEAD = struct.pack("!BBH", socket.AF_INET, 0, 0)


class Flow(NamedTuple):
    """A UDP flow: where the client sent it, who answers, and how the kernel calls it (attributes)."""

    frontend: Frontend
    backend: Backend
    name: bytes


def outdated(
    flows: Iterable[Flow], changed: set[Frontend] | None, table: ServiceTable, service_cidr: str = ""
) -> Iterator[Flow]:
    """The flows of changed frontends that should choose anew. Pure.

    Those of a frontend that has gone, and those whose backend no longer serves while another one does. With None in
    place of changed frontends all are looked at; what led from `service_cidr` to another place is then taken for a flow
    of a frontend that has gone (of translated flows elsewhere one cannot tell whose they were).
    """
    services = ipaddress.ip_network(service_cidr) if service_cidr else None
    for flow in flows:
        frontend, entry = flow.frontend, table.frontends.get(flow.frontend)
        if changed is not None:
            if frontend not in changed:
                continue
        elif entry is None:
            translated = flow.backend != Backend(frontend.address, frontend.port)
            if services is None or not translated or ipaddress.ip_address(frontend.address) not in services:
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
        return self._forget(outdated(self.udp_flows(), udp, table)) if udp else 0

    def reconcile(self, table: ServiceTable, service_cidr: str) -> int:
        """The same for all flows, also those of Services that went while nobody looked."""
        return self._forget(outdated(self.udp_flows(), None, table, service_cidr))

    def _forget(self, flows: Iterable[Flow]) -> int:
        gone = 0
        for flow in flows:
            try:
                self._socket.request(wire.Message(_DELETE, 0, _HEAD + flow.name))
                gone += 1
            except NetlinkError as error:
                if error.errno != errno.ENOENT:
                    raise
        return gone

    def udp_flows(self) -> list[Flow]:
        """All UDP flows over IPv4."""
        only_udp = nested(_TUPLE_ORIGINAL, nested(_TUPLE_PROTO, u8(_PROTO_NUMBER, socket.IPPROTO_UDP)))
        only_udp += nested(_FILTER, u32(1, _FILTER_PROTO_NUMBER), u32(2, 0))
        found = []
        for message in self._socket.dump(wire.Message(_GET, 0, _HEAD + only_udp)):
            parts = wire.table(message.payload[4:])
            original, reply = parts[_TUPLE_ORIGINAL], parts[_TUPLE_REPLY]
            if _protocol(original) != socket.IPPROTO_UDP:
                continue
            frontend = Frontend(_address(original, _IP_DESTINATION), "UDP", _port(original, _PROTO_DESTINATION_PORT))
            backend = Backend(_address(reply, _IP_SOURCE), _port(reply, _PROTO_SOURCE_PORT))
            name = nested(_TUPLE_ORIGINAL, bytes(original)) + attribute(_ID, bytes(parts[_ID]))
            found.append(Flow(frontend, backend, name))
        return found


def _protocol(flow: memoryview) -> int:
    return wire.table(wire.table(flow)[_TUPLE_PROTO])[_PROTO_NUMBER][0]


def _address(flow: memoryview, which: int) -> str:
    return socket.inet_ntoa(wire.table(wire.table(flow)[_TUPLE_IP])[which])


def _port(flow: memoryview, which: int) -> int:
    return int.from_bytes(wire.table(wire.table(flow)[_TUPLE_PROTO])[which], "big")
