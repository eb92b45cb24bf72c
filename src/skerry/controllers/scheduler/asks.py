"""What a pod asks of the node it gets, worked out once per pod. Pure; called by `books`, `controller` and tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from skerry.api import labels, nodefit, podresources
from skerry.api.nodefit import Port
from skerry.api.podresources import Whole
from skerry.api.types import core, meta
from skerry.controllers import owners

Namespaces = Mapping[str, Mapping[str, str]]  # a namespace's labels by its name

_AT_LEAST = {"cpu": "100m", "memory": "200Mi"}  # what a container that asks for nothing is taken to use when scoring


@dataclass(frozen=True, slots=True)
class Term:
    """One (anti-)affinity term: other pods, and the label of nodes that says what "near" is."""

    topology: str
    selector: labels.Selector
    namespaces: frozenset[str]
    namespace_selector: labels.Selector
    weight: int = 0

    def means(self, other: Kind, namespaces: Namespaces) -> bool:
        """Whether such a pod is meant."""
        near = other.namespace in self.namespaces or (
            self.namespace_selector.matches(namespaces.get(other.namespace, {}))
        )
        return near and self.selector.matches(other.labels)


@dataclass(frozen=True, slots=True)
class Spread:
    """One topology spread constraint."""

    topology: str
    skew: int
    selector: labels.Selector
    hard: bool
    domains: int = 1
    honours_affinity: bool = True
    honours_taints: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """What other pods see of a pod. Most pods of a controller are of one kind and are looked at together."""

    namespace: str
    marks: tuple[tuple[str, str], ...]
    terminating: bool
    affinity: tuple[Term, ...] = ()
    anti: tuple[Term, ...] = ()
    likes: tuple[Term, ...] = ()
    dislikes: tuple[Term, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def looks_at_pods(self) -> bool:
        """Whether it has any pod affinity or anti-affinity."""
        return bool(self.affinity or self.anti or self.likes or self.dislikes)


@dataclass(slots=True, eq=False)
class Ask:
    """A pod as the scheduler sees it. `owner`: its controller's uid, "" for none and for pods that are going."""

    pod: core.Pod
    key: str
    uid: str
    kind: Kind
    priority: int
    amounts: Whole
    likely: Whole
    ports: frozenset[Port]
    owner: str
    spreads: tuple[Spread, ...] = ()


def ask(pod: core.Pod) -> Ask:
    """Reads a pod. Selectors that the API would refuse select nothing."""
    terminating = pod.metadata.deletion_timestamp is not None
    wants = pod.spec.affinity
    near = wants.pod_affinity if wants else None
    far = wants.pod_anti_affinity if wants else None
    return Ask(
        pod=pod,
        key=f"{pod.metadata.namespace}/{pod.metadata.name}",
        uid=pod.metadata.uid,
        kind=Kind(
            namespace=pod.metadata.namespace,
            marks=tuple(sorted(pod.metadata.labels.items())),
            terminating=terminating,
            affinity=_terms(pod, near.required_during_scheduling_ignored_during_execution) if near else (),
            anti=_terms(pod, far.required_during_scheduling_ignored_during_execution) if far else (),
            likes=_weighted(pod, near.preferred_during_scheduling_ignored_during_execution) if near else (),
            dislikes=_weighted(pod, far.preferred_during_scheduling_ignored_during_execution) if far else (),
            labels=pod.metadata.labels,
        ),
        priority=pod.spec.priority or 0,
        amounts=podresources.whole(podresources.requests(pod)),
        likely=podresources.whole(podresources.requests(pod, _AT_LEAST)),
        ports=nodefit.host_ports(pod),
        owner="" if terminating else owners.controller_uid(pod),
        spreads=tuple(_spread(pod, one) for one in pod.spec.topology_spread_constraints),
    )


def _terms(pod: core.Pod, terms: Iterable[core.PodAffinityTerm]) -> tuple[Term, ...]:
    return tuple(_term(pod, one) for one in terms)


def _weighted(pod: core.Pod, terms: Iterable[core.WeightedPodAffinityTerm]) -> tuple[Term, ...]:
    return tuple(_term(pod, one.pod_affinity_term, one.weight) for one in terms)


def _term(pod: core.Pod, one: core.PodAffinityTerm, weight: int = 0) -> Term:
    selector = _selector(one.label_selector)
    if one.label_selector is not None:
        selector = _with_own(selector, pod, one.match_label_keys, "in")
        selector = _with_own(selector, pod, one.mismatch_label_keys, "notin")
    namespaces = frozenset(one.namespaces)
    if not namespaces and one.namespace_selector is None:
        namespaces = frozenset([pod.metadata.namespace])
    return Term(one.topology_key, selector, namespaces, _selector(one.namespace_selector), weight)


def _spread(pod: core.Pod, one: core.TopologySpreadConstraint) -> Spread:
    return Spread(
        topology=one.topology_key,
        skew=one.max_skew,
        selector=_with_own(_selector(one.label_selector), pod, one.match_label_keys, "in"),
        hard=one.when_unsatisfiable == "DoNotSchedule",
        domains=one.min_domains or 1,
        honours_affinity=one.node_affinity_policy != "Ignore",
        honours_taints=one.node_taints_policy == "Honor",
    )


def _selector(one: meta.LabelSelector | None) -> labels.Selector:
    try:
        return labels.from_selector(one)
    except ValueError:
        return labels.NOTHING


def _with_own(selector: labels.Selector, pod: core.Pod, keys: Iterable[str], operator: str) -> labels.Selector:
    """Narrowed to pods that have (or have not) the pod's own value of these labels."""
    own = tuple(
        labels.Requirement(key, operator, frozenset([pod.metadata.labels[key]]))
        for key in keys
        if key in pod.metadata.labels
    )
    return labels.Selector(selector.requirements + own) if own else selector
