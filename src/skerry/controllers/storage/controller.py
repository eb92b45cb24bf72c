"""The shell of the storage controller: claims get volumes, volumes follow their claims. Started by controllers.manager.

One queue for both: `claim NAMESPACE/NAME` and `volume NAME`. The server is asked before anything is believed to be
gone, since caches may be behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from skerry.api import claims, codec, status
from skerry.api.types import core, storage
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informers, key_of
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers.refusals import was_behind
from skerry.controllers.storage import decide

_BY_CLAIM, _BY_CLASS = "claim", "class"
_ENDED = ("Succeeded", "Failed")


class StorageController:
    """`directory(node)`: where the volumes of a node are; None where no node is this machine's. `await run()`."""

    def __init__(
        self, client: Client, clock: Clock, informers: Informers, directory: Callable[[str], str] | None = None
    ) -> None:
        self._client, self._directory = client, directory
        self._events = Recorder(client, "persistentvolume-controller", clock=clock)
        self._queue = Queue(clock)
        self._claims = informers.of(core.PersistentVolumeClaim)
        self._volumes = informers.of(core.PersistentVolume)
        self._classes = informers.of(storage.StorageClass)
        self._pods = informers.of(core.Pod)
        self._nodes = informers.of(core.Node)
        self._pods.add_index(_BY_CLAIM, lambda pod: [f"{pod.metadata.namespace}/{one}" for one in claims.names_of(pod)])
        self._claims.add_index(_BY_CLASS, lambda one: [] if one.spec.volume_name else [claims.class_of(one)])
        self._claims.subscribe(self._claim)
        self._volumes.subscribe(self._volume)
        self._classes.subscribe(self._class)
        self._pods.subscribe(self._pod)

    async def run(self) -> None:
        for one in (self._claims, self._volumes, self._classes, self._pods, self._nodes):
            await one.synced()
        await controller.run(self._queue, self._sync)

    # What events lead to.

    def _claim(self, old: core.PersistentVolumeClaim | None, new: core.PersistentVolumeClaim | None) -> None:
        one = new or old
        assert one is not None
        self._queue.add(f"claim {key_of(one)}")
        if one.spec.volume_name:
            self._queue.add(f"volume {one.spec.volume_name}")

    def _volume(self, old: core.PersistentVolume | None, new: core.PersistentVolume | None) -> None:
        one = new or old
        assert one is not None
        if new is not None:
            self._queue.add(f"volume {new.metadata.name}")
        ref = one.spec.claim_ref
        if ref is not None:
            self._queue.add(f"claim {ref.namespace}/{ref.name}")
        elif new is not None and (old is None or old.status.phase != new.status.phase):
            self._waiting(new.spec.storage_class_name)

    def _class(self, old: storage.StorageClass | None, new: storage.StorageClass | None) -> None:  # noqa: ARG002
        if new is not None:
            self._waiting(new.metadata.name)

    def _waiting(self, name: str) -> None:
        for claim in self._claims.by_index(_BY_CLASS, name):
            self._queue.add(f"claim {key_of(claim)}")

    def _pod(self, old: core.Pod | None, new: core.Pod | None) -> None:
        pod = new or old
        assert pod is not None
        if new is None or new.status.phase in _ENDED:
            for name in claims.names_of(pod):
                self._queue.add(f"claim {pod.metadata.namespace}/{name}")

    async def _sync(self, key: str) -> None:
        kind, _, name = key.partition(" ")
        try:
            if kind == "claim":
                claim = self._claims.get(name)
                if claim is not None:
                    await self._sync_claim(claim)
            else:
                volume = self._volumes.get(name)
                if volume is not None:
                    await self._sync_volume(volume)
        except status.ApiError as error:
            if not was_behind(error):
                raise  # else an event tells what came between

    # Claims.

    async def _sync_claim(self, claim: core.PersistentVolumeClaim) -> None:
        if claim.metadata.deletion_timestamp:
            await self._release(claim)
            return
        if claim.spec.volume_name:
            await self._sync_bound(claim)
            return
        name = claims.class_of(claim)
        chosen = self._classes.get(name) if name else None
        node = claim.metadata.annotations.get(claims.SELECTED_NODE, "")
        volumes = self._volumes.list()
        if claims.waits(claim, chosen):
            kept = [one for one in volumes if claims.is_of(one, claim)]
            if not node and not kept:
                text = "waiting for first consumer to be created before binding"
                self._events.event(claim, "Normal", "WaitForFirstConsumer", text)
                return
            where = self._nodes.get(node)
            labels = where.metadata.labels if where is not None else {}
            volumes = kept or [one for one in volumes if claims.reached(one, node, labels)]
        found = claims.best(claim, volumes)
        if found is not None:
            await self._bind(claim, found)
        elif chosen is not None:
            await self._provision(claim, chosen, node)
        elif name:
            text = f'storageclass.storage.k8s.io "{name}" not found'
            self._events.event(claim, "Warning", "ProvisioningFailed", text)
        else:
            text = "no persistent volumes available for this claim and no storage class is set"
            self._events.event(claim, "Normal", "FailedBinding", text)

    async def _bind(self, claim: core.PersistentVolumeClaim, volume: core.PersistentVolume) -> None:
        ref = volume.spec.claim_ref
        if ref is None or not ref.uid:
            volume = await self._client.update(decide.bound_volume(volume, claim))
        if volume.status.phase != "Bound":
            volume = await self._phase(volume, "Bound")
        await self._tell(await self._client.update(decide.bound_claim(claim, volume)), volume, "Bound")

    async def _sync_bound(self, claim: core.PersistentVolumeClaim) -> None:
        volume = self._volumes.get(claim.spec.volume_name) or await self._asked(claim.spec.volume_name)
        had = claims.BIND_COMPLETED in claim.metadata.annotations
        if volume is None and not had:
            return  # somebody has named a volume that is still to come
        if volume is not None and not had and claims.is_free(volume):
            await self._bind(claim, volume)
            return
        if volume is None or not claims.is_of(volume, claim):
            if had and claim.status.phase != "Lost":
                text = "Bound claim has lost its PersistentVolume. Data on this volume is lost!"
                self._events.event(claim, "Warning", "ClaimLost", text)
                await self._tell(claim, None, "Lost")
            return
        if volume.spec.claim_ref is not None and not volume.spec.claim_ref.uid:
            await self._bind(claim, volume)
        elif not had:
            claim = await self._client.update(decide.bound_claim(claim, volume))
            await self._tell(claim, volume, "Bound")
        else:
            await self._tell(claim, volume, "Bound")

    async def _tell(self, claim: core.PersistentVolumeClaim, volume: core.PersistentVolume | None, phase: str) -> None:
        wanted = decide.claim_status(volume, phase)
        if claim.status != wanted:
            await self._client.update(msgspec.structs.replace(claim, status=wanted), subresource="status")

    async def _provision(self, claim: core.PersistentVolumeClaim, chosen: storage.StorageClass, node: str) -> None:
        if chosen.provisioner != claims.PROVISIONER or self._directory is None:
            if chosen.provisioner != claims.NO_PROVISIONER:
                text = (
                    "Waiting for a volume to be created either by the external provisioner "
                    f"'{chosen.provisioner}' or manually by the system administrator. If volume creation is delayed, "
                    "please verify that the provisioner is running and correctly registered."
                )
                self._events.event(claim, "Normal", "ExternalProvisioning", text)
                if claims.WHO_PROVISIONS not in claim.metadata.annotations:
                    made = codec.copy(claim)
                    made.metadata.annotations[claims.WHO_PROVISIONS] = chosen.provisioner
                    await self._client.update(made)
            else:
                text = "no volume plugin matched name: kubernetes.io/no-provisioner"
                self._events.event(claim, "Warning", "ProvisioningFailed", text)
            return
        if not node:  # the class binds at once: any node does
            node = min((one.metadata.name for one in self._nodes.list()), default="")
        why = decide.cannot_be_made(claim) or ("" if node else "there is no node yet")
        if why:
            text = f'failed to provision volume with StorageClass "{chosen.metadata.name}": {why}'
            self._events.event(claim, "Warning", "ProvisioningFailed", text)
            return
        known = self._nodes.get(node)
        hostname = known.metadata.labels.get(claims.HOSTNAME, "") if known is not None else ""
        path = f"{self._directory(node)}/{decide.directory_name(claim)}"
        made_volume = await self._client.create(decide.provisioned(claim, chosen, node, hostname, path))
        text = f"Successfully provisioned volume {made_volume.metadata.name}"
        self._events.event(claim, "Normal", "ProvisioningSucceeded", text)
        await self._bind(claim, made_volume)

    async def _release(self, claim: core.PersistentVolumeClaim) -> None:
        """Lets a claim go when no pod uses it."""
        if claims.CLAIM_PROTECTION not in claim.metadata.finalizers:
            return
        users = self._pods.by_index(_BY_CLAIM, key_of(claim))
        if any(one.spec.node_name and one.status.phase not in _ENDED for one in users):
            return
        await self._client.update(_without(claim, claims.CLAIM_PROTECTION))

    # Volumes.

    async def _sync_volume(self, volume: core.PersistentVolume) -> None:
        ref = volume.spec.claim_ref
        phase = volume.status.phase
        if ref is None or not ref.uid:
            wanted = "Available"
        else:
            claim = self._claims.get(f"{ref.namespace}/{ref.name}")
            if claim is None or claim.metadata.uid != ref.uid:
                claim = await self._asked_claim(ref)
            gone = claim is None or claim.metadata.uid != ref.uid
            wanted = "Released" if gone else "Bound"
        if wanted == "Released" and phase == "Failed":
            return
        if wanted != phase:
            volume = await self._phase(volume, wanted)
        if wanted == "Released" and volume.spec.persistent_volume_reclaim_policy == "Delete":
            await self._cannot_delete(volume)
        held = claims.VOLUME_PROTECTION in volume.metadata.finalizers
        if volume.metadata.deletion_timestamp and wanted != "Bound" and held:
            await self._client.update(_without(volume, claims.VOLUME_PROTECTION))

    async def _cannot_delete(self, volume: core.PersistentVolume) -> None:
        """Only what was provisioned is deleted, by whoever did that: ours by its node."""
        if claims.PROVISIONED_BY in volume.metadata.annotations or volume.metadata.deletion_timestamp:
            return
        why = "no deletable volume plugin matched"
        text = f'error getting deleter volume plugin for volume "{volume.metadata.name}": {why}'
        self._events.event(volume, "Warning", "VolumeFailedDelete", text)
        await self._phase(volume, "Failed", text)

    async def _phase(self, volume: core.PersistentVolume, phase: str, message: str = "") -> core.PersistentVolume:
        made = codec.copy(volume)
        made.status = core.PersistentVolumeStatus(phase=phase, message=message)
        return await self._client.update(made, subresource="status")

    async def _asked(self, name: str) -> core.PersistentVolume | None:
        try:
            return await self._client.get(core.PersistentVolume, name)
        except status.ApiError as error:
            if status.is_not_found(error):
                return None
            raise

    async def _asked_claim(self, ref: core.ObjectReference) -> core.PersistentVolumeClaim | None:
        try:
            return await self._client.get(core.PersistentVolumeClaim, ref.name, ref.namespace)
        except status.ApiError as error:
            if status.is_not_found(error):
                return None
            raise


def _without(obj: Any, finalizer: str) -> Any:
    made = codec.copy(obj)
    made.metadata.finalizers.remove(finalizer)
    return made
