"""What a pod's status tells of an earlier life of its node, whose processes all died with it. Pure.

Called by machine.py when it begins, so that restart counts go on and pods that were done stay done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.clock import parse_rfc3339
from skerry.node.pods.state import Ended, Problem, Role, Sandbox

if TYPE_CHECKING:
    from skerry.api.types import core
    from skerry.node.pods.machine import PodMachine

LOST_CODE = 137


def recall(machine: PodMachine, now: float) -> None:
    """Fills a new machine from its pod's status. What ran then counts as ended at `now` and is started anew."""
    status = machine.pod.status
    terminal = status.phase in ("Succeeded", "Failed")
    for found in [*status.init_container_statuses, *status.container_statuses, *status.ephemeral_container_statuses]:
        one = machine.containers.get(found.name)
        if one is None or not found.container_id:
            continue
        one.attempts = found.restart_count + 1
        one.id = found.container_id.rpartition("://")[2]
        one.image, one.image_id = found.image, found.image_id
        ended = _ended(found.state.terminated or found.last_state.terminated)
        if found.state.running is not None:
            lost = "The container could not be located when its node started again"
            ended = Ended(
                LOST_CODE, "ContainerStatusUnknown", now, _seconds(found.state.running.started_at), lost, one.id
            )
        if ended is None:
            continue
        if terminal or (one.role in (Role.APP, Role.EPHEMERAL) and not machine.restarts(one, ended.code)):
            one.ended = ended
        else:
            one.last = ended
    if terminal:
        machine.over, machine.initialized, machine.sandbox = True, True, Sandbox.GONE
        machine.ips = tuple(one.ip for one in status.pod_i_ps)
        if status.reason:
            machine.verdict = Problem(status.reason, status.message)
            machine.rejected = not status.container_statuses


def _seconds(time: str | None) -> float:
    return parse_rfc3339(time) if time else 0.0


def _ended(found: core.ContainerStateTerminated | None) -> Ended | None:
    if found is None:
        return None
    return Ended(
        found.exit_code,
        found.reason,
        _seconds(found.finished_at),
        _seconds(found.started_at),
        found.message,
        found.container_id.rpartition("://")[2],
    )
