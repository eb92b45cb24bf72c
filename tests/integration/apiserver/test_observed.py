"""What the edge adds to answers, and what it tells of them: gzip, metrics under upstream's names, the audit log."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import server as helper

from skerry.api.types import core, meta
from skerry.api.wire import Request, Response
from skerry.apiserver import compression
from skerry.apiserver.custom.served import Served as Kinds
from skerry.apiserver.edge import Edge
from skerry.client.client import Client, whole
from skerry.client.http import Address, HttpTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PODS = "/api/v1/namespaces/default/configmaps"


class Served:
    def __init__(self, transport: HttpTransport, lines: list[bytes], path: str) -> None:
        self.transport, self._lines, self.path = transport, lines, path

    async def get(self, path: str, **headers: str) -> tuple[Response, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        plain, _, query = path.partition("?")
        asked = dict(one.split("=") for one in query.split("&")) if query else {}
        response = await self.transport(Request("GET", plain, asked, named))
        return response, await whole(response)

    async def metric(self, start: str) -> dict[str, float]:
        text = (await self.get("/metrics"))[1].decode()
        found = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(start))
        return {name: float(value) for name, value in found}

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._lines]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    api = await helper.start()
    lines: list[bytes] = []
    edge = Edge(api.app, lines.append)
    path = str(tmp_path / "api.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    await edge.listen(listener, None)
    transport = HttpTransport(Address(unix=path), token="secret")
    yield Served(transport, lines, path)
    await transport.close()
    await edge.close()
    await api.store.close()
    os.unlink(path)


async def raw(served: Served, head: str) -> bytes:
    """Everything that comes for these lines, until the connection ends."""
    reader, writer = await asyncio.open_unix_connection(served.path)
    writer.write(f"{head}Host: x\r\nAuthorization: Bearer secret\r\n\r\n".encode())
    found = await reader.read()
    writer.close()
    return found


def big(name: str, size: int) -> core.ConfigMap:
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default"), data={"k": "x" * size})


async def test_long_answers_are_gzip_for_who_reads_it(served: Served) -> None:
    client = Client(served.transport)
    await client.create(big("a", compression.LEAST))
    response, body = await served.get(PODS, accept_encoding="gzip, deflate")
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["vary"] == "Accept-Encoding"
    assert len(body) < compression.LEAST / 10
    plainly, unpacked = await served.get(PODS, accept_encoding="gzip;q=0")
    assert "content-encoding" not in plainly.headers
    assert gzip.decompress(body) == unpacked
    short, _ = await served.get("/api/v1/namespaces/default", accept_encoding="gzip")
    assert "content-encoding" not in short.headers


async def test_a_list_too_long_to_be_put_together_is_the_same_list(served: Served) -> None:
    client = Client(served.transport)
    for number in range(30):
        await client.create(big(f"c{number:02}", 1000 if number % 3 else 300_000))
    _, several = await served.get(f"{PODS}?limit=29")
    first = json.loads(several)
    response, body = await served.get(PODS)
    found = json.loads(body)
    assert found["items"][:29] == first["items"] and len(found["items"]) == 30
    assert set(found) == {"kind", "apiVersion", "metadata", "items"}
    assert int(response.headers["content-length"]) == len(body) > 3_000_000
    packed, data = await served.get(PODS, accept_encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip" and "content-length" not in packed.headers
    assert gzip.decompress(data) == body
    for accepts, length in (("identity", len(body)), ("gzip", None)):  # nginx asks so
        old = await raw(served, f"GET {PODS} HTTP/1.0\r\nAccept-Encoding: {accepts}\r\n")
        top, _, rest = old.partition(b"\r\n\r\n")
        assert top.startswith(b"HTTP/1.0 200") and (length is None or b"Content-Length: %d" % length in top)
        assert (gzip.decompress(rest) if length is None else rest) == body
    head = await served.transport(Request("HEAD", PODS))
    assert int(head.headers["content-length"]) == len(body) and await whole(head) == b""


async def test_what_streams_is_closed_also_when_only_its_head_was_wanted(tmp_path: Path) -> None:
    closed: list[str] = []

    async def app(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            try:
                yield b"a"
                yield b"b"
            finally:
                closed.append(request.method)

        return Response(200, body())

    app.server = SimpleNamespace(served=Kinds())  # type: ignore[attr-defined]
    edge = Edge(app)  # type: ignore[arg-type]
    path = str(tmp_path / "stream.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    await edge.listen(listener, None)
    transport = HttpTransport(Address(unix=path), token="")
    for method, wanted in (("GET", b"ab"), ("HEAD", b"")):
        assert await whole(await transport(Request(method, "/api/v1/pods"))) == wanted
    assert closed == ["GET", "HEAD"]
    await transport.close()
    await edge.close()


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("", False),
        ("br", False),
        ("gzip; q=0", False),
        ("gzip;q=0.0", False),
    ],
)
def test_who_reads_gzip(header: str, takes: bool) -> None:
    assert compression.accepted(header) is takes


async def test_requests_are_counted_and_timed_by_what_they_are_about(served: Served) -> None:
    about = 'group="",version="v1",resource="configmaps",subresource="",scope="{}",component="apiserver"'
    lists = f'apiserver_request_total{{verb="LIST",dry_run="",{about.format("namespace")},code="200"}}'
    before = (await served.metric(lists)).get(lists, 0)
    await served.get(PODS)
    assert (await served.metric(lists))[lists] == before + 1
    timed = f'apiserver_request_duration_seconds_count{{verb="LIST",dry_run="",{about.format("namespace")}}}'
    assert (await served.metric(timed))[timed] >= 1
    sizes = f'apiserver_response_sizes_count{{verb="LIST",{about.format("namespace")}}}'
    assert (await served.metric(sizes))[sizes] >= 1
    assert list((await served.metric("apiserver_current_inflight_requests")).values()).count(1) == 1  # this one


async def test_names_that_a_client_made_up_are_no_labels(served: Served) -> None:
    await served.get("/apis/made.up/v1/things")
    assert not any("made" in name for name in await served.metric("apiserver_"))


async def test_watches_are_long_running_while_they_last(served: Served) -> None:
    name = 'apiserver_longrunning_requests{verb="WATCH",group="",version="v1",resource="configmaps"'
    before = sum((await served.metric(name)).values())
    watching = Client(served.transport).watch(core.ConfigMap, namespace="default")
    ended = [line for line in served.audit() if line["stage"] == "ResponseStarted"]
    async with contextlib.aclosing(watching) as events:
        await Client(served.transport).create(big("seen", 1))
        assert (await anext(events)).type == "ADDED"
        assert sum((await served.metric(name)).values()) == before + 1
    assert not ended
    assert [line["verb"] for line in served.audit() if line["stage"] == "ResponseStarted"] == ["watch"]


async def test_a_line_of_the_audit_log_says_who_did_what(served: Served) -> None:
    await Client(served.transport, agent="kubectl/v1.36").create(big("a", 10))
    made = served.audit()[-1]
    assert (made["kind"], made["apiVersion"], made["level"]) == ("Event", "audit.k8s.io/v1", "Metadata")
    assert (made["stage"], made["verb"], made["responseStatus"]["code"]) == ("ResponseComplete", "create", 201)
    assert made["user"]["username"] == "tester"
    assert made["userAgent"].startswith("kubectl")
    assert made["objectRef"] == {"resource": "configmaps", "namespace": "default", "apiVersion": "v1"}
    assert made["requestReceivedTimestamp"] <= made["stageTimestamp"]
    response, _ = await served.get(f"{PODS}/none?pretty=true", audit_id="mine")
    assert response.headers["audit-id"] == "mine"
    refused = served.audit()[-1]
    assert (refused["auditID"], refused["responseStatus"]["code"]) == ("mine", 404)
    assert refused["requestURI"] == f"{PODS}/none?pretty=true"
    assert refused["objectRef"]["name"] == "none"
