"""Checks of what a pod says about where it may run: selectors, affinity, tolerations, spreading."""

from __future__ import annotations

from collections.abc import Sequence

from skerry.api.status import (
    FieldError,
    field_duplicate,
    field_forbidden,
    field_invalid,
    field_not_supported,
    field_required,
)
from skerry.api.types import core
from skerry.api.validation import meta, names
from skerry.api.validation.cluster import EFFECTS
from skerry.api.validation.errors import checked, shown

_WEIGHT = "must be in the range 1-100"


def scheduling(spec: core.PodSpec, path: str) -> list[FieldError]:
    """Everything of a pod spec that the scheduler reads."""
    out = meta.labels(f"{path}.nodeSelector", spec.node_selector)
    if spec.affinity is not None:
        out += _affinity(spec.affinity, f"{path}.affinity")
    out += tolerations(spec.tolerations, f"{path}.tolerations")
    for i, one in enumerate(spec.topology_spread_constraints):
        out += _spread(one, f"{path}.topologySpreadConstraints[{i}]")
    seen: set[str] = set()
    for i, gate in enumerate(spec.scheduling_gates):
        out += checked(f"{path}.schedulingGates[{i}]", gate.name, names.qualified_name)
        if gate.name in seen:
            out.append(field_duplicate(f"{path}.schedulingGates[{i}]", gate.name))
        seen.add(gate.name)
    return out


def tolerations(values: Sequence[core.Toleration], path: str) -> list[FieldError]:
    """Each toleration for itself."""
    out: list[FieldError] = []
    for i, one in enumerate(values):
        at = f"{path}[{i}]"
        if one.key:
            out += checked(f"{at}.key", one.key, names.qualified_name)
        elif one.operator != "Exists":
            why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            out.append(field_invalid(f"{at}.operator", one.operator, why))
        if one.toleration_seconds is not None and one.effect != "NoExecute":
            why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            out.append(field_invalid(f"{at}.effect", one.effect, why))
        match one.operator:
            case "" | "Equal":
                complaints = names.label_value(one.value)
                if complaints:
                    out.append(field_invalid(f"{at}.operator", one.value, ";".join(complaints)))
            case "Exists":
                if one.value:
                    why = "value must be empty when `operator` is 'Exists'"
                    out.append(field_invalid(f"{at}.operator", shown(one), why))
            case _:
                out.append(field_not_supported(f"{at}.operator", one.operator, ("Equal", "Exists")))
        if one.effect and one.effect not in EFFECTS:
            out.append(field_not_supported(f"{at}.effect", one.effect, EFFECTS))
    return out


def _affinity(one: core.Affinity, path: str) -> list[FieldError]:
    out: list[FieldError] = []
    if one.node_affinity is not None:
        out += _node_affinity(one.node_affinity, f"{path}.nodeAffinity")
    for name, pods in (("podAffinity", one.pod_affinity), ("podAntiAffinity", one.pod_anti_affinity)):
        if pods is None:
            continue
        at = f"{path}.{name}"
        for i, term in enumerate(pods.required_during_scheduling_ignored_during_execution):
            out += _pod_term(term, f"{at}.requiredDuringSchedulingIgnoredDuringExecution[{i}]")
        for i, weighted in enumerate(pods.preferred_during_scheduling_ignored_during_execution):
            here = f"{at}.preferredDuringSchedulingIgnoredDuringExecution[{i}]"
            if not 1 <= weighted.weight <= 100:
                out.append(field_invalid(f"{here}.weight", weighted.weight, _WEIGHT))
            out += _pod_term(weighted.pod_affinity_term, f"{here}.podAffinityTerm")
    return out


def _node_affinity(one: core.NodeAffinity, path: str) -> list[FieldError]:
    out: list[FieldError] = []
    hard = one.required_during_scheduling_ignored_during_execution
    if hard is not None:
        at = f"{path}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
        if not hard.node_selector_terms:
            out.append(field_required(at, "must have at least one node selector term"))
        for i, term in enumerate(hard.node_selector_terms):
            out += _node_term(term, f"{at}[{i}]")
    for i, soft in enumerate(one.preferred_during_scheduling_ignored_during_execution):
        at = f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{i}]"
        if not 1 <= soft.weight <= 100:
            out.append(field_invalid(f"{at}.weight", soft.weight, _WEIGHT))
        out += _node_term(soft.preference, f"{at}.preference")
    return out


def _node_term(term: core.NodeSelectorTerm, path: str) -> list[FieldError]:
    out: list[FieldError] = []
    for i, one in enumerate(term.match_expressions):
        at = f"{path}.matchExpressions[{i}]"
        out += _requirement(one, at)
        out += checked(f"{at}.key", one.key, names.qualified_name)
    for i, one in enumerate(term.match_fields):
        at = f"{path}.matchFields[{i}]"
        if one.operator not in ("In", "NotIn"):
            out.append(field_invalid(f"{at}.operator", one.operator, "not a valid selector operator"))
        elif len(one.values) != 1:
            why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            out.append(field_required(f"{at}.values", why))
        if one.key != "metadata.name":
            out.append(field_invalid(f"{at}.key", one.key, "not a valid field selector key"))
    return out


def _requirement(one: core.NodeSelectorRequirement, path: str) -> list[FieldError]:
    match one.operator:
        case "In" | "NotIn":
            if not one.values:
                return [field_required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")]
        case "Exists" | "DoesNotExist":
            if one.values:
                why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                return [field_forbidden(f"{path}.values", why)]
        case "Gt" | "Lt":
            if len(one.values) != 1:
                why = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                return [field_required(f"{path}.values", why)]
        case _:
            return [field_invalid(f"{path}.operator", one.operator, "not a valid selector operator")]
    return []


def _pod_term(one: core.PodAffinityTerm, path: str) -> list[FieldError]:
    out = meta.label_selector(f"{path}.labelSelector", one.label_selector)
    out += meta.label_selector(f"{path}.namespaceSelector", one.namespace_selector)
    for i, namespace in enumerate(one.namespaces):
        out += checked(f"{path}.namespace[{i}]", namespace, names.dns1123_label)
    if not one.topology_key:
        out.append(field_required(f"{path}.topologyKey", "can not be empty"))
    return out + checked(f"{path}.topologyKey", one.topology_key, names.qualified_name)


def _spread(one: core.TopologySpreadConstraint, path: str) -> list[FieldError]:
    out: list[FieldError] = []
    if one.max_skew <= 0:
        out.append(field_invalid(f"{path}.maxSkew", one.max_skew, "must be greater than zero"))
    if not one.topology_key:
        out.append(field_required(f"{path}.topologyKey", "can not be empty"))
    else:
        out += checked(f"{path}.topologyKey", one.topology_key, names.qualified_name)
    allowed = ("DoNotSchedule", "ScheduleAnyway")
    if one.when_unsatisfiable not in allowed:
        out.append(field_not_supported(f"{path}.whenUnsatisfiable", one.when_unsatisfiable, allowed))
    if one.min_domains is not None and one.min_domains <= 0:
        out.append(field_invalid(f"{path}.minDomains", one.min_domains, "must be greater than zero"))
    return out + meta.label_selector(f"{path}.labelSelector", one.label_selector)
