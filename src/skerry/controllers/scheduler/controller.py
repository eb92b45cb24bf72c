"""The shell of the scheduler: caches in, bindings out. Started by controllers.manager.

A decision and its note in the books happen in one go, without waiting in between, so that bindings under way are
known to the next decision. Pods that fit nowhere wait for a change that could help them: a node that would now take
them, a pod that goes from such a node, or another pod that their rules are about. More important pods come first.
"""

from __future__ import annotations

from typing import Any

from skerry.api import claims as volumes
from skerry.api import labels, status
from skerry.api.types import core, meta, policy
from skerry.api.types import storage as storage_types
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informers, key_of
from skerry.client.workqueue import Queue
from skerry.clock import Clock, rfc3339
from skerry.controllers.disruption import disrupted
from skerry.controllers.endpoints.select import ServiceIndex
from skerry.controllers.refusals import was_behind
from skerry.controllers.scheduler import claims, nodes, peers
from skerry.controllers.scheduler.asks import Ask, ask
from skerry.controllers.scheduler.books import Books, Place
from skerry.controllers.scheduler.choose import Choice, choose

NAME = "default-scheduler"
WORKERS = 5
_TELL_AGAIN = 300.0  # seconds after which the same refusal is worth another event


class SchedulerController:
    """Binds pods to nodes. `await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._client, self._clock = client, clock
        self._events = Recorder(client, NAME, clock=clock)
        self._queue = Queue(clock, rank=self._rank)
        self._books = Books()
        self._services = ServiceIndex()
        self._assumed: dict[str, str] = {}  # bound by us and not yet seen to be: pod -> uid
        self._stuck: dict[str, tuple[Ask, Choice]] = {}
        self._told: dict[str, tuple[str, str, float]] = {}  # pod -> uid, message, when
        self._pods = informers.of(core.Pod)
        self._nodes = informers.of(core.Node)
        self._namespaces = informers.of(core.Namespace)
        self._service_cache = informers.of(core.Service)
        self._pods.subscribe(self._pod)
        self._nodes.subscribe(self._node)
        self._namespaces.subscribe(self._namespace)
        self._service_cache.subscribe(self._service)
        self._budgets = informers.of(policy.PodDisruptionBudget)
        self._budgets.subscribe(self._budget)
        self._claims = informers.of(core.PersistentVolumeClaim)
        self._volumes = informers.of(core.PersistentVolume)
        self._classes = informers.of(storage_types.StorageClass)
        for cache in (self._claims, self._volumes, self._classes):
            cache.subscribe(self._storage_changed)

    async def run(self) -> None:
        for cache in (self._pods, self._nodes, self._namespaces, self._service_cache, self._budgets):
            await cache.synced()
        for other in (self._claims, self._volumes, self._classes):
            await other.synced()
        await controller.run(self._queue, self._sync, workers=WORKERS)

    def _rank(self, key: str) -> int:
        pod = self._pods.get(key)
        return -(pod.spec.priority or 0) if pod is not None else 0

    # What events lead to.

    def _pod(self, old: core.Pod | None, new: core.Pod | None) -> None:
        pod = new or old
        assert pod is not None
        key = key_of(pod)
        if new is None or new.status.phase in ("Succeeded", "Failed"):
            self._forget(key)
            self._uncount(key)
        elif new.spec.node_name:
            ours = self._assumed.pop(key, None) == new.metadata.uid
            self._forget(key)
            self._recount(key, new, same_spec=ours or (old is not None and old.spec == new.spec))
        elif _is_ours(new):
            self._nominate(key, new)
            if old is None or old.metadata.uid != new.metadata.uid or _wish(old) != _wish(new):
                self._queue.add(key)
        else:
            self._forget(key)

    def _recount(self, key: str, new: core.Pod, *, same_spec: bool) -> None:
        """Counts a pod that is on a node, unless it is counted as it is."""
        known = self._books.counted(key)
        place = self._books.place_of(key)
        terminating = new.metadata.deletion_timestamp is not None
        if (
            known is not None
            and place is not None
            and place.name == new.spec.node_name
            and known.uid == new.metadata.uid
            and known.kind.terminating == terminating
            and known.kind.labels == new.metadata.labels
            and same_spec
        ):
            known.pod = new
            return
        fresh = ask(new)
        self._books.count(fresh, new.spec.node_name)
        if known is not None:
            self._room_on(place, known)
        self._peers_changed(fresh)

    def _uncount(self, key: str) -> None:
        place = self._books.place_of(key)
        gone = self._books.uncount(key)
        if gone is not None:
            self._room_on(place, gone)

    def _forget(self, key: str) -> None:
        """The pod is no longer to be given a node."""
        self._stuck.pop(key, None)
        self._told.pop(key, None)
        self._drop_nomination(key)

    def _nominate(self, key: str, pod: core.Pod) -> None:
        node = pod.status.nominated_node_name
        if node and key not in self._books.nominated.get(node, {}):
            self._drop_nomination(key)
            self._books.nominated.setdefault(node, {})[key] = ask(pod)

    def _drop_nomination(self, key: str) -> None:
        for node, waiting in list(self._books.nominated.items()):
            if waiting.pop(key, None) is not None and not waiting:
                del self._books.nominated[node]

    def _node(self, old: core.Node | None, new: core.Node | None) -> None:
        if new is None:
            assert old is not None
            self._books.drop_node(old.metadata.name)
            self._retry(lambda _, choice: choice.peers)
        elif old is None or _capability(old) != _capability(new):
            place = self._books.put_node(new)
            self._retry(lambda one, choice: choice.peers or nodes.refusal(one, place) is None)

    def _namespace(self, old: core.Namespace | None, new: core.Namespace | None) -> None:
        if new is None:
            assert old is not None
            self._books.namespaces.pop(old.metadata.name, None)
        else:
            self._books.namespaces[new.metadata.name] = new.metadata.labels
            if old is not None and old.metadata.labels != new.metadata.labels:
                self._retry(lambda _, choice: choice.peers)

    def _service(self, old: core.Service | None, new: core.Service | None) -> None:
        if new is not None:
            self._services.put(new)
        elif old is not None:
            self._services.remove(key_of(old))

    def _budget(self, old: policy.PodDisruptionBudget | None, new: policy.PodDisruptionBudget | None) -> None:
        if new is not None:
            self._books.budgets[key_of(new)] = new
        elif old is not None:
            self._books.budgets.pop(key_of(old), None)

    def _storage_changed(self, old: Any, new: Any) -> None:  # noqa: ARG002
        """Pods with claims that wait look again: few do, and these change seldom."""
        self._retry(lambda one, _: bool(volumes.names_of(one.pod)))

    # Who is tried again.

    def _retry(self, helped: Any) -> None:
        for key, (one, choice) in list(self._stuck.items()):
            if helped(one, choice):
                del self._stuck[key]
                self._queue.add(key)

    def _room_on(self, place: Place | None, gone: Ask) -> None:
        """A pod left a node, or changed there."""
        node = place if place is not None and place.node is not None else None
        spaces = self._books.namespaces
        self._retry(
            lambda one, choice: (
                (choice.local and node is not None and nodes.refusal(one, node) is None)
                or (choice.peers and peers.concerns(one, gone, spaces))
            )
        )

    def _peers_changed(self, other: Ask) -> None:
        """A pod came to a node, or has other labels there, or is going."""
        spaces = self._books.namespaces
        self._retry(lambda one, choice: choice.peers and peers.concerns(one, other, spaces))

    # One pod.

    async def _sync(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None or pod.spec.node_name or key in self._assumed or not _is_ours(pod):
            return
        one = ask(pod)
        storage = claims.look(pod, self._claims.get, self._classes.get, self._volumes.list, self._volumes.get)
        if storage is not None and storage.on_their_way and not storage.problem:
            self._stuck[key] = (one, Choice())
            return
        choice = choose(one, self._books, self._kin(one), storage)
        if not choice.node:
            self._stuck[key] = (one, choice)
            await self._refuse(pod, choice)
            return
        if storage is not None and storage.waiting:
            self._stuck[key] = (one, Choice())
            for claim in storage.waiting:
                await self._select(claim, choice.node)
            return
        self._assumed[key] = one.uid
        self._books.count(one, choice.node)
        self._drop_nomination(key)
        self._peers_changed(one)
        try:
            await self._bind(pod, choice.node)
        except BaseException as error:
            if self._assumed.get(key) == one.uid:
                del self._assumed[key]
                self._uncount(key)
            if isinstance(error, status.ApiError) and was_behind(error):
                return  # gone, or bound by another hand: its event says so
            raise
        self._told.pop(key, None)
        self._events.event(pod, "Normal", "Scheduled", f"Successfully assigned {key} to {choice.node}")

    def _kin(self, one: Ask) -> labels.Selector:
        """What selects the pods of the same Services; only asked for pods that no controller speaks for."""
        if one.owner or one.spreads:
            return labels.EVERYTHING
        wanted: dict[str, str] = {}
        for key in self._services.matching(one.kind.namespace, one.kind.labels):
            service = self._service_cache.get(key)
            wanted.update(service.spec.selector if service is not None else {})
        return labels.from_map(wanted)

    async def _select(self, claim: core.PersistentVolumeClaim, node: str) -> None:
        """Says where a claim's volume is to be; when it is there, its pod is tried again."""
        meta_ = {"annotations": {volumes.SELECTED_NODE: node}, "resourceVersion": claim.metadata.resource_version}
        name, namespace = claim.metadata.name, claim.metadata.namespace
        try:
            await self._client.patch(core.PersistentVolumeClaim, name, {"metadata": meta_}, namespace, type="merge")
        except status.ApiError as error:
            if not was_behind(error):
                raise  # else its event tells

    async def _bind(self, pod: core.Pod, node: str) -> None:
        binding = core.Binding(
            metadata=meta.ObjectMeta(name=pod.metadata.name, namespace=pod.metadata.namespace, uid=pod.metadata.uid),
            target=core.ObjectReference(kind="Node", name=node),
        )
        await self._client.post(core.Pod, pod.metadata.name, "binding", binding, pod.metadata.namespace)

    async def _refuse(self, pod: core.Pod, choice: Choice) -> None:
        """Says why the pod has to wait, and asks those to leave who make room for it."""
        key = key_of(pod)
        uid, message, when = self._told.get(key, ("", "", 0.0))
        now = self._clock.monotonic()
        if (uid, message) != (pod.metadata.uid, choice.message) or now - when >= _TELL_AGAIN:
            self._told[key] = (pod.metadata.uid, choice.message, now)
            self._events.event(pod, "Warning", "FailedScheduling", choice.message)
        change: dict[str, Any] = {}
        if choice.nominated:
            self._drop_nomination(key)
            self._books.nominated.setdefault(choice.nominated, {})[key] = ask(pod)
            change["nominatedNodeName"] = choice.nominated
        known = next((one for one in pod.status.conditions if one.type == "PodScheduled"), None)
        said = ("False", "Unschedulable", choice.message)
        if known is None or (known.status, known.reason, known.message) != said:
            since = known.last_transition_time if known is not None and known.status == "False" else None
            change["conditions"] = [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": choice.message,
                    "observedGeneration": pod.metadata.generation,
                    "lastTransitionTime": since or rfc3339(self._clock.now()),
                }
            ]
        if change:
            await self._patch(pod, change)
        for victim in choice.victims:
            await self._send_away(victim, pod, choice.nominated)

    async def _send_away(self, victim: Ask, pod: core.Pod, node: str) -> None:
        if victim.kind.terminating:
            return
        message = f"{NAME}: preempting to accommodate a higher priority pod"
        change = disrupted(victim.pod, "PreemptionByScheduler", message, self._clock.now())
        if change:
            await self._patch(victim.pod, change["status"])
        name, namespace = victim.pod.metadata.name, victim.kind.namespace
        try:
            await self._client.delete(core.Pod, name, namespace, uid=victim.uid)
        except status.ApiError as error:
            if not was_behind(error):
                raise
        else:
            text = f"Preempted by pod {pod.metadata.uid} on node {node}"
            self._events.event(victim.pod, "Normal", "Preempted", text)

    async def _patch(self, pod: core.Pod, change: dict[str, Any]) -> None:
        patch = {"status": change, "metadata": {"uid": pod.metadata.uid}}
        name, namespace = pod.metadata.name, pod.metadata.namespace
        try:
            await self._client.patch(core.Pod, name, patch, namespace, type="strategic", subresource="status")
        except status.ApiError as error:
            if not was_behind(error):
                raise


def _is_ours(pod: core.Pod) -> bool:
    return (
        pod.spec.scheduler_name in ("", NAME)
        and pod.metadata.deletion_timestamp is None
        and not pod.spec.scheduling_gates
    )


def _wish(pod: core.Pod) -> tuple[object, ...]:
    """What of a pod without a node decides where it may go."""
    return (pod.spec, pod.metadata.labels)


def _capability(node: core.Node) -> tuple[object, ...]:
    """What of a node decides about pods; heartbeats do not."""
    ready = [one.status for one in node.status.conditions if one.type == "Ready"]
    return (node.metadata.labels, node.spec.taints, node.spec.unschedulable, node.status.allocatable, ready)
