"""Names that are not the cluster's: which servers have them, what these said lately, and one question for all askers.

Called by the server. Stub domains have servers of their own; everything else goes to the machine's, or to those that
the ConfigMap names instead.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from skerry.dns import wire
from skerry.dns.cache import UpstreamCache
from skerry.dns.forward import TIMEOUT, Forwarder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from skerry.clock import Clock
    from skerry.dns.forward import Observe, OpenSocket


class Resolver:
    """`ask` gives a server's reply, a kept one, or None. `servers`: the machine's (addresses, perhaps with a port)."""

    def __init__(
        self,
        servers: Sequence[str],
        open_socket: OpenSocket,
        clock: Clock,
        *,
        timeout: float = TIMEOUT,
        observe: Observe | None = None,
    ) -> None:
        self.cache = UpstreamCache()
        self._timeout = timeout
        self._machine, self._open, self._clock, self._observe = list(servers), open_socket, clock, observe
        self._asked: dict[tuple[bytes, bool], asyncio.Task[bytes | None]] = {}
        self._default = self._forwarder(servers)
        self._stubs: dict[str, Forwarder] = {}

    def route(self, stubs: Mapping[str, Sequence[str]], servers: Sequence[str] = ()) -> None:
        """From now on these domains have these servers, and `servers` (if any) all other names."""
        self._default = self._forwarder(servers or self._machine)
        self._stubs = {f".{name.strip('.').lower()}.": self._forwarder(found) for name, found in stubs.items()}
        self.cache.clear()

    def routed(self, name: str) -> bool:
        """Is this name (with its last dot) in a stub domain?"""
        return self._of(name) is not self._default

    def known(self, packet: bytes) -> bytes | None:
        """What is kept in answer to a question."""
        return self.cache.get(packet, self._clock.monotonic())

    async def ask(self, packet: bytes, name: str, *, tcp: bool = False) -> bytes | None:
        """The reply to `packet`, which asks for `name`, with the packet's own id; None when there is none to be had.

        Nothing is asked twice at the same time.
        """
        key = self.cache.key(packet)
        if key is None:
            return await self._of(name).ask(packet, tcp=tcp)
        task = self._asked.get((key, tcp))
        if task is None:
            task = asyncio.get_running_loop().create_task(self._fetch(packet, name, tcp))
            self._asked[key, tcp] = task
            task.add_done_callback(lambda _: self._asked.pop((key, tcp), None))
        found = await asyncio.shield(task)
        if found is None:
            return None
        end = wire.section_end(packet)
        if wire.question_section(found) != wire.question_section(packet):
            return packet[:2] + found[2:]
        return packet[:2] + found[2 : wire.HEADER] + packet[wire.HEADER : end] + found[end:]

    async def _fetch(self, packet: bytes, name: str, tcp: bool) -> bytes | None:
        forwarder = self._of(name)
        found = await forwarder.ask(packet, tcp=tcp)
        if found is not None and forwarder is self._of(name):  # else others are to be asked by now
            self.cache.put(packet, found, self._clock.monotonic())
        return found

    async def close(self) -> None:
        """Gives up what is being asked."""
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forwarder(self, servers: Sequence[str]) -> Forwarder:
        return Forwarder(servers, self._open, self._clock, timeout=self._timeout, observe=self._observe)

    def _of(self, name: str) -> Forwarder:
        """The longest stub domain that the name is in has it."""
        rest = "." + name.lower()
        while rest and self._stubs:
            found = self._stubs.get(rest)
            if found is not None:
                return found
            rest = rest[rest.find(".", 1) :] if "." in rest[1:-1] else ""
        return self._default
