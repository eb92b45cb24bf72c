"""What an object costs a ResourceQuota, and what one allows. Pure; called by apiserver/quota.py.

Amounts are exact and go by the names that `spec.hard` has: `pods`, `requests.cpu`, `count/deployments.apps`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from skerry.api import podresources, quantity
from skerry.api.qos import qos_class
from skerry.api.types import core

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Amounts = dict[str, Fraction]
_ONE = Fraction(1)
_BY_NAME = ("configmaps", "secrets", "replicationcontrollers", "resourcequotas")
"""Kinds that may be counted by their plural alone."""
CLASS = ".storageclass.storage.k8s.io/"
COMPUTE = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
"""What every container of a pod must say, if a quota has it."""
_ENDED = ("Succeeded", "Failed")
SCOPES = (
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
)


def counts(plural: str, group: str, names: Iterable[str]) -> bool:
    """Whether objects of this kind cost anything of what `names` say."""
    return any(kind_of(one) == (plural, group) for one in names)


def kind_of(name: str) -> tuple[str, str]:
    """The plural and the group of the kind that a name of `spec.hard` counts."""
    if name.startswith("count/"):
        plural, _, group = name[6:].partition(".")
        return plural, group
    if name in _BY_NAME:
        return name, ""
    if name.partition(".")[0] == "services":
        return "services", ""
    if name in ("persistentvolumeclaims", "requests.storage") or CLASS in name:
        return "persistentvolumeclaims", ""
    return "pods", ""


def usage(obj: Any, plural: str, group: str) -> Amounts:
    """All that an object costs, under every name for it."""
    out = {f"count/{plural}.{group}" if group else f"count/{plural}": _ONE}
    if group:
        return out
    if plural in _BY_NAME:
        out[plural] = _ONE
    elif isinstance(obj, core.Pod):
        out |= _pod(obj)
    elif isinstance(obj, core.Service):
        out |= _service(obj)
    elif isinstance(obj, core.PersistentVolumeClaim):
        out |= _claim(obj)
    return out


def _pod(pod: core.Pod) -> Amounts:
    """A pod that has ended costs nothing but its place in the store."""
    if pod.status.phase in _ENDED:
        return {}
    out = {"pods": _ONE}
    for name, number in podresources.requests(pod).items():
        if "/" not in name:
            out[name] = number
        out[f"requests.{name}"] = number
    for name, number in podresources.said_limits(pod).items():
        out[f"limits.{name}"] = number
    return out


def _service(obj: core.Service) -> Amounts:
    out, ports = {"services": _ONE}, obj.spec.ports
    if obj.spec.type == "NodePort":
        out["services.nodeports"] = Fraction(len(ports))
    elif obj.spec.type == "LoadBalancer":
        out["services.loadbalancers"] = _ONE
        given = obj.spec.allocate_load_balancer_node_ports is not False
        out["services.nodeports"] = Fraction(len(ports) if given else sum(1 for one in ports if one.node_port))
    return out


def _claim(obj: core.PersistentVolumeClaim) -> Amounts:
    out, asked = {"persistentvolumeclaims": _ONE}, obj.spec.resources.requests.get("storage", "0")
    out["requests.storage"] = quantity.parse(asked)
    if obj.spec.storage_class_name:
        prefix = f"{obj.spec.storage_class_name}{CLASS}"
        out |= {f"{prefix}{name}": number for name, number in list(out.items())}
    return out


def covers(spec: core.ResourceQuotaSpec, obj: Any) -> bool:
    """Whether the scopes of a quota let an object in. Those that there are speak of pods."""
    wanted = [(one, "Exists", list[str]()) for one in spec.scopes]
    if spec.scope_selector is not None:
        wanted += [(one.scope_name, one.operator, one.values) for one in spec.scope_selector.match_expressions]
    if not wanted:
        return True
    return isinstance(obj, core.Pod) and all(_in_scope(obj, *one) for one in wanted)


def _in_scope(pod: core.Pod, scope: str, operator: str, values: list[str]) -> bool:
    match scope:
        case "Terminating" | "NotTerminating":
            return (pod.spec.active_deadline_seconds is not None) == (scope == "Terminating")
        case "BestEffort" | "NotBestEffort":
            return (qos_class(pod.spec) == "BestEffort") == (scope == "BestEffort")
        case "PriorityClass":
            name = pod.spec.priority_class_name
            return {
                "Exists": bool(name),
                "DoesNotExist": not name,
                "In": name in values,
                "NotIn": name not in values,
            }.get(operator, False)
        case "CrossNamespacePodAffinity":
            return _looks_elsewhere(pod)
    return False


def _looks_elsewhere(pod: core.Pod) -> bool:
    affinity = pod.spec.affinity
    for one in (affinity.pod_affinity, affinity.pod_anti_affinity) if affinity is not None else ():
        if one is None:
            continue
        terms = [
            *one.required_during_scheduling_ignored_during_execution,
            *(each.pod_affinity_term for each in one.preferred_during_scheduling_ignored_during_execution),
        ]
        if any(each.namespaces or each.namespace_selector is not None for each in terms):
            return True
    return False


def unsaid(pod: core.Pod, hard: Iterable[str]) -> str:
    """What containers must say because a quota has it, as upstream's sentence; "" if they do."""
    own = pod.spec.resources
    missing: dict[str, list[str]] = {}
    for name in sorted(one for one in hard if one in COMPUTE):
        kind, _, resource = name.rpartition(".")
        part = kind or "requests"
        if own is not None and resource in getattr(own, part):
            continue
        for container in pod.spec.containers:
            if resource not in getattr(container.resources, part):
                missing.setdefault(name, []).append(container.name)
    said = "; ".join(f"{name} for: {','.join(sorted(containers))}" for name, containers in missing.items())
    return f"must specify {said}" if said else ""


