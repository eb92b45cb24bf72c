"""Checks of Namespace, Node, Lease, Acknowledgement and Event."""

from __future__ import annotations

from skerry.api import quantity
from skerry.api.status import FieldError, field_duplicate, field_forbidden, field_invalid, field_required
from skerry.api.types import coordination, core, skerry
from skerry.api.validation import ip, meta, names
from skerry.api.validation.errors import checked, one_of, shown

EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")


def finalizer(path: str, value: str) -> list[FieldError]:
    """A qualified name with a prefix, or one of the few words that stand alone."""
    return checked(path, value, names.qualified_name) or meta.prefixed(path, value)


def create_namespace(obj: core.Namespace) -> list[FieldError]:
    """A new Namespace."""
    return [one for i, value in enumerate(obj.spec.finalizers) for one in finalizer(f"spec.finalizers[{i}]", value)]


def update_namespace(new: core.Namespace, old: core.Namespace) -> list[FieldError]:  # noqa: ARG001
    """A Namespace that exists."""
    return create_namespace(new)


def create_node(obj: core.Node) -> list[FieldError]:
    """A new Node."""
    out = taints("metadata.taints", obj.spec.taints)  # upstream's path
    cidrs = obj.spec.pod_cid_rs
    for i, text in enumerate(cidrs):
        out += ip.cidr(f"spec.podCIDRs[{i}]", text)
        if text in cidrs[:i]:
            out.append(field_duplicate(f"spec.podCIDRs[{i}]", text))
    if len(cidrs) > 2 or (len(cidrs) == 2 and len({":" in one for one in cidrs}) == 1):
        why = "may specify no more than one CIDR for each IP family"
        out.append(field_invalid("spec.podCIDRs", cidrs, why))
    for field, values in (("capacity", obj.status.capacity), ("allocatable", obj.status.allocatable)):
        for name, text in values.items():
            if not quantity.valid(text):
                out.append(field_invalid(f"status.{field}.{name}", text, quantity.SAYS))
    return out


def update_node(new: core.Node, old: core.Node) -> list[FieldError]:
    """A Node that exists; once it has an address range and a provider's id, they stay."""
    out: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for i, one in enumerate(new.status.addresses):
        if (one.type, one.address) in seen:
            out.append(field_duplicate(f"status.addresses[{i}]", shown(one)))
        seen.add((one.type, one.address))
    if old.spec.pod_cid_rs and new.spec.pod_cid_rs != old.spec.pod_cid_rs:
        out.append(field_forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid'))
    if old.spec.provider_id and new.spec.provider_id != old.spec.provider_id:
        why = 'node updates may not change providerID except from "" to valid'
        out.append(field_forbidden("spec.providerID", why))
    return out + create_node(new)


def taints(path: str, values: list[core.Taint]) -> list[FieldError]:
    """Keys, values and effects of taints; each (key, effect) once."""
    out: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for i, one in enumerate(values):
        at = f"{path}[{i}]"
        out += checked(f"{at}.key", one.key, names.qualified_name)
        complaints = names.label_value(one.value)
        if complaints:
            out.append(field_invalid(f"{at}.value", one.value, ";".join(complaints)))
        out += one_of(f"{at}.effect", one.effect, EFFECTS) if one.effect else [field_required(f"{at}.effect")]
        if (one.key, one.effect) in seen:
            why = "taints must be unique by key and effect pair"
            out.append(FieldError("FieldValueDuplicate", at, why, shown(one)))
        seen.add((one.key, one.effect))
    return out


def create_lease(obj: coordination.Lease) -> list[FieldError]:
    """A new Lease."""
    spec, out = obj.spec, list[FieldError]()
    if spec.lease_duration_seconds is not None and spec.lease_duration_seconds <= 0:
        out.append(field_invalid("spec.leaseDurationSeconds", spec.lease_duration_seconds, "must be greater than 0"))
    if spec.lease_transitions is not None and spec.lease_transitions < 0:
        why = "must be greater than or equal to 0"
        out.append(field_invalid("spec.leaseTransitions", spec.lease_transitions, why))
    if spec.preferred_holder and not spec.strategy:
        out.append(field_forbidden("spec.preferredHolder", "may only be specified when `strategy` is defined"))
    return out


def update_lease(new: coordination.Lease, old: coordination.Lease) -> list[FieldError]:  # noqa: ARG001
    """A Lease that exists."""
    return create_lease(new)


def create_acknowledgement(obj: skerry.Acknowledgement) -> list[FieldError]:
    """A new Acknowledgement: its name says whose it is."""
    spec, status, out = obj.spec, obj.status, list[FieldError]()
    for at, value in (("spec.nodeName", spec.node_name), ("spec.component", spec.component)):
        out += checked(at, value, names.dns1123_subdomain) if value else [field_required(at)]
    if not out and obj.metadata.name != f"{spec.node_name}.{spec.component}":
        why = f'must be "{spec.node_name}.{spec.component}": the node and the component'
        out.append(field_invalid("metadata.name", obj.metadata.name, why))
    for at, number in (
        ("status.appliedRevision", status.applied_revision),
        ("status.appliedServiceRevision", status.applied_service_revision),
    ):
        if number < 0:
            out.append(field_invalid(at, number, "must be greater than or equal to 0"))
    return out


def update_acknowledgement(new: skerry.Acknowledgement, old: skerry.Acknowledgement) -> list[FieldError]:  # noqa: ARG001
    """An Acknowledgement that exists. Its name, which never changes, says whose it is."""
    return create_acknowledgement(new)


def create_event(obj: core.Event) -> list[FieldError]:
    """A new Event: about an object of its own namespace, or about one of none (then in `default`)."""
    about, namespace = obj.involved_object.namespace, obj.metadata.namespace
    if about == namespace or (not about and namespace in ("default", "kube-system")):
        return []
    return [field_invalid("involvedObject.namespace", about, "does not match event.namespace")]


def update_event(new: core.Event, old: core.Event) -> list[FieldError]:  # noqa: ARG001
    """An Event that exists."""
    return create_event(new)
