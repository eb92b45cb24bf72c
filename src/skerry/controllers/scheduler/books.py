"""The scheduler's books: every node with what its pods take. Called by the shell, which keeps them pod by pod.

A pod is counted from the moment it is given a node, which is before the API server knows; so the next decision sees
it. Changing the books costs the same however many pods there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from skerry.api import podresources
from skerry.api.nodefit import Port
from skerry.api.podresources import Whole
from skerry.api.types import core, policy
from skerry.controllers.scheduler.asks import Ask, Kind

NOT_READY = core.Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule")


@dataclass(eq=False)
class Place:
    """A node and what is counted on it. `node` is None while only its pods are known."""

    name: str
    node: core.Node | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[core.Taint, ...] = ()
    room: Whole = field(default_factory=dict)
    taken: Counter[str] = field(default_factory=Counter)
    likely: Counter[str] = field(default_factory=Counter)
    ports: Counter[Port] = field(default_factory=Counter)
    owners: Counter[str] = field(default_factory=Counter)
    pods: dict[str, Ask] = field(default_factory=dict)

    def know(self, node: core.Node) -> None:
        """Takes over a node's newest state. One that is not ready counts as tainted, whoever is to write the taint."""
        self.node = node
        self.labels = node.metadata.labels
        ready = any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)
        self.taints = tuple(node.spec.taints) if ready else (*node.spec.taints, NOT_READY)
        room = node.status.allocatable or node.status.capacity
        self.room = {name: podresources.amount(name, text) for name, text in room.items()}

    def add(self, one: Ask) -> None:
        self.pods[one.key] = one
        self.taken.update(one.amounts)
        self.likely.update(one.likely)
        self.ports.update(one.ports)
        if one.owner:
            self.owners[one.owner] += 1

    def remove(self, one: Ask) -> None:
        del self.pods[one.key]
        self.taken.subtract(one.amounts)
        self.likely.subtract(one.likely)
        for port in one.ports:
            self.ports[port] -= 1
            if not self.ports[port]:
                del self.ports[port]
        if one.owner:
            self.owners[one.owner] -= 1
            if not self.owners[one.owner]:
                del self.owners[one.owner]


Numbers = dict[str, int]  # how many pods of a kind are on which node
Kinds = Iterable[tuple[Kind, Numbers]]


class Books:
    """All places and pods.

    `nominated`: pods that wait for room which was made for them, by node. `budgets`: PodDisruptionBudgets by key.
    """

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.nominated: dict[str, dict[str, Ask]] = {}
        self.budgets: dict[str, policy.PodDisruptionBudget] = {}
        self._where: dict[str, Place] = {}
        self._in_namespace: dict[str, dict[Kind, Numbers]] = {}
        self._social: dict[Kind, Numbers] = {}
        self._shy: dict[Kind, Numbers] = {}

    def nodes(self) -> list[Place]:
        """The places whose node exists."""
        return [one for one in self.places.values() if one.node is not None]

    def put_node(self, node: core.Node) -> Place:
        name = node.metadata.name
        place = self.places.get(name)
        if place is None:
            place = self.places[name] = Place(name)
        place.know(node)
        return place

    def drop_node(self, name: str) -> None:
        """The node is gone; its pods may outlive it for a while."""
        place = self.places.get(name)
        if place is None:
            return
        place.node, place.labels, place.taints, place.room = None, {}, (), {}
        if not place.pods:
            del self.places[name]

    def count(self, one: Ask, name: str) -> None:
        """Counts a pod on a node, in place of what was counted for it before."""
        self.uncount(one.key)
        place = self.places.get(name)
        if place is None:
            place = self.places[name] = Place(name)
        place.add(one)
        self._where[one.key] = place
        kind = one.kind
        numbers = self._in_namespace.setdefault(kind.namespace, {}).setdefault(kind, {})
        numbers[name] = numbers.get(name, 0) + 1
        if kind.looks_at_pods:
            self._social[kind] = numbers
        if kind.anti:
            self._shy[kind] = numbers

    def uncount(self, key: str) -> Ask | None:
        """Takes a pod back; the pod as it was counted, None if it was not."""
        place = self._where.pop(key, None)
        if place is None:
            return None
        one = place.pods[key]
        place.remove(one)
        if place.node is None and not place.pods:
            del self.places[place.name]
        kinds = self._in_namespace[one.kind.namespace]
        numbers = kinds[one.kind]
        numbers[place.name] -= 1
        if not numbers[place.name]:
            del numbers[place.name]
        if not numbers:
            del kinds[one.kind]
            self._social.pop(one.kind, None)
            self._shy.pop(one.kind, None)
        if not kinds:
            del self._in_namespace[one.kind.namespace]
        return one

    def place_of(self, key: str) -> Place | None:
        """Where a pod is counted."""
        return self._where.get(key)

    def counted(self, key: str) -> Ask | None:
        """The pod as it is counted."""
        place = self._where.get(key)
        return place.pods[key] if place is not None else None

    def peers(self, namespace: str) -> Kinds:
        """The kinds of pods that are counted in a namespace."""
        return self._in_namespace.get(namespace, {}).items()

    def everyone(self) -> Kinds:
        """All kinds of pods."""
        return [pair for each in self._in_namespace.values() for pair in each.items()]

    def social(self) -> Kinds:
        """The kinds that have any pod affinity or anti-affinity."""
        return self._social.items()

    def shy(self) -> Kinds:
        """The kinds that have required anti-affinity."""
        return self._shy.items()
