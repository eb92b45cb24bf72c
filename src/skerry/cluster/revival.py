"""`skerry up` on a cluster that runs: it asks the control plane to start the nodes that are down.

`serve` is called by controlplane.py, `ask` by lifecycle.py. The answer comes over a unix socket, as lines of JSON like
those of a start: {"step": "node-2", "seconds": 0.5}, then {"ready": true, "started": ["node-2"]} or {"error": ...}.
"""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

from skerry.cluster.errors import ClusterError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from skerry.cluster.nodekeeper import NodeKeeper
    from skerry.cluster.paths import ClusterPaths

SILENCE = 60.0
"""Seconds without a word after which the control plane counts as gone."""


def socket_path(paths: ClusterPaths) -> Path:
    """Where the control plane listens for this."""
    return paths.run / "up.sock"


async def serve(paths: ClusterPaths, keeper: NodeKeeper) -> asyncio.Server:
    """Answers everyone who connects; close the server to end it."""
    import asyncio

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = time.monotonic()

        def say(message: dict[str, Any]) -> None:
            if not writer.is_closing():  # else nobody waits any more
                writer.write(json.dumps(message).encode() + b"\n")

        def report(name: str) -> None:
            say({"step": name, "seconds": round(time.monotonic() - began, 4)})

        try:
            say({"ready": True, "started": await keeper.start_missing(report)})
        except ClusterError as error:
            say({"error": str(error)})
        finally:
            writer.close()

    path = socket_path(paths)
    path.unlink(missing_ok=True)
    return await asyncio.start_unix_server(answer, path)


def ask(paths: ClusterPaths, report: Callable[[dict[str, Any]], None]) -> tuple[str, ...]:
    """Have the nodes that are down started; their names. ClusterError if they cannot be."""
    if not socket_path(paths).exists():
        return ()  # a control plane from before there was this
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(SILENCE)
            connection.connect(str(socket_path(paths)))
            with connection.makefile("rb") as lines:
                for line in lines:
                    message = json.loads(line)
                    if "error" in message:
                        raise ClusterError(message["error"])
                    if "ready" in message:
                        return tuple(message["started"])
                    report(message)
    except OSError as error:
        raise ClusterError(f"The control plane does not answer ({error}): see {paths.control_plane_log}.") from None
    raise ClusterError(f"The control plane ended while nodes were started: see {paths.control_plane_log}.")
