"""Finds what a proxy's client names: in the cluster by its DNS and from inside its network, else from the machine.

Called by main.py. Names are those that a pod of one namespace could use: `web`, `web.other`, `web.other.svc`, the full
ones, and whatever the cluster's DNS has from elsewhere.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import random
import socket
from collections.abc import Sequence

from skerry.cluster.connect.dialogue import DialError, Why, is_address
from skerry.cluster.sockets import Broker
from skerry.dns import wire

HOST_NAME = "host.skerry.internal"
_LOOPBACK = "127.0.0.1"
_DNS_SECONDS, _DNS_TRIES = 3.0, 2
_CONNECT_SECONDS = 12.0
_REASONS = {
    errno.ECONNREFUSED: Why.REFUSED,
    errno.ECONNRESET: Why.REFUSED,
    errno.ETIMEDOUT: Why.TIMEOUT,
    errno.ENETUNREACH: Why.UNREACHABLE,
    errno.EHOSTUNREACH: Why.UNREACHABLE,
}


class Dialer:
    """`door` gives sockets of a node, `networks` (CIDRs) are behind it, `dns` is the cluster's name server."""

    def __init__(self, door: Broker, networks: Sequence[str], dns: str, domain: str, namespace: str) -> None:
        self._door, self._dns, self._domain, self._namespace = door, dns, domain, namespace
        self._networks = [ipaddress.ip_network(one) for one in networks]

    async def __call__(self, host: str, port: int) -> socket.socket:
        """A connection. DialError if there is none to be had."""
        name = host.rstrip(".").lower()
        if name in ("localhost", HOST_NAME):
            return await self._from_here(_LOOPBACK, port, name)
        addresses = [name] if is_address(name) else await self._look_up(name)
        if addresses is None:
            return await self._from_here(host, port, host)
        failure = DialError(Why.NO_NAME, f"{host} has no address")
        for one in addresses:
            try:
                way = self._from_inside if self._inside(one) else self._from_here
                return await way(one, port, host)
            except DialError as error:
                failure = error
        raise failure

    def _inside(self, address: str) -> bool:
        ip = ipaddress.ip_address(address)
        return any(ip in one for one in self._networks)

    async def _from_inside(self, address: str, port: int, asked: str) -> socket.socket:
        what = _told(asked, address, port)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                return await self._door.connect("node", address, port)
        except TimeoutError:
            raise DialError(Why.TIMEOUT, f"{what} does not answer") from None
        except OSError as error:
            raise _failed(what, error) from error

    async def _from_here(self, host: str, port: int, asked: str) -> socket.socket:
        what = _told(asked, host, port)
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError):
            raise DialError(Why.NO_NAME, f"{host} is no name of the cluster, nor of the machine") from None
        failure: DialError | None = None
        for family, kind, protocol, _, address in found:
            made = socket.socket(family, kind, protocol)
            made.setblocking(False)
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await loop.sock_connect(made, address)
            except TimeoutError:
                failure = DialError(Why.TIMEOUT, f"{what} does not answer")
            except OSError as error:
                failure = _failed(what, error)
            else:
                return made
            made.close()
        raise failure or DialError(Why.NO_NAME, f"{host} has no address")

    async def _look_up(self, name: str) -> list[str] | None:
        """The addresses that the cluster's DNS has for a name; None: it is for the machine to find."""
        zone = f".{self._domain}"
        if f".{name}".endswith(zone):
            steps = [name]
        else:
            steps = [f"{name}.{self._namespace}.svc{zone}", f"{name}.svc{zone}", f"{name}{zone}", name]
        for one in steps:
            if not _writable(one):
                continue  # with this end it is too long
            code, addresses = await self._ask(one)
            if addresses:
                return addresses
            if code == wire.SERVFAIL and one.endswith(zone):
                raise DialError(Why.FAILED, f"the cluster's DNS cannot say what {one} is")
        if not _writable(name):
            raise DialError(Why.NO_NAME, f"{name} is no name: a name has up to 253 bytes and up to 63 between two dots")
        if len(steps) == 1:
            raise DialError(Why.NO_NAME, f"{name} is no name of the cluster")
        return None

    async def _ask(self, name: str) -> tuple[int, list[str]]:
        """The reply's code, and the addresses; IPv4 first."""
        code, found = 0, []
        for kind, number in (("A", 1), ("AAAA", 28)):
            packet = wire.question(name + ".", kind, random.SystemRandom().randrange(0x10000))
            reply = await self._exchange(packet)
            code = reply[3] & 15
            found += [str(one.rdata) for one in wire.answers_of(reply) if one.rtype == number]
            if code or found:
                break
        return code, found

    async def _exchange(self, packet: bytes) -> bytes:
        family = socket.AF_INET6 if ":" in self._dns else socket.AF_INET
        loop = asyncio.get_running_loop()
        asked = wire.question_section(packet)
        for _ in range(_DNS_TRIES):
            try:
                async with asyncio.timeout(_DNS_SECONDS):
                    with await self._door.socket("node", family, socket.SOCK_DGRAM) as made:
                        await loop.sock_connect(made, (self._dns, 53))
                        await loop.sock_sendall(made, packet)
                        while True:
                            reply = await loop.sock_recv(made, 65535)
                            if wire.is_reply_to(reply, int.from_bytes(packet[:2], "big"), asked):
                                return reply
            except (TimeoutError, OSError):
                continue
        raise DialError(Why.FAILED, "the cluster's DNS does not answer")


def _writable(name: str) -> bool:
    """Can this be a name in a question?"""
    labels = name.split(".")
    return name.isascii() and len(name) <= 253 and all(0 < len(one) < 64 for one in labels)


def _told(asked: str, address: str, port: int) -> str:
    return f"{asked} port {port}" if asked == address else f"{asked} port {port} ({address})"


def _failed(what: str, error: OSError) -> DialError:
    number = error.errno or 0
    text = os.strerror(number) if number > 0 else str(error)  # asyncio's own words are for programmers
    return DialError(_REASONS.get(number, Why.FAILED), f"{what}: {text}")
