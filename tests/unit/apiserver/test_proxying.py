"""S48: where a proxied request goes, and what is answered when it cannot go anywhere. e2e/test_port_forward does it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import server as helper

from skerry.api import frames, status
from skerry.api.types import core, discovery, meta
from skerry.api.wire import Request, Response
from skerry.apiserver.app import App
from skerry.apiserver.proxying import Name
from skerry.client.client import whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BASE = "/api/v1/namespaces/default"


@pytest.mark.parametrize(
    ("text", "expect"),
    [("web", ("", "web", "")), ("web:80", ("", "web", "80")), ("http:web:", ("http", "web", "")),
     ("https:web:front", ("https", "web", "front"))],
)  # fmt: skip
def test_names(text: str, expect: tuple[str, str, str]) -> None:
    assert Name.parse(text) == expect


@pytest.mark.parametrize("text", ["", "ftp:web:80", "a:b:c:d", ":80"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(status.ApiError, match="invalid name"):
        Name.parse(text)


@dataclass
class Nodes:
    """Plays the node agents and, behind them, a pod that answers with `said`."""

    said: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-who: pod\r\n\r\nhi"
    asked: list[tuple[str, Request]] = field(default_factory=list)
    heard: bytes = b""

    async def __call__(self, node: str, request: Request) -> Response:
        self.asked.append((node, request))
        return Response(200, b"ok")

    async def upgrade(self, node: str, request: Request, protocol: str) -> Pod:
        assert protocol == frames.PROTOCOL
        self.asked.append((node, request))
        return Pod(self)


class Pod:
    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._pieces = [frames.encode(frames.STDOUT, nodes.said[:20]), frames.encode(frames.STDOUT, nodes.said[20:])]

    async def read(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    async def write(self, data: bytes) -> None:
        self._nodes.heard += b"".join(content for _, content in frames.Decoder().feed(data))

    async def close(self) -> None:
        self._pieces = []


@dataclass
class World:
    nodes: Nodes
    app: App

    async def ask(self, method: str, path: str, body: bytes = b"", **more: Any) -> tuple[Response, bytes]:
        request = Request(method, path, body=body, user=helper.ADMIN, **more)
        response = await self.app(request)
        return response, await whole(response)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    api = await helper.start()
    ports = [core.ServicePort(port=80, name="front"), core.ServicePort(port=81, name="back")]
    spec = core.ServiceSpec(ports=ports)
    await api.client.create(core.Service(metadata=meta.ObjectMeta(name="web", namespace="default"), spec=spec))
    container = core.Container(name="c", image="i", ports=[core.ContainerPort(name="http", container_port=8080)])
    await api.client.create(
        core.Pod(
            metadata=meta.ObjectMeta(name="p", namespace="default"),
            spec=core.PodSpec(containers=[container], node_name="node-1"),
        )
    )
    await api.client.create(
        discovery.EndpointSlice(
            metadata=meta.ObjectMeta(name="web-1", namespace="default", labels={"kubernetes.io/service-name": "web"}),
            address_type="IPv4",
            ports=[discovery.EndpointPort(name="front", port=8080)],
            endpoints=[
                discovery.Endpoint(
                    addresses=[f"10.244.1.{number}"],
                    conditions=discovery.EndpointConditions(ready=name == "p"),
                    target_ref=core.ObjectReference(kind="Pod", name=name),
                )
                for number, name in enumerate(("p", "late"), 1)
            ],
        )
    )
    nodes = Nodes()
    yield World(nodes, App(api.app.server, {}.get, nodes))
    await api.store.close()


@pytest.mark.parametrize(
    "name", ["services/web:front", "services/web:80", "services/http:web:front", "pods/p", "pods/p:http", "pods/p:8080"]
)
async def test_it_goes_to_the_pods_port(world: World, name: str) -> None:
    headers = {"authorization": "Bearer secret", "content-type": "text/plain"}
    response, body = await world.ask("POST", f"{BASE}/{name}/proxy/a b/", b"data", headers=headers, raw_query="x=1&x=2")
    assert (response.status, body, response.headers["x-who"]) == (200, b"hi", "pod")
    node, asked = world.nodes.asked[-1]
    assert (node, asked.path, asked.query) == ("node-1", "/portForward/default/p", {"port": "8080"})
    head, _, data = world.nodes.heard.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /a%20b/?x=1&x=2 HTTP/1.1\r\n") and data == b"data"
    assert b"content-type: text/plain" in head.lower() and b"secret" not in head


async def test_redirects_stay_below(world: World) -> None:
    response, _ = await world.ask("GET", f"{BASE}/services/web:80/proxy")
    assert (response.status, response.headers["location"]) == (301, f"{BASE}/services/web:80/proxy/")
    world.nodes.said = b"HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n"
    response, _ = await world.ask("GET", f"{BASE}/services/web:80/proxy/")
    assert (response.status, response.headers["location"]) == (302, f"{BASE}/services/web:80/proxy/login")


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("services/web:82/proxy/", 503, 'no service port 82 found for service "web"'),
        ("services/web:back/proxy/", 503, 'no endpoints available for service "web"'),
        ("services/web/proxy/", 503, 'no endpoints available for service "web"'),
        ("services/https:web:80/proxy/", 400, "https is not proxied here: use `kubectl port-forward`"),
        ("services/none/proxy/", 404, 'services "none" not found'),
        ("pods/p:nothing/proxy/", 503, 'no port "nothing" found for pod "p"'),
    ],
)
async def test_where_it_cannot_go(world: World, path: str, code: int, said: str) -> None:
    response, body = await world.ask("GET", f"{BASE}/{path}")
    assert (response.status, json.loads(body)["message"]) == (code, said)


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH\r\n"])
async def test_a_pod_that_speaks_something_else(world: World, said: bytes) -> None:
    world.nodes.said = said
    response, _ = await world.ask("GET", f"{BASE}/pods/p/proxy/")
    assert response.status == 503


async def test_nodes_are_asked_themselves(world: World) -> None:
    response, _ = await world.ask("GET", "/api/v1/nodes/node-1/proxy/healthz")
    assert response.status == 404  # there is no such Node here
    assert world.nodes.asked == []
