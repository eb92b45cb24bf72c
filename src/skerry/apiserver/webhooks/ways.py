"""The way of bytes to a webhook: a connection of our own to a URL's host, or through a node into a pod.

The API server is not in the cluster's network. A pod is reached as by port-forward: over the streams of its node's
agent, with the frames of api/frames.py. Called by calling.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from skerry import linux
from skerry.api import frames, status
from skerry.api.wire import Request

if TYPE_CHECKING:
    from skerry.api.types import admissionregistration as registration
    from skerry.api.wire import Duplex
    from skerry.apiserver.verbs import Server


class Way(Protocol):
    """Bytes both ways. ConnectionError if the other side has gone in between."""

    async def read(self) -> bytes:
        """What has come; b"" when nothing more comes."""

    async def write(self, data: bytes) -> None: ...

    async def close(self) -> None: ...


class _Tcp:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes:
        return await self._reader.read(1 << 16)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.transport.abort()


class _Pod:
    """A port of a pod, over the frames of its node."""

    def __init__(self, duplex: Duplex, where: str) -> None:
        self._duplex, self._where, self._decoder = duplex, where, frames.Decoder()

    async def read(self) -> bytes:
        out = b""
        while not out:
            data = await self._duplex.read()
            if not data:
                return b""
            for channel, content in self._decoder.feed(data):
                if channel == frames.STDOUT:
                    out += content
                elif channel == frames.STATUS and content:
                    raise ConnectionError(f"dial tcp {self._where}: {content.decode(errors='replace')}")
                elif channel in (frames.STATUS, frames.CLOSE):
                    return out
        return out

    async def write(self, data: bytes) -> None:
        await self._duplex.write(frames.encode(frames.STDIN, data))

    async def close(self) -> None:
        await self._duplex.close()


async def to_host(host: str, port: int) -> Way:
    """ConnectionError if nobody is there."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        return _Tcp(*await asyncio.open_connection(host, port))
    except OSError as error:
        raise ConnectionError(f"dial tcp {where}: connect: {linux.reason(error).lower()}") from None


async def to_service(server: Server, service: registration.ServiceReference) -> Way:
    """To one of its ready pods. ConnectionError if it has none, or the pod does not answer."""
    from skerry.apiserver import proxying  # knows verbs, who know us

    named = proxying.Name("", service.name, str(service.port or 443))
    nodes = server.webhooks.nodes
    if nodes is None:
        raise ConnectionError("no node can be reached from here")
    try:
        node, pod, port = await proxying.of_service(server, service.namespace, named)
        asked = Request("POST", f"/portForward/{service.namespace}/{pod}", {"port": str(port)})
        return _Pod(await nodes.upgrade(node, asked, frames.PROTOCOL), f"{pod}:{port}")
    except status.ApiError as error:
        raise ConnectionError(error.message) from None