def text(name: str, value: Fraction) -> str:
    """An amount as quotas show it: bytes in units of 1024 where that is exact."""
    if value.denominator == 1 and value and value % 1024 == 0 and name.rpartition(".")[2] != "cpu":
        return quantity.canonical(f"{int(value) // 1024}Ki")
    return quantity.canonical(f"{int(value * 10**9)}n")


class Account:
    """What counts against one quota, kept by change. `used` has every name of `spec.hard`."""

    def __init__(self, spec: core.ResourceQuotaSpec) -> None:
        self.spec = spec
        self.hard = {name: quantity.parse(value) for name, value in spec.hard.items()}
        self.used: Amounts = dict.fromkeys(self.hard, Fraction())
        self._objects: dict[str, Amounts] = {}

    def cost(self, obj: Any, plural: str, group: str) -> Amounts:
        """What an object costs of what this quota limits."""
        if not counts(plural, group, self.hard) or not covers(self.spec, obj):
            return {}
        return {name: number for name, number in usage(obj, plural, group).items() if name in self.hard and number}

    def put(self, key: str, cost: Mapping[str, Fraction]) -> None:
        """An object costs this from now on; nothing when it is gone."""
        for name, number in self._objects.pop(key, {}).items():
            self.used[name] -= number
        if cost:
            self._objects[key] = dict(cost)
            for name, number in cost.items():
                self.used[name] += number

    def costs(self, key: str) -> Amounts:
        """What an object costs now."""
        return self._objects.get(key, {})

    def drop(self, prefix: str) -> None:
        """Forgets all objects with keys that begin so."""
        for key in [key for key in self._objects if key.startswith(prefix)]:
            self.put(key, {})

    def refusal(self, name: str, more: Mapping[str, Fraction]) -> str:
        """Why `more` is too much, in upstream's words; "" if there is room."""
        over = sorted(one for one, number in more.items() if number > 0 and self.used[one] + number > self.hard[one])
        if not over:
            return ""

        def shown(values: Mapping[str, Fraction]) -> str:
            return ",".join(f"{one}={text(one, values[one])}" for one in over)

        limited = ",".join(f"{one}={self.spec.hard[one]}" for one in over)
        return f"exceeded quota: {name}, requested: {shown(more)}, used: {shown(self.used)}, limited: {limited}"
