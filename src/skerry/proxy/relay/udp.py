"""Carries datagrams on, each client's through a socket of its own, and the answers back.

Called by hostports.py and the userspace back end. UDP has no end: a client is forgotten when neither side has said
anything for a while, when its backend is no more, or when too many others came after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Collection
from typing import Any

from skerry.clock import Clock, Timer
from skerry.proxy.relay.guide import Guide
from skerry.proxy.table import Backend

log = logging.getLogger(__name__)

UDP_IDLE_SECONDS = 60.0
"""How long a client is remembered after its last datagram in either direction."""

UDP_CLIENTS_MAX = 1024
"""Clients that a relay remembers; the one idle longest makes room."""

_AT_ONCE = 64
"""Datagrams that one socket may pass on before the others have their turn."""
_MOST = 65536


class UdpRelay:
    """Passes on what arrives at a bound socket to where `guide` sends each client."""

    def __init__(self, sock: socket.socket, guide: Guide, clock: Clock) -> None:
        self._sock, self._guide, self._clock = sock, guide, clock
        self._loop = asyncio.get_running_loop()
        self._flows: dict[Any, _Flow] = {}
        self._timer: Timer | None = None
        sock.setblocking(False)

    @property
    def connections(self) -> int:
        """Clients that are remembered."""
        return len(self._flows)

    def start(self) -> None:
        """Begins to pass on."""
        self._loop.add_reader(self._sock.fileno(), self._readable)

    def keep(self, backends: Collection[Backend]) -> None:
        """Forgets the clients of all other backends: the next datagram of theirs chooses anew."""
        for client in [one for one, flow in self._flows.items() if flow.backend not in backends]:
            self._forget(client)

    def _readable(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, client = self._sock.recvfrom(_MOST)
            except OSError:  # there is nothing more, or an answer reached nobody
                return
            flow = self._flows.pop(client, None) or self._flow(client)
            if flow is None:
                continue
            self._flows[client] = flow  # the end of the dict is who was active last
            flow.used = self._clock.monotonic()
            flow.send(data)

    def _flow(self, client: Any) -> _Flow | None:
        backend = self._guide.choose(client[0], ())
        if backend is None:
            return None
        if len(self._flows) >= UDP_CLIENTS_MAX:
            self._forget(next(iter(self._flows)))
        try:
            made = _Flow(backend, lambda answer: self._answer(client, answer), lambda: self._forget(client))
        except OSError as error:
            log.warning("no datagram can be sent to %s:%d: %s", *backend, error)
            return None
        self._guide.opened(backend)
        if self._timer is None:
            self._timer = self._clock.call_later(UDP_IDLE_SECONDS, self._expire)
        return made

    def _answer(self, client: Any, data: bytes) -> None:
        flow = self._flows.pop(client, None)
        if flow is not None:
            self._flows[client] = flow
            flow.used = self._clock.monotonic()
            with contextlib.suppress(OSError):  # the client has gone, or takes nothing now: it is lost, as UDP is
                self._sock.sendto(data, client)

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
        if self._sock.fileno() < 0:
            return
        if self._timer is not None:
            self._timer.cancel()
        for client in list(self._flows):
            self._forget(client)
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()


class _Flow:
    """The socket through which one client's datagrams go on. `lost` is called when nobody is there to take them."""

    def __init__(self, backend: Backend, answer: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self.used = 0.0
        self.backend = backend
        self._answer, self._lost = answer, lost
        family = socket.AF_INET6 if ":" in backend.address else socket.AF_INET
        self._sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._sock.connect(backend)
        except OSError:
            self._sock.close()
            raise
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._readable)

    def send(self, data: bytes) -> None:
        """Sends on, or loses it, as UDP does."""
        with contextlib.suppress(OSError):
            self._sock.send(data)

    def _readable(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = self._sock.recv(_MOST)
            except BlockingIOError:
                return
            except OSError:
                self._lost()
                return
            self._answer(data)
            if self._sock.fileno() < 0:
                return

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sock.fileno())
        self._sock.close()
