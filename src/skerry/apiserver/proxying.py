"""The proxy subresource: requests that go on to a Service's ready pods, to a pod or to a node agent (S48).

`kubectl proxy` and the addresses of `kubectl cluster-info` use it. A pod is reached as by port-forward: through its
node, with the frames of api/frames.py, over which we speak HTTP/1.1. Called by app.py.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

import h11

from skerry.api import frames, resources, status
from skerry.api.numerals import whole
from skerry.api.types import core, discovery
from skerry.api.wire import Request, Response
from skerry.apiserver import reading, verbs
from skerry.apiserver.routes import Target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from skerry.api.wire import Duplex
    from skerry.apiserver.podparts import NodeStreams
    from skerry.apiserver.verbs import Server

_OURS = {"authorization", "connection", "content-length", "host", "keep-alive", "te", "transfer-encoding", "upgrade"}
"""Headers that are between two ends and not for the next."""


class Name(NamedTuple):
    """What `[SCHEME:]NAME[:PORT]` says; `port` is a number or a name, "" for the only one."""

    scheme: str
    name: str
    port: str

    @classmethod
    def parse(cls, text: str) -> Name:
        """ApiError 400 if it is none."""
        parts = text.split(":")
        if len(parts) == 3 and parts[0] in ("http", "https", ""):
            return cls(parts[0], parts[1], parts[2])
        if len(parts) > 2 or not parts[0]:
            raise status.bad_request(f'invalid name "{text}": it must be [SCHEME:]NAME[:PORT]')
        return cls("", parts[0], parts[1] if len(parts) == 2 else "")


async def answer(server: Server, nodes: NodeStreams | None, target: Target, request: Request) -> Response:
    """What the other side answers. ApiError 400, 404, 503."""
    kind = target.resource.kind
    prefix = target.resource.path(target.namespace, target.name, "proxy")
    rest = request.path.removeprefix(prefix)
    if not rest and kind != "Node":
        return Response(301, b"", {"location": prefix + "/", "content-type": "text/plain"})
    if nodes is None:
        raise status.ApiError(503, "no node can be reached from here")
    if kind == "Node":
        await reading.find(server.store, target)
        return await nodes(target.name, Request(request.method, rest or "/", request.query, {}, request.body))
    named = Name.parse(target.name)
    if named.scheme == "https":
        raise status.bad_request("https is not proxied here: use `kubectl port-forward`")
    find = of_service if kind == "Service" else _of_pod
    node, pod, port = await find(server, target.namespace, named)
    asked = Request("POST", f"/portForward/{target.namespace}/{pod}", {"port": str(port)})
    try:
        duplex = await nodes.upgrade(node, asked, frames.PROTOCOL)
    except status.ApiError as error:
        raise status.ApiError(503, f"error trying to reach {kind.lower()}: {error.message}") from error
    return await _Exchange(duplex).run(request, rest, prefix, f"{named.name}:{port}")


async def _of_pod(server: Server, namespace: str, named: Name) -> tuple[str, str, int]:
    row = resources.of(core.Pod)
    pod = verbs.load(row, await reading.find(server.store, Target(row, namespace, named.name)))
    ports = [port for one in pod.spec.containers for port in one.ports]
    number = whole(named.port)
    if number is None:
        number = next((one.container_port for one in ports if named.port in ("", one.name)), 0 if named.port else 80)
    if not 0 < number < 65536:
        raise status.ApiError(503, f'no port "{named.port}" found for pod "{named.name}"')
    if not pod.spec.node_name:
        raise status.ApiError(503, f"pod {named.name} does not have a host assigned")
    return pod.spec.node_name, named.name, number


async def of_service(server: Server, namespace: str, named: Name) -> tuple[str, str, int]:
    """The node, the name and the port of one of its ready pods. ApiError 404 or 503."""
    row, slices = resources.of(core.Service), resources.of(discovery.EndpointSlice)
    service = verbs.load(row, await reading.find(server.store, Target(row, namespace, named.name)))
    name = _port_name(service, named)
    records, _ = await server.store.range(slices.key(namespace, ""))
    found: list[tuple[str, str, int]] = []
    for record in records:
        one = verbs.load(slices, record)
        if one.metadata.labels.get("kubernetes.io/service-name") != named.name:
            continue
        number = next((port.port for port in one.ports if (port.name or "") == name), None)
        found += [
            (endpoint.node_name or "", endpoint.target_ref.name, number)
            for endpoint in one.endpoints
            if number and endpoint.conditions.ready is not False
            if endpoint.target_ref is not None and endpoint.target_ref.kind == "Pod"
        ]
    if not found:
        raise status.ApiError(503, f'no endpoints available for service "{named.name}"')
    node, pod, number = random.choice(found)
    if not node:
        return await _of_pod(server, namespace, Name("", pod, str(number)))
    return node, pod, number


def _port_name(service: Any, named: Name) -> str:
    """The name of the port that is meant, "" for one without."""
    ports = service.spec.ports
    if not named.port:
        if len(ports) == 1:
            return str(ports[0].name)
    elif (number := whole(named.port)) is not None:
        for one in ports:
            if one.port == number:
                return str(one.name)
        raise status.ApiError(503, f'no service port {number} found for service "{named.name}"')
    return named.port


class _Exchange:
    """One request and its answer, over the frames of a connection to a pod."""

    def __init__(self, duplex: Duplex) -> None:
        self._duplex, self._http, self._decoder = duplex, h11.Connection(h11.CLIENT), frames.Decoder()
        self._over = False

    async def run(self, request: Request, path: str, prefix: str, host: str) -> Response:
        try:
            await self._send(request, path, host)
            event = await self._next()
            while isinstance(event, h11.InformationalResponse):
                event = await self._next()
            if not isinstance(event, h11.Response):
                raise status.ApiError(503, "the pod closed the connection before it answered")
        except (h11.ProtocolError, ConnectionError) as error:
            await self._duplex.close()
            raise status.ApiError(503, f"the pod does not answer in HTTP: {error}") from None
        except BaseException:
            await self._duplex.close()
            raise
        headers = {key.decode(): value.decode("latin-1") for key, value in event.headers}
        headers = {key: value for key, value in headers.items() if key not in _OURS}
        if headers.get("location", "").startswith("/"):
            headers["location"] = prefix + headers["location"]
        return Response(event.status_code, self._body(), headers)

    async def _send(self, request: Request, path: str, host: str) -> None:
        url = quote(path, safe="/:@!$&'()*+,;=~%")
        if request.raw_query or request.query:
            url += f"?{request.raw_query or urlencode(request.query)}"
        headers = [("host", host), ("connection", "close"), ("content-length", str(len(request.body)))]
        headers += [(key, value) for key, value in request.headers.items() if key not in _OURS]
        data = self._http.send(h11.Request(method=request.method, target=url, headers=headers)) or b""
        if request.body:
            data += self._http.send(h11.Data(data=request.body)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        await self._duplex.write(frames.encode(frames.STDIN, data))

    async def _next(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = b"" if self._over else await self._duplex.read()
            if not data:
                self._http.receive_data(b"")
                continue
            for channel, content in self._decoder.feed(data):
                if channel == frames.STDOUT and content:
                    self._http.receive_data(content)
                elif channel in (frames.CLOSE, frames.STATUS):
                    self._over = True
        return event

    async def _body(self) -> AsyncIterator[bytes]:
        try:
            while isinstance(event := await self._next(), h11.Data):
                yield bytes(event.data)
        except h11.ProtocolError:
            raise ConnectionResetError("the pod's answer broke off") from None
        finally:
            await self._duplex.close()
