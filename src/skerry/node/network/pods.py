"""The link between a pod and its node.

Called by the runtime's client, in the agent, which is root of the cluster's user namespace and lives in the node's
network. Pods are routed, not bridged, so that every packet of a pod passes the node's connection tracking:

    pod:   eth0 10.244.1.5/32, default via 169.254.1.1 (which nobody has: a fixed neighbour leads to the node's end)
    node:  veth1a2b3c4d, route 10.244.1.5/32 and a fixed neighbour for it

and the same with fd00:10:244:1::5/128 and fe80::1. Nobody asks for a neighbour, advertises a route or looks for a
duplicate, so an IPv6 address works as soon as it is there; links have none of their own.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from collections.abc import Sequence
from typing import TypeVar

from skerry.netlink.namespace import inside
from skerry.netlink.route import Routes
from skerry.node.network.hostports import HostPorts
from skerry.node.network.links import NODE_MAC, quiet_link
from skerry.node.runtime.spec import PortMapping

GATEWAY, GATEWAY6 = "169.254.1.1", "fe80::1"

_T = TypeVar("_T")


def link_name(uid: str) -> str:
    """The node's end of a pod's link: veth and eight hexadecimal digits."""
    return "veth" + hashlib.sha256(uid.encode()).hexdigest()[:8]


def pod_mac(ip: str) -> str:
    """The pod's end's MAC: a local prefix and (the end of) the pod's address, so that neither side needs to ask."""
    return (b"\x0a\x58" + ipaddress.ip_address(ip).packed[-4:]).hex(":")


class PodNetwork:
    """The node's ends of all pods' links."""

    def __init__(self) -> None:
        self._routes = Routes()
        self._ports: HostPorts | None = None
        self._removal = Removal()

    def connect(self, uid: str, ips: Sequence[str], netns: int) -> None:
        """Links a pod's network namespace, in which only lo is, to the node. OSError; then nothing is left.

        `ips`: its addresses, one a family.
        """
        name, mac = link_name(uid), pod_mac(ips[0])
        try:
            link = self._routes.add_veth(name, "eth0", mac=NODE_MAC, peer_mac=mac, peer_netns=netns)
            inside(netns, lambda: _pod_side(ips))
            # The node's end was up before the pod's: the kernel opens its queue some time later in a worker, and loses
            # what is sent before. To be asked about the link makes newer kernels do it now.
            self._routes.index(name)
            for ip in ips:
                self._routes.add_route(ip, link=link)
                self._routes.add_neighbour(link, ip, mac)
        except OSError:
            self._routes.delete_link(name)
            raise

    def lead(self, uid: str, ips: Sequence[str], ports: Sequence[PortMapping]) -> None:
        """Leads ports of the node to a pod. OSError; then none of them."""
        if ports:
            self._ports = self._ports or HostPorts()
            self._ports.open(uid, ips, ports)

    async def disconnect(self, uid: str) -> None:
        """Takes a pod's link away, and with it its route, neighbour and ports. Of an unknown pod: nothing."""
        if self._ports is not None:
            self._ports.close(uid)
        await self._removal.remove(link_name(uid))

    def close(self) -> None:
        """Not while a `disconnect` is awaited."""
        self._routes.close()
        self._removal.close()
        if self._ports is not None:
            self._ports.end()


class Removal:
    """Deletes links, those together that are asked for while others are being deleted; never in the event loop.

    A deletion keeps its caller for tens of milliseconds. One after another in the event loop, the ends of a hundred
    pods would hold up the beginnings of the next hundred for seconds.
    """

    def __init__(self) -> None:
        self._routes = Routes()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._work: asyncio.Task[None] | None = None

    async def remove(self, name: str) -> None:
        """Returns when the link is gone. NetlinkError if the kernel refuses."""
        mine = self._waiting.get(name)
        if mine is None:
            mine = self._waiting[name] = asyncio.get_running_loop().create_future()
        if self._work is None:
            self._work = asyncio.create_task(self._remove(), name="removal of pods' links")
        await asyncio.shield(mine)

    async def _remove(self) -> None:
        try:
            while self._waiting:
                now, self._waiting = self._waiting, {}
                error: OSError | None = None
                try:
                    await asyncio.to_thread(self._routes.delete_links, list(now))
                except OSError as refused:
                    error = refused
                for one in now.values():
                    if one.cancelled():
                        continue
                    if error is None:
                        one.set_result(None)
                    else:
                        one.set_exception(error)
        finally:
            self._work = None

    def close(self) -> None:
        self._routes.close()


def _pod_side(ips: Sequence[str]) -> None:
    with Routes() as routes:
        eth0 = routes.index("eth0")
        if any(":" in ip for ip in ips):
            quiet_link("eth0")
        routes.set_link(eth0, up=True)
        for ip in ips:
            gateway, everywhere = (GATEWAY6, "::/0") if ":" in ip else (GATEWAY, "default")
            routes.add_address(eth0, ip)
            routes.add_neighbour(eth0, gateway, NODE_MAC)
            routes.add_route(everywhere, via=gateway, link=eth0, onlink=True)
