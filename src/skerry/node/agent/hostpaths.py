"""PersistentVolumes on this node: what a pod's claims mean, and directories that go with the volumes made for claims.

Called by podvolumes.py and main.py. A volume that was provisioned is a directory below the node's data; when its claim
is gone and it is to be deleted, its node deletes what is in it, and then the volume.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from skerry.api import claims, status
from skerry.api.types import core
from skerry.node.volumes.payload import VolumeError

if TYPE_CHECKING:
    from skerry.client.client import Client
    from skerry.node.agent.services import NodeServices

_log = logging.getLogger(__name__)
_AGAIN = 10.0


def directory(data: Path) -> Path:
    """Where the volumes of a node with this data directory are."""
    return data / "volumes"


def read_only(pod: core.Pod) -> frozenset[str]:
    """The volumes of a pod that are claims which nobody may write to."""
    return frozenset(
        one.name
        for one in pod.spec.volumes
        if one.persistent_volume_claim is not None and one.persistent_volume_claim.read_only
    )


async def resolved(client: Client, pod: core.Pod, data: Path) -> core.Pod:
    """The pod with directories in the place of its claims. VolumeError, ApiError."""
    if not claims.names_of(pod):
        return pod
    out: list[core.Volume] = []
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is None:
            out.append(volume)
            continue
        try:
            source = await _source(client, pod, volume.persistent_volume_claim.claim_name)
        except VolumeError as error:
            raise VolumeError(f'MountVolume.SetUp failed for volume "{volume.name}" : {error}') from None
        await asyncio.to_thread(_prepare, Path(source.path), directory(data), pod)
        out.append(core.Volume(name=volume.name, host_path=source))
    return msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, volumes=out))


async def _source(client: Client, pod: core.Pod, name: str) -> core.HostPathVolumeSource:
    claim = await client.get(core.PersistentVolumeClaim, name, pod.metadata.namespace)
    if not claims.is_bound(claim):
        raise VolumeError(f'PersistentVolumeClaim "{name}" is not bound')
    volume = await client.get(core.PersistentVolume, claim.spec.volume_name)
    ref = volume.spec.claim_ref
    if ref is None or ref.uid != claim.metadata.uid:
        raise VolumeError(f'PersistentVolume "{volume.metadata.name}" is not bound to PersistentVolumeClaim "{name}"')
    if volume.spec.volume_mode == "Block":
        raise VolumeError("block volumes are not served here: use volumeMode Filesystem")
    if volume.spec.host_path is not None:
        return volume.spec.host_path
    if volume.spec.local is not None:
        return core.HostPathVolumeSource(path=volume.spec.local.path, type="Directory")
    raise VolumeError("PersistentVolumes other than hostPath and local are not served here")


def _prepare(path: Path, below: Path, pod: core.Pod) -> None:
    """A provisioned volume's directory is made when it is first used, for whoever the pod runs as."""
    if path.parent != below or path.is_dir():
        return
    path.mkdir(parents=True)
    group = pod.spec.security_context.fs_group if pod.spec.security_context is not None else None
    if group is not None:
        os.chown(path, -1, group)
    path.chmod(0o777 if group is None else 0o2777)


class HostPaths:
    """Deletes provisioned volumes of this node that are no longer wanted."""

    def __init__(self, services: NodeServices) -> None:
        self._client, self._clock = services.client, services.clock
        self._root = directory(services.data)
        self._volumes = services.informers.of(core.PersistentVolume)
        self._gone: asyncio.Queue[core.PersistentVolume] = asyncio.Queue()
        self._volumes.subscribe(self._volume)

    def _volume(self, old: core.PersistentVolume | None, new: core.PersistentVolume | None) -> None:  # noqa: ARG002
        if new is not None and self._is_over(new):
            self._gone.put_nowait(new)

    def _is_over(self, volume: core.PersistentVolume) -> bool:
        spec = volume.spec
        return (
            volume.status.phase == "Released"
            and spec.persistent_volume_reclaim_policy == "Delete"
            and volume.metadata.annotations.get(claims.PROVISIONED_BY) == claims.PROVISIONER
            and spec.host_path is not None
            and Path(spec.host_path.path).parent == self._root
        )

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            volume = await self._gone.get()
            assert volume.spec.host_path is not None
            path = volume.spec.host_path.path
            try:
                await asyncio.to_thread(_remove, path)
                if not volume.metadata.deletion_timestamp:
                    await self._delete(volume)
            except (OSError, status.ApiError) as error:
                _log.warning("persistent volume %s: %s", volume.metadata.name, error)
                self._clock.call_later(_AGAIN, functools.partial(self._gone.put_nowait, volume))

    async def _delete(self, volume: core.PersistentVolume) -> None:
        try:
            await self._client.delete(core.PersistentVolume, volume.metadata.name, uid=volume.metadata.uid)
        except status.ApiError as error:
            if not _was_gone(error):
                raise


def _was_gone(error: status.ApiError) -> bool:
    """Whether somebody else has deleted it."""
    return status.is_not_found(error) or status.is_conflict(error)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)
