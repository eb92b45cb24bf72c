"""What a node may do: its own Node, Lease and pods, and of Secrets and the like those that its pods refer to.

Called by authorizer.py for users of the group system:nodes. What admission has to see the object for is in
restriction.py. The sentences are upstream's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from skerry.api import rbac as rules
from skerry.api import resources
from skerry.api.types import core
from skerry.api.types.rbac import PolicyRule
from skerry.apiserver.access.follow import Follow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from skerry.api.rbac import Question
    from skerry.api.resources import Resource
    from skerry.api.wire import User
    from skerry.store.base import Record, Store

PREFIX, GROUP = "system:node:", "system:nodes"
LEASES = "kube-node-lease"
_READ = ["get", "list", "watch"]


def name_of(user: User) -> str:
    """The node that a user is, "" if it is none."""
    if GROUP not in user.groups or not user.name.startswith(PREFIX):
        return ""
    return user.name[len(PREFIX) :]


def rule(group: str, kinds: str, verbs: str, names: str = "") -> PolicyRule:
    """A rule out of words."""
    return PolicyRule(
        verbs=verbs.split(), api_groups=[group], resources=kinds.split(), resource_names=names.split() or []
    )


RULES = (
    rule("authentication.k8s.io", "tokenreviews", "create"),
    rule("authorization.k8s.io", "subjectaccessreviews localsubjectaccessreviews", "create"),
    rule("", "services", "get list watch"),
    rule("", "nodes", "create get list watch"),
    rule("", "nodes nodes/status", "update patch"),
    rule("", "events", "create update patch"),
    rule("", "pods", "get list watch delete"),
    rule("", "pods/status", "update patch"),
    rule("", "pods/eviction", "create"),
    rule("", "configmaps secrets persistentvolumeclaims persistentvolumes", "get list watch"),
    rule("", "serviceaccounts/token", "create"),
    rule("coordination.k8s.io", "leases", "create get update patch delete"),
    rule("node.k8s.io", "runtimeclasses", "get list watch"),
    rule("discovery.k8s.io", "endpointslices", "get list watch"),
    rule("skerry.dev", "acknowledgements", "get list watch create update patch delete"),
)
"""The ClusterRole system:node, which is bound to nobody: this file gives it to each node, narrowed down."""


class _Ref(msgspec.Struct):
    name: str = ""


class _Secret(msgspec.Struct, rename="camel"):
    secret_name: str = ""


class _Claim(msgspec.Struct, rename="camel"):
    claim_name: str = ""


class _Source(msgspec.Struct, rename="camel"):
    secret: _Ref | None = None
    config_map: _Ref | None = None


class _Projected(msgspec.Struct):
    sources: list[_Source] = []


class _Volume(msgspec.Struct, rename="camel"):
    name: str = ""
    secret: _Secret | None = None
    config_map: _Ref | None = None
    projected: _Projected | None = None
    persistent_volume_claim: _Claim | None = None
    ephemeral: msgspec.Raw | None = None


class _From(msgspec.Struct, rename="camel"):
    secret_key_ref: _Ref | None = None
    config_map_key_ref: _Ref | None = None


class _Env(msgspec.Struct, rename="camel"):
    value_from: _From | None = None


class _EnvFrom(msgspec.Struct, rename="camel"):
    secret_ref: _Ref | None = None
    config_map_ref: _Ref | None = None


class _Container(msgspec.Struct, rename="camel"):
    env: list[_Env] = []
    env_from: list[_EnvFrom] = []


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str = ""
    service_account_name: str = ""
    image_pull_secrets: list[_Ref] = []
    volumes: list[_Volume] = []
    containers: list[_Container] = []
    init_containers: list[_Container] = []
    ephemeral_containers: list[_Container] = []


class _Head(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _Pod(msgspec.Struct):
    metadata: _Head
    spec: _Spec


class _Claimed(msgspec.Struct, rename="camel"):
    claim_ref: _Head | None = None


class _PersistentVolume(msgspec.Struct):
    spec: _Claimed


_decoder = msgspec.json.Decoder(_Pod)
_volumes = msgspec.json.Decoder(_PersistentVolume)
_Refs = tuple[tuple[str, str], ...]


def references(spec: _Spec, pod: str) -> Iterator[tuple[str, str]]:
    """The objects of its namespace that a pod refers to, as plural and name."""
    if spec.service_account_name:
        yield "serviceaccounts", spec.service_account_name
    for pull in spec.image_pull_secrets:
        yield "secrets", pull.name
    for volume in spec.volumes:
        if volume.secret is not None:
            yield "secrets", volume.secret.secret_name
        if volume.config_map is not None:
            yield "configmaps", volume.config_map.name
        if volume.persistent_volume_claim is not None:
            yield "persistentvolumeclaims", volume.persistent_volume_claim.claim_name
        if volume.ephemeral is not None:
            yield "persistentvolumeclaims", f"{pod}-{volume.name}"
        for source in volume.projected.sources if volume.projected is not None else ():
            yield from _either(source.secret, source.config_map)
    for container in (*spec.containers, *spec.init_containers, *spec.ephemeral_containers):
        for whole in container.env_from:
            yield from _either(whole.secret_ref, whole.config_map_ref)
        for env in container.env:
            if env.value_from is not None:
                yield from _either(env.value_from.secret_key_ref, env.value_from.config_map_key_ref)


def _either(secret: _Ref | None, config_map: _Ref | None) -> Iterator[tuple[str, str]]:
    if secret is not None:
        yield "secrets", secret.name
    if config_map is not None:
        yield "configmaps", config_map.name


class PodsOfNodes:
    """Which pod is on which node, and what the pods of a node refer to."""

    def __init__(self, store: Store) -> None:
        self._follow = Follow(store, resources.of(core.Pod), self)
        self._pods: dict[str, tuple[str, str, _Refs]] = {}
        """The pod's key to its node, its namespace and what it refers to."""
        self._used: dict[tuple[str, str, str], dict[str, int]] = {}
        """Plural, namespace and name to the nodes whose pods refer to it, and how many of them do."""
        self._same: dict[_Refs, _Refs] = {}

    async def catch_up(self) -> None:
        """Returns when everything that was written counts."""
        await self._follow.catch_up()

    def reset(self, row: Resource) -> None:  # noqa: ARG002
        """See follow.Sees."""
        self._pods.clear()
        self._used.clear()
        self._same.clear()

    def changed(self, row: Resource, record: Record, *, gone: bool) -> None:  # noqa: ARG002
        """See follow.Sees. What a pod refers to does not change once it has a node, unless it is debugged."""
        had = self._pods.get(record.key)
        if gone:
            self._forget(record.key)
            return
        if had is None and b'"nodeName":"' not in record.value:
            return
        if had is not None and b'"ephemeralContainers"' not in record.value:
            return
        pod = _decoder.decode(record.value)
        if not pod.spec.node_name:
            return
        self._forget(record.key)
        made = tuple(dict.fromkeys(references(pod.spec, pod.metadata.name)))
        refs = self._same.setdefault(made, made)
        node, namespace = pod.spec.node_name, pod.metadata.namespace
        self._pods[record.key] = node, namespace, refs
        for plural, name in refs:
            users = self._used.setdefault((plural, namespace, name), {})
            users[node] = users.get(node, 0) + 1

    def _forget(self, key: str) -> None:
        node, namespace, refs = self._pods.pop(key, ("", "", ()))
        for plural, name in refs:
            users = self._used[plural, namespace, name]
            users[node] -= 1
            if not users[node]:
                del users[node]
            if not users:
                del self._used[plural, namespace, name]
        if not self._pods:
            self._same.clear()

    def node_of(self, namespace: str, name: str) -> str | None:
        """The node of a pod, None if it has none."""
        found = self._pods.get(resources.of(core.Pod).key(namespace, name))
        return found[0] if found is not None else None

    def uses(self, node: str, plural: str, namespace: str, name: str) -> bool:
        """Whether a pod of the node refers to this object."""
        return node in self._used.get((plural, namespace, name), ())


