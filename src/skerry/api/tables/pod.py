"""Pod (T5)."""

from __future__ import annotations

from typing import Any

from skerry.api.tables.column import AGE, NAME, NONE, column
from skerry.api.tables.duration import human, since
from skerry.api.types import core
from skerry.clock import parse_rfc3339

POD_COLUMNS = (
    NAME,
    column("Ready", "Containers that are ready, of all."),
    column("Status", "How the pod's containers are doing."),
    column("Restarts", "How often containers were restarted, and when last."),
    AGE,
    column("IP", "The pod's address.", wide=True),
    column("Node", "Where the pod runs.", wide=True),
    column("Nominated Node", "Where the pod may run once others have made room.", wide=True),
    column("Readiness Gates", "Conditions that must be true besides, of all.", wide=True),
)


class _Restarts:
    """How often, and when last (seconds since 1970; 0: unknown)."""

    def __init__(self) -> None:
        self.count, self.last = 0, 0.0

    def add(self, status: core.ContainerStatus) -> None:
        self.count += status.restart_count
        ended = status.last_state.terminated
        if ended is not None and ended.finished_at:
            self.last = max(self.last, parse_rfc3339(ended.finished_at))

    def text(self, now: float) -> str:
        if self.count and self.last:
            return f"{self.count} ({human(now - self.last)} ago)"
        return str(self.count)


def pod_cells(obj: core.Pod, now: float) -> list[Any]:
    ready, total, reason, restarts = _summary(obj)
    spec, status = obj.spec, obj.status
    address = status.pod_i_ps[0].ip if status.pod_i_ps else status.pod_ip
    return [
        obj.metadata.name,
        f"{ready}/{total}",
        reason,
        restarts.text(now),
        since(obj.metadata.creation_timestamp, now),
        address or NONE,
        spec.node_name or NONE,
        status.nominated_node_name or NONE,
        _gates(obj),
    ]


def _gates(obj: core.Pod) -> str:
    if not obj.spec.readiness_gates:
        return NONE
    true = {one.type for one in obj.status.conditions if one.status == "True"}
    passed = sum(one.condition_type in true for one in obj.spec.readiness_gates)
    return f"{passed}/{len(obj.spec.readiness_gates)}"


def _condition(obj: core.Pod, kind: str) -> core.PodCondition | None:
    return next((one for one in obj.status.conditions if one.type == kind), None)


def _ended(state: core.ContainerStateTerminated) -> str:
    """Why a container ended, in one word."""
    if state.reason:
        return state.reason
    return f"Signal:{state.signal}" if state.signal else f"ExitCode:{state.exit_code}"


def _summary(obj: core.Pod) -> tuple[int, int, str, _Restarts]:
    """Ready containers, all containers, status and restarts."""
    spec, status = obj.spec, obj.status
    sidecars = {one.name for one in spec.init_containers if one.restart_policy == "Always"}
    total = len(spec.containers) + len(sidecars)
    reason = status.reason or status.phase
    scheduled = _condition(obj, "PodScheduled")
    if scheduled is not None and scheduled.reason == "SchedulingGated":
        reason = "SchedulingGated"
    stopped, ready, init, of_sidecars = _initializing(obj, sidecars)
    restarts = init
    initialized = _condition(obj, "Initialized")
    if not stopped or (initialized is not None and initialized.status == "True"):
        restarts = of_sidecars
        running = False
        for one in reversed(status.container_statuses):
            restarts.add(one)
            if one.state.waiting is not None and one.state.waiting.reason:
                reason = one.state.waiting.reason
            elif one.state.terminated is not None:
                reason = _ended(one.state.terminated)
            elif one.ready and one.state.running is not None:
                running = True
                ready += 1
        if reason == "Completed" and running:
            condition = _condition(obj, "Ready")
            reason = "Running" if condition is not None and condition.status == "True" else "NotReady"
    elif stopped:
        reason = stopped
    if obj.metadata.deletion_timestamp:
        if status.reason == "NodeLost":
            reason = "Unknown"
        elif status.phase not in ("Succeeded", "Failed"):
            reason = "Terminating"
    return ready, total, reason, restarts


def _initializing(obj: core.Pod, sidecars: set[str]) -> tuple[str, int, _Restarts, _Restarts]:
    """Where initialization stands (empty: done), ready sidecars, restarts of all and of sidecars only."""
    ready, all_restarts, of_sidecars = 0, _Restarts(), _Restarts()
    for i, one in enumerate(obj.status.init_container_statuses):
        all_restarts.add(one)
        if one.name in sidecars:
            of_sidecars.add(one)
        terminated, waiting = one.state.terminated, one.state.waiting
        if terminated is not None and terminated.exit_code == 0:
            continue
        if one.name in sidecars and one.started:
            ready += one.ready
            continue
        if terminated is not None:
            return f"Init:{_ended(terminated)}", ready, all_restarts, of_sidecars
        if waiting is not None and waiting.reason not in ("", "PodInitializing"):
            return f"Init:{waiting.reason}", ready, all_restarts, of_sidecars
        return f"Init:{i}/{len(obj.spec.init_containers)}", ready, all_restarts, of_sidecars
    return "", ready, all_restarts, of_sidecars


def conditions(obj: core.Pod) -> list[dict[str, str]]:
    """The row's conditions: a pod that has ended says so."""
    said = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}.get(obj.status.phase)
    if said is None:
        return []
    return [{"type": "Completed", "status": "True", "reason": obj.status.phase, "message": said}]
