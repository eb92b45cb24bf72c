"""The cluster's DNS server: UDP and TCP on sockets that it is given; `names` knows the answers, `resolver` asks others.

One a node, started by the node's process; the sockets are already bound (pods reach it without NAT). What can be
answered without waiting is: from kept packets where the same was asked before, else made and kept. A question that
needs an upstream server becomes a task, which starts the decision again with what it has heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from skerry.dns import wire
from skerry.dns.answer import Answer
from skerry.dns.clients import STRANGER, Clients
from skerry.dns.metrics import About, DnsMetrics
from skerry.dns.names import Names, walked
from skerry.dns.packed import Answers, Packed

if TYPE_CHECKING:
    from skerry.dns.resolver import Resolver

log = logging.getLogger(__name__)

TCP_IDLE = 10.0  # seconds a connection may stay silent
TCP_CONNECTIONS, TCP_OF_ONE = 256, 32
BURST = 64
"""Packets read at one wake-up, so that others get their turn."""
WAITING = 2048
"""Questions that wait for upstream servers; further ones are dropped, and their askers ask again."""
_LARGEST = 4097  # one byte more than an honest question may have


class _Ask(Exception):
    def __init__(self, packet: bytes, name: str, forwarded: bool) -> None:
        self.packet, self.name, self.forwarded = packet, name, forwarded


class DnsServer:
    """Serves until `close`. `resolver` None: names outside of the cluster are SERVFAIL. `clients` None: all may ask."""

    def __init__(
        self,
        names: Names,
        resolver: Resolver | None = None,
        *,
        clients: Clients | None = None,
        metrics: DnsMetrics | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.names, self.records = names, names.records
        self.clients = clients or Clients()
        self.metrics = metrics or DnsMetrics()
        self.answers = Answers(self.metrics.fold)
        self.records.on_change = self.answers.changed
        self.replies: Counter[str] = Counter()
        """Reply codes (or "dropped") of what was not answered from kept packets -> how many."""
        self._resolver = resolver
        self._rng = rng or random.Random()
        self._udp: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: Counter[str] = Counter()

    async def serve(self, udp: socket.socket | None, tcp: socket.socket | None) -> None:
        """Starts answering on a bound UDP and a bound TCP socket (listening or not); returns at once. Owns them now."""
        if udp is not None:
            udp.setblocking(False)
            with contextlib.suppress(OSError):
                udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            asyncio.get_running_loop().add_reader(udp, self._readable, udp)
            self._udp.append(udp)
        if tcp is not None:
            self._servers.append(await asyncio.start_server(self._tcp, sock=tcp, backlog=128))

    async def close(self) -> None:
        """Stops listening and drops what is still being asked upstream."""
        for sock in self._udp:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        self._udp.clear()
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._resolver is not None:
            await self._resolver.close()

    def statistics(self) -> dict[str, Any]:
        """Replies by code, kept answers, and what the index holds."""
        return {"replies": dict(self.replies), "kept": len(self.answers.kept), "records": self.records.statistics()}

    def scrape(self) -> str:
        """All metrics, as a scraper reads them."""
        return self.metrics.scrape(self.answers, self._resolver.cache if self._resolver is not None else None)

    # UDP

    def _readable(self, sock: socket.socket) -> None:
        """Reads what has come and answers what can be answered at once."""
        receive, send, clock = sock.recvfrom, sock.sendto, time.perf_counter
        known, kept, took = self.clients.known, self.answers.kept, self.metrics.took
        begun = clock()
        for _ in range(BURST):
            try:
                packet, sender = receive(_LARGEST)
            except BlockingIOError:
                return
            except OSError:  # an answer of ours found nobody
                continue
            number = known.get(sender[0])
            if number is None:
                number = self.clients.number(sender[0])
            one = kept.get((number, packet[2:]))
            if one is not None:
                reply: bytes | None = one.reply(packet[:2])
                zone = one.about.zone  # type: ignore[attr-defined]
            else:
                reply, zone = self._fresh(sock, packet, sender, number)
            if reply is None:
                continue
            try:
                send(reply, sender)
            except OSError:
                self.metrics.dropped.add(1, "not sent")
            ended = clock()
            took(ended - begun, zone)
            begun = ended

    def _fresh(self, sock: socket.socket, packet: bytes, sender: Any, number: int) -> tuple[bytes | None, str]:
        """The reply to what is not kept, and its zone; None if none is due, or later."""
        if number == STRANGER:
            self.metrics.dropped.add(1, "stranger")
            return None, ""
        begun = time.perf_counter()
        query = wire.read(packet)
        if not isinstance(query, wire.Query):
            return self._refused(query), "."
        try:
            return self._answered(query, number, True, {})
        except _Ask as ask:
            if len(self._tasks) < WAITING:
                self._later(sock, query, sender, number, ask, begun)
            else:
                self.metrics.dropped.add(1, "too many")
        except Exception:  # a bug in one answer must not end the service for all; the log tells
            log.exception("dns: no answer to a packet of %d bytes", len(packet))
            self.metrics.panics.add(1)
            return wire.error(packet, wire.SERVFAIL), "."
        return None, ""

    def _later(self, sock: socket.socket, query: wire.Query, sender: Any, number: int, ask: _Ask, begun: float) -> None:
        """Answers by UDP as soon as upstream has."""

        async def run() -> None:
            reply, zone = await self._patiently(query, number, True, ask)
            if sock.fileno() >= 0:
                with contextlib.suppress(OSError):
                    sock.sendto(reply, sender)
            self.metrics.took(time.perf_counter() - begun, zone)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.metrics.panics.add(1)
            log.error("dns: a forwarded question failed", exc_info=task.exception())

    # Decisions

    async def _patiently(self, query: wire.Query, number: int, udp: bool, ask: _Ask | None = None) -> tuple[bytes, str]:
        """The reply, and its zone, however long upstream takes."""
        heard: dict[str, bytes | None] = {}
        while True:
            if ask is not None:
                heard[ask.name] = await self._heard(ask, tcp=ask.forwarded and not udp)
            try:
                return self._answered(query, number, udp, heard)
            except _Ask as found:
                ask = found

    async def _heard(self, ask: _Ask, *, tcp: bool) -> bytes | None:
        assert self._resolver is not None
        found = await self._resolver.ask(ask.packet, ask.name, tcp=tcp)
        if found is not None and not ask.forwarded and found[2] & 0x02:  # it becomes a part of our own reply
            found = await self._resolver.ask(ask.packet, ask.name, tcp=True) or found
        return found

    def _answered(self, query: wire.Query, number: int, udp: bool, heard: dict[str, bytes | None]) -> tuple[bytes, str]:
        """The reply, and its zone; raises `_Ask` when somebody else must be asked first."""
        limit = query.limit if udp else None
        path = self.clients.path(number)
        steps = self.names.steps(query.name, query.type, path) if path else [query.name]
        depends: frozenset[Any] | None = frozenset()
        first: Answer | None = None
        for name in steps:
            found = self.names.answer(name, query.type)
            extra: list[Any] = []
            if found is None:
                said = self._said(query, name, heard)
                if len(steps) == 1:
                    return self._passed_on(query, said, limit, udp), "."
                if said is None or said[3] & 15 not in (0, 3):
                    depends = None
                    break  # whoever asks may have more luck with the rest of the path
                found, extra = Answer("NXDOMAIN" if said[3] & 15 else "NOERROR"), wire.answers_of(said)
            elif found.chase is not None:
                said = self._said(query, found.chase, heard)
                extra = wire.answers_of(said) if said is not None else []
            if found.rcode == "SERVFAIL" and first is not None:
                break
            depends = depends | found.depends if depends is not None and found.depends is not None else None
            first = first or found
            if found.rcode != "NXDOMAIN":
                if name is not steps[0]:
                    self.metrics.walked()
                return self._written(
                    query, walked(query.name, found, name, self.records.ttl), extra, depends, number, udp
                )
        assert first is not None
        return self._written(query, first, [], depends, number, udp)

    def _said(self, query: wire.Query, name: str, heard: dict[str, bytes | None]) -> bytes | None:
        """What upstream says of a name, from what was heard or is kept."""
        if name in heard:
            return heard[name]
        if self._resolver is None:
            return None
        forwarded = name == query.name
        packet = query.packet if forwarded else wire.question(name, query.type, self._rng.randrange(0x10000))
        found = self._resolver.known(packet)
        if found is None:
            raise _Ask(packet, name, forwarded)
        return found

    def _written(
        self,
        query: wire.Query,
        answer: Answer,
        extra: list[Any],
        depends: frozenset[Any] | None,
        number: int,
        udp: bool,
    ) -> tuple[bytes, str]:
        limit = query.limit if udp else None
        zone = self.records.zone
        reply = wire.write(query, answer, extra=extra, shuffle=self._rng, limit=limit)
        about = self._about(query, reply, zone, udp)
        self.replies[str(reply[3] & 15)] += 1
        if udp and depends is not None and answer.chase is None and not extra and not reply[2] & 0x02:
            one = Packed(reply, depends, about)
            one.hits = 1
            self.answers.put((number, query.packet[2:]), one)
        else:
            self.metrics.exchanged(about, len(reply))
        return reply, zone

    def _passed_on(self, query: wire.Query, said: bytes | None, limit: int | None, udp: bool) -> bytes:
        if said is None:
            reply = wire.write(query, Answer("SERVFAIL"), authoritative=False, limit=limit)
        else:
            reply = wire.renumber(said, int.from_bytes(query.packet[:2], "big"))
            reply = wire.cut(reply, limit) if limit is not None else reply
        self.replies[str(reply[3] & 15)] += 1
        self.metrics.exchanged(self._about(query, reply, ".", udp), len(reply))
        return reply

    def _refused(self, reply: bytes | None) -> bytes | None:
        """What was no question got this error, or nothing."""
        self.replies["dropped" if reply is None else str(reply[3] & 15)] += 1
        if reply is None:
            self.metrics.dropped.add(1, "no question")
        else:
            self.metrics.exchanged(About(".", "udp", "other", wire.rcode_name(reply[3] & 15), 0), len(reply))
        return reply

    @staticmethod
    def _about(query: wire.Query, reply: bytes, zone: str, udp: bool) -> About:
        proto = "udp" if udp else "tcp"
        return About(zone, proto, query.type, wire.rcode_name(reply[3] & 15), len(query.packet))

    # TCP

    async def _tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        sender = writer.get_extra_info("peername")[0]
        number = self.clients.number(sender)
        many = self._connections.total() >= TCP_CONNECTIONS or self._connections[sender] >= TCP_OF_ONE
        if many or number == STRANGER:
            self.metrics.dropped.add(1, "stranger" if number == STRANGER else "too many")
            writer.close()
            return
        self._tasks.add(task)
        self._connections[sender] += 1
        try:
            while True:
                async with asyncio.timeout(TCP_IDLE):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    packet = await reader.readexactly(size)
                begun = time.perf_counter()
                query = wire.read(packet)
                if isinstance(query, wire.Query):
                    found, zone = await self._patiently(query, number, False)
                    self.metrics.took(time.perf_counter() - begun, zone)
                else:
                    refused = self._refused(query)
                    if refused is None:
                        return
                    found = refused
                async with asyncio.timeout(TCP_IDLE):
                    writer.write(len(found).to_bytes(2, "big") + found)
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client's own affair, or the end
        finally:
            self._tasks.discard(task)
            self._connections[sender] -= 1
            if not self._connections[sender]:
                del self._connections[sender]
            writer.close()