class Nodes:
    """What `name_of(user)` may do."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.pods = PodsOfNodes(store)

    async def decide(self, node: str, asked: Question) -> tuple[bool, str]:
        """Whether it is allowed by this; if not, why, or "" where there is nothing to be said."""
        if asked.path or not any(rules.matches(one, asked) for one in RULES):
            return False, ""
        kind, name = asked.resource, asked.name
        match asked.group, kind:
            case "", "secrets" | "configmaps" | "persistentvolumeclaims" | "serviceaccounts/token":
                if not name or not asked.namespace:
                    return False, "No Object name found"
                await self.pods.catch_up()
                if self.pods.uses(node, kind.partition("/")[0], asked.namespace, name):
                    return True, ""
                return False, _unrelated(node)
            case "", "persistentvolumes":
                return await self._volume(node, name)
            case "coordination.k8s.io", "leases":
                if asked.namespace != LEASES:
                    return False, f'can only access leases in the "{LEASES}" system namespace'
                if asked.verb != "create" and name != node:
                    return False, "can only access node lease with the same name as the requesting node"
            case "", "nodes" | "nodes/status":
                if asked.verb in ("update", "patch") and name != node:
                    return False, f"node '{node}' cannot {asked.verb} the node '{name}', only its own"
            case "skerry.dev", "acknowledgements":
                if asked.verb not in (*_READ, "create") and name.rpartition(".")[0] != node:
                    return False, "a node tells of its own parts, and nobody else does"
        return True, ""

    async def _volume(self, node: str, name: str) -> tuple[bool, str]:
        """A PersistentVolume is reached by the claim that it is bound to."""
        if not name:
            return False, "No Object name found"
        await self.pods.catch_up()
        record = await self._store.get(f"/core/persistentvolumes/{name}")
        claim = _volumes.decode(record.value).spec.claim_ref if record is not None else None
        if claim is None or not self.pods.uses(node, "persistentvolumeclaims", claim.namespace, claim.name):
            return False, _unrelated(node)
        return True, ""


def _unrelated(node: str) -> str:
    return f"no relationship found between node '{node}' and this object"
