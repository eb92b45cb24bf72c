"""The scheduler's books: every node with what its pods take. Called by the shell, which keeps them pod by pod.

A pod is counted from the moment it is given a node, which is before the API server knows; so the next decision sees
it. Changing the books costs the same however many pods there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from skerry.api.types import core
from skerry.controllers.scheduler import asks
from skerry.controllers.scheduler.asks import Amounts, Ask, Port

NOT_READY = core.Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule")


@dataclass(eq=False)
class Place:
    """A node and what is counted on it. `node` is None while only its pods are known."""

    name: str
    node: core.Node | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[core.Taint, ...] = ()
    room: Amounts = field(default_factory=dict)
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
        self.room = {name: asks.amount(name, text) for name, text in room.items()}

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


class Books:
    """All places and pods. `nominated`: pods that wait for room which was made for them, by node."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.nominated: dict[str, dict[str, Ask]] = {}
        self._where: dict[str, Place] = {}
        self._in_namespace: dict[str, dict[str, Ask]] = {}
        self._social: dict[str, Ask] = {}  # with any pod affinity or anti-affinity
        self._shy: dict[str, Ask] = {}  # with required anti-affinity

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
        self._in_namespace.setdefault(one.namespace, {})[one.key] = one
        if one.looks_at_pods:
            self._social[one.key] = one
        if one.anti:
            self._shy[one.key] = one

    def uncount(self, key: str) -> Ask | None:
        """Takes a pod back; the pod as it was counted, None if it was not."""
        place = self._where.pop(key, None)
        if place is None:
            return None
        one = place.pods[key]
        place.remove(one)
        if place.node is None and not place.pods:
            del self.places[place.name]
        rest = self._in_namespace[one.namespace]
        del rest[key]
        if not rest:
            del self._in_namespace[one.namespace]
        self._social.pop(key, None)
        self._shy.pop(key, None)
        return one

    def place_of(self, key: str) -> Place | None:
        """Where a pod is counted."""
        return self._where.get(key)

    def counted(self, key: str) -> Ask | None:
        """The pod as it is counted."""
        place = self._where.get(key)
        return place.pods[key] if place is not None else None

    def peers(self, namespace: str) -> list[Ask]:
        """The counted pods of a namespace."""
        return list(self._in_namespace.get(namespace, {}).values())

    def everyone(self) -> list[Ask]:
        return [one for each in self._in_namespace.values() for one in each.values()]

    def social(self) -> list[Ask]:
        """The counted pods that have any pod affinity or anti-affinity."""
        return list(self._social.values())

    def shy(self) -> list[Ask]:
        """The counted pods that have required anti-affinity."""
        return list(self._shy.values())
