"""Which Services a pod's change touches, and which pods a Service selects, without scanning either (E4-E6, E12).

Both indexes file a thing under label pairs. A Service is filed under one pair of its selector only, the one that
fewest Services are filed under, so that a label all Services share costs nothing. A pod is filed under each of its
labels; a selector reads the smallest of its buckets. Called by the controller's shell and by the scenario runner.
"""

from __future__ import annotations

from collections.abc import Mapping

from skerry.api.types import core
from skerry.controllers.endpoints import members

_Pair = tuple[str, str, str]  # namespace, label key, label value


class ServiceIndex:
    """The Services whose endpoints are ours to make, found by the labels of a pod."""

    def __init__(self) -> None:
        self._filed: dict[_Pair, dict[str, Mapping[str, str]]] = {}
        self._where: dict[str, _Pair] = {}

    def put(self, service: core.Service) -> None:
        """Files or refiles a Service."""
        key = members.key(service)
        self.remove(key)
        if not members.wants_endpoints(service):
            return
        selector = service.spec.selector
        pairs = [(service.metadata.namespace, name, value) for name, value in selector.items()]
        best = min(pairs, key=lambda pair: len(self._filed.get(pair, ())))
        self._filed.setdefault(best, {})[key] = dict(selector)
        self._where[key] = best

    def remove(self, key: str) -> None:
        """Forgets a Service; unknown ones are fine."""
        pair = self._where.pop(key, None)
        if pair is not None:
            bucket = self._filed[pair]
            del bucket[key]
            if not bucket:
                del self._filed[pair]

    def matching(self, namespace: str, labels: Mapping[str, str]) -> set[str]:
        """Keys of the Services in this namespace whose selector these labels satisfy (E4)."""
        found: set[str] = set()
        for name, value in labels.items():
            for key, selector in self._filed.get((namespace, name, value), {}).items():
                if selector.items() <= labels.items():
                    found.add(key)
        return found


class PodIndex:
    """Pods found by a selector."""

    def __init__(self) -> None:
        self._pods: dict[str, core.Pod] = {}
        self._filed: dict[_Pair, dict[str, core.Pod]] = {}

    def put(self, pod: core.Pod) -> None:
        """Files a pod in place of what was known of it."""
        key = members.key(pod)
        known = self._pods.get(key)
        if known is not None and known.metadata.labels != pod.metadata.labels:
            self.remove(key)
        self._pods[key] = pod
        for name, value in pod.metadata.labels.items():
            self._filed.setdefault((pod.metadata.namespace, name, value), {})[key] = pod

    def remove(self, key: str) -> None:
        """Forgets a pod; unknown ones are fine."""
        known = self._pods.pop(key, None)
        if known is None:
            return
        for name, value in known.metadata.labels.items():
            pair = (known.metadata.namespace, name, value)
            bucket = self._filed[pair]
            del bucket[key]
            if not bucket:
                del self._filed[pair]

    def get(self, key: str) -> core.Pod | None:
        return self._pods.get(key)

    def matching(self, namespace: str, selector: Mapping[str, str]) -> list[core.Pod]:
        """The pods that satisfy a selector of at least one pair (E12)."""
        buckets = [self._filed.get((namespace, name, value), {}) for name, value in selector.items()]
        smallest = min(buckets, key=len)
        if len(selector) == 1:
            return list(smallest.values())
        wanted = selector.items()
        return [one for one in smallest.values() if wanted <= one.metadata.labels.items()]


def touched(services: ServiceIndex, old: core.Pod | None, new: core.Pod | None) -> set[str]:
    """Keys of the Services whose endpoints a pod's change can alter (E5).

    `old` is None for a new pod, `new` for one that is gone. Beyond upstream, a change of phase counts (E6), and a pod
    that could be no endpoint before or after (no address yet, or finished) touches nothing.
    """
    if old is None or new is None:
        only = new or old
        if only is None or not members.is_member(only, include_terminating=True):
            return set()
        return services.matching(only.metadata.namespace, only.metadata.labels)
    if old.metadata.resource_version and old.metadata.resource_version == new.metadata.resource_version:
        return set()
    counts = members.is_member(old, include_terminating=True), members.is_member(new, include_terminating=True)
    if counts == (False, False):
        return set()
    changed = counts[0] != counts[1] or pod_changed(old, new)
    moved = labels_changed(old, new)
    if not changed and not moved:
        return set()
    after = services.matching(new.metadata.namespace, new.metadata.labels)
    if not moved:
        return after
    before = services.matching(old.metadata.namespace, old.metadata.labels)
    if changed or old.metadata.labels == new.metadata.labels:
        # A new hostname changes the endpoint inside Services that match both before and after.
        return before | after
    return before ^ after


def pod_changed(old: core.Pod, new: core.Pod) -> bool:
    """Whether what a slice says of the pod changed: being deleted, ready, phase, addresses, weight, or the pod."""
    return (
        old.metadata.uid != new.metadata.uid
        or old.metadata.deletion_timestamp != new.metadata.deletion_timestamp
        or members.is_ready(old) != members.is_ready(new)
        or old.status.phase != new.status.phase
        or members.addresses(old) != members.addresses(new)
        or members.weight(old) != members.weight(new)
    )


def labels_changed(old: core.Pod, new: core.Pod) -> bool:
    """Whether the pod may belong to other Services, or under another name, than before."""
    return (
        old.metadata.labels != new.metadata.labels
        or old.spec.hostname != new.spec.hostname
        or old.spec.subdomain != new.spec.subdomain
    )
