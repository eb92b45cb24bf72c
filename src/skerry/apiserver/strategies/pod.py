"""Pod: begins Pending with its QoS class, and takes its grace period to go (R14)."""

from __future__ import annotations

from typing import Any

from skerry.api import codec
from skerry.api.defaults.pod import admit
from skerry.api.qos import qos_class
from skerry.api.types import core
from skerry.api.validation import names
from skerry.apiserver.strategies.base import Context, Strategy


class PodStrategy(Strategy):
    """See the module."""

    def prepare_create(self, obj: Any, ctx: Context) -> None:
        super().prepare_create(obj, ctx)
        admit(obj)
        obj.status.phase = "Pending"
        obj.status.qos_class = _qos(obj)
        if obj.spec.scheduling_gates:
            obj.status.conditions = [_gated()]

    def prepare_update(self, new: Any, old: Any, subresource: str, ctx: Context) -> None:
        if subresource == "binding":
            return  # the server itself writes the node and the PodScheduled condition together
        if subresource == "ephemeralcontainers":
            wanted = new.spec.ephemeral_containers
            new.metadata.labels, new.metadata.annotations = old.metadata.labels, old.metadata.annotations
            new.metadata.finalizers = old.metadata.finalizers
            new.metadata.owner_references = old.metadata.owner_references
            new.spec, new.status = codec.copy(old.spec), codec.copy(old.status)
            new.spec.ephemeral_containers = wanted
            return
        super().prepare_update(new, old, subresource, ctx)
        new.status.qos_class = new.status.qos_class or old.status.qos_class

    def changes_generation(self, new: Any, old: Any) -> bool:
        """Being bound to a node is no change of what is wanted."""
        if new.spec.node_name == old.spec.node_name:
            return super().changes_generation(new, old)
        before = codec.copy(old)
        before.spec.node_name = new.spec.node_name
        return super().changes_generation(new, before)

    def warnings(self, new: Any, old: Any | None) -> list[str]:
        """On creation only: people seldom write to a pod later, and its status is written often."""
        return pod_warnings(new) if old is None else []

    def default_delete_grace(self, obj: Any) -> int:
        """R14: the spec's grace period; a pod on no node, or one that has ended, goes at once."""
        if not obj.spec.node_name or obj.status.phase in ("Succeeded", "Failed"):
            return 0
        seconds = obj.spec.termination_grace_period_seconds
        if seconds is None:
            return 30
        return 1 if seconds < 0 else seconds

    def field(self, obj: Any, path: str) -> str:
        if path == "status.podIP":
            return str(obj.status.pod_i_ps[0].ip if obj.status.pod_i_ps else obj.status.pod_ip)
        return super().field(obj, path)


def pod_warnings(obj: core.Pod) -> list[str]:
    """What is allowed and yet likely a mistake."""
    out: list[str] = []
    complaints = names.dns1123_label(obj.metadata.name)
    if complaints:
        what = "this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended"
        out.append(f"metadata.name: {what}: [{' '.join(complaints)}]")
    for name, group in (("containers", obj.spec.containers), ("initContainers", obj.spec.init_containers)):
        for i, container in enumerate(group):
            if len({one.name for one in container.env}) == len(container.env):
                continue
            seen: set[str] = set()
            for j, variable in enumerate(container.env):
                if variable.name in seen:
                    at = f"spec.{name}[{i}].env[{j}]"
                    out.append(
                        f'{at}: hides previous definition of "{variable.name}", which may be dropped when using apply'
                    )
                seen.add(variable.name)
    return out


def _qos(obj: Any) -> str:
    try:
        return qos_class(obj.spec)
    except ValueError:
        return "BestEffort"  # the checks that follow refuse the object


def _gated() -> core.PodCondition:
    return core.PodCondition(
        type="PodScheduled",
        status="False",
        reason="SchedulingGated",
        message="Scheduling is blocked due to non-empty scheduling gates",
    )
