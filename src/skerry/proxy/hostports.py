"""NodePorts on the host's loopback: 127.0.0.1:30080 of the machine leads to the same port of the node.

Called by the node's process of contained clusters, whose nodes nobody outside can reach. Connections go on to the
node's own address, so that the kernel's table picks the backend as for everybody else. A port that the host has taken
is somebody's event, never an error of ours; it is tried again when the Service changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from socket import socket

from skerry.api.types import core
from skerry.client.informer import Informer
from skerry.clock import Clock
from skerry.proxy.brain import node_ports
from skerry.proxy.relay.guide import Straight
from skerry.proxy.relay.tcp import TcpRelay
from skerry.proxy.relay.udp import UdpRelay
from skerry.proxy.table import Backend

log = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"

HostPort = tuple[str, int]
"""A protocol (TCP or UDP) and a port."""

OpenHost = Callable[[str, str, int], Awaitable[socket]]
"""`await open_host("tcp" or "udp", address, port)`: a bound (and listening) socket of the host; OSError if taken."""


class HostPorts:
    """`start` it, and the host's ports follow the Services until `close`. `on_error(service, message)` tells people."""

    def __init__(
        self,
        services: Informer[core.Service],
        node_address: str,
        open_host: OpenHost,
        clock: Clock,
        on_error: Callable[[core.Service, str], None],
    ) -> None:
        self._services, self._node_address, self._open_host = services, node_address, open_host
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
        for port in node_ports(old) - node_ports(new):
            owner = self._wanted.get(port)
            # A Service made anew may have taken the port over before the old one is seen to go.
            if owner is not None and old is not None and owner.metadata.uid == old.metadata.uid:
                del self._wanted[port]
        for port in node_ports(new):
            if new is not None and port[0] in ("TCP", "UDP"):
                self._wanted[port] = new
                self._refused.discard(port)
        self._changed.set()

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
        protocol, number = port
        try:
            sock = await self._open_host(protocol.lower(), ADDRESS, number)
        except OSError as error:
            self._refused.add(port)
            service = self._wanted.get(port)
            if service is not None:
                reason = error.strerror or str(error)
                self._on_error(service, f"node port {number}/{protocol} cannot be opened on {ADDRESS}: {reason}")
            return
        if port not in self._wanted:  # the Service has gone meanwhile
            sock.close()
            return
        guide = Straight(Backend(self._node_address, number))
        relay = TcpRelay(sock, guide) if protocol == "TCP" else UdpRelay(sock, guide, self._clock)
        self._relays[port] = relay
        relay.start()
