"""NetworkPolicy, HorizontalPodAutoscaler, RuntimeClass, ServiceCIDR and IPAddress."""

from __future__ import annotations

from typing import Any

from skerry.api.tables.column import AGE, NAME, NONE, UNSET, column, selector
from skerry.api.tables.duration import since
from skerry.api.types import autoscalingv2, networking, node

NETWORKPOLICY_COLUMNS = (NAME, column("Pod-Selector", "The pods that it is about."), AGE)
HORIZONTALPODAUTOSCALER_COLUMNS = (
    NAME,
    column("Reference", "What it scales."),
    column("Targets", "What is measured, and what it should be."),
    column("MinPods", "The fewest pods."),
    column("MaxPods", "The most pods."),
    column("Replicas", "How many there are."),
    AGE,
)
RUNTIMECLASS_COLUMNS = (NAME, column("Handler", "What runs the pods."), AGE)
SERVICECIDR_COLUMNS = (NAME, column("CIDRs", "Where addresses of Services are from."), AGE)
IPADDRESS_COLUMNS = (NAME, column("ParentRef", "Whose it is."), AGE)
_SHOWN = 2


def networkpolicy_cells(obj: networking.NetworkPolicy, now: float) -> list[Any]:
    chosen = selector(obj.spec.pod_selector)
    return [obj.metadata.name, chosen, since(obj.metadata.creation_timestamp, now)]


def horizontalpodautoscaler_cells(obj: autoscalingv2.HorizontalPodAutoscaler, now: float) -> list[Any]:
    ref = obj.spec.scale_target_ref
    targets = [_target(one) for one in obj.spec.metrics]
    shown = ", ".join(targets[:_SHOWN]) or "<none>"
    if len(targets) > _SHOWN:
        shown += f" + {len(targets) - _SHOWN} more..."
    least = obj.spec.min_replicas
    return [
        obj.metadata.name,
        f"{ref.kind}/{ref.name}",
        shown,
        UNSET if least is None else str(least),
        obj.spec.max_replicas,
        obj.status.current_replicas or 0,
        since(obj.metadata.creation_timestamp, now),
    ]


def _target(one: autoscalingv2.MetricSpec) -> str:
    """Nothing is ever measured."""
    resource = one.resource or one.container_resource
    if resource is not None:
        target = resource.target
        wanted = f"{target.average_utilization}%" if target.average_utilization is not None else target.average_value
        return f"{resource.name}: <unknown>/{wanted or target.value}"
    other = one.pods or one.object or one.external
    if other is None:
        return "<unknown type>"
    return f"<unknown>/{other.target.average_value or other.target.value}"


def runtimeclass_cells(obj: node.RuntimeClass, now: float) -> list[Any]:
    return [obj.metadata.name, obj.handler, since(obj.metadata.creation_timestamp, now)]


def servicecidr_cells(obj: networking.ServiceCIDR, now: float) -> list[Any]:
    return [obj.metadata.name, ",".join(obj.spec.cidrs), since(obj.metadata.creation_timestamp, now)]


def ipaddress_cells(obj: networking.IPAddress, now: float) -> list[Any]:
    ref, whose = obj.spec.parent_ref, NONE
    if ref is not None:
        kind = f"{ref.resource}.{ref.group}" if ref.group else ref.resource
        whose = "/".join(filter(None, (kind, ref.namespace, ref.name)))
    return [obj.metadata.name, whose, since(obj.metadata.creation_timestamp, now)]
