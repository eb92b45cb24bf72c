"""Asks the nodes' proxies how many connections they gave to the endpoints of a Service. Called by the command line.

Only Skerry's nodes can be asked so, through the API server's proxy to nodes. Who does not answer is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from skerry.api import resources, status
from skerry.api.types import core
from skerry.client.client import Client
from skerry.explain.seen import Place

_SECONDS = 1.0


class _Item(msgspec.Struct, rename="camel"):
    ip: str
    port: int
    port_name: str
    protocol: str
    connections: int


class _Answer(msgspec.Struct):
    items: list[_Item]


async def look(client: Client, service: str, nodes: Iterable[str]) -> dict[str, dict[Place, int]]:
    """By node, what its proxy gave to each endpoint of a Service (namespace/name)."""
    names = sorted(nodes)
    answers = await asyncio.gather(*(_one(client, service, name) for name in names))
    return {name: found for name, found in zip(names, answers, strict=True) if found is not None}


async def _one(client: Client, service: str, node: str) -> dict[Place, int] | None:
    path = resources.of(core.Node).path("", node, "proxy") + "/connections"
    try:
        async with asyncio.timeout(_SECONDS):
            body = await client.raw("GET", path, {"service": service})
        found = msgspec.json.decode(body, type=_Answer)
    except (status.ApiError, TimeoutError, msgspec.DecodeError):
        return None
    return {Place(one.ip, one.port, one.port_name, one.protocol): one.connections for one in found.items}
