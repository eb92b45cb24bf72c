"""Why a pod that the selector matches is no endpoint, or not a ready one: the first link of the chain that fails.

The chain follows a pod's life: phase, deletion, scheduling, node, init containers, images, containers, startup probe,
readiness probe, readiness gates, Ready condition, address. Pure; called by `why`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from skerry.api.types import core
from skerry.controllers.endpoints import members
from skerry.explain import containers
from skerry.explain.findings import Finding, finding
from skerry.explain.seen import Seen, ready, span


def not_ready(seen: Seen, pod: core.Pod) -> Finding | None:
    """What keeps the pod from being a ready endpoint, None if nothing does.

    `details.checked` names the links of the chain that held, in order.
    """
    checked = ["selector"]
    for name, link in _LINKS:
        found = link(seen, pod)
        if found is not None:
            found.details["checked"] = checked
            return found
        checked.append(name)
    return None


def _since(pod: core.Pod, kind: str) -> str | None:
    return next((one.last_transition_time for one in pod.status.conditions if one.type == kind), None)


def _phase(_: Seen, pod: core.Pod) -> Finding | None:
    """E13."""
    name, status = pod.metadata.name, pod.status
    if status.phase == "Succeeded":
        return finding("PodSucceeded", f"Pod {name} has finished: a Service sends nothing to it.", pod=name)
    if status.phase != "Failed":
        return None
    why = f": {containers.tidy(status.message or status.reason)}" if status.message or status.reason else ""
    details = {"reason": status.reason or None, "message": status.message or None}
    return finding("PodFailed", f"Pod {name} has failed and will not run again{containers.stop(why)}", pod=name,
                   details=details)  # fmt: skip


def _terminating(_: Seen, pod: core.Pod) -> Finding | None:
    """E15, L16."""
    if not members.is_terminating(pod):
        return None
    name = pod.metadata.name
    held = f" Finalizers hold it: {', '.join(pod.metadata.finalizers)}." if pod.metadata.finalizers else ""
    grace = pod.metadata.deletion_grace_period_seconds
    details = {"gracePeriodSeconds": grace, "finalizers": list(pod.metadata.finalizers)}
    more = (f"It may take {span(grace)} to end.",) if grace else ()
    return finding("PodTerminating", f"Pod {name} is being deleted.{held}", pod=name,
                   since=pod.metadata.deletion_timestamp, more=more, details=details)  # fmt: skip


def _scheduled(seen: Seen, pod: core.Pod) -> Finding | None:
    if pod.spec.node_name:
        return None
    name = pod.metadata.name
    one = next((one for one in pod.status.conditions if one.type == "PodScheduled" and one.status == "False"), None)
    if (one is not None and one.reason == "SchedulingGated") or pod.spec.scheduling_gates:
        gates = ", ".join(gate.name for gate in pod.spec.scheduling_gates)
        text = f"Pod {name} waits for its scheduling gates to be removed: {gates}."
        return finding("NotScheduled", text, pod=name, details={"schedulingGates": gates.split(", ")})
    told = seen.told(pod, ("FailedScheduling",))
    message = one.message if one is not None and one.message else told[0].message if told else ""
    if message:
        text = f"No node takes pod {name}: {containers.stop(containers.tidy(message))}"
        since = one.last_transition_time if one is not None else None
        return finding("Unschedulable", text, pod=name, since=since, details={"message": message})
    scheduler = pod.spec.scheduler_name or "default-scheduler"
    text = f"Pod {name} has no node: the scheduler {scheduler} has not decided yet."
    return finding("NotScheduled", text, pod=name, since=pod.metadata.creation_timestamp)


def _node(seen: Seen, pod: core.Pod) -> Finding | None:
    if seen.nodes is None:
        return None
    name, where = pod.metadata.name, pod.spec.node_name
    node = seen.node(where)
    if node is None:
        if not members.is_ready(pod) or seen.service.spec.publish_not_ready_addresses:
            return None
        text = f"Pod {name} is on node {where}, which has no Node object, so it is put into no EndpointSlice."
        return finding("NodeMissing", text, pod=name, obj=f"Node/{where}")
    if ready(node) or members.is_ready(pod):
        return None
    told = next((one for one in node.status.conditions if one.type == "Ready"), None)
    why = f": {containers.tidy(told.message or told.reason)}" if told is not None and told.message + told.reason else ""
    text = f"Pod {name} is on node {where}, which is not Ready{containers.stop(why)}"
    return finding("NodeNotReady", text, pod=name, obj=f"Node/{where}",
                   since=told.last_transition_time if told is not None else None)  # fmt: skip


def _init(seen: Seen, pod: core.Pod) -> Finding | None:
    if any(one.type == "Initialized" and one.status == "True" for one in pod.status.conditions):
        return None
    known = {one.name: one for one in pod.status.init_container_statuses}
    for at, spec in enumerate(pod.spec.init_containers, 1):
        status = known.get(spec.name)
        if status is None:
            continue
        is_sidecar = spec.restart_policy == "Always"
        ended = status.state.terminated
        if (is_sidecar and status.started) or (ended is not None and ended.exit_code == 0):
            continue
        found = containers.image(seen, pod, status) or containers.cannot_start(seen, pod, status)
        if found is not None:
            return found
        if is_sidecar:
            return containers.ends(seen, pod, status) or containers.startup(seen, pod, status, spec)
        return containers.init(seen, pod, status, f"{at} of {len(pod.spec.init_containers)}")
    return None


def _of_each(
    look: Callable[[Seen, core.Pod, core.ContainerStatus], Finding | None],
) -> Callable[[Seen, core.Pod], Finding | None]:
    def link(seen: Seen, pod: core.Pod) -> Finding | None:
        return next(filter(None, (look(seen, pod, status) for status, _ in _running(pod))), None)

    return link


def _running(pod: core.Pod) -> Iterator[tuple[core.ContainerStatus, core.Container]]:
    """The containers that have to run for the pod to be ready, sidecars among them."""
    sidecars = [one for one in pod.spec.init_containers if one.restart_policy == "Always"]
    known = {one.name: one for one in (*pod.status.init_container_statuses, *pod.status.container_statuses)}
    for spec in (*pod.spec.containers, *sidecars):
        if spec.name in known:
            yield known[spec.name], spec


def _probe(
    look: Callable[[Seen, core.Pod, core.ContainerStatus, core.Container], Finding | None],
) -> Callable[[Seen, core.Pod], Finding | None]:
    def link(seen: Seen, pod: core.Pod) -> Finding | None:
        return next(filter(None, (look(seen, pod, status, spec) for status, spec in _running(pod))), None)

    return link


def _creating(seen: Seen, pod: core.Pod) -> Finding | None:
    """The pod is on its node and nothing of it runs yet."""
    if any(status.state.waiting is None for status, _ in _running(pod)):
        return None
    if members.is_ready(pod) or (not pod.status.container_statuses and members.addresses(pod)):
        return None
    name = pod.metadata.name
    told = seen.told(pod, ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "NetworkNotReady"))
    why = f": {containers.tidy(told[0].message)}" if told else ""
    details: dict[str, Any] = {"node": pod.spec.node_name, "event": told[0].message if told else None}
    text = f"The containers of pod {name} are being created on {pod.spec.node_name}{containers.stop(why)}"
    return finding("ContainerCreating", text, pod=name, since=pod.status.start_time, details=details,
                   more=containers.often(seen, told[0]) if told else ())  # fmt: skip


def _gates(_: Seen, pod: core.Pod) -> Finding | None:
    name = pod.metadata.name
    for gate in pod.spec.readiness_gates:
        one = next((one for one in pod.status.conditions if one.type == gate.condition_type), None)
        if one is None:
            text = f"Pod {name} waits for its readiness gate {gate.condition_type}: nobody has set that condition yet."
            return finding("ReadinessGate", text, pod=name, details={"gate": gate.condition_type, "status": None})
        if one.status != "True":
            why = f": {containers.tidy(one.message or one.reason)}" if one.message or one.reason else ""
            text = f"Pod {name} waits for its readiness gate {gate.condition_type}, which is {one.status}"
            details = {"gate": gate.condition_type, "status": one.status, "reason": one.reason or None}
            return finding("ReadinessGate", text + containers.stop(why), pod=name, since=one.last_transition_time,
                           details=details)  # fmt: skip
    return None


def _condition(_: Seen, pod: core.Pod) -> Finding | None:
    """E18: nothing else is wrong, and still the condition does not say True."""
    if members.is_ready(pod):
        return None
    name = pod.metadata.name
    one = next((one for one in pod.status.conditions if one.type == "Ready"), None)
    if one is None:
        return finding("NotReady", f"Nobody has said yet whether pod {name} is ready: no Ready condition.", pod=name)
    why = f": {containers.tidy(one.message or one.reason)}" if one.message or one.reason else ""
    text = f"The Ready condition of pod {name} is {one.status}{containers.stop(why)}"
    return finding("NotReady", text, pod=name, since=one.last_transition_time, details={"reason": one.reason or None})


def _address(seen: Seen, pod: core.Pod) -> Finding | None:
    """E14, E21, L17."""
    name, own = pod.metadata.name, members.addresses(pod)
    if not own:
        return finding("NoAddress", f"Pod {name} has no IP address yet.", pod=name, since=pod.status.start_time)
    families = members.families(seen.service)
    if any(members.family_addresses(pod, family) for family in families):
        return None
    text = f"Pod {name} has the address {', '.join(own)}, but the Service is of family {', '.join(families)}."
    return finding("NoAddressOfFamily", text, pod=name, details={"addresses": list(own), "families": list(families)})


_LINKS: tuple[tuple[str, Callable[[Seen, core.Pod], Finding | None]], ...] = (
    ("phase", _phase),
    ("not being deleted", _terminating),
    ("scheduled", _scheduled),
    ("node", _node),
    ("init containers", _init),
    ("images", _of_each(containers.image)),
    ("containers can start", _of_each(containers.cannot_start)),
    ("containers run", _of_each(containers.ends)),
    ("containers created", _creating),
    ("startup probes", _probe(containers.startup)),
    ("readiness probes", _probe(containers.readiness)),
    ("readiness gates", _gates),
    ("Ready condition", _condition),
    ("address", _address),
)
