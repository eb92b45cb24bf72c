"""A cluster without node agents: the real API server and the real controllers in this process.

A test plays the node: it writes pod statuses. Nothing sleeps: `until` waits for the next change of any cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import msgspec
from tests.helpers import server as helper

from skerry.api import codec
from skerry.api import status as statuses
from skerry.api.types import apiextensions, apps, batch, core, discovery, meta, networking, skerry
from skerry.api.wire import Request, Response
from skerry.apiserver.app import in_process
from skerry.client.client import Client, WatchEvent
from skerry.client.informer import Informers
from skerry.clock import Clock, SystemClock, rfc3339
from skerry.controllers import manager

T = TypeVar("T")
_PATIENCE = 20.0
_KINDS = (
    core.Namespace,
    core.Pod,
    core.Service,
    core.Endpoints,
    core.Event,
    core.ConfigMap,
    core.ServiceAccount,
    core.PersistentVolumeClaim,
    core.PersistentVolume,
    discovery.EndpointSlice,
    networking.IPAddress,
    apps.ReplicaSet,
    apps.Deployment,
    apps.StatefulSet,
    apps.DaemonSet,
    apps.ControllerRevision,
    batch.Job,
    batch.CronJob,
    apiextensions.CustomResourceDefinition,
    skerry.Acknowledgement,
)


class World:
    """`caches` are the test's own, apart from those of the controllers."""

    def __init__(self, api: helper.ApiServer, clock: Clock, caches: Informers) -> None:
        self.api, self.clock, self.caches = api, clock, caches
        self.client: Client = api.client
        self.controllers: Client = api.client
        self._changed = asyncio.Event()
        self._addresses = 0
        for kind in _KINDS:
            caches.of(kind).subscribe(lambda _old, _new: self._changed.set())

    async def until(self, say: Callable[[], T]) -> T:
        """The first true value of `say`; asked again after every change. Fails after a while, with the last value."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                self._changed.clear()
                found = say()
                if found:
                    return found
                try:
                    await self._changed.wait()
                except asyncio.CancelledError:
                    raise AssertionError(f"it never came true; the last answer was {found!r}") from None

    def all(self, kind: type[T], namespace: str = "default") -> list[T]:
        found: list[Any] = self.caches.of(kind).list()
        return [one for one in found if one.metadata.namespace == namespace]

    def get(self, kind: type[T], name: str, namespace: str = "default") -> T | None:
        return self.caches.of(kind).get(f"{namespace}/{name}" if namespace else name)

    def pods(self, **labels: str) -> list[core.Pod]:
        """Pods that are not being deleted and have these labels, by name."""
        found = [one for one in self.all(core.Pod) if labels.items() <= one.metadata.labels.items()]
        return sorted((one for one in found if not one.metadata.deletion_timestamp), key=lambda one: one.metadata.name)

    def events(self, reason: str) -> list[str]:
        return [one.message for one in self.all(core.Event) if one.reason == reason]

    def addresses(self, name: str) -> tuple[list[str], list[str]]:
        """(ready, not ready) of an Endpoints; empty if there is none."""
        found = self.get(core.Endpoints, name)
        subsets = found.subsets if found else []
        return (
            sorted(one.ip for each in subsets for one in each.addresses),
            sorted(one.ip for each in subsets for one in each.not_ready_addresses),
        )

    def slices(self, name: str) -> list[discovery.EndpointSlice]:
        return [
            one
            for one in self.all(discovery.EndpointSlice)
            if one.metadata.labels.get("kubernetes.io/service-name") == name
        ]

    def sliced(self, name: str) -> tuple[list[str], list[str]]:
        """(ready, not ready) of a Service's slices."""
        found = [one for each in self.slices(name) for one in each.endpoints]
        return (
            sorted(one.addresses[0] for one in found if one.conditions.ready is not False),
            sorted(one.addresses[0] for one in found if one.conditions.ready is False),
        )

    async def node(self, name: str = "node-1", **spec: Any) -> core.Node:
        amounts = {"cpu": "4", "memory": "8Gi", "pods": "110"}
        return await self.client.create(
            core.Node(
                metadata=meta.ObjectMeta(name=name, labels=spec.pop("labels", {})),
                spec=core.NodeSpec(**spec),
                status=core.NodeStatus(
                    capacity=amounts,
                    allocatable=amounts,
                    conditions=[core.NodeCondition(type="Ready", status="True")],
                ),
            )
        )

    async def runs(self, pod: core.Pod, *, ready: bool = True, phase: str = "Running") -> core.Pod:
        """Plays the node: the pod runs, with an address, ready or not."""
        pod = await self.client.get(core.Pod, pod.metadata.name, pod.metadata.namespace)
        ip = pod.status.pod_ip
        if not ip:
            self._addresses += 1
            ip = f"10.244.{self._addresses // 250}.{self._addresses % 250}"
        kept = [one for one in pod.status.conditions if one.type != "Ready"]
        condition = core.PodCondition(
            type="Ready", status="True" if ready else "False", last_transition_time=rfc3339(self.clock.now())
        )
        status = msgspec.structs.replace(
            pod.status, phase=phase, pod_ip=ip, pod_i_ps=[core.PodIP(ip=ip)], conditions=[*kept, condition]
        )
        return await self.client.update(msgspec.structs.replace(pod, status=status), subresource="status")

    async def stopped(self, pod: core.Pod) -> None:
        """Plays the node: the containers of a pod that is being deleted have ended."""
        await self.client.delete(core.Pod, pod.metadata.name, pod.metadata.namespace, grace_period_seconds=0)


