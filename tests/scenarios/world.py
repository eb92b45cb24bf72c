"""What the transcripts play on: the pure endpoints cores over a store that is a dictionary.

Every command that changes something is followed by what the controllers do about it, until nothing is left to do, and
answers with all writes in order. Time stands still between `tick`s. A new command is a method `do_NAME`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import msgspec
import yaml

from skerry.api import codec, defaults, patch, resources
from skerry.api.types import core, discovery, meta
from skerry.clock import rfc3339
from skerry.controllers.endpoints import endpoints, members, mirroring, placement, select, slices, topology
from skerry.controllers.endpoints.books import Books
from skerry.controllers.endpoints.placement import Placement
from skerry.controllers.endpoints.roster import Roster
from tests.scenarios import shown

_START = 1_767_225_600.0  # 2026-01-01T00:00:00Z
_SHORT = {"slice": "EndpointSlice", "endpointslice": "EndpointSlice"}
_KINDS = ("Service", "Pod", "Node", "Endpoints", "EndpointSlice")


class Refused(Exception):
    """The command makes no sense here; said in its answer."""


class World:
    """`world(words, text)` plays one command and gives its answer."""

    def __init__(self) -> None:
        self.now = _START
        self._revision = 0
        self._names = 0
        self._addresses = 0
        self._objects: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
        self._said: list[str] = []
        self._restart()
        self._put(core.Node(metadata=meta.ObjectMeta(name="node-1")))
        self._said.clear()

    def __call__(self, words: list[str], text: str) -> str:
        command: Callable[..., str | None] | None = getattr(self, f"do_{words[0]}", None)
        if command is None:
            return f"error: there is no command {words[0]}"
        self._said = []
        try:
            answer = command(words[1:], text)
        except (Refused, msgspec.ValidationError) as error:
            answer = f"error: {error}"
        return "\n".join([*self._said, *([answer] if answer else [])]) or "nothing happens"

    # Commands that change something.

    def do_apply(self, _: list[str], text: str) -> None:
        """Creates or replaces the objects below; apiVersion may be left out. Status is kept unless it is given."""
        for value in yaml.safe_load_all(text):
            obj = _typed(value)
            found = self._find(obj.kind, _key(obj))
            if obj.kind == "Pod" and not obj.spec.containers:
                obj.spec.containers = [core.Container(name="c", image="nginx")]
            if found is not None:
                _keep(found, obj, value)
            self._default(obj)
            self._put(obj)
        self._settle()

    def do_edit(self, words: list[str], text: str) -> None:
        """`edit KIND NAME`: somebody changes the fields below and leaves the others."""
        kind = _kind(words[0])
        key, *_rest = _named(words[1:], kind)
        value = patch.merge(codec.plain(self._need(kind, key)), yaml.safe_load(text))
        self._put(_typed(value))
        self._settle()

    def do_pod(self, words: list[str], _: str) -> None:
        """`pod NAME ready|notready|phase PHASE|ip IP[,IP]|node NODE`: what a node would report."""
        key, what, *rest = _named(words)
        pod = codec.copy(self._need("Pod", key))
        if what in ("ready", "notready"):
            self._runs(pod)
            _set_ready(pod, what == "ready", rfc3339(self.now))
        elif what == "phase":
            pod.status.phase = rest[0]
        elif what == "ip":
            ips = rest[0].split(",")
            pod.spec.node_name = pod.spec.node_name or "node-1"
            pod.status.pod_ip, pod.status.pod_i_ps = ips[0], [core.PodIP(ip=one) for one in ips]
        elif what == "node":
            pod.spec.node_name = rest[0]
        else:
            raise Refused(f"a pod cannot {what}")
        self._put(pod)
        self._settle()

    def do_pods(self, words: list[str], text: str) -> None:
        """`pods PREFIX FROM TO [notready]`: many pods at once, labelled app=PREFIX."""
        prefix, first, last, *rest = words
        for number in range(int(first), int(last) + 1):
            pod = core.Pod(
                metadata=meta.ObjectMeta(name=f"{prefix}-{number}", namespace="default", labels={"app": prefix}),
                spec=core.PodSpec(containers=[core.Container(name="c", image="nginx")]),
            )
            self._runs(pod)
            _set_ready(pod, "notready" not in rest, rfc3339(self.now))
            self._put(pod, quiet=True)
        self._said.append(f"pods {prefix}-{first} to {prefix}-{last} created")
        self._settle()

    def do_label(self, words: list[str], _: str) -> None:
        """`label KIND NAME key=value|key-`"""
        kind = _kind(words[0])
        key, *changes = _named(words[1:], kind)
        obj = codec.copy(self._need(kind, key))
        for change in changes:
            name, _, value = change.partition("=")
            if change.endswith("-"):
                obj.metadata.labels.pop(change[:-1], None)
            else:
                obj.metadata.labels[name] = value
        self._put(obj)
        self._settle()

    def do_delete(self, words: list[str], _: str) -> None:
        """`delete KIND NAME`: a pod is marked and terminates; anything else is gone."""
        kind = _kind(words[0])
        key, *_rest = _named(words[1:], kind)
        if kind != "Pod":
            self._remove(self._need(kind, key))
        else:
            pod = codec.copy(self._need(kind, key))
            pod.metadata.deletion_timestamp = rfc3339(self.now + 30)
            self._put(pod, verb="terminating")
        self._settle()

    def do_gone(self, words: list[str], _: str) -> None:
        """`gone NAME`: the containers of a pod have stopped, and it is gone."""
        key, *_rest = _named(words)
        self._remove(self._need("Pod", key))
        self._settle()

    def do_tick(self, words: list[str], _: str) -> str:
        """`tick 30s`"""
        self.now += float(words[0].rstrip("s"))
        return f"it is {datetime.datetime.fromtimestamp(self.now, datetime.UTC):%H:%M:%S}"

    def do_restart(self, _: list[str], __: str) -> None:
        """The controllers forget everything and start again."""
        self._restart()
        for node in self._objects["Node"].values():
            self._zones.put(node)
        for pod in self._objects["Pod"].values():
            self._pods.put(pod)
        for obj in self._objects["Service"].values():
            self._index.put(obj)
            self._todo.append(members.key(obj))
        for obj in self._objects["Endpoints"].values():
            if members.LEADER_ANNOTATION not in obj.metadata.annotations:
                self._todo.append(members.key(obj))
        self._settle()

    # Commands that show something.

    def do_endpoints(self, words: list[str], _: str) -> str:
        """`endpoints NAME`: the subsets; `endpoints NAME sizes` tells only how many addresses they have."""
        key, *rest = _named(words)
        found: core.Endpoints = self._need("Endpoints", key)
        lines = [f"{name}: {value}" for name, value in shown.notes(found)]
        for subset in found.subsets:
            lines.append(shown.ports(subset.ports))
            if rest == ["sizes"]:
                lines[-1] += f": {len(subset.addresses)} ready, {len(subset.not_ready_addresses)} not ready"
                continue
            lines += [f"  {shown.address(one)}" for one in subset.addresses]
            lines += [f"  {shown.address(one)} not ready" for one in subset.not_ready_addresses]
        return "\n".join(lines) or "no subsets"

    def do_slices(self, words: list[str], _: str) -> str:
        """`slices NAME`: the slices of a Service; `slices NAME sizes` tells only how full they are."""
        key, *rest = _named(words)
        found = self._slices(key)
        lines: list[str] = []
        for one in sorted(found, key=lambda each: each.metadata.name):
            lines.append(f"{one.metadata.name} {one.address_type} {shown.ports(one.ports)}")
            if rest == ["sizes"]:
                lines[-1] += f": {len(one.endpoints)}"
                continue
            lines += [f"  {name}: {value}" for name, value in shown.notes(one)]
            lines += [f"  {shown.endpoint(each)}" for each in one.endpoints] or ["  no endpoints"]
        return "\n".join(lines) or "no slices"

    def do_yaml(self, words: list[str], _: str) -> str:
        """`yaml KIND NAME`: a whole object."""
        kind = _kind(words[0])
        key, *_rest = _named(words[1:], kind)
        return yaml.safe_dump(codec.plain(self._need(kind, key)), sort_keys=False, default_flow_style=None, width=110)

    # The store.

    def _find(self, kind: str, key: str) -> Any:
        return self._objects[kind].get(key)

    def _need(self, kind: str, key: str) -> Any:
        found = self._find(kind, key)
        if found is None:
            raise Refused(f"there is no {kind.lower()} {key}")
        return found

    def _put(self, obj: Any, *, verb: str = "", quiet: bool = False) -> None:
        metadata = obj.metadata
        if not metadata.name:
            self._names += 1
            metadata.name = f"{metadata.generate_name}{_word(self._names)}"
        key = _key(obj)
        old = self._find(obj.kind, key)
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
            self._said.append(f"{_label(obj)} {verb or ('created' if old is None else 'updated')}")
        self._changed(old, obj)

    def _remove(self, obj: Any) -> None:
        del self._objects[obj.kind][_key(obj)]
        self._said.append(f"{_label(obj)} deleted")
        self._changed(obj, None)
        for one in list(self._objects["EndpointSlice"].values()):  # the garbage collector
            if any(owner.uid == obj.metadata.uid for owner in one.metadata.owner_references):
                self._remove(one)

    def _default(self, obj: Any) -> None:
        defaults.apply(obj)
        spec = obj.spec if obj.kind == "Service" else None
        if spec is not None and spec.type != members.EXTERNAL_NAME:
            if not spec.cluster_ip:
                self._addresses += 1
                spec.cluster_ip = f"10.96.0.{self._addresses}"
            spec.ip_families = spec.ip_families or ["IPv4"]

    def _runs(self, pod: core.Pod) -> None:
        """Gives a pod a node, an address and a phase, if it has none."""
        pod.spec.node_name = pod.spec.node_name or "node-1"
        pod.status.phase = pod.status.phase or "Running"
        if not pod.status.pod_i_ps:
            self._addresses += 1
            ip = f"10.244.{self._addresses // 250}.{self._addresses % 250}"
            pod.status.pod_ip, pod.status.pod_i_ps = ip, [core.PodIP(ip=ip)]

    def _slices(self, key: str, manager: str = "") -> list[discovery.EndpointSlice]:
        namespace, _, name = key.partition("/")
        return [
            one
            for one in self._objects["EndpointSlice"].values()
            if one.metadata.namespace == namespace
            and one.metadata.labels.get(slices.SERVICE_NAME) == name
            and manager in ("", one.metadata.labels.get(slices.MANAGED_BY))
        ]

    # The controllers.

    def _restart(self) -> None:
        self._index, self._pods, self._zones = select.ServiceIndex(), select.PodIndex(), topology.Zones()
        self._rosters = Books(self._pods, Roster, Roster.put)
        self._placements = Books(self._pods, Placement, self._place)
        self._problems: dict[str, dict[str, str]] = {}
        self._todo: list[str] = []

    def _place(self, placement: Placement, pod: core.Pod) -> None:
        placement.put(pod, self._find("Node", pod.spec.node_name))

    def _changed(self, old: Any, new: Any) -> None:
        """What an event leads to."""
        obj = new if new is not None else old
        key = _key(obj)
        if obj.kind == "Service":
            if new is not None:
                self._index.put(new)
            else:
                self._index.remove(key)
            self._todo.append(key)
        elif obj.kind == "Pod":
            if new is not None:
                self._pods.put(new)
            else:
                self._pods.remove(key)
            for service in sorted(select.touched(self._index, old, new)):
                self._pod_changed(service, key)
        elif obj.kind == "Node":
            self._node_changed(obj.metadata.name, new)
        elif obj.kind == "Endpoints":
            service = self._find("Service", key)
            made_here = service is not None and members.wants_endpoints(service)
            if (new is None or not made_here) and (service is not None or self._slices(key)):
                self._todo.append(key)
        else:
            for one in filter(None, (old, new)):
                self._todo.append(f"{one.metadata.namespace}/{one.metadata.labels.get(slices.SERVICE_NAME)}")

    def _pod_changed(self, service: str, pod: str) -> None:
        self._rosters.changed(service, pod)
        self._placements.changed(service, pod)
        self._todo.append(service)

    def _node_changed(self, name: str, node: core.Node | None) -> None:
        if self._zones.put(node) if node is not None else self._zones.remove(name):
            self._todo += sorted(self._problems)
        for key, pod in self._objects["Pod"].items():
            if pod.spec.node_name == name:
                for service in sorted(self._index.matching(pod.metadata.namespace, pod.metadata.labels)):
                    self._pod_changed(service, key)

    def _settle(self) -> None:
        while self._todo:
            key = self._todo.pop(0)
            while key in self._todo:
                self._todo.remove(key)
            self._sync(key)

    def _sync(self, key: str) -> None:
        service, current = self._find("Service", key), self._find("Endpoints", key)
        if service is None or not members.wants_endpoints(service):
            self._rosters.drop(key)
            self._placements.drop(key)
            self._problems.pop(key, None)
        if service is None:
            if current is not None:
                self._remove(current)
        elif members.wants_endpoints(service):
            roster = self._rosters.open(service)
            wanted = endpoints.decide_from(roster.endpoints, current, roster.causes.time(service))
            if wanted is not None:
                self._put(wanted)
            roster.causes.told(service)
            placement = self._placements.open(service)
            own = self._slices(key, slices.CONTROLLER)
            plan = placement.endpoints.plan(own, placement.causes.time(service), self._zones.ratios)
            self._carry_out(plan)
            placement.causes.told(service)
            self._tell_problems(key, plan.problems)
        mirrored = mirroring.reconcile(self._find("Endpoints", key), service, self._slices(key, mirroring.CONTROLLER))
        self._carry_out(mirrored.plan)
        if mirrored.is_over:
            self._said.append(f"{mirrored.skipped} addresses were skipped")

    def _tell_problems(self, key: str, problems: dict[str, str]) -> None:
        known = self._problems.get(key, {})
        for family, problem in problems.items():
            if problem and problem != known.get(family):
                self._said.append(f"event: {problem}, addressType: {family}")
        self._problems[key] = problems

    def _carry_out(self, plan: placement.Plan) -> None:
        for one in (*plan.create, *plan.update):
            self._put(one)
        for one in plan.delete:
            self._remove(one)
        for name in sorted(plan.missing_nodes):
            self._said.append(f"node {name} is missing")


def _typed(value: Any) -> Any:
    kind = value.get("kind", "")
    if kind not in _KINDS:
        raise Refused(f"kind {kind!r} plays no part here")
    row = next(one for one in resources.RESOURCES if one.kind == kind)
    if row.namespaced:
        value.setdefault("metadata", {}).setdefault("namespace", "default")
    value["apiVersion"] = row.api_version
    return codec.convert(row.type, value)


def _keep(old: Any, new: Any, value: dict[str, Any]) -> None:
    """What an apply does not say stays."""
    for name in ("uid", "creation_timestamp", "deletion_timestamp"):
        setattr(new.metadata, name, getattr(old.metadata, name))
    if hasattr(new, "status") and "status" not in value:
        new.status = old.status
    if new.kind == "Service":
        new.spec.cluster_ip = new.spec.cluster_ip or old.spec.cluster_ip
        new.spec.ip_families = new.spec.ip_families or old.spec.ip_families
    if new.kind == "Pod":
        new.spec.node_name = new.spec.node_name or old.spec.node_name


def _key(obj: Any) -> str:
    metadata = obj.metadata
    return f"{metadata.namespace}/{metadata.name}" if metadata.namespace else str(metadata.name)


def _kind(word: str) -> str:
    found = next((one for one in _KINDS if one.lower() == word), _SHORT.get(word))
    if found is None:
        raise Refused(f"there is no kind {word}")
    return found


def _label(obj: Any) -> str:
    return f"{'slice' if obj.kind == 'EndpointSlice' else obj.kind.lower()} {_key(obj)}"


def _named(words: list[str], kind: str = "") -> list[str]:
    """The words, the first as `namespace/name`, or the name of what has no namespace."""
    if not words:
        raise Refused("a name is missing")
    if kind == "Node":
        return words
    return [words[0] if "/" in words[0] else f"default/{words[0]}", *words[1:]]


def _word(number: int) -> str:
    """a, b, ... z, ba: short names in the order they were given."""
    out = ""
    while True:
        number, digit = divmod(number - 1, 26)
        out = chr(ord("a") + digit) + out
        if not number:
            return out


def _set_ready(pod: core.Pod, ready: bool, time: str) -> None:
    state = "True" if ready else "False"
    known = next((one for one in pod.status.conditions if one.type == "Ready"), None)
    if known is None or known.status != state:
        others = [one for one in pod.status.conditions if one.type != "Ready"]
        made = core.PodCondition(type="Ready", status=state, last_transition_time=time)
        pod.status.conditions = [*others, made]
