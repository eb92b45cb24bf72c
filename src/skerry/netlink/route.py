"""Links, addresses, routes and neighbours of one network namespace (rtnetlink).

Called by whoever builds networks: cluster/namespaces.py (the fabric between nodes) and node/network (pods). A `Routes`
works on the namespace in which it was made, wherever its caller is later. Adding what is there already replaces it and
deleting what is not there does nothing, so that callers need not look first; only links must be new.
Numbers are those of the kernel's uapi headers (linux/rtnetlink.h, if_link.h, if_addr.h, neighbour.h).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from skerry.netlink import wire

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_NEWNEIGH, _GETNEIGH = 28, 30

_LINK = struct.Struct("=BxHiII")  # family, hardware type, index, flags, which flags to change
_ADDR = struct.Struct("=BBBBi")  # family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # family, dst length, src length, tos, table, protocol, scope, type, flags
_NEIGH = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 10, 18
_IFLA_GROUP, _IFLA_NET_NS_FD = 27, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO = 1, 2, 6
_NODAD = 0x02
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 1, 4, 5, 7
_NDA_DST, _NDA_LLADDR = 1, 2

_UP = 1
_TABLE_MAIN, _PROTOCOL_STATIC, _UNICAST, _UNREACHABLE, _ONLINK = 254, 4, 1, 7, 4
_TABLE_LOCAL, _LOCAL, _BLACKHOLE = 255, 2, 6
_PERMANENT = 0x80
_BUFFER = 1 << 16
_DOOMED = 0x5CE4
"""The group of links that are about to be deleted together. Links are born in group 0."""

UNIVERSE, LINK, HOST = 0, 253, 254
"""Scopes: reached through a gateway, directly on a link, or only within this network namespace."""


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface. `mac` and `kind` ("veth", "bridge") are "" where there is none; `master`: index or 0."""

    index: int
    name: str
    mac: str
    mtu: int
    up: bool
    master: int
    kind: str


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast route. `destination` is "10.244.2.0/24" or "default"; `via` is "" if direct."""

    destination: str
    via: str
    link: int


def mac_bytes(mac: str) -> bytes:
    """Six bytes of "ee:ee:ee:ee:ee:ee"."""
    return bytes.fromhex(mac.replace(":", ""))


def _packed(address: str) -> tuple[int, bytes]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)


def _prefix(cidr: str) -> tuple[int, bytes, int]:
    """Family, address and prefix length of "10.0.0.1/24" or of a bare address (full length); "default" is 0.0.0.0/0."""
    if cidr == "default":
        return socket.AF_INET, b"\0" * 4, 0
    address, _, length = cidr.partition("/")
    family, packed = _packed(address)
    return family, packed, int(length) if length else len(packed) * 8


def _text(packed: memoryview) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, bytes(packed))


def _string(payload: memoryview) -> str:
    return bytes(payload).rstrip(b"\0").decode()


class Routes:
    """Speaks rtnetlink in the network namespace in which it is made. NetlinkError if the kernel refuses."""

    def __init__(self) -> None:
        self._socket = wire.Socket(wire.ROUTE, buffer=_BUFFER)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Routes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Links

    def links(self) -> list[Link]:
        """Every link of the namespace."""
        return [
            _parse_link(one.payload) for one in self._socket.dump(wire.Message(_GETLINK, 0, _LINK.pack(0, 0, 0, 0, 0)))
        ]

    def index(self, name: str) -> int:
        """A link's index by its name. NetlinkError ENODEV if there is none."""
        message = wire.Message(_GETLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + wire.string(_IFLA_IFNAME, name))
        return _parse_link(self._socket.request(message)[0].payload).index

    def add_link(self, kind: str, name: str, *, mac: str = "", up: bool = True) -> int:
        """Makes a "bridge" or "dummy"; its index. EEXIST if the name is taken."""
        self._new_link(_describe(name, mac, 0, up), wire.nested(_IFLA_LINKINFO, wire.string(_INFO_KIND, kind)))
        return self.index(name)

    def add_veth(
        self,
        name: str,
        peer: str,
        *,
        mac: str = "",
        peer_mac: str = "",
        peer_netns: int = -1,
        mtu: int = 0,
        master: int = 0,
    ) -> int:
        """Makes a pair of links; the index of `name`, which is up (`peer` is not: the kernel refuses it so early).

        `peer` is born in the network namespace of the file descriptor `peer_netns` (-1: this one). `mtu` 0: the
        kernel's default. `master`: index of a bridge for `name`. EEXIST if a name is taken.
        """
        other = _describe(peer, peer_mac, mtu, False)
        if peer_netns >= 0:
            other += wire.u32(_IFLA_NET_NS_FD, peer_netns)
        data = wire.nested(_INFO_DATA, wire.nested(_VETH_PEER, other))
        info = wire.nested(_IFLA_LINKINFO, wire.string(_INFO_KIND, "veth"), data)
        self._new_link(_describe(name, mac, mtu, True), info)
        index = self.index(name)
        if master:
            self.set_link(index, master=master)
        return index

    def set_link(
        self,
        index: int,
        *,
        up: bool | None = None,
        name: str = "",
        mac: str = "",
        mtu: int = 0,
        master: int | None = None,
        netns: int = -1,
    ) -> None:
        """Changes what is given. `master` 0 frees it from its bridge; `netns`: file descriptor of its new home."""
        head = _LINK.pack(0, 0, index, _UP if up else 0, 0 if up is None else _UP)
        parts = [head, _names(name, mac, mtu)]
        if master is not None:
            parts.append(wire.u32(_IFLA_MASTER, master))
        if netns >= 0:
            parts.append(wire.u32(_IFLA_NET_NS_FD, netns))
        self._socket.request(wire.Message(_NEWLINK, 0, b"".join(parts)))

    def delete_link(self, name: str) -> None:
        """Deletes a link by name; its veth peer goes with it."""
        message = wire.Message(_DELLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + wire.string(_IFLA_IFNAME, name))
        self._delete(message, errno.ENODEV)

    def delete_links(self, names: Iterable[str]) -> None:
        """Deletes many links at the price of one: for each request the kernel waits some 40 ms for its other users.

        Blocks for about that long. Those that are not there (or no more) are left out.
        """
        for name in names:
            head = _LINK.pack(0, 0, 0, 0, 0)
            body = wire.string(_IFLA_IFNAME, name) + wire.u32(_IFLA_GROUP, _DOOMED)
            self._delete(wire.Message(_NEWLINK, 0, head + body), errno.ENODEV)
        group = wire.u32(_IFLA_GROUP, _DOOMED)
        self._delete(wire.Message(_DELLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + group), errno.ENODEV)

    def _new_link(self, head: bytes, info: bytes) -> None:
        self._socket.request(wire.Message(_NEWLINK, wire.CREATE | wire.EXCL, head + info))

    # Addresses

    def add_address(self, index: int, cidr: str, scope: int = 0) -> None:
        """Gives a link an address, e.g. "10.243.0.1/24" (a bare address: /32 or /128).

        With the scope HOST it answers, but no connection of the node begins there. IPv6 addresses are used at once,
        without asking whether somebody else has them.
        """
        self._socket.request(wire.Message(_NEWADDR, wire.CREATE | wire.REPLACE, _address(index, cidr, scope)))

    def delete_address(self, index: int, cidr: str) -> None:
        self._delete(wire.Message(_DELADDR, 0, _address(index, cidr)), errno.EADDRNOTAVAIL)

    def addresses(self) -> list[tuple[int, str]]:
        """Every address as (index of its link, "10.243.0.1/24")."""
        found = []
        for one in self._socket.dump(wire.Message(_GETADDR, 0, _ADDR.pack(0, 0, 0, 0, 0))):
            _, length, _, _, index = _ADDR.unpack_from(one.payload)
            table = wire.table(one.payload[_ADDR.size :])
            packed = table.get(_IFA_LOCAL) or table[_IFA_ADDRESS]
            found.append((index, f"{_text(packed)}/{length}"))
        return found

    # Routes

    def add_route(
        self, destination: str, *, link: int = 0, via: str = "", source: str = "", onlink: bool = False
    ) -> None:
        """Sends `destination` ("10.244.2.0/24", an address, "default" or "::/0") over a link, through `via` if given.

        `onlink`: the gateway is reached on the link though no address of the link says so. `source`: the address that
        packets born here get. Replaces the route to the same destination.
        """
        family, packed, length = _prefix(destination)
        head = _ROUTE.pack(
            *(family, length, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, UNIVERSE if via else LINK, _UNICAST),
            _ONLINK if onlink else 0,
        )
        parts = [head]
        if length:
            parts.append(wire.attribute(_RTA_DST, packed))
        if via:
            parts.append(wire.attribute(_RTA_GATEWAY, _packed(via)[1]))
        if link:
            parts.append(wire.u32(_RTA_OIF, link))
        if source:
            parts.append(wire.attribute(_RTA_PREFSRC, _packed(source)[1]))
        self._socket.request(wire.Message(_NEWROUTE, wire.CREATE | wire.REPLACE, b"".join(parts)))

    def add_unreachable(self, destination: str) -> None:
        """Has packets to `destination` refused at once, wherever no longer prefix has a route."""
        family, packed, length = _prefix(destination)
        head = _ROUTE.pack(family, length, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, UNIVERSE, _UNREACHABLE, 0)
        message = wire.Message(_NEWROUTE, wire.CREATE | wire.REPLACE, head + wire.attribute(_RTA_DST, packed))
        self._socket.request(message)

    def add_blackhole(self, destination: str) -> None:
        """Has packets to `destination` dropped in silence, wherever no longer prefix has a route."""
        family, packed, length = _prefix(destination)
        head = _ROUTE.pack(family, length, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, UNIVERSE, _BLACKHOLE, 0)
        message = wire.Message(_NEWROUTE, wire.CREATE | wire.REPLACE, head + wire.attribute(_RTA_DST, packed))
        self._socket.request(message)

    def add_local(self, destination: str, link: int) -> None:
        """Makes `destination` this namespace's own, as the addresses of its links are; `link`: lo's index."""
        self._socket.request(wire.Message(_NEWROUTE, wire.CREATE | wire.REPLACE, _local(destination, link)))

    def delete_local(self, destination: str, link: int) -> None:
        self._delete(wire.Message(_DELROUTE, 0, _local(destination, link)), errno.ESRCH)

    def delete_route(self, destination: str) -> None:
        family, packed, length = _prefix(destination)
        # Scope "nowhere" (255) matches a route of any scope.
        head = _ROUTE.pack(family, length, 0, 0, _TABLE_MAIN, 0, 255, 0, 0)
        self._delete(
            wire.Message(_DELROUTE, 0, head + (wire.attribute(_RTA_DST, packed) if length else b"")), errno.ESRCH
        )

    def routes(self, *, everywhere: bool = False) -> list[Route]:
        """The IPv4 unicast routes of the main table, or with `everywhere` of all tables."""
        found = []
        message = wire.Message(_GETROUTE, 0, _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0))
        for one in self._socket.dump(message):
            _, length, _, _, where, _, _, kind, _ = _ROUTE.unpack_from(one.payload)
            if kind != _UNICAST or not (everywhere or where == _TABLE_MAIN):
                continue
            table = wire.table(one.payload[_ROUTE.size :])
            destination = f"{_text(table[_RTA_DST])}/{length}" if length else "default"
            via = _text(table[_RTA_GATEWAY]) if _RTA_GATEWAY in table else ""
            found.append(Route(destination, via, int.from_bytes(table.get(_RTA_OIF, b"\0"), "little")))
        return found

    # Neighbours

    def add_neighbour(self, index: int, address: str, mac: str) -> None:
        """States for good which MAC address an IP address of the link has, so that nobody needs to ask for it."""
        family, packed = _packed(address)
        head = _NEIGH.pack(family, index, _PERMANENT, 0, 0)
        body = wire.attribute(_NDA_DST, packed) + wire.attribute(_NDA_LLADDR, mac_bytes(mac))
        self._socket.request(wire.Message(_NEWNEIGH, wire.CREATE | wire.REPLACE, head + body))

    def neighbours(self) -> list[tuple[int, str, str]]:
        """Every permanent neighbour as (index of its link, address, MAC)."""
        found = []
        for one in self._socket.dump(wire.Message(_GETNEIGH, 0, _NEIGH.pack(0, 0, 0, 0, 0))):
            _, index, state, _, _ = _NEIGH.unpack_from(one.payload)
            table = wire.table(one.payload[_NEIGH.size :])
            if state & _PERMANENT and _NDA_LLADDR in table:
                found.append((index, _text(table[_NDA_DST]), bytes(table[_NDA_LLADDR]).hex(":")))
        return found

    def _delete(self, message: wire.Message, absent: int) -> None:
        try:
            self._socket.request(message)
        except wire.NetlinkError as error:
            if error.errno != absent:
                raise


