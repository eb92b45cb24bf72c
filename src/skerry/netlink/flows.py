"""Connections that conntrack knows and that nobody has answered yet.

Called by node/agent/drains.py: a listening socket whose queue is full drops SYNs, so that no socket knows of those
clients; they knock again at the same backend after one, two, four seconds. Numbers are those of
linux/netfilter/nfnetlink_conntrack.h and nf_conntrack_common.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection
from pathlib import Path

from skerry.netlink import wire
from skerry.netlink.wire import be32, nested, u8, u32

_GET = 1 << 8 | 1
_TUPLE_REPLY, _STATUS, _TIMEOUT, _FILTER, _STATUS_MASK = 2, 3, 7, 25, 26
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_V4_SOURCE, _V6_SOURCE = 1, 3
_PROTO_NUMBER, _PROTO_SOURCE_PORT = 1, 2
_BY_SOURCE, _BY_PROTOCOL = 1 << 0, 1 << 3
_SEEN_REPLY = 1 << 1
_USUAL_TIMEOUT = 120
_SYSCTL = Path("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_syn_sent")


def unanswered(handle: wire.Socket, address: str, ports: Collection[int], recent: float) -> int:
    """TCP connections to these ports of an address whose client knocked within the last `recent` seconds, in vain.

    `handle` is of `wire.NETFILTER`. NetlinkError where there is no conntrack.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = _V6_SOURCE if family == socket.AF_INET6 else _V4_SOURCE
    source = nested(_TUPLE_IP, wire.attribute(kind, socket.inet_pton(family, address)))
    request = (
        struct.pack("!BBH", family, 0, 0)
        + nested(_TUPLE_REPLY, source, nested(_TUPLE_PROTO, u8(_PROTO_NUMBER, socket.IPPROTO_TCP)))
        + nested(_FILTER, u32(1, 0), u32(2, _BY_SOURCE | _BY_PROTOCOL))
        + be32(_STATUS, 0)
        + be32(_STATUS_MASK, _SEEN_REPLY)
    )
    oldest = _timeout() - recent
    count = 0
    for message in handle.dump(wire.Message(_GET, 0, request)):
        parts = wire.table(message.payload[4:])
        answer = wire.table(wire.table(parts[_TUPLE_REPLY])[_TUPLE_PROTO])
        left = int.from_bytes(parts.get(_TIMEOUT, b""), "big")
        count += int.from_bytes(answer.get(_PROTO_SOURCE_PORT, b""), "big") in ports and left >= oldest
    return count


def _timeout() -> float:
    """Seconds that the kernel remembers a connection for which there was only a SYN."""
    try:
        return float(_SYSCTL.read_text())
    except (OSError, ValueError):
        return _USUAL_TIMEOUT
