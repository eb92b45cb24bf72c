"""A real edge on a unix socket and bare bytes to send it, for tests of clients that mean no good."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from skerry.api.types import core
from skerry.apiserver.connections import Limits
from skerry.apiserver.edge import Edge
from skerry.client.client import Client
from skerry.client.http import Address, HttpTransport
from tests.helpers import server as helper

MAPS = "/api/v1/namespaces/default/configmaps"
USUAL = b"Host: x\r\nAuthorization: Bearer secret\r\n"
PATIENCE = 5.0


class Served:
    def __init__(self, path: str, api: helper.ApiServer, lines: list[bytes]) -> None:
        self.path, self.api, self.lines = path, api, lines
        self.transport = HttpTransport(Address(unix=path), token="secret")
        self.client = Client(self.transport)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self.path)

    async def send(self, data: bytes) -> bytes:
        """All that is answered until the server closes."""
        reader, writer = await self.open()
        writer.write(data)
        async with asyncio.timeout(PATIENCE):
            said = await reader.read(-1)
        writer.close()
        return said

    async def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, Any]]:
        """The code and the Status or object of a request on a connection of its own."""
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"{method} {target} HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{lines}"
        return answer(await self.send(head.encode() + USUAL + b"\r\n" + body))

    async def fine(self) -> None:
        """Somebody else is served."""
        assert (await self.client.get(core.Namespace, "default")).metadata.name == "default"


def answer(said: bytes) -> tuple[int, dict[str, Any]]:
    """Code and body of the first answer. Of errors that is a Status that says the same code."""
    head, _, body = said.partition(b"\r\n\r\n")
    code = int(head.split()[1])
    if b"chunked" in head.lower():
        size, _, rest = body.partition(b"\r\n")
        body = rest[: int(size, 16)]
    value: dict[str, Any] = json.JSONDecoder().raw_decode(body.decode())[0]
    if code >= 400:
        assert (value["kind"], value["code"]) == ("Status", code), value
        assert value["message"], value
        assert code < 500 or "no node can be reached" in value["message"], value
    return code, value


@asynccontextmanager
async def edges(directory: Path) -> AsyncIterator[Any]:
    """A function that starts an edge with these limits and this window of events; all are closed in the end."""
    made: list[tuple[Served, Edge]] = []

    async def make(limits: Limits | None = None, window: int = 4096) -> Served:
        api = await helper.start(window=window)
        lines: list[bytes] = []
        edge = Edge(api.app, lines.append, limits or Limits())
        path = str(directory / f"{len(made)}.sock")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        await edge.listen(listener, None)
        made.append((Served(path, api, lines), edge))
        return made[-1][0]

    yield make
    for served, edge in made:
        await served.transport.close()
        await edge.close()
        await served.api.store.close()
