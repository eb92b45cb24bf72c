"""Defaults of kinds that need few words."""

from __future__ import annotations

from skerry.api.types import core, networking, scheduling

NAME_LABEL = "kubernetes.io/metadata.name"


def secret(obj: core.Secret) -> None:
    obj.type = obj.type or "Opaque"


def namespace(obj: core.Namespace) -> None:
    # The label carries the name, whatever a client says; a generated name is not known yet.
    if obj.metadata.name:
        obj.metadata.labels[NAME_LABEL] = obj.metadata.name
    obj.status.phase = obj.status.phase or "Active"


def node(obj: core.Node) -> None:
    if not obj.status.allocatable and obj.status.capacity:
        obj.status.allocatable = dict(obj.status.capacity)
    if obj.spec.pod_cidr and obj.spec.pod_cid_rs[:1] != [obj.spec.pod_cidr]:
        obj.spec.pod_cid_rs = [obj.spec.pod_cidr]
    elif obj.spec.pod_cid_rs and not obj.spec.pod_cidr:
        obj.spec.pod_cidr = obj.spec.pod_cid_rs[0]


def ingressclass(obj: networking.IngressClass) -> None:
    if obj.spec.parameters is not None and obj.spec.parameters.scope is None:
        obj.spec.parameters.scope = "Cluster"


def priorityclass(obj: scheduling.PriorityClass) -> None:
    if obj.preemption_policy is None:
        obj.preemption_policy = "PreemptLowerPriority"
