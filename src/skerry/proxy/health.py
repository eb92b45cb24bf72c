"""The proxy's HTTP: its health (P35), its metrics (P36), and the health check node ports of Services (P34).

Called by the node's process, in the node's network namespace. What is answered is decided by plain functions; the
server below them reads one request and answers it, which is all that probes and scrapers need.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from skerry.clock import Clock, rfc3339
from skerry.metrics import CONTENT_TYPE
from skerry.proxy.server import Proxy

log = logging.getLogger(__name__)

HEALTH_PORT, METRICS_PORT = 10256, 10249
_PATIENCE = 10.0
_JSON = "application/json"


class Answer(NamedTuple):
    status: int
    body: str
    kind: str = _JSON
    headers: tuple[tuple[str, str], ...] = ()


Place = tuple[str, int]
"""An address and a port to listen on."""

Answers = Callable[[str], Answer | Awaitable[Answer]]
"""What a path is answered with."""


def health_of(proxy: Proxy, clock: Clock, path: str) -> Answer:
    """/healthz and /livez: 503 if the proxy is long behind. For /healthz also if the node is about to go."""
    if path not in ("/healthz", "/livez"):
        return Answer(404, "not found\n", "text/plain")
    healthy = proxy.healthy()
    updated, now = rfc3339(proxy.updated_at()), rfc3339(clock.now())
    found: dict[str, object] = {"lastUpdated": updated, "currentTime": now, "healthy": healthy}
    if path == "/healthz":
        counter, fine = proxy.metrics.healthz, healthy and proxy.eligible
        found["nodeEligible"] = proxy.eligible
    else:
        counter, fine = proxy.metrics.livez, healthy
    found["status"] = {one: {"lastUpdated": updated, "healthy": healthy} for one in proxy.brain.node.families}
    status = 200 if fine else 503
    counter.add(1, str(status))
    return Answer(status, json.dumps(found))


def numbers(proxy: Proxy, path: str) -> Answer:
    """/metrics, /proxyMode and a /healthz that says that somebody is there."""
    if path == "/metrics":
        return Answer(200, proxy.scrape(), CONTENT_TYPE)
    known = {"/proxyMode": proxy.mode, "/healthz": "ok"}
    return Answer(200, known[path], "text/plain") if path in known else Answer(404, "not found\n", "text/plain")


def local_endpoints(proxy: Proxy, service: str) -> Answer:
    """Has this node ready endpoints of a Service (namespace/name)? A balancer sends it traffic only then."""
    namespace, _, name = service.partition("/")
    count, healthy = proxy.brain.local_ready(service), proxy.healthy()
    found = {
        "service": {"namespace": namespace, "name": name},
        "localEndpoints": count,
        "serviceProxyHealthy": healthy,
    }
    weight = ("X-Load-Balancing-Endpoint-Weight", str(count))
    return Answer(
        200 if count and healthy else 503, json.dumps(found), headers=(("X-Content-Type-Options", "nosniff"), weight)
    )


def listen(place: Place) -> socket.socket:
    """A listening socket there; on `::` for both families. OSError."""
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    return socket.create_server(place, family=family, dualstack_ipv6=place[0] == "::")


async def serve(sockets: Iterable[socket.socket], answers: Answers) -> contextlib.AsyncExitStack:
    """Answers on these listening sockets until the stack is closed."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
                said = answers(target.partition("?")[0])
                found = said if isinstance(said, Answer) else await said
                if method not in ("GET", "HEAD"):
                    found = Answer(405, "only GET\n", "text/plain")
                writer.write(_bytes(found, with_body=method != "HEAD"))
                await writer.drain()
        writer.close()

    stack = contextlib.AsyncExitStack()
    for each in sockets:
        server = await asyncio.start_server(one, sock=each, limit=1 << 14)
        stack.callback(server.close)
    return stack


def _bytes(answer: Answer, *, with_body: bool) -> bytes:
    body = answer.body.encode()
    reason = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}[answer.status]
    head = [f"HTTP/1.1 {answer.status} {reason}", f"Content-Type: {answer.kind}", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in answer.headers]
    return "\r\n".join([*head, "Connection: close", "", ""]).encode() + (body if with_body else b"")


class HealthServers:
    """The servers of a proxy; those of health check node ports follow its Services."""

    def __init__(
        self,
        proxy: Proxy,
        clock: Clock,
        on_error: Callable[[str, str], None] | None = None,
        *,
        health: Place | None = ("0.0.0.0", HEALTH_PORT),
        metrics: Place | None = ("127.0.0.1", METRICS_PORT),
    ) -> None:
        """`health`, `metrics`: where to listen, None for nowhere."""
        self._proxy, self._clock, self._on_error = proxy, clock, on_error
        self._own = {
            health: lambda path: health_of(self._proxy, self._clock, path),
            metrics: lambda path: numbers(self._proxy, path),
        }
        self._ports: dict[int, tuple[str, contextlib.AsyncExitStack]] = {}
        self._addresses: tuple[str, ...] = ()
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Listens on the two ports of its own. A pod in the node's network may have one: the proxy goes on without."""
        for place, answers in self._own.items():
            if place is None:
                continue
            try:
                made = listen(place)
            except OSError as error:
                log.warning("cannot listen on the proxy's port %s:%d: %s", *place, error)
                continue
            self._stack.push_async_exit(await serve([made], answers))

    async def follow(self) -> None:
        """Runs until cancelled: health check node ports come and go with their Services."""
        while True:
            self._proxy.ports_changed.clear()
            if self._addresses != self._proxy.brain.node.addresses:
                await self._renew({})
                self._addresses = self._proxy.brain.node.addresses
            await self._renew(self._proxy.brain.health_check_ports())
            await self._proxy.ports_changed.wait()

    async def _renew(self, wanted: dict[int, str]) -> None:
        for port in [one for one, (service, _) in self._ports.items() if wanted.get(one) != service]:
            await self._ports.pop(port)[1].aclose()
        for port, service in wanted.items():
            if port in self._ports:
                continue
            try:
                made = [listen((address, port)) for address in self._addresses]
            except OSError as error:
                log.warning("cannot serve the health check of %s on port %d: %s", service, port, error)
                if self._on_error is not None:
                    self._on_error(service, f"node port {port} cannot be listened on: {error}")
                continue
            self._ports[port] = (service, await serve(made, self._answers(service)))

    def _answers(self, service: str) -> Answers:
        return lambda _: local_endpoints(self._proxy, service)

    async def close(self) -> None:
        """Ends all of them."""
        await self._renew({})
        await self._stack.aclose()
