"""A pod's machine as the API shows it: phase, conditions, container states. Pure; rules R3, R9-R12, R18, T5.

Called by node/agent/worker.py after every step, and by tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api.types import core
from skerry.clock import rfc3339
from skerry.node.pods.conditions import conditions
from skerry.node.pods.state import Container, Ended, Role, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skerry.node.pods.machine import PodMachine

ID_PREFIX = "skerry://"


def render(machine: PodMachine, previous: core.PodStatus, host_ips: Sequence[str], now: float) -> core.PodStatus:
    """The status at `now`. `previous` is the newest known one: its conditions keep their transition times."""
    pod = machine.pod
    phase = pod_phase(machine)
    out = core.PodStatus(
        observed_generation=pod.metadata.generation,
        phase=phase,
        host_ip=host_ips[0],
        host_i_ps=[core.HostIP(ip=one) for one in host_ips],
        pod_ip=machine.ip,
        pod_i_ps=[core.PodIP(ip=one) for one in machine.ips],
        start_time=rfc3339(machine.start_time),
        qos_class=previous.qos_class,
    )
    if not machine.rejected:  # of one that never was on the node there is nothing to tell
        out.init_container_statuses = [container_status(machine, one) for one in machine.of(Role.INIT, Role.SIDECAR)]
        out.container_statuses = [container_status(machine, one) for one in machine.of(Role.APP)]
        out.ephemeral_container_statuses = [container_status(machine, one) for one in machine.of(Role.EPHEMERAL)]
    if machine.verdict is not None:
        out.reason, out.message = machine.verdict.reason, machine.verdict.message
    out.conditions = conditions(machine, phase, previous.conditions, pod.status.conditions, rfc3339(now))
    return out


def pod_phase(machine: PodMachine) -> str:
    """Pending until the first start of every container; Succeeded or Failed only when nothing runs any more."""
    apps = list(machine.of(Role.APP))
    ended = [one for one in apps if one.ended is not None and not one.active]
    leaving = machine.leave_at is not None
    if machine.quiet and (machine.over or leaving):
        if machine.verdict is not None or machine.failed_init():
            return "Failed"
        if machine.over or len(ended) == len(apps):
            return "Succeeded" if all(one.ended is not None and one.ended.code == 0 for one in apps) else "Failed"
    if not machine.initialized or any(not ran(one) for one in apps):
        return "Pending"
    return "Running"


def ran(one: Container) -> bool:
    """Whether the container runs or has ever run."""
    return one.running or one.ended is not None or one.last is not None


def is_ready(one: Container) -> bool:
    """The container's Ready flag: its probes', while it runs; an init container's when it did its work."""
    if one.role is Role.INIT:
        return one.stage is Stage.IDLE and one.ended is not None and one.ended.code == 0
    return one.stage is Stage.RUNNING and one.started and one.ready and one.role is not Role.EPHEMERAL


def container_status(machine: PodMachine, one: Container) -> core.ContainerStatus:
    state, last = core.ContainerState(), core.ContainerState()
    previous = one.last
    if one.running:
        state.running = core.ContainerStateRunning(started_at=rfc3339(one.started_at))
    elif one.problem is not None:
        state.waiting = core.ContainerStateWaiting(reason=one.problem.reason, message=one.problem.message)
        previous = one.ended or one.last
    elif one.ended is not None:
        state.terminated = _terminated(one.ended)
    else:
        # What upstream says of whoever had no turn yet.
        waits = machine.pod.spec.init_containers and one.role is not Role.EPHEMERAL
        reason = "PodInitializing" if waits else "ContainerCreating"
        state.waiting = core.ContainerStateWaiting(reason=reason)
    if previous is not None:
        last.terminated = _terminated(previous)
    return core.ContainerStatus(
        name=one.name,
        state=state,
        last_state=last,
        ready=is_ready(one),
        restart_count=one.restarts,
        image=one.image or one.spec.image,
        image_id=one.image_id,
        container_id=ID_PREFIX + one.id if one.id else "",
        started=one.stage is Stage.RUNNING and one.started,
    )


def _terminated(ended: Ended) -> core.ContainerStateTerminated:
    return core.ContainerStateTerminated(
        exit_code=ended.code,
        reason=ended.reason,
        message=ended.message,
        started_at=rfc3339(ended.started_at),
        finished_at=rfc3339(ended.finished_at),
        container_id=ID_PREFIX + ended.id if ended.id else "",
    )
