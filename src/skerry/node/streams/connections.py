"""/connections: how many connections the node's proxy gave to endpoints. Called by server.py.

`skerry why` and `skerry status` ask for it through the API server: `/api/v1/nodes/NODE/proxy/connections`. With
`?service=NAMESPACE/NAME` each endpoint of that Service is in `items`; `total` and `endpoints` are sums. An endpoint
that leaves takes its count with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import codec
from skerry.api.status import ApiError

if TYPE_CHECKING:
    from skerry.node.agent.manager import PodManager
    from skerry.node.agent.services import NodeServices
    from skerry.node.streams.call import Call


async def counted(call: Call, _manager: PodManager, services: NodeServices) -> None:
    """ApiError 404 where no proxy runs, 503 if it cannot tell."""
    if services.connections is None:
        raise ApiError(404, "no service proxy runs in the process of this node")
    service = call.query.get("service", "")
    try:
        found = services.connections(service)
    except OSError as error:
        raise ApiError(503, f"the service proxy cannot read its counters: {error}") from error
    answer = {
        "total": sum(one["connections"] for one in found),
        "endpoints": len(found),
        "items": found if service else [],
    }
    await call.answer(200, codec.encode(answer))
