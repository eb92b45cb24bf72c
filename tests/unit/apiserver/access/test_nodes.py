"""Nodes are confined to what is theirs: their Node, Lease and pods, and what these pods refer to."""

from __future__ import annotations

from typing import Any

import pytest
from tests.helpers import server as helper
from tests.helpers.server import ApiServer

from skerry.api import status
from skerry.api.types import authentication, coordination, core, meta, policy
from skerry.api.wire import User
from skerry.apiserver.app import in_process
from skerry.client.client import Client

HERE, THERE = "node-1", "node-2"


class World:
    """A server with two nodes, a pod on each, and one on none; `node` is the client of the first node."""

    def __init__(self, api: ApiServer) -> None:
        self.api, self.admin = api, api.client
        self.node = Client(in_process(api.app, User(f"system:node:{HERE}", ("system:nodes",))))

    async def pod(self, name: str, node: str, **spec: Any) -> core.Pod:
        box = core.Container(name="c", image="i", **spec.pop("box", {}))
        made = core.PodSpec(containers=[box], service_account_name=f"{name}-account", node_name=node, **spec)
        return await self.admin.create(core.Pod(metadata=meta.ObjectMeta(name=name, namespace="default"), spec=made))


@pytest.fixture
async def world() -> World:
    made = World(await helper.start(accounts=True))
    for name in (HERE, THERE):
        await made.admin.create(core.Node(metadata=meta.ObjectMeta(name=name)))
    for name in ("mine", "other", "waiting"):
        account = meta.ObjectMeta(name=f"{name}-account", namespace="default")
        await made.admin.create(core.ServiceAccount(metadata=account, automount_service_account_token=False))
        secret = meta.ObjectMeta(name=f"{name}-secret", namespace="default")
        await made.admin.create(core.Secret(metadata=secret))
        where = {"mine": HERE, "other": THERE, "waiting": ""}[name]
        volume = core.Volume(name="v", secret=core.SecretVolumeSource(secret_name=f"{name}-secret"))
        await made.pod(name, where, volumes=[volume])
    return made


async def refused(asking: Any) -> str:
    with pytest.raises(status.ApiError) as caught:
        await asking
    assert caught.value.code == 403
    return caught.value.message


async def test_it_reads_what_its_pods_refer_to(world: World) -> None:
    node = world.node
    assert (await node.get(core.Secret, "mine-secret", "default")).metadata.name == "mine-secret"
    assert await refused(node.get(core.Secret, "other-secret", "default")) == (
        'secrets "other-secret" is forbidden: User "system:node:node-1" cannot get resource "secrets" in API group "" '
        "in the namespace \"default\": no relationship found between node 'node-1' and this object"
    )
    await refused(node.get(core.Secret, "waiting-secret", "default"))
    assert "No Object name found" in await refused(node.list(core.Secret, "default"))
    found = await node.list(core.Secret, "default", field_selector="metadata.name=mine-secret")
    assert len(found.items) == 1
    await refused(node.list(core.Secret, "default", field_selector="metadata.name=other-secret"))
    await world.admin.delete(core.Pod, "mine", "default", grace_period_seconds=0)
    await refused(node.get(core.Secret, "mine-secret", "default"))


async def test_a_pod_that_is_given_a_node_gives_it_its_rights(world: World) -> None:
    await refused(world.node.get(core.Secret, "waiting-secret", "default"))
    to = core.ObjectReference(kind="Node", name=HERE)
    binding = core.Binding(metadata=meta.ObjectMeta(name="waiting"), target=to)
    await world.admin.post(core.Pod, "waiting", "binding", binding, "default")
    await world.node.get(core.Secret, "waiting-secret", "default")


@pytest.mark.parametrize(
    ("plural", "spec"),
    [
        ("configmaps", {"volumes": [{"name": "v", "configMap": {"name": "x"}}]}),
        ("configmaps", {"volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "x"}}]}}]}),
        ("secrets", {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "x"}}]}}]}),
        ("secrets", {"imagePullSecrets": [{"name": "x"}]}),
        ("secrets", {"containers": [{"envFrom": [{"secretRef": {"name": "x"}}]}]}),
        ("configmaps", {"initContainers": [
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "k"}}}]}]}),
        ("secrets", {"ephemeralContainers": [
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "x", "key": "k"}}}]}]}),
        ("persistentvolumeclaims", {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]}),
        ("serviceaccounts", {"serviceAccountName": "x"}),
    ],
)  # fmt: skip
def test_what_a_pod_refers_to(plural: str, spec: dict[str, Any]) -> None:
    import msgspec

    from skerry.apiserver.access.nodes import _Spec, references

    assert list(references(msgspec.convert(spec, _Spec), "p")) == [(plural, "x")]


