"""Ports of Services of type LoadBalancer on the machine's loopback: 127.B.C.D:80 leads to the Service's port 80.

Called by the process of the node whose turn it is, in contained clusters; a controller chose the address. Connections
go on to the cluster IP from this node, so that the kernel's table picks the backend as for everybody else, whether or
not the Service has node ports. A port below 1024 that the machine refuses is opened above 30000; what was opened where
is said in an event and in the Service's condition LoadBalancerPorts, from which `skerry status` has it.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import NamedTuple

from skerry.api.types import core
from skerry.client.informer import Informer, key_of
from skerry.clock import Clock
from skerry.proxy.brain import SOURCE_RANGES
from skerry.proxy.hostports import OpenHost
from skerry.proxy.relay.tcp import TcpRelay
from skerry.proxy.relay.udp import UdpRelay
from skerry.proxy.table import Backend

log = logging.getLogger(__name__)

MOVED_BY = 30000
"""Port 80 that the machine refuses is opened as 30080; on an address of one's own hardly anything else is there."""


class Place(NamedTuple):
    """Where a port is to be open on the machine. `protocol`: TCP or UDP; SCTP is never opened, and that is said."""

    address: str
    protocol: str
    port: int


class Told(NamedTuple):
    """What is to be said of a Service's ports. `status`: of the condition; `moved`: an event is due."""

    status: str
    reason: str
    message: str
    event: str = ""


def places(service: core.Service | None) -> dict[Place, Backend]:
    """Where a Service's ports are to be open, and where each leads."""
    if service is None or service.metadata.deletion_timestamp or service.spec.type != "LoadBalancer":
        return {}
    spec = service.spec
    ips = spec.cluster_i_ps or [spec.cluster_ip]
    onward = next((one for one in ips if ":" not in one), ips[0])
    return {
        Place(one.ip, port.protocol or "TCP", port.port): Backend(onward, port.port)
        for one in service.status.load_balancer.ingress
        if one.ip_mode == "Proxy" and one.ip.startswith("127.") and onward
        for port in spec.ports
    }


def admits(service: core.Service, client: str) -> bool:
    """May a client with this address use the Service's balancer (P20)?"""
    annotated = service.metadata.annotations.get(SOURCE_RANGES, "").split(",")
    ranges = service.spec.load_balancer_source_ranges or [one for one in annotated if one.strip()]
    if not ranges:
        return True
    address = ipaddress.ip_address(client)
    for one in ranges:
        try:
            if address in ipaddress.ip_network(one.strip(), strict=False):
                return True
        except ValueError:
            continue  # what is no range opens nothing
    return False


def said(service: core.Service, opened: dict[Place, int], failed: dict[Place, str]) -> Told:
    """What the Service says of its ports, given where they are open and why others are not."""
    wanted = list(places(service))
    lines = [f"{one.port}/{one.protocol} is not open: {failed[one]}" for one in wanted if one in failed]
    moved = [one for one in wanted if opened.get(one, one.port) != one.port]
    lines += [f"{one.port}/{one.protocol} is open as {one.address}:{opened[one]}" for one in moved]
    event = "; ".join(lines)
    if moved:
        event += ", because this user may not open ports below 1024"
    rest = [one for one in wanted if one in opened and one not in moved]
    lines += [f"{one.port}/{one.protocol} is open on {one.address}" for one in rest]
    message = "; ".join(lines)
    if failed:
        return Told("False", "PortUnavailable", message, event)
    if moved:
        return Told("True", "PortMoved", message, event)
    return Told("True", "Open", message)


class _Guide:
    """Leads clients to where the Service's port leads now, if they may come."""

    def __init__(self, ports: BalancerPorts, place: Place) -> None:
        self._ports, self._place = ports, place

    def choose(self, client: str, tried: Collection[Backend], /) -> Backend | None:
        service = self._ports.owner(self._place)
        if tried or service is None or not admits(service, client):
            return None
        return places(service).get(self._place)

    def opened(self, backend: Backend, /) -> None: ...


