"""GET /containerLogs/NAMESPACE/POD/CONTAINER, as `kubectl logs` asks for it. Called by server.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import status
from skerry.api.numerals import whole
from skerry.clock import parse_rfc3339
from skerry.node.logs.reader import Options, read
from skerry.node.pods.state import Stage

if TYPE_CHECKING:
    from pathlib import Path

    from skerry.node.agent.manager import PodManager
    from skerry.node.agent.services import NodeServices
    from skerry.node.agent.worker import PodWorker
    from skerry.node.logs.writer import ContainerLog
    from skerry.node.streams.call import Call

_PULLING = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}


async def container_logs(call: Call, manager: PodManager, services: NodeServices) -> None:
    """Streams a log. Query: follow, previous, tailLines, sinceSeconds, sinceTime, timestamps, limitBytes."""
    if len(call.path) != 4:
        raise status.ApiError(404, "a log is at /containerLogs/NAMESPACE/POD/CONTAINER")
    _, namespace, pod, container = call.path
    worker = manager.find(namespace, pod)
    if worker is None:
        raise status.not_found("", "pods", pod)
    options = _options(call, services.clock.now())
    path, live = _where(worker, container, previous=call.flag("previous"))
    if not path.exists():
        await call.answer(200, b"", "text/plain")
        return
    await call.stream(read(path, options, live))


def _options(call: Call, now: float) -> Options:
    since = None
    if call.query.get("sinceTime"):
        try:
            since = parse_rfc3339(call.query["sinceTime"])
        except ValueError:
            raise status.bad_request(f"sinceTime: {call.query['sinceTime']} is no RFC 3339 time") from None
    elif (seconds := _number(call, "sinceSeconds")) is not None:
        since = now - seconds
    return Options(
        follow=call.flag("follow"),
        tail=_number(call, "tailLines"),
        since=since,
        timestamps=call.flag("timestamps"),
        limit=_number(call, "limitBytes"),
    )


def _number(call: Call, name: str) -> int | None:
    text = call.query.get(name, "")
    if not text:
        return None
    number = whole(text)
    if number is None:
        raise status.bad_request(f"{name}: must be a whole number, 0 or more, not {text}")
    return number


def _where(worker: PodWorker, container: str, *, previous: bool) -> tuple[Path, ContainerLog | None]:
    """The log of the newest or the previous instance, and its writer while it runs. ApiError 400 as upstream's."""
    one = worker.machine.containers.get(container)
    pod = worker.pod.metadata.name
    if one is None:
        raise status.bad_request(f"container {container} is not valid for pod {pod}")
    waiting = one.stage is not Stage.RUNNING and one.problem is not None
    if previous:
        # While a container waits to be started again, the instance that ended last is its previous one.
        attempt = one.attempts - (1 if waiting or (one.ended is None and one.stage is not Stage.RUNNING) else 2)
        if attempt < 0:
            text = f'previous terminated container "{container}" in pod "{pod}" not found'
            raise status.bad_request(text)
        return worker.files.log(container, attempt), None
    if not one.attempts:
        init = "PodInitializing" if worker.pod.spec.init_containers else "ContainerCreating"
        reason = one.problem.reason if one.problem is not None else init
        reason = _PULLING.get(reason, reason)
        raise status.bad_request(f'container "{container}" in pod "{pod}" is waiting to start: {reason}')
    live = worker.instances.current(container)
    return worker.files.log(container, one.attempts - 1), live.log if live is not None else None
