"""Carries connections and datagrams from one network namespace into another, in user space.

Called by hostports.py (later by the userspace back end): what arrives at a socket of the host goes on to an address of
the namespace that this process lives in.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable
from typing import Any

from skerry.clock import Clock, Timer

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
"""How long a connection onwards may take before the client is reset."""

UDP_IDLE_SECONDS = 60.0
"""How long a client of a datagram relay is remembered after its last datagram in either direction."""

UDP_CLIENTS_MAX = 1024
"""Clients that a datagram relay remembers; the one idle longest makes room."""

_HIGH_WATER = 256 * 1024
_RESET = struct.pack("ii", 1, 0)


class _End(asyncio.Protocol):
    """One of the two ends of a spliced connection: what it reads the other writes."""

    def __init__(self, other: _End | None = None) -> None:
        self.other = other
        self.transport: asyncio.Transport | None = None
        self.read_all = False
        self.lost = False
        self._early: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self._early.append(data)
        elif not self.other.transport.is_closing():
            self.other.transport.write(data)

    def link(self, other: _End) -> None:
        """There is another end now, connected; it gets what came before."""
        self.other = other
        if other.transport is None:
            return
        for data in self._early:
            other.transport.write(data)
        self._early.clear()
        if self.read_all:
            other.transport.write_eof()

    def eof_received(self) -> bool:
        """Half-close: the other direction goes on until it ends as well."""
        self.read_all = True
        other = self.other
        if other is None or other.transport is None:
            return True
        if other.transport.is_closing():
            return False
        if other.read_all:
            other.transport.close()
            return False
        other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.lost:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.lost:
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if self.other is None or self.other.lost:
            return
        if error is not None:
            self.other.reset()
        elif self.other.transport is not None:
            self.other.transport.close()

    def reset(self) -> None:
        """Ends the connection so that its peer notices at once."""
        if self.transport is None:
            return
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()


class TcpRelay:
    """Accepts on a listening socket and splices every connection to `address`:`port`."""

    def __init__(self, listener: socket.socket, address: str, port: int) -> None:
        self._listener, self._address, self._port = listener, address, port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients: set[_Client] = set()

    @property
    def connections(self) -> int:
        """Clients there are now."""
        return len(self._clients)

    async def start(self) -> None:
        """Begins to accept."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Client(self), sock=self._listener)

    def stop_listening(self) -> None:
        """New connections are refused from now on; those that are there go on."""
        if self._server is not None:
            self._server.close()
        else:
            self._listener.close()

    def close(self) -> None:
        """Stops listening and resets what is there."""
        self.stop_listening()
        for task in self._tasks:
            task.cancel()
        for client in list(self._clients):
            client.reset()

    def accepted(self, client: _Client) -> None:
        self._clients.add(client)
        task = asyncio.get_running_loop().create_task(self._connect(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def gone(self, client: _Client) -> None:
        self._clients.discard(client)

    async def _connect(self, client: _Client) -> None:
        loop = asyncio.get_running_loop()
        server = _End(client)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.create_connection(lambda: server, self._address, self._port)
        except (OSError, TimeoutError):
            client.reset()
            return
        if client.lost or client.transport is None:
            server.reset()
            return
        client.link(server)
        client.transport.resume_reading()


class _Client(_End):
    """The end that the listener accepted; it reads (almost) nothing before there is another end."""

    def __init__(self, relay: TcpRelay) -> None:
        super().__init__()
        self._relay = relay

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # Only after this call: some Pythons (3.11.2) begin to read then, paused or not.
        asyncio.get_running_loop().call_soon(self._pause)
        self._relay.accepted(self)

    def _pause(self) -> None:
        if self.other is None and self.transport is not None and not self.lost:
            self.transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._relay.gone(self)


class UdpRelay(asyncio.DatagramProtocol):
    """Passes datagrams on to `address`:`port`, each client through a socket of its own, and the answers back."""

    def __init__(self, sock: socket.socket, address: str, port: int, clock: Clock) -> None:
        self._sock, self._onward, self._clock = sock, (address, port), clock
        self._transport: asyncio.DatagramTransport | None = None
        self._flows: dict[Any, _Flow] = {}
        self._timer: Timer | None = None

    @property
    def connections(self) -> int:
        """Clients that are remembered."""
        return len(self._flows)

    async def start(self) -> None:
        """Begins to pass on."""
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=self._sock)

    def datagram_received(self, data: bytes, client: Any) -> None:
        flow = self._flows.pop(client, None)
        if flow is None:
            if len(self._flows) >= UDP_CLIENTS_MAX:
                self._flows.pop(next(iter(self._flows))).close()
            try:
                flow = _Flow(self._onward, lambda answer: self._answer(client, answer), lambda: self._forget(client))
            except OSError as error:
                log.warning("cannot relay datagrams to %s:%d: %s", *self._onward, error)
                return
        self._flows[client] = flow  # the end of the dict is who was active last
        flow.used = self._clock.monotonic()
        flow.send(data)
        if self._timer is None:
            self._timer = self._clock.call_later(UDP_IDLE_SECONDS, self._expire)

    def _answer(self, client: Any, data: bytes) -> None:
        flow = self._flows.pop(client, None)
        if flow is not None and self._transport is not None:
            self._flows[client] = flow
            flow.used = self._clock.monotonic()
            self._transport.sendto(data, client)

    def _forget(self, client: Any) -> None:
        flow = self._flows.pop(client, None)
        if flow is not None:
            flow.close()

    def _expire(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        while self._flows:
            client, flow = next(iter(self._flows.items()))
            left = flow.used + UDP_IDLE_SECONDS - now
            if left > 0:
                self._timer = self._clock.call_later(left, self._expire)
                return
            self._forget(client)

    def stop_listening(self) -> None:
        """Ends it: datagrams have no connections that could go on."""
        self.close()

    def close(self) -> None:
        """Closes all sockets."""
        if self._timer is not None:
            self._timer.cancel()
        for client in list(self._flows):
            self._forget(client)
        if self._transport is not None:
            self._transport.close()
        else:
            self._sock.close()


class _Flow:
    """The socket through which one client's datagrams go on. `lost` is called when nobody is there to take them."""

    def __init__(self, address: tuple[str, int], answer: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self.used = 0.0
        self._answer, self._lost = answer, lost
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._sock.connect(address)
        except OSError:
            self._sock.close()
            raise
        asyncio.get_running_loop().add_reader(self._sock, self._readable)

    def send(self, data: bytes) -> None:
        """Sends on, or loses it, as UDP does."""
        with contextlib.suppress(OSError):
            self._sock.send(data)

    def _readable(self) -> None:
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            self._lost()
            return
        self._answer(data)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()
