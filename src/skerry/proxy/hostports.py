"""NodePorts on the host's loopback: 127.0.0.1:30080 of the machine leads to the same port of the node.

Called by the node's process of contained clusters, whose nodes nobody outside can reach. Connections go on to the
node's own address, so that the kernel's table picks the backend as for everybody else. Where nodes have IPv6 addresses
there is [::1]:30080, too; either leads to the address of its own family if the Service has that, else of the other. A
port that the host has taken is somebody's event, never an error of ours; it is tried again when the Service changes.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from socket import socket
from typing import NamedTuple

from skerry.api.types import core
from skerry.client.informer import Informer
from skerry.clock import Clock
from skerry.proxy.brain import node_ports
from skerry.proxy.relay.tcp import TcpRelay
from skerry.proxy.relay.udp import UdpRelay
from skerry.proxy.table import IPV4, IPV6, Backend, family_of

log = logging.getLogger(__name__)

LOOPBACKS = {IPV4: "127.0.0.1", IPV6: "::1"}


class HostPort(NamedTuple):
    """An address of the machine's loopback, TCP or UDP, and a port."""

    address: str
    protocol: str
    port: int


OpenHost = Callable[[str, str, int], Awaitable[socket]]
"""`await open_host("tcp" or "udp", address, port)`: a bound (and listening) socket of the host; OSError if taken."""


def target(service: core.Service, address: str, node_ips: Sequence[str]) -> str:
    """Which of a node's addresses answers for a Service to clients of this address: "" for none."""
    spec = service.spec
    has = {family_of(one) for one in spec.cluster_i_ps or [spec.cluster_ip]}
    found = {family_of(one): one for one in node_ips if family_of(one) in has}
    return found.get(family_of(address)) or next(iter(found.values()), "")


class _Guide:
    """Leads clients of a host's port to the node, while a Service has it."""

    def __init__(self, ports: HostPorts, port: HostPort) -> None:
        self._ports, self._port = ports, port

    def choose(self, _: str, tried: Collection[Backend], /) -> Backend | None:
        return None if tried else self._ports.backend(self._port)

    def opened(self, backend: Backend, /) -> None: ...


class HostPorts:
    """`start` it, and the host's ports follow the Services until `close`. `on_error(service, message)` tells people."""

    def __init__(
        self,
        services: Informer[core.Service],
        node_ips: Sequence[str],
        open_host: OpenHost,
        clock: Clock,
        on_error: Callable[[core.Service, str], None],
    ) -> None:
        self._services, self._node_ips, self._open_host = services, tuple(node_ips), open_host
        families = {IPV4, *map(family_of, node_ips)}
        self._loopbacks = [address for family, address in LOOPBACKS.items() if family in families]
        self._clock, self._on_error = clock, on_error
        self._wanted: dict[HostPort, core.Service] = {}
        self._relays: dict[HostPort, TcpRelay | UdpRelay] = {}
        self._refused: set[HostPort] = set()
        self._closing: set[TcpRelay] = set()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def ports(self) -> list[HostPort]:
        """What is open on the host now."""
        return sorted(self._relays)

    def backend(self, port: HostPort) -> Backend | None:
        """Where a port of the host leads now."""
        service = self._wanted.get(port)
        address = target(service, port.address, self._node_ips) if service is not None else ""
        return Backend(address, port.port) if address else None

    def start(self) -> None:
        """Follows the Services from now on."""
        self._services.subscribe(self._service)
        self._task = asyncio.get_running_loop().create_task(self._run(), name="host ports")

    async def close(self) -> None:
        """Closes every port and every connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for relay in (*self._relays.values(), *self._closing):
            relay.close()
        self._relays.clear()
        self._closing.clear()

    def _service(self, old: core.Service | None, new: core.Service | None) -> None:
        for port in self._ports(old) - self._ports(new):
            owner = self._wanted.get(port)
            # A Service made anew may have taken the port over before the old one is seen to go.
            if owner is not None and old is not None and owner.metadata.uid == old.metadata.uid:
                del self._wanted[port]
        for port in self._ports(new):
            if new is not None:
                self._wanted[port] = new
                self._refused.discard(port)
        self._changed.set()

    def _ports(self, service: core.Service | None) -> set[HostPort]:
        wanted = [one for one in node_ports(service) if one[0] in ("TCP", "UDP")]
        return {HostPort(address, *one) for address in self._loopbacks for one in wanted}

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            for port in [port for port in self._relays if port not in self._wanted]:
                self._stop(port)
            self._refused &= self._wanted.keys()
            for port in [port for port in self._wanted if port not in self._relays and port not in self._refused]:
                await self._start(port)

    def _stop(self, port: HostPort) -> None:
        relay = self._relays.pop(port)
        relay.stop_listening()
        self._closing = {one for one in self._closing if one.connections}
        if isinstance(relay, TcpRelay):
            self._closing.add(relay)

    async def _start(self, port: HostPort) -> None:
        address, protocol, number = port
        try:
            sock = await self._open_host(protocol.lower(), address, number)
        except OSError as error:
            self._refused.add(port)
            service = self._wanted.get(port)
            if service is not None and error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # without IPv6
                reason = error.strerror or str(error)
                self._on_error(service, f"node port {number}/{protocol} cannot be opened on {address}: {reason}")
            return
        if port not in self._wanted:  # the Service has gone meanwhile
            sock.close()
            return
        guide = _Guide(self, port)
        relay = TcpRelay(sock, guide) if protocol == "TCP" else UdpRelay(sock, guide, self._clock)
        self._relays[port] = relay
        relay.start()
