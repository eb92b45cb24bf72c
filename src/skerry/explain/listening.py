"""Looks whether somebody listens at a port of a pod, by opening a forwarded connection and closing it at once.

Only Skerry's API server can be asked so: it refuses before it has carried a byte. Called by the command line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from skerry.api import frames, resources, status
from skerry.api.types import core
from skerry.api.wire import Request
from skerry.client.portforward import Upgrades
from skerry.explain.seen import Listens

MOST = 20
"""Ports of pods that are tried for one report."""
_SECONDS = 3.0


async def look(
    transport: Upgrades, namespace: str, places: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], Listens]:
    """What the first MOST of these pods and ports do with a connection."""
    some = sorted(set(places))[:MOST]
    answers = await asyncio.gather(*(_one(transport, namespace, pod, port) for pod, port in some))
    return dict(zip(some, answers, strict=True))


async def _one(transport: Upgrades, namespace: str, pod: str, port: int) -> Listens:
    path = resources.of(core.Pod).path(namespace, pod, "portforward")
    try:
        async with asyncio.timeout(_SECONDS):
            connection = await transport.upgrade(Request("POST", path, {"ports": str(port)}), frames.PROTOCOL)
    except status.ApiError as error:
        return "refused" if "connection refused" in error.message else "unknown"
    except TimeoutError:
        return "unknown"
    await connection.close()
    return "open"