def _names(name: str, mac: str, mtu: int) -> bytes:
    return b"".join(
        (
            wire.string(_IFLA_IFNAME, name) if name else b"",
            wire.attribute(_IFLA_ADDRESS, mac_bytes(mac)) if mac else b"",
            wire.u32(_IFLA_MTU, mtu) if mtu else b"",
        )
    )


def _describe(name: str, mac: str, mtu: int, up: bool) -> bytes:
    flags = _UP if up else 0
    return _LINK.pack(0, 0, 0, flags, flags) + _names(name, mac, mtu)


def _address(index: int, cidr: str, scope: int = 0) -> bytes:
    family, packed, length = _prefix(cidr)
    head = _ADDR.pack(family, length, _NODAD if family == socket.AF_INET6 else 0, scope, index)
    body = wire.attribute(_IFA_LOCAL, packed) + wire.attribute(_IFA_ADDRESS, packed)
    if family == socket.AF_INET6 and scope == HOST:  # which IPv6 does not let us choose: nobody prefers it instead
        body += wire.attribute(_IFA_CACHEINFO, struct.pack("=IIII", 0, 0xFFFFFFFF, 0, 0))
    return head + body


def _local(destination: str, link: int) -> bytes:
    family, packed, length = _prefix(destination)
    head = _ROUTE.pack(family, length, 0, 0, _TABLE_LOCAL, _PROTOCOL_STATIC, HOST, _LOCAL, 0)
    return head + wire.attribute(_RTA_DST, packed) + wire.u32(_RTA_OIF, link)


def _parse_link(payload: bytes) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(payload)
    table = wire.table(payload[_LINK.size :])
    info = wire.table(table[_IFLA_LINKINFO]) if _IFLA_LINKINFO in table else {}
    return Link(
        index=index,
        name=_string(table[_IFLA_IFNAME]),
        mac=bytes(table[_IFLA_ADDRESS]).hex(":") if _IFLA_ADDRESS in table else "",
        mtu=int.from_bytes(table[_IFLA_MTU], "little") if _IFLA_MTU in table else 0,
        up=bool(flags & _UP),
        master=int.from_bytes(table[_IFLA_MASTER], "little") if _IFLA_MASTER in table else 0,
        kind=_string(info[_INFO_KIND]) if _INFO_KIND in info else "",
    )
