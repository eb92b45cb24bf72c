"""A pod's conditions (R9-R12). Pure. Called by status.py.

Conditions that others write (readiness gates) are read here and never written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api.types import core
from skerry.node.pods.state import Role, Sandbox, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from skerry.node.pods.machine import PodMachine
    from skerry.node.pods.state import Container

_Verdict = tuple[bool, str, str]


def conditions(
    machine: PodMachine,
    phase: str,
    previous: Iterable[core.PodCondition],
    given: Iterable[core.PodCondition],
    now: str,
) -> list[core.PodCondition]:
    """The agent's own conditions. `previous`: as last written; one whose status is unchanged keeps its transition time.

    `given`: all that the object has, for the readiness gates.
    """
    ready = containers_ready(machine, phase)
    verdicts: dict[str, _Verdict] = {  # in upstream's order
        "PodReadyToStartContainers": (machine.sandbox is Sandbox.READY, "", ""),
        "Initialized": _initialized(machine, phase),
        "Ready": pod_ready(ready, machine.pod.spec.readiness_gates, given),
        "ContainersReady": ready,
        "PodScheduled": (True, "", ""),
    }
    if machine.verdict is not None and machine.verdict.reason == "Evicted" and not machine.rejected:
        verdicts["DisruptionTarget"] = (True, "TerminationByKubelet", machine.verdict.message)
    known = {one.type: one for one in previous}
    out = []
    for kind, (true, reason, message) in verdicts.items():
        status = "True" if true else "False"
        before = known.get(kind)
        kept = before.last_transition_time if before is not None and before.status == status else None
        out.append(
            core.PodCondition(
                type=kind,
                observed_generation=machine.pod.metadata.generation,
                status=status,
                reason=reason,
                message=message,
                last_transition_time=kept or now,
            )
        )
    return out


def containers_ready(machine: PodMachine, phase: str) -> _Verdict:
    """R10: every app container and every sidecar is ready."""
    if phase == "Succeeded":
        return False, "PodCompleted", ""
    if phase == "Failed":
        return False, "PodFailed", ""
    unready = [one.name for one in machine.of(Role.SIDECAR, Role.APP) if not _ready(one)]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return True, "", ""


def _ready(one: Container) -> bool:
    return one.stage is Stage.RUNNING and one.started and one.ready


def pod_ready(ready: _Verdict, gates: Iterable[core.PodReadinessGate], given: Iterable[core.PodCondition]) -> _Verdict:
    """R11: the containers are ready and so says every readiness gate."""
    if not ready[0]:
        return ready
    found = {one.type: one.status for one in given}
    wrong = []
    for gate in gates:
        kind = gate.condition_type
        if kind not in found:
            wrong.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif found[kind] != "True":
            wrong.append(f'the status of pod readiness gate "{kind}" is not "True", but {found[kind]}')
    if wrong:
        return False, "ReadinessGatesNotReady", ", ".join(wrong)
    return True, "", ""


def _initialized(machine: PodMachine, phase: str) -> _Verdict:
    """R12: the init containers did their work and the sidecars came up."""
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    if machine.initialized:
        return True, "", ""
    missing = [
        one.name
        for one in machine.of(Role.INIT, Role.SIDECAR)
        if not (one.started if one.role is Role.SIDECAR else one.ended is not None and one.ended.code == 0)
    ]
    return False, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(missing)}]"