class BalancerPorts:
    """`start` it, and ports follow the Services until `close`.

    `tell(service, told)` is called when what is to be said of a Service's ports has changed.
    """

    def __init__(
        self,
        services: Informer[core.Service],
        open_host: OpenHost,
        clock: Clock,
        tell: Callable[[core.Service, Told], Awaitable[None]],
    ) -> None:
        self._services, self._open_host, self._clock, self._tell = services, open_host, clock, tell
        self._wanted: dict[Place, str] = {}  # the key of the Service that has it
        self._relays: dict[Place, TcpRelay | UdpRelay] = {}
        self._opened: dict[Place, int] = {}
        self._failed: dict[Place, str] = {}
        self._closing: set[TcpRelay] = set()
        self._told: dict[str, tuple[str, Told]] = {}
        self._new: dict[str, None] = {}
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._to_tell: asyncio.Queue[tuple[core.Service, Told]] = asyncio.Queue()

    @property
    def ports(self) -> dict[Place, int]:
        """What is open on the machine now, and the port under which it is."""
        return dict(self._opened)

    def owner(self, place: Place) -> core.Service | None:
        """The Service that has this place."""
        key = self._wanted.get(place)
        return self._services.get(key) if key is not None else None

    def start(self) -> None:
        """Follows the Services from now on."""
        self._services.subscribe(self._service)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run(), name="balancers"), loop.create_task(self._speak())]

    async def close(self) -> None:
        """Closes every port and every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for relay in (*self._relays.values(), *self._closing):
            relay.close()
        self._relays.clear()
        self._closing.clear()

    def _service(self, old: core.Service | None, new: core.Service | None) -> None:
        one = new or old
        assert one is not None
        key, now = key_of(one), places(new)
        for place in [place for place in places(old) if place not in now]:
            if self._wanted.get(place) == key:
                del self._wanted[place]
        for place in now:
            self._wanted.setdefault(place, key)
        if old is None or new is None or old.spec != new.spec or old.status.load_balancer != new.status.load_balancer:
            self._new[key] = None
            self._changed.set()

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            keys, self._new = self._new, {}
            for place in [place for place in self._relays if place not in self._wanted]:
                self._stop(place)
            for place in [place for place, key in self._wanted.items() if place not in self._relays]:
                if place not in self._failed or self._wanted[place] in keys:
                    await self._start(place)
            self._failed = {place: why for place, why in self._failed.items() if place in self._wanted}
            for key in keys:
                self._say(key)

    def _say(self, key: str) -> None:
        service = self._services.get(key)
        if service is None or not places(service):
            self._told.pop(key, None)
            return
        told = said(service, self._opened, self._failed)
        if self._told.get(key) != (service.metadata.uid, told):
            self._told[key] = (service.metadata.uid, told)
            self._to_tell.put_nowait((service, told))

    async def _speak(self) -> None:
        """Tells one after the other, beside the work: a slow API server must not keep ports shut."""
        while True:
            service, told = await self._to_tell.get()
            try:
                await self._tell(service, told)
            except OSError as error:
                log.warning("could not tell about the ports of %s: %s", key_of(service), error)

    def _stop(self, place: Place) -> None:
        relay = self._relays.pop(place)
        self._opened.pop(place, None)
        relay.stop_listening()
        self._closing = {one for one in self._closing if one.connections}
        if isinstance(relay, TcpRelay):
            self._closing.add(relay)

    async def _start(self, place: Place) -> None:
        address, protocol, port = place
        if protocol not in ("TCP", "UDP"):
            self._failed[place] = f"{protocol} is not carried from this machine into the cluster"
            return
        tries = [port]
        while True:
            try:
                sock = await self._open_host(protocol.lower(), address, tries[-1])
                break
            except OSError as error:
                # Only what the machine refuses us is moved: a port that somebody has is theirs.
                if error.errno == errno.EACCES and len(tries) == 1:
                    tries.append(port + MOVED_BY)
                elif error.errno == errno.EADDRINUSE and len(tries) == 2:
                    tries.append(0)
                else:
                    self._failed[place] = error.strerror or str(error)
                    return
        if place not in self._wanted:  # the Service has gone meanwhile
            sock.close()
            return
        self._failed.pop(place, None)
        self._opened[place] = sock.getsockname()[1]
        guide = _Guide(self, place)
        relay = TcpRelay(sock, guide) if protocol == "TCP" else UdpRelay(sock, guide, self._clock)
        self._relays[place] = relay
        relay.start()
