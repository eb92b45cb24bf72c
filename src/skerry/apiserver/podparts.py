"""Where the parts of a pod are that its node serves: logs, exec, attach, ports. Called by app.py and streams/."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from skerry.api import status
from skerry.api.wire import Request, Response
from skerry.apiserver import reading, verbs

if TYPE_CHECKING:
    from skerry.api.wire import Duplex
    from skerry.apiserver.routes import Target
    from skerry.apiserver.verbs import Server


class NodeStreams(Protocol):
    """The way to a node agent's own little server."""

    async def __call__(self, node: str, request: Request) -> Response: ...

    async def upgrade(self, node: str, request: Request, protocol: str) -> Duplex:
        """A connection of another protocol. ApiError as the node says."""


async def log(server: Server, nodes: NodeStreams | None, target: Target, request: Request) -> Response:
    """What a container prints, from its node; of a pod that has none yet, nothing (as upstream) and why."""
    node, path = await _container(server, target, request, "containerLogs")
    if not node or nodes is None:
        why = f"pod {target.name} does not have a host assigned"
        return Response(200, b"", {"content-type": "text/plain"}, warnings=(why,))
    return await nodes(node, Request("GET", path, request.query))


async def container(server: Server, target: Target, request: Request, what: str) -> tuple[str, str]:
    """The node, and the path there of `what` of the container that is asked for. ApiError 404 or 400 as upstream."""
    node, path = await _container(server, target, request, what)
    return _node(node, target), path


async def _container(server: Server, target: Target, request: Request, what: str) -> tuple[str, str]:
    pod = verbs.load(target.resource, await reading.find(server.store, target))
    names = [one.name for one in (*pod.spec.init_containers, *pod.spec.containers, *pod.spec.ephemeral_containers)]
    name = request.query.get("container", "")
    if not name and len(pod.spec.containers) > 1:
        raise status.bad_request(
            f"a container name must be specified for pod {target.name}, choose one of: [{' '.join(names)}]"
        )
    name = name or pod.spec.containers[0].name
    if name not in names:
        raise status.bad_request(f"container {name} is not valid for pod {target.name}")
    return pod.spec.node_name, f"/{what}/{target.namespace}/{target.name}/{name}"


async def whole_pod(server: Server, target: Target, what: str) -> tuple[str, str]:
    """The node, and the path there of `what` of the pod. ApiError as above."""
    pod = verbs.load(target.resource, await reading.find(server.store, target))
    return _node(pod.spec.node_name, target), f"/{what}/{target.namespace}/{target.name}"


def _node(name: str, target: Target) -> str:
    if not name:
        raise status.bad_request(f"pod {target.name} does not have a host assigned")
    return name
