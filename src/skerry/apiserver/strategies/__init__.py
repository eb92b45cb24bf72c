"""Per-kind behaviour of the API server, without I/O: `of(resource)` gives a kind's hooks (see base.Strategy).

Called by the server's verbs and by whatever selects by fields.
"""

from __future__ import annotations

import functools
import importlib

from skerry.api.custom import CustomResource, with_row
from skerry.api.resources import Resource
from skerry.apiserver.strategies.allocator import ServiceAllocator
from skerry.apiserver.strategies.base import Context, Strategy, Transaction

__all__ = ["Context", "ServiceAllocator", "Strategy", "Transaction", "of"]

_OWN = {
    "Service": ("service", "ServiceStrategy"),
    "Pod": ("pod", "PodStrategy"),
    "Endpoints": ("endpoints", "EndpointsStrategy"),
    "EndpointSlice": ("endpoints", "EndpointSliceStrategy"),
    "Namespace": ("cluster", "NamespaceStrategy"),
    "Node": ("cluster", "NodeStrategy"),
    "Event": ("cluster", "EventStrategy"),
    "Secret": ("cluster", "SecretStrategy"),
    "Deployment": ("workloads", "DeploymentStrategy"),
    "ReplicaSet": ("workloads", "ReplicaSetStrategy"),
    "StatefulSet": ("workloads", "StatefulSetStrategy"),
    "DaemonSet": ("workloads", "DaemonSetStrategy"),
    "Job": ("batch", "JobStrategy"),
    "CronJob": ("batch", "CronJobStrategy"),
    "PersistentVolume": ("storage", "PersistentVolumeStrategy"),
    "PersistentVolumeClaim": ("storage", "PersistentVolumeClaimStrategy"),
    "ServiceCIDR": ("cluster", "ServiceCIDRStrategy"),
    "IPAddress": ("cluster", "IPAddressStrategy"),
    "Ingress": ("cluster", "IngressStrategy"),
    "CustomResourceDefinition": ("definitions", "DefinitionStrategy"),
}


def of(resource: Resource) -> Strategy:
    """The hooks of a kind."""
    return _custom(resource) if isinstance(resource, CustomResource) else _built_in(resource)


@with_row
def _custom(resource: CustomResource) -> Strategy:
    made: type[Strategy] = importlib.import_module("skerry.apiserver.custom.strategy").CustomStrategy
    return made(resource)


@functools.cache
def _built_in(resource: Resource) -> Strategy:
    module, name = _OWN.get(resource.kind, ("base", "Strategy"))
    made: type[Strategy] = getattr(importlib.import_module(f"skerry.apiserver.strategies.{module}"), name)
    return made(resource)
