"""Where cluster IPs and external addresses are, so that somebody can listen on them without translating packets.

Called by backend.py. With CAP_NET_ADMIN (which a contained node has, rootless too) they are in a *room*, a network
namespace of the proxy's own behind one link, and not in the node's: there a listener on 10.96.0.9:80 and a server of
a pod with hostNetwork on 0.0.0.0:80 would exclude each other, and unknown ports would lead to the node's own servers.

    node:  10.96.0.0/12 (and each external address) via 169.254.1.2 on skerry-proxy, with the node's address as source
    room:  each address in use is local; what else is in 10.96.0.0/12 is dropped; default via 169.254.1.1

The kernel takes the link, its routes and the room away with this process, so nothing can be left behind. Elsewhere
there is only loopback, where 10.96.0.9 becomes 127.96.0.9.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import socket
from typing import Protocol

from skerry import linux
from skerry.netlink import namespace
from skerry.netlink.route import HOST, Routes
from skerry.proxy.table import Node

log = logging.getLogger(__name__)

LINK = "skerry-proxy"
_NODE_MAC, _ROOM_MAC = "ee:ee:ee:ee:ee:ee", "0a:58:73:6b:70:78"
_NODE_SIDE = {4: "169.254.1.1", 6: "fe80::1"}
_ROOM_SIDE = {4: "169.254.1.2", 6: "fe80::2"}
_EVERYWHERE = {4: "default", 6: "::/0"}


class Place(Protocol):
    """Where listeners are made."""

    reach: str
    """Who can connect to them, in words."""

    def come(self, address: str) -> None:
        """Packets to this address arrive here from now on. OSError."""

    def go(self, address: str) -> None:
        """And no longer."""

    def open(self, address: str, kind: int) -> tuple[socket.socket, str]:
        """A new socket (SOCK_STREAM or SOCK_DGRAM) for this address, and the address to bind it to. OSError."""

    def close(self) -> None:
        """Nothing arrives any more."""


def find(node: Node) -> Place:
    """The best there is on this machine, in this network namespace."""
    try:
        return Room(node)
    except OSError as error:
        log.warning("no network namespace for cluster IPs (%s): they are on loopback only", linux.reason(error))
        return Loopback(linux.reason(error))


def version(address: str) -> int:
    return 6 if ":" in address else 4


def is_own(address: str) -> bool:
    """Has this network namespace itself this address? Then it is no other's."""
    try:
        with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Room:
    """A network namespace for all addresses that the node itself has not. OSError if it cannot be made."""

    reach = "everywhere"

    def __init__(self, node: Node) -> None:
        # Where nobody knows the range, the whole of a family stands for it: then each address has a route of its own.
        self._families = {version(one) for one in node.service_cidrs}
        self._cidrs = {version(one): one for one in node.service_cidrs if not one.endswith("/0")}
        self._sources = {version(one): one for one in reversed(node.addresses)}
        self._netns = namespace.new()
        self._routes = Routes()
        try:
            self._routes.delete_link(LINK)
            self._link = self._routes.add_veth(LINK, "eth0", mac=_NODE_MAC, peer_mac=_ROOM_MAC, peer_netns=self._netns)
            self._inner = namespace.inside(self._netns, self._furnish)
            self._routes.index(LINK)  # to be asked makes newer kernels open the queue at once
            if 6 in self._families:
                _quiet(LINK)
            for ip in self._families:
                self._routes.add_neighbour(self._link, _ROOM_SIDE[ip], _ROOM_MAC)
            for cidr in self._cidrs.values():
                self._lead(cidr)
        except OSError:
            self.close()
            raise

    def _furnish(self) -> Routes:
        """In the room: everything that does not depend on Services."""
        routes = Routes()
        eth0 = routes.index("eth0")
        self._lo = routes.index("lo")
        if 6 in self._families:
            _quiet("eth0")
        routes.set_link(eth0, up=True)
        for ip in self._families:
            routes.add_neighbour(eth0, _NODE_SIDE[ip], _NODE_MAC)
            routes.add_route(_EVERYWHERE[ip], via=_NODE_SIDE[ip], link=eth0, onlink=True)
        for cidr in self._cidrs.values():
            routes.add_blackhole(cidr)
        # Else the kernel refuses one datagram a second, and the others wait in vain.
        for name in ("net.ipv4.icmp_ratelimit", "net.ipv6.icmp.ratelimit"):
            with contextlib.suppress(OSError):
                linux.sysctl(name, "0")
        return routes

    def _lead(self, destination: str) -> None:
        ip = version(destination)
        self._routes.add_route(
            destination, link=self._link, via=_ROOM_SIDE[ip], source=self._sources.get(ip, ""), onlink=True
        )

    def come(self, address: str) -> None:
        if is_own(address):
            return
        if version(address) == 6:  # which listens and refuses on addresses of links alone; for IPv4 they are slow
            self._inner.add_address(self._lo, address, HOST)
        else:
            self._inner.add_local(address, self._lo)
        if not self._covers(address):
            self._lead(address)

    def go(self, address: str) -> None:
        with contextlib.suppress(OSError):
            if version(address) == 6:
                self._inner.delete_address(self._lo, address)
            else:
                self._inner.delete_local(address, self._lo)
        if not self._covers(address) and not is_own(address):
            with contextlib.suppress(OSError):
                self._routes.delete_route(address)

    def _covers(self, address: str) -> bool:
        cidr = self._cidrs.get(version(address))
        return cidr is not None and ipaddress.ip_address(address) in ipaddress.ip_network(cidr)

    def open(self, address: str, kind: int) -> tuple[socket.socket, str]:
        if is_own(address):
            return socket.socket(_family(address), kind), address
        return namespace.inside(self._netns, lambda: socket.socket(_family(address), kind)), address

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._routes.delete_link(LINK)
        self._routes.close()
        os.close(self._netns)


def _quiet(link: str) -> None:
    """No IPv6 addresses but those that it is given."""
    linux.sysctl(f"net/ipv6/conf/{link}/addr_gen_mode", "1")
    linux.sysctl(f"net/ipv6/conf/{link}/accept_ra", "0")
    linux.sysctl(f"net/ipv6/conf/{link}/disable_ipv6", "0")


class Loopback:
    """Nothing but sockets: 10.96.0.9 is 127.96.0.9, and what the node itself has stays where it is."""

    def __init__(self, reason: str) -> None:
        self.reach = f"on loopback only, 10.96.0.1 as 127.96.0.1 ({reason})"

    def come(self, address: str) -> None: ...

    def go(self, address: str) -> None: ...

    def open(self, address: str, kind: int) -> tuple[socket.socket, str]:
        own = address if is_own(address) or version(address) == 6 else "127." + address.partition(".")[2]
        return socket.socket(_family(own), kind), own

    def close(self) -> None: ...
