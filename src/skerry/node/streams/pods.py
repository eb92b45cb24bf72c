"""/healthz and /pods: how the agent is and what it runs. Called by server.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import codec

if TYPE_CHECKING:
    from skerry.node.agent.manager import PodManager
    from skerry.node.agent.services import NodeServices
    from skerry.node.streams.call import Call


async def healthz(call: Call, _manager: PodManager, _services: NodeServices) -> None:
    await call.answer(200, b"ok", "text/plain")


async def list_pods(call: Call, manager: PodManager, _services: NodeServices) -> None:
    """A PodList with the status as the agent has it, which may be newer than the API's."""
    items = []
    for worker in manager.workers.values():
        pod = codec.copy(worker.pod)
        pod.status = worker.status
        items.append(pod)
    await call.answer(200, codec.encode({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
