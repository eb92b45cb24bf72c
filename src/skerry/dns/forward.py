"""Asks other servers for names that are not the cluster's: the machine's own, or those of a stub domain.

Used by the resolver. The sockets come from a function, since the node has no way out of its own: those for the world
are born in the host's network namespace. A server that does not answer is left alone for a while, so that a machine
without internet gets its SERVFAIL at once instead of after a time-out each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from skerry.dns import wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from skerry.clock import Clock

OpenSocket = Callable[[str, int, int], Awaitable[socket.socket]]
"""`await open_socket(server, family, type)`: an unconnected socket from which this server can be reached."""

Observe = Callable[[str, str, float], None]
"""`observe(server, rcode, seconds)`: a server answered, or failed to (rcode "")."""

TIMEOUT = 2.0  # seconds for one server; a stub resolver asks again after 5
PENALTY = 5.0  # seconds for which a silent server is not asked while it is known to be silent
IN_FLIGHT = 512  # questions at a time


class Forwarder:
    """`ask` gives an upstream server's reply or None when there is none to be had."""

    def __init__(
        self,
        servers: Iterable[str],
        open_socket: OpenSocket,
        clock: Clock,
        *,
        timeout: float = TIMEOUT,
        rng: random.Random | None = None,
        observe: Observe | None = None,
    ) -> None:
        """`servers`: addresses, with a port where it is not 53 (192.0.2.1:5353), asked in this order."""
        self._servers = {one: address_of(one) for one in servers}
        self._open, self._clock, self._timeout = open_socket, clock, timeout
        self._observe = observe or (lambda *_: None)
        self._rng = rng or random.SystemRandom()
        self._silent_until: dict[str, float] = {}
        self._in_flight = 0

    async def ask(self, packet: bytes, *, tcp: bool = False) -> bytes | None:
        """The reply to `packet`, with the packet's own id. None: no server is configured, reachable or willing."""
        if not self._servers or self._in_flight >= IN_FLIGHT:
            return None
        self._in_flight += 1
        try:
            return await self._ask(packet, tcp)
        finally:
            self._in_flight -= 1

    async def _ask(self, packet: bytes, tcp: bool) -> bytes | None:
        ident = int.from_bytes(packet[:2], "big")
        refusal: bytes | None = None
        for server in self._servers:
            now = self._clock.monotonic()
            if self._silent_until.get(server, 0.0) > now:
                continue
            if server in self._silent_until:  # its time is up: this one question tries it, others still pass it by
                self._silent_until[server] = now + PENALTY
            ours = self._rng.randrange(0x10000)
            try:
                async with asyncio.timeout(self._timeout):
                    reply = await self._exchange(self._servers[server], wire.renumber(packet, ours), ours, tcp)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                self._silent_until[server] = self._clock.monotonic() + PENALTY
                self._observe(server, "", self._clock.monotonic() - now)
                continue
            self._observe(server, wire.rcode_name(reply[3] & 15), self._clock.monotonic() - now)
            self._silent_until.pop(server, None)
            reply = wire.renumber(reply, ident)
            if reply[3] & 15 in (wire.SERVFAIL, wire.REFUSED):
                refusal = refusal or reply
                continue
            return reply
        return refusal

    async def _exchange(self, server: tuple[str, int], packet: bytes, ident: int, tcp: bool) -> bytes:
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        loop = asyncio.get_running_loop()
        sock = await self._open(server[0], family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        with contextlib.closing(sock):
            sock.setblocking(False)
            await loop.sock_connect(sock, server)
            asked = wire.question_section(packet)
            if tcp:
                await loop.sock_sendall(sock, len(packet).to_bytes(2, "big") + packet)
                size = int.from_bytes(await _exactly(sock, 2), "big")
                reply = await _exactly(sock, size)
                if not wire.is_reply_to(reply, ident, asked):
                    raise ConnectionError("not an answer to what was asked")
                return reply
            await loop.sock_sendall(sock, packet)
            while True:
                reply = await loop.sock_recv(sock, 65535)
                if wire.is_reply_to(reply, ident, asked):
                    return reply


async def _exactly(sock: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    parts = bytearray()
    while len(parts) < size:
        piece = await loop.sock_recv(sock, size - len(parts))
        if not piece:
            raise ConnectionError("the server closed the connection")
        parts += piece
    return bytes(parts)


def address_of(text: str) -> tuple[str, int]:
    """`192.0.2.1`, `192.0.2.1:5353`, `fe80::1%eth0`, `[2001:db8::1]:53` as address and port. ValueError for others."""
    host, port = text, "53"
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if rest else port
    elif text.count(":") == 1:
        host, port = text.split(":")
    ipaddress.ip_address(host.partition("%")[0])
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{port!r} is no port")
    return host, int(port)


def upstreams(resolv_conf: str) -> list[str]:
    """The name servers of a resolv.conf text, each once."""
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            with contextlib.suppress(ValueError):
                ipaddress.ip_address(words[1].partition("%")[0])
                found.append(words[1])
    return list(dict.fromkeys(found))
