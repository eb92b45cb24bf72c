"""What the transcripts play on: commands of people and of nodes, and what the controllers do about them.

Every command that changes something is followed by what the controllers do about it, until nothing is left to do, and
answers with all writes in order. Time stands still between `tick`s. A new command is a method `do_NAME`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import msgspec
import yaml

from skerry.api import codec, patch
from skerry.api.types import core, meta
from skerry.clock import rfc3339
from tests.scenarios import shown
from tests.scenarios.controllers import Controllers
from tests.scenarios.drains import Drains
from tests.scenarios.store import Refused, Store, key_of, kind_of, typed


class World:
    """`world(words, text)` plays one command and gives its answer."""

    def __init__(self) -> None:
        self._store = Store()
        self._controllers: Controllers | None = Controllers(self._store)
        self._drains = Drains(self._store)
        self._store.put(core.Node(metadata=meta.ObjectMeta(name="node-1")))

    def __call__(self, words: list[str], text: str) -> str:
        command: Callable[..., str | None] | None = getattr(self, f"do_{words[0]}", None)
        if command is None:
            return f"error: there is no command {words[0]}"
        said = self._store.said
        said.clear()
        try:
            answer = command(words[1:], text)
        except (Refused, msgspec.ValidationError) as error:
            answer = f"error: {error}"
        return "\n".join([*said, *([answer] if answer else [])]) or "nothing happens"

    # Commands that change something.

    def do_apply(self, _: list[str], text: str) -> None:
        """Creates or replaces the objects below; apiVersion may be left out. Status is kept unless it is given."""
        for value in yaml.safe_load_all(text):
            obj = typed(value)
            found = self._store.find(obj.kind, key_of(obj))
            if obj.kind == "Pod" and not obj.spec.containers:
                obj.spec.containers = [core.Container(name="c", image="nginx")]
            if found is not None:
                _keep(found, obj, value)
            self._store.default(obj)
            self._store.put(obj)
        self._settle()

    def do_edit(self, words: list[str], text: str) -> None:
        """`edit KIND NAME`: somebody changes the fields below and leaves the others."""
        kind = kind_of(words[0])
        key, *_rest = _named(words[1:], kind)
        self._store.need(kind, key)
        self._edit(kind, key, text)
        self._settle()

    def do_meanwhile(self, words: list[str], text: str) -> str:
        """`meanwhile KIND NAME`: as `edit`, or a creation, in the moment before the controllers write it."""
        kind = kind_of(words[0])
        key, *_rest = _named(words[1:], kind)
        self._store.meanwhile[kind, key] = lambda: self._edit(kind, key, text)
        return "that will be somebody's edit, just before the controllers' next write"

    def _edit(self, kind: str, key: str, text: str) -> None:
        known = self._store.find(kind, key)
        namespace, _, name = key.rpartition("/")
        made = {"kind": kind, "metadata": {"namespace": namespace, "name": name}}
        self._store.put(typed(patch.merge(codec.plain(known) if known is not None else made, yaml.safe_load(text))))

    def do_pod(self, words: list[str], _: str) -> None:
        """`pod NAME ready|notready|phase PHASE|ip IP[,IP]|node NODE`: what a node would report."""
        key, what, *rest = _named(words)
        pod = codec.copy(self._store.need("Pod", key))
        if what in ("ready", "notready"):
            self._store.runs(pod)
            _set_ready(pod, what == "ready", rfc3339(self._store.now))
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
        self._store.put(pod)
        self._settle()

    def do_pods(self, words: list[str], text: str) -> None:
        """`pods PREFIX FROM TO [notready]`: many pods at once, labelled app=PREFIX."""
        prefix, first, last, *rest = words
        for number in range(int(first), int(last) + 1):
            pod = core.Pod(
                metadata=meta.ObjectMeta(name=f"{prefix}-{number}", namespace="default", labels={"app": prefix}),
                spec=core.PodSpec(containers=[core.Container(name="c", image="nginx")]),
            )
            self._store.runs(pod)
            _set_ready(pod, "notready" not in rest, rfc3339(self._store.now))
            self._store.put(pod, quiet=True)
        self._store.said.append(f"pods {prefix}-{first} to {prefix}-{last} created")
        self._settle()

    def do_label(self, words: list[str], _: str) -> None:
        """`label KIND NAME key=value|key-`"""
        kind = kind_of(words[0])
        key, *changes = _named(words[1:], kind)
        obj = codec.copy(self._store.need(kind, key))
        for change in changes:
            name, _, value = change.partition("=")
            if change.endswith("-"):
                obj.metadata.labels.pop(change[:-1], None)
            else:
                obj.metadata.labels[name] = value
        self._store.put(obj)
        self._settle()

    def do_delete(self, words: list[str], _: str) -> None:
        """`delete KIND NAME`: pods and namespaces are marked and end in their time; anything else is gone."""
        if words[0] == "namespace":
            self._store.said.append(f"namespace {words[1]} terminating")
            self._store.terminating.add(words[1])
        else:
            kind = kind_of(words[0])
            key, *_rest = _named(words[1:], kind)
            found = self._store.need(kind, key)
            (self._store.terminate if kind == "Pod" else self._store.remove)(found)
        self._settle()

    def do_gone(self, words: list[str], _: str) -> None:
        """`gone NAME`: the containers of a pod have stopped, and it is gone."""
        key, *_rest = _named(words)
        self._store.remove(self._store.need("Pod", key))
        self._settle()

    def do_acknowledge(self, words: list[str], _: str) -> str:
        """`acknowledge NODE proxy|dns`: it does what all slices say, and tells so."""
        return self._drains.acknowledge(*words)

    def do_drain(self, words: list[str], _: str) -> str:
        """`drain NAME`: what holds back the stop signal of a pod that is being deleted."""
        key, *_rest = _named(words)
        return self._drains.look(self._store.need("Pod", key))

    def do_tick(self, words: list[str], _: str) -> str:
        """`tick 30s`"""
        self._store.now += float(words[0].rstrip("s"))
        return f"it is {datetime.datetime.fromtimestamp(self._store.now, datetime.UTC):%H:%M:%S}"

    def do_stop(self, _: list[str], __: str) -> str:
        """The controllers stop, until `restart`; they hear nothing of what happens."""
        self._controllers = None
        self._store.changed = lambda old, new: None
        return "the controllers have stopped"

    def do_restart(self, _: list[str], __: str) -> None:
        """The controllers forget everything and start again."""
        self._controllers = Controllers(self._store)
        self._settle()

    def _settle(self) -> None:
        before = -1
        while len(self._store.said) != before:
            before = len(self._store.said)
            if self._controllers is not None:
                self._controllers.settle()
            self._store.empty_namespaces()

    # Commands that show something.

    def do_endpoints(self, words: list[str], _: str) -> str:
        """`endpoints NAME`: the subsets; `endpoints NAME sizes` tells only how many addresses they have."""
        key, *rest = _named(words)
        found: core.Endpoints = self._store.need("Endpoints", key)
        lines = [f"{name}: {value}" for name, value in shown.notes(found)]
        for subset in found.subsets:
            lines.append(shown.ports(subset.ports))
            if rest == ["sizes"]:
                lines[-1] += f": {len(subset.addresses)} ready, {len(subset.not_ready_addresses)} not ready"
                continue
            lines += [f"  {shown.address(one)}" for one in subset.addresses]
            lines += [f"  {shown.address(one)} not ready" for one in subset.not_ready_addresses]
        return "\n".join(lines if found.subsets else [*lines, "no subsets"])

    def do_slices(self, words: list[str], _: str) -> str:
        """`slices NAME`: the slices of a Service; `slices NAME sizes` tells only how full they are."""
        key, *rest = _named(words)
        found = self._store.slices(key)
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
        kind = kind_of(words[0])
        key, *_rest = _named(words[1:], kind)
        found = codec.plain(self._store.need(kind, key))
        return yaml.safe_dump(found, sort_keys=False, default_flow_style=None, width=110)


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


def _named(words: list[str], kind: str = "") -> list[str]:
    """The words, the first as `namespace/name`, or the name of what has no namespace."""
    if not words:
        raise Refused("a name is missing")
    if kind == "Node":
        return words
    return [words[0] if "/" in words[0] else f"default/{words[0]}", *words[1:]]


def _set_ready(pod: core.Pod, ready: bool, time: str) -> None:
    state = "True" if ready else "False"
    known = next((one for one in pod.status.conditions if one.type == "Ready"), None)
    if known is None or known.status != state:
        others = [one for one in pod.status.conditions if one.type != "Ready"]
        made = core.PodCondition(type="Ready", status=state, last_transition_time=time)
        pod.status.conditions = [*others, made]