class Lagging(Client):
    """A client whose watches can be held back, kind by kind: its caches then show the past."""

    def __init__(self, client: Client) -> None:
        super().__init__(client._transport, shared=True)
        self._gates: dict[type[Any], asyncio.Event] = {}
        self.asked: list[str] = []  # every write, as `METHOD path`
        self._conflicts: set[str] = set()  # the resources of those that were refused as a conflict
        self._refused = asyncio.Event()

    async def _send(self, request: Request) -> Response:
        if request.method == "GET":
            return await super()._send(request)
        self.asked.append(f"{request.method} {request.path}")
        try:
            return await super()._send(request)
        except statuses.ApiError as error:
            if statuses.is_conflict(error):
                self._conflicts.add(request.path.split("/")[-2])
                self._refused.set()
            raise

    async def refused(self, *resources: str) -> None:
        """Until a write of each of these ("endpoints") was refused as a conflict."""
        async with asyncio.timeout(_PATIENCE):
            while not self._conflicts.issuperset(resources):
                self._refused.clear()
                await self._refused.wait()

    def hold(self, *kinds: type[Any]) -> None:
        for kind in kinds:
            self._gate(kind).clear()

    def release(self) -> None:
        for gate in self._gates.values():
            gate.set()

    def _gate(self, kind: type[Any]) -> asyncio.Event:
        if kind not in self._gates:
            self._gates[kind] = asyncio.Event()
            self._gates[kind].set()
        return self._gates[kind]

    async def watch(self, kind: type[T], namespace: str = "", **more: Any) -> AsyncIterator[WatchEvent[T]]:
        async with aclosing(super().watch(kind, namespace, **more)) as events:
            async for event in events:
                await self._gate(kind).wait()
                yield event


@asynccontextmanager
async def world(clock: Clock | None = None, *, lagging: bool = False) -> AsyncIterator[World]:
    clock = clock or SystemClock()
    api = await helper.start(clock)
    own = Client(in_process(api.app, helper.ADMIN), shared=True)
    seen = Lagging(own) if lagging else own
    caches, informers = Informers(api.client, clock), Informers(seen, clock)
    made = World(api, clock, caches)
    made.controllers = seen
    await caches.start()
    await caches.synced()
    running = await manager.run(seen, clock, informers, ca="-----BEGIN CERTIFICATE-----\n", directory="/data/{}".format)
    try:
        yield made
    finally:
        await running.stop()
        await informers.stop()
        await caches.stop()
        await api.store.close()


def pod_spec(image: str = "nginx:1.14.2", **more: Any) -> core.PodSpec:
    return core.PodSpec(containers=[core.Container(name="c", image=image)], **more)


def pod(name: str, labels: dict[str, str] | None = None, namespace: str = "default", **spec: Any) -> core.Pod:
    return core.Pod(
        metadata=meta.ObjectMeta(name=name, namespace=namespace, labels=labels or {"app": "web"}),
        spec=pod_spec(**spec),
    )


def deployment(name: str = "web", replicas: int = 3, **more: Any) -> apps.Deployment:
    labels = {"app": name}
    return apps.Deployment(
        metadata=meta.ObjectMeta(name=name, namespace="default", labels=labels),
        spec=apps.DeploymentSpec(
            replicas=replicas,
            selector=meta.LabelSelector(match_labels=labels),
            template=core.PodTemplateSpec(
                metadata=meta.ObjectMeta(labels=labels), spec=more.pop("spec", None) or pod_spec()
            ),
            **more,
        ),
    )


def service(name: str = "web", **spec: Any) -> core.Service:
    spec.setdefault("selector", {"app": name})
    spec.setdefault("ports", [core.ServicePort(port=80, target_port=8080)])
    return core.Service(metadata=meta.ObjectMeta(name=name, namespace="default"), spec=core.ServiceSpec(**spec))


def changed(obj: T, **fields: Any) -> T:
    """A copy with some fields of its spec changed."""
    made: Any = codec.copy(obj)
    for key, value in fields.items():
        setattr(made.spec, key, value)
    return made
