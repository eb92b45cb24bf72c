"""Node (T11), Namespace (T12), Event (T13), Lease and Acknowledgement."""

from __future__ import annotations

from typing import Any

from skerry.api.tables.column import AGE, NAME, NONE, column
from skerry.api.tables.duration import since
from skerry.api.types import coordination, core, skerry

NODE_COLUMNS = (
    NAME,
    column("Status", "Whether the node takes part."),
    column("Roles", "What the node is for."),
    AGE,
    column("Version", "Version of the node agent."),
    column("Internal-IP", "Address inside the cluster.", wide=True),
    column("External-IP", "Address outside the cluster.", wide=True),
    column("OS-Image", "Operating system of the node.", wide=True),
    column("Kernel-Version", "Kernel of the node.", wide=True),
    column("Container-Runtime", "What runs containers on the node, and its version.", wide=True),
)
_ROLE_PREFIX, _ROLE = "node-role.kubernetes.io/", "kubernetes.io/role"


def _node_status(obj: core.Node) -> str:
    status = "Unknown"
    for one in obj.status.conditions:
        if one.type == "Ready":
            status = "Ready" if one.status == "True" else "NotReady"
    return f"{status},SchedulingDisabled" if obj.spec.unschedulable else status


def _roles(labels: dict[str, str]) -> str:
    found = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    found.add(labels.get(_ROLE, ""))
    return ",".join(sorted(found - {""})) or NONE


def _address(obj: core.Node, kind: str) -> str:
    return next((one.address for one in obj.status.addresses if one.type == kind), NONE)


def node_cells(obj: core.Node, now: float) -> list[Any]:
    info = obj.status.node_info
    return [
        obj.metadata.name,
        _node_status(obj),
        _roles(obj.metadata.labels),
        since(obj.metadata.creation_timestamp, now),
        info.kubelet_version,
        _address(obj, "InternalIP"),
        _address(obj, "ExternalIP"),
        info.os_image or "<unknown>",
        info.kernel_version or "<unknown>",
        info.container_runtime_version or "<unknown>",
    ]


NAMESPACE_COLUMNS = (NAME, column("Status", "Active, or Terminating while its content goes."), AGE)


def namespace_cells(obj: core.Namespace, now: float) -> list[Any]:
    return [obj.metadata.name, obj.status.phase, since(obj.metadata.creation_timestamp, now)]


EVENT_COLUMNS = (
    column("Last Seen", "When it was seen last."),
    column("Type", "Normal or Warning."),
    column("Reason", "Why it was recorded, in one word."),
    column("Object", "What it is about."),
    column("Subobject", "Which part of it.", wide=True),
    column("Source", "Who recorded it.", wide=True),
    column("Message", "What happened."),
    column("First Seen", "When it was seen first.", wide=True),
    column("Count", "How often it was seen.", wide=True),
    column("Name", "The event's own name.", format="name", wide=True),
)


def _source(obj: core.Event) -> str:
    named = obj.source.component or obj.reporting_component
    where = obj.source.host if obj.source.component else obj.reporting_instance
    return f"{named}, {where}" if where else named


def event_cells(obj: core.Event, now: float) -> list[Any]:
    seen = since(obj.first_timestamp or obj.event_time, now)
    last = since(obj.last_timestamp, now) if obj.last_timestamp else seen
    count = obj.count or 1
    if obj.series is not None:
        last, count = since(obj.series.last_observed_time, now), obj.series.count
    target = obj.involved_object.kind.lower()
    if obj.involved_object.name:
        target += f"/{obj.involved_object.name}"
    return [
        last,
        obj.type,
        obj.reason,
        target,
        obj.involved_object.field_path,
        _source(obj),
        obj.message.strip(),
        seen,
        count,
        obj.metadata.name,
    ]


LEASE_COLUMNS = (NAME, column("Holder", "Who holds it now."), AGE)


def lease_cells(obj: coordination.Lease, now: float) -> list[Any]:
    return [obj.metadata.name, obj.spec.holder_identity or "", since(obj.metadata.creation_timestamp, now)]


ACKNOWLEDGEMENT_COLUMNS = (
    NAME,
    column("Node", "The node that this is about."),
    column("Component", "What of the node has applied it."),
    column("Revision", "The newest revision of EndpointSlices that is applied.", type="integer"),
    column("Services", "The newest revision of Services that is applied.", type="integer", wide=True),
    AGE,
)


def acknowledgement_cells(obj: skerry.Acknowledgement, now: float) -> list[Any]:
    return [
        obj.metadata.name,
        obj.spec.node_name,
        obj.spec.component,
        obj.status.applied_revision,
        obj.status.applied_service_revision,
        since(obj.metadata.creation_timestamp, now),
    ]