async def test_it_has_tokens_for_its_own_pods_alone(world: World) -> None:
    def asked(pod: core.Pod | None, uid: str = "") -> authentication.TokenRequest:
        made = authentication.TokenRequest()
        if pod is not None:
            made.spec.bound_object_ref = authentication.BoundObjectReference(
                kind="Pod", api_version="v1", name=pod.metadata.name, uid=uid or pod.metadata.uid
            )
        return made

    mine, other = [await world.admin.get(core.Pod, one, "default") for one in ("mine", "other")]

    async def token(account: str, body: authentication.TokenRequest) -> bytes:
        return await world.node.post(core.ServiceAccount, account, "token", body, "default")

    assert b"token" in await token("mine-account", asked(mine))
    assert "not bound to a pod" in await refused(token("mine-account", asked(None)))
    assert "scheduled on a different node" in await refused(token("mine-account", asked(other)))
    assert "no relationship found" in await refused(token("other-account", asked(other)))
    bare = asked(mine)
    assert bare.spec.bound_object_ref is not None
    bare.spec.bound_object_ref.uid = ""
    assert "without a uid" in await refused(token("mine-account", bare))


async def test_it_writes_of_pods_only_the_status_of_its_own(world: World) -> None:
    node, running = world.node, {"status": {"phase": "Running"}}
    await node.patch(core.Pod, "mine", running, "default", subresource="status")
    assert "can only update pod status for pods with spec.nodeName set to itself" in await refused(
        node.patch(core.Pod, "other", running, "default", subresource="status")
    )
    await refused(node.patch(core.Pod, "waiting", running, "default", subresource="status"))
    await refused(node.patch(core.Pod, "mine", {"metadata": {"labels": {"a": "b"}}}, "default"))
    await refused(node.create(core.Pod(metadata=meta.ObjectMeta(name="new", namespace="default"))))
    await refused(node.raw("DELETE", "/api/v1/namespaces/default/pods"))
    evict = policy.Eviction(metadata=meta.ObjectMeta(name="other", namespace="default"))
    assert "can only evict pods" in await refused(node.post(core.Pod, "other", "eviction", evict, "default"))
    assert "can only delete pods" in await refused(node.delete(core.Pod, "other", "default"))
    await node.delete(core.Pod, "mine", "default", grace_period_seconds=0)


async def test_it_is_one_node(world: World) -> None:
    node = world.node
    lease = coordination.Lease(metadata=meta.ObjectMeta(name=HERE, namespace="kube-node-lease"))
    await node.create(lease)
    await node.patch(coordination.Lease, HERE, {"spec": {"holderIdentity": "x"}}, "kube-node-lease")
    for name, namespace in ((THERE, "kube-node-lease"), (HERE, "default")):
        other = coordination.Lease(metadata=meta.ObjectMeta(name=name, namespace=namespace))
        assert "can only access" in await refused(node.create(other))
    assert "can only access" in await refused(node.get(coordination.Lease, THERE, "kube-node-lease"))
    await node.patch(core.Node, HERE, {"metadata": {"annotations": {"a": "b"}}})
    await node.patch(core.Node, HERE, {"status": {"phase": "x"}}, subresource="status")
    await refused(node.patch(core.Node, THERE, {"metadata": {"annotations": {"a": "b"}}}))
    assert 'is not allowed to modify node "node-3"' in await refused(
        node.create(core.Node(metadata=meta.ObjectMeta(name="node-3")))
    )
    await refused(node.delete(core.Node, HERE))


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ({"metadata": {"labels": {"mine.example/a": "b", "kubernetes.io/os": "linux"}}}, ""),
        ({"metadata": {"labels": {"node.kubernetes.io/kind": "b"}}}, ""),
        ({"metadata": {"labels": {"node-restriction.kubernetes.io/a": "b", "x.node-restriction.kubernetes.io/a": "b"}}},
         "is not allowed to modify labels: node-restriction.kubernetes.io/a, x.node-restriction.kubernetes.io/a"),
        ({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}, "is not allowed to modify labels"),
        ({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}, "is not allowed to modify taints"),
        ({"metadata": {"ownerReferences": [{"kind": "Node", "apiVersion": "v1", "name": "a", "uid": "1"}]}},
         "is not allowed to modify ownerReferences"),
    ],
)  # fmt: skip
async def test_what_it_may_say_of_itself(world: World, patch: dict[str, Any], said: str) -> None:
    if not said:
        await world.node.patch(core.Node, HERE, patch)
        return
    assert f'node "{HERE}" {said}' in await refused(world.node.patch(core.Node, HERE, patch))


async def test_who_is_no_node_is_not_one_by_its_name(world: World) -> None:
    for user in (User(f"system:node:{HERE}"), User(HERE, ("system:nodes",))):
        other = Client(in_process(world.api.app, user))
        await refused(other.get(core.Secret, "mine-secret", "default"))
