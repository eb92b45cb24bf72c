"""The cluster's DNS server: UDP and TCP on sockets that it is given, answers from `records`, the rest from upstream.

One a node, started by the node's process; the sockets are already bound (pods reach it without NAT). `follow` keeps the
records up to date from informers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

from skerry.dns import wire
from skerry.dns.records import Answer, Records

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.client.informer import Informers
    from skerry.dns.forward import Forwarder

log = logging.getLogger(__name__)

TCP_IDLE = 10.0  # seconds a connection may stay silent
TCP_CONNECTIONS = 256


class DnsServer:
    """Serves until `close`. `forwarder` None: names outside of the cluster are SERVFAIL."""

    def __init__(self, records: Records, forwarder: Forwarder | None = None, rng: random.Random | None = None) -> None:
        self.records = records
        self.replies: Counter[str] = Counter()  # rcode or "dropped" -> how many
        self._forwarder = forwarder
        self._rng = rng or random.Random()
        self._transports: list[asyncio.DatagramTransport] = []
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, udp: socket.socket | None, tcp: socket.socket | None) -> None:
        """Starts answering on a bound UDP and a bound TCP socket (listening or not); returns at once. Owns them now."""
        if udp is not None:
            udp.setblocking(False)
            with contextlib.suppress(OSError):
                udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Udp(self), sock=udp)
            self._transports.append(transport)
        if tcp is not None:
            self._servers.append(await asyncio.start_server(self._tcp, sock=tcp, backlog=128))

    async def close(self) -> None:
        """Stops listening and drops what is still being asked upstream."""
        for transport in self._transports:
            transport.close()
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def statistics(self) -> dict[str, Any]:
        """Replies by code, and what the index holds."""
        return {"replies": dict(self.replies), "records": self.records.statistics()}

    def reply_now(self, packet: bytes, limit: bool) -> bytes | wire.Query | None:
        """The reply if it needs no waiting, the query if it does, None if none is due. `limit`: it goes out by UDP."""
        query = wire.read(packet)
        if not isinstance(query, wire.Query):
            return self._counted(query)
        answer = self.records.answer(query.name, query.type)
        if answer is None or answer.chase is not None:
            return query
        return self._counted(wire.write(query, answer, shuffle=self._rng, limit=query.limit if limit else None))

    async def reply(self, query: wire.Query, udp: bool) -> bytes:
        """The reply to a question that needs an upstream server."""
        limit = query.limit if udp else None
        answer = self.records.answer(query.name, query.type)
        if answer is not None and answer.chase is not None:
            extra: list[Any] = []
            if self._forwarder is not None:
                ask = wire.question(answer.chase, query.type, self._rng.randrange(0x10000))
                found = await self._forwarder.ask(ask)
                extra = wire.answers_of(found) if found is not None else []
            return wire.write(query, answer, extra=extra, limit=limit)
        if answer is not None:
            return wire.write(query, answer, shuffle=self._rng, limit=limit)
        found = await self._forwarder.ask(query.packet, tcp=not udp) if self._forwarder is not None else None
        if found is None:
            return wire.write(query, Answer("SERVFAIL"), authoritative=False, limit=limit)
        return wire.cut(found, limit) if limit is not None else found

    def spawn(self, query: wire.Query, send: Any, address: Any) -> None:
        """Answers by UDP as soon as upstream has."""

        async def run() -> None:
            reply = self._counted(await self.reply(query, udp=True))
            if reply is not None:
                send(reply, address)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("dns: a forwarded question failed", exc_info=task.exception())

    def _counted(self, reply: bytes | None) -> bytes | None:
        self.replies["dropped" if reply is None else str(reply[3] & 15)] += 1
        return reply

    async def _tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= TCP_CONNECTIONS:
            writer.close()
            return
        self._tasks.add(task)
        try:
            while True:
                async with asyncio.timeout(TCP_IDLE):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    packet = await reader.readexactly(size)
                found = self.reply_now(packet, limit=False)
                if isinstance(found, wire.Query):
                    found = self._counted(await self.reply(found, udp=False))
                if found is None:
                    return
                async with asyncio.timeout(TCP_IDLE):
                    writer.write(len(found).to_bytes(2, "big") + found)
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client's own affair
        finally:
            self._tasks.discard(task)
            writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        try:
            found = self._server.reply_now(data, limit=True)
        except Exception:  # a bug in one answer must not end the service for all; the log tells
            log.exception("dns: no answer to a packet of %d bytes", len(data))
            found = wire.error(data, wire.SERVFAIL) if len(data) >= wire.HEADER else None
        if isinstance(found, wire.Query):
            self._server.spawn(found, self._transport.sendto, addr)
        elif found is not None:
            self._transport.sendto(found, addr)


async def follow(informers: Informers, records: Records, on_applied: Callable[[int, int], None] | None = None) -> None:
    """Keeps `records` up to date; returns once it has seen everything there is (answers are SERVFAIL before).

    `on_applied(slices, services)` is called with the newest revisions that answers show, whenever one has grown.
    """
    from skerry.api.types import core, discovery

    services, slices = informers.of(core.Service), informers.of(discovery.EndpointSlice)
    namespaces = informers.of(core.Namespace)

    def key(thing: Any) -> str:
        return f"{thing.metadata.namespace}/{thing.metadata.name}"

    def on_namespace(old: Any, new: Any) -> None:
        records.apply_namespace((new or old).metadata.name, new is not None)

    applied = [0, 0]

    def done(which: int, revision: str) -> None:
        if revision.isdigit():
            applied[which] = max(applied[which], int(revision))
        if records.synced and on_applied is not None:
            on_applied(applied[0], applied[1])

    def on_service(old: Any, new: Any) -> None:
        records.apply_service(key(new or old), new)
        done(1, (new or old).metadata.resource_version)

    def on_slice(old: Any, new: Any) -> None:
        records.apply_slice(key(new or old), new)
        done(0, (new or old).metadata.resource_version)

    namespaces.subscribe(on_namespace)
    services.subscribe(on_service)
    slices.subscribe(on_slice)
    await asyncio.gather(namespaces.synced(), services.synced(), slices.synced())
    records.synced = True
    done(0, slices.resource_version)
    done(1, services.resource_version)
    log.info("dns: synced, %s", records.statistics())
