"""What the transcripts have in place of an API server: a dictionary with versions, owners and defaults.

Called by world.py (what people and nodes do) and by controllers.py. Whoever watches is called with every change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skerry.api import codec, defaults, resources, status
from skerry.api.types import core, discovery
from skerry.clock import rfc3339
from skerry.controllers.endpoints import members, slices

KINDS = ("Service", "Pod", "Node", "Endpoints", "EndpointSlice")
_SHORT = {"slice": "EndpointSlice", "endpointslice": "EndpointSlice"}
_START = 1_767_225_600.0  # 2026-01-01T00:00:00Z


class Refused(Exception):
    """The command makes no sense here; said in its answer."""


class Store:
    """`now` is in seconds since 1970. `said` has a line for every change; `changed(old, new)` is called with it.

    `meanwhile` has what somebody does to an object in the moment before the controllers write it.
    """

    def __init__(self) -> None:
        self.now = _START
        self.said: list[str] = []
        self.terminating: set[str] = set()
        self.meanwhile: dict[tuple[str, str], Callable[[], None]] = {}
        self.changed: Callable[[Any, Any], None] = lambda old, new: None
        self._revision = 0
        self._names = 0
        self._addresses = 0
        self._objects: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}

    @property
    def revision(self) -> int:
        """That of the newest change."""
        return self._revision

    def find(self, kind: str, key: str) -> Any:
        return self._objects[kind].get(key)

    def need(self, kind: str, key: str) -> Any:
        found = self.find(kind, key)
        if found is None:
            raise Refused(f"there is no {kind.lower()} {key}")
        return found

    def all(self, kind: str) -> list[Any]:
        return list(self._objects[kind].values())

    def put(self, obj: Any, *, verb: str = "", quiet: bool = False) -> None:
        """Creates or replaces; what is the same already is no change."""
        metadata = obj.metadata
        if not metadata.name:
            self._names += 1
            metadata.name = f"{metadata.generate_name}{_word(self._names)}"
        key = key_of(obj)
        old = self.find(obj.kind, key)
        if old is None:
            self._revision += 1
            metadata.uid = f"{obj.kind.lower()}-{self._revision}"
            metadata.creation_timestamp = rfc3339(self.now)
        elif codec.encode(old) == codec.encode(obj):
            return
        self._revision += 1
        metadata.resource_version = str(self._revision)
        self._objects[obj.kind][key] = obj
        if not quiet:
            self.said.append(f"{label(obj)} {verb or ('created' if old is None else 'updated')}")
        self.changed(old, obj)

    def write(self, obj: Any) -> None:
        """As the controllers write: only what they decided on is replaced. ApiError if the server refuses."""
        key = key_of(obj)
        (self.meanwhile.pop((obj.kind, key), None) or (lambda: None))()
        old = self.find(obj.kind, key)
        problem = None
        if old is None and obj.metadata.namespace in self.terminating:
            cause = {"reason": "NamespaceTerminating", "message": "", "field": "metadata.namespace"}
            text = f"namespace {obj.metadata.namespace} is being terminated"
            problem = status.forbidden("", obj.kind, key, text, [cause])
        elif old is not None and obj.metadata.resource_version != old.metadata.resource_version:
            text = "somebody else was faster"
            problem = status.conflict("", obj.kind, key)
        if problem is not None:
            name = obj.metadata.name or f"{obj.metadata.generate_name}..."
            self.said.append(f"{label(obj, name)} refused: {text}")
            raise problem
        self.put(obj)

    def remove(self, obj: Any) -> None:
        """Deletes, and what it owns (the garbage collector does that)."""
        if self._objects[obj.kind].pop(key_of(obj), None) is None:
            return
        self.said.append(f"{label(obj)} deleted")
        self.changed(obj, None)
        for one in self.all("EndpointSlice"):
            if any(owner.uid == obj.metadata.uid for owner in one.metadata.owner_references):
                self.remove(one)

    def slices(self, key: str, manager: str = "") -> list[discovery.EndpointSlice]:
        """Those of a Service; of one manager if that is said."""
        namespace, _, name = key.partition("/")
        return [
            one
            for one in self.all("EndpointSlice")
            if one.metadata.namespace == namespace
            and one.metadata.labels.get(slices.SERVICE_NAME) == name
            and manager in ("", one.metadata.labels.get(slices.MANAGED_BY))
        ]

    # What an API server or a node adds to objects.

    def default(self, obj: Any) -> None:
        defaults.apply(obj)
        spec = obj.spec if obj.kind == "Service" else None
        if spec is not None and spec.type != members.EXTERNAL_NAME:
            spec.ip_families = spec.ip_families or ["IPv4"]
            if not spec.cluster_ip:
                self._addresses += 1
                prefix = "10.96.0." if spec.ip_families[0] == "IPv4" else "fd00:96::"
                spec.cluster_ip = f"{prefix}{self._addresses}"

    def runs(self, pod: core.Pod) -> None:
        """Gives a pod a node, an address and a phase, if it has none."""
        pod.spec.node_name = pod.spec.node_name or "node-1"
        pod.status.phase = pod.status.phase or "Running"
        if not pod.status.pod_i_ps:
            self._addresses += 1
            ip = f"10.244.{self._addresses // 250}.{self._addresses % 250}"
            pod.status.pod_ip, pod.status.pod_i_ps = ip, [core.PodIP(ip=ip)]

    def terminate(self, pod: core.Pod) -> None:
        """What deleting a pod does at first: it is marked."""
        if pod.metadata.deletion_timestamp is None:
            again = codec.copy(pod)
            again.metadata.deletion_timestamp = rfc3339(self.now + 30)
            self.put(again, verb="terminating")

    def empty_namespaces(self) -> None:
        """What the namespace controller does: pods are ended first, then everything else goes, then the namespace."""
        for name in sorted(self.terminating):
            pods = [one for one in self.all("Pod") if one.metadata.namespace == name]
            for pod in pods:
                self.terminate(pod)
            if pods:
                continue
            for kind in ("Service", "Endpoints", "EndpointSlice"):
                for one in self.all(kind):
                    if one.metadata.namespace == name:
                        self.remove(one)
            self.terminating.remove(name)
            self.said.append(f"namespace {name} deleted")


def typed(value: Any) -> Any:
    """An object of a transcript; apiVersion and namespace may be left out."""
    kind = value.get("kind", "")
    if kind not in KINDS:
        raise Refused(f"kind {kind!r} plays no part here")
    row = next(one for one in resources.RESOURCES if one.kind == kind)
    if row.namespaced:
        value.setdefault("metadata", {}).setdefault("namespace", "default")
    value["apiVersion"] = row.api_version
    return codec.convert(row.type, value)


def key_of(obj: Any) -> str:
    metadata = obj.metadata
    return f"{metadata.namespace}/{metadata.name}" if metadata.namespace else str(metadata.name)


def kind_of(word: str) -> str:
    found = next((one for one in KINDS if one.lower() == word), _SHORT.get(word))
    if found is None:
        raise Refused(f"there is no kind {word}")
    return found


def label(obj: Any, name: str = "") -> str:
    """How an object is called in an answer."""
    key = f"{obj.metadata.namespace}/{name}" if name else key_of(obj)
    return f"{'slice' if obj.kind == 'EndpointSlice' else obj.kind.lower()} {key}"


def _word(number: int) -> str:
    """a, b, ... z, ba: short names in the order they were given."""
    out = ""
    while True:
        number, digit = divmod(number - 1, 26)
        out = chr(ord("a") + digit) + out
        if not number:
            return out
