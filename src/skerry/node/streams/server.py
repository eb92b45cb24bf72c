"""HTTP/1.1 on the node's unix socket, by h11. Called by node/agent/main.py; the API server and `skerry load` ask it.

To serve something new, add a route: a function of a Call and the server's context.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from skerry.api import status
from skerry.node.streams import commands, connections, forward, images, logs, pods
from skerry.node.streams.call import Call

if TYPE_CHECKING:
    from pathlib import Path

    from skerry.node.agent.manager import PodManager
    from skerry.node.agent.services import NodeServices

_log = logging.getLogger(__name__)

Route = Callable[[Call, "PodManager", "NodeServices"], Awaitable[None]]

ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "healthz"): pods.healthz,
    ("GET", "pods"): pods.list_pods,
    ("GET", "connections"): connections.counted,
    ("GET", "containerLogs"): logs.container_logs,
    ("POST", "exec"): commands.exec_,
    ("POST", "attach"): commands.attach,
    ("POST", "portForward"): forward.port_forward,
    ("POST", "images"): images.load,
}
"""By method and first word of the path."""


class StreamsServer:
    """The server of one node."""

    def __init__(self, manager: PodManager, services: NodeServices) -> None:
        self._manager, self._services = manager, services
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, path: Path) -> None:
        """Serves at a unix socket that only its owner may use; what an earlier process left there is replaced."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._server = await asyncio.start_unix_server(self._accepted, str(path), limit=1 << 20)
        os.chmod(path, 0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name="node stream")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while await self._request(connection, reader, writer):
                connection.start_next_cycle()
        except (ConnectionError, EOFError, h11.ProtocolError):
            pass  # the other side went away or talks nonsense; there is nobody to tell
        except Exception:  # noqa: BLE001 - a broken route must not end the server
            _log.exception("a request to the node")
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _request(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Serves one request; whether the connection can take another."""
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await reader.read(1 << 16))
        if not isinstance(event, h11.Request):
            return False
        target = urlsplit(event.target.decode("latin-1"))
        path = [unquote(one) for one in target.path.strip("/").split("/")]
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        call = Call(event.method.decode(), path, query, target.query, connection, reader, writer)
        route = ROUTES.get((call.method, path[0]))
        try:
            if route is None:
                raise status.ApiError(404, f"the node does not serve {call.method} {target.path}")
            await route(call, self._manager, self._services)
        except status.ApiError as error:
            if call.answered:
                raise EOFError from error
            await call.refuse(error)
        if connection.their_state is h11.SEND_BODY:
            async for _ in call.body():
                pass
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE
