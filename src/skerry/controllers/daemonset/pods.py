"""The pods of a DaemonSet: what they tolerate, where they belong, which nodes should have one. Pure.

Called by `decide`. The scheduler binds the pods, as any other: each is tied to its node by required node affinity.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from skerry.api import nodefit
from skerry.api.types import apps, core, meta
from skerry.controllers import owners, revisions
from skerry.controllers.tolerations import tolerates

_NAME_FIELD = "metadata.name"
_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_ON_THE_HOST = ("node.kubernetes.io/network-unavailable", "NoSchedule")


def tolerations(spec: core.PodSpec) -> list[core.Toleration]:
    """What is written in the template, and that a node's troubles do not matter."""
    out = list(spec.tolerations)
    for key, effect in (*_TOLERATED, *([_ON_THE_HOST] if spec.host_network else [])):
        wanted = core.Toleration(key=key, operator="Exists", effect=effect)
        same = [one for one in out if (one.key, one.operator, one.value, one.effect) == (key, "Exists", "", effect)]
        if same:
            out = [wanted if one is same[0] else one for one in out]
        else:
            out.append(wanted)
    return out


def new_pod(daemonset: apps.DaemonSet, node: str, digest: str) -> core.Pod:
    """A pod for this node, of the present template, named by the server."""
    template = daemonset.spec.template
    return core.Pod(
        metadata=meta.ObjectMeta(
            generate_name=f"{daemonset.metadata.name}-",
            namespace=daemonset.metadata.namespace,
            labels={**template.metadata.labels, revisions.HASH_LABEL: digest},
            annotations=template.metadata.annotations,
            finalizers=template.metadata.finalizers,
            owner_references=[owners.reference(daemonset)],
        ),
        spec=msgspec.structs.replace(
            template.spec, tolerations=tolerations(template.spec), affinity=_tied(template.spec.affinity, node)
        ),
    )


def _tied(affinity: core.Affinity | None, node: str) -> core.Affinity:
    """The affinity with every required term narrowed to one node."""
    field = core.NodeSelectorRequirement(key=_NAME_FIELD, operator="In", values=[node])
    known = affinity.node_affinity if affinity is not None else None
    required = known.required_during_scheduling_ignored_during_execution if known is not None else None
    terms = required.node_selector_terms if required is not None else []
    tied = [msgspec.structs.replace(one, match_fields=[field]) for one in terms]
    selector = core.NodeSelector(node_selector_terms=tied or [core.NodeSelectorTerm(match_fields=[field])])
    wanted = msgspec.structs.replace(
        known or core.NodeAffinity(), required_during_scheduling_ignored_during_execution=selector
    )
    return msgspec.structs.replace(affinity or core.Affinity(), node_affinity=wanted)


def node_of(pod: core.Pod) -> str:
    """The node that a pod is on or is meant for, "" if that cannot be told."""
    if pod.spec.node_name:
        return pod.spec.node_name
    selector = nodefit.required(pod)
    for term in selector.node_selector_terms if selector is not None else ():
        for one in term.match_fields:
            if one.key == _NAME_FIELD and one.operator == "In" and len(one.values) == 1:
                return one.values[0]
    return ""


def belongs(daemonset: apps.DaemonSet, node: core.Node) -> tuple[bool, bool]:
    """(whether the node should have a pod, whether one that it has may stay)."""
    template = core.Pod(spec=daemonset.spec.template.spec)
    name = node.metadata.name
    if template.spec.node_name not in ("", name) or not nodefit.matches(template, name, node.metadata.labels):
        return False, False
    known = tolerations(template.spec)
    refusing = [one for one in node.spec.taints if one.effect in ("NoSchedule", "NoExecute")]
    untolerated = [taint for taint in refusing if not any(tolerates(one, taint) for one in known)]
    if untolerated:
        return False, all(one.effect != "NoExecute" for one in untolerated)
    return True, True


def by_node(pods: Iterable[core.Pod]) -> dict[str, list[core.Pod]]:
    """The pods of each node, the oldest first."""
    out: dict[str, list[core.Pod]] = {}
    for one in sorted(pods, key=lambda one: (one.metadata.creation_timestamp or "", one.metadata.name)):
        name = node_of(one)
        if name:
            out.setdefault(name, []).append(one)
    return out
