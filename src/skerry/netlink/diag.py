"""The TCP connections of a network namespace, as its own sockets know them.

Called by node/agent/drains.py with a socket that was made in a pod's network namespace. The kernel hands out only
sockets in the states asked for: the thousands of TIME_WAIT that a busy server leaves cost nothing. Numbers are those of
linux/sock_diag.h, linux/inet_diag.h and linux/tcp.h.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import NamedTuple

from skerry.netlink import wire

_BY_FAMILY = 20
_INFO = 2
_SYN_RECV, _ESTABLISHED, _CLOSE_WAIT, _NEW_SYN_RECV = 3, 1, 8, 12
_OPEN = 1 << _SYN_RECV | 1 << _ESTABLISHED | 1 << _CLOSE_WAIT | 1 << _NEW_SYN_RECV
_REQUEST = struct.Struct("=BBBxI48x")
_HEAD = struct.Struct("!B3xH2x16s")
_QUEUES = struct.Struct("=II")
_QUEUES_AT = 56
_SIZE = 72
_IDLE = struct.Struct("=IIII")
_IDLE_AT = 44
_BYTES = struct.Struct("=QQ")
_BYTES_AT = 120


class Connection(NamedTuple):
    """A connection that has not ended on this side.

    `address`, `port`: this side's. `sent_ago`, `received_ago`: seconds since data last went or came, or since the
    connection was made if none did. `received`: bytes so far. `waiting`: bytes that the program has not read yet, or
    the other side not acknowledged.
    """

    address: str
    port: int
    sent_ago: float
    received_ago: float
    received: int
    waiting: int


def connections(handle: wire.Socket) -> list[Connection]:
    """All TCP connections that are being made, are established, or that only the other side has closed.

    `handle` is of `wire.SOCK_DIAG`. NetlinkError.
    """
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        request = _REQUEST.pack(family, socket.IPPROTO_TCP, 1 << (_INFO - 1), _OPEN)
        found += [_read(one.payload) for one in handle.dump(wire.Message(_BY_FAMILY, 0, request))]
    return found


def _read(payload: bytes) -> Connection:
    family, port, source = _HEAD.unpack_from(payload)
    address = socket.inet_ntop(family, source[:4] if family == socket.AF_INET else source)
    if family == socket.AF_INET6:
        mapped = ipaddress.IPv6Address(source).ipv4_mapped
        address = str(mapped) if mapped is not None else address
    unread, unsent = _QUEUES.unpack_from(payload, _QUEUES_AT)
    info = wire.table(memoryview(payload)[_SIZE:]).get(_INFO, memoryview(b""))
    sent_ago = received_ago = received = 0
    if len(info) >= _BYTES_AT + _BYTES.size:  # one that is being made has none of this
        sent_ago, _, received_ago, _ = _IDLE.unpack_from(info, _IDLE_AT)
        _, received = _BYTES.unpack_from(info, _BYTES_AT)
    return Connection(address, port, sent_ago / 1000, received_ago / 1000, received, unread + unsent)
