"""Makes a pod's volumes on disk, keeps them up to date and takes them away. Called by node/agent/podvolumes.py."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from skerry import linux
from skerry.api import codec, quantity
from skerry.node.volumes import tree
from skerry.node.volumes.payload import Sources, VolumeError, files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from skerry.api.types import core

_TMPFS = linux.MS_NOSUID | linux.MS_NODEV


def prepare(
    pod: core.Pod, directory: Path, sources: Sources, facts: Mapping[str, str], written: Path | None = None
) -> dict[str, str]:
    """Makes every volume of the pod under `directory`; where each is, by name. VolumeError, then some may be made.

    Those whose content comes from here are under `written`, if that is another place.
    """
    group = _group(pod)
    out = {}
    for volume in pod.spec.volumes:
        path = directory / volume.name
        with _Naming(volume):
            if volume.host_path is not None:
                out[volume.name] = _host_path(volume.host_path)
            elif volume.empty_dir is not None:
                out[volume.name] = _empty_dir(pod, volume.empty_dir, path, group)
            else:
                path = (written or directory) / volume.name
                _write(pod, volume, path, sources, facts, group)
                out[volume.name] = str(path)
    return out


def refresh(pod: core.Pod, written: Path, sources: Sources, facts: Mapping[str, str]) -> list[str]:
    """Brings the content of volumes made by `prepare` up to date; what could not be, in the words of its events."""
    failures = []
    for volume in pod.spec.volumes:
        if volume.host_path is None and volume.empty_dir is None and volume.persistent_volume_claim is None:
            try:
                with _Naming(volume):
                    _write(pod, volume, written / volume.name, sources, facts, _group(pod))
            except VolumeError as error:
                failures.append(str(error))
    return failures


def remove(directory: Path) -> None:
    """Takes away all that `prepare` made under `directory`. What cannot be, stays (the next life of the node tries)."""
    for path in _mounted(directory):
        try:
            linux.unmount(str(path))
        except OSError:
            return  # what it shows is not to be deleted through it
    shutil.rmtree(directory, ignore_errors=True)


def _mounted(directory: Path) -> Iterator[Path]:
    if directory.is_dir():
        yield from (one for one in directory.iterdir() if os.path.ismount(one))


class _Naming:
    """`with _Naming(volume):` makes a FailedMount's message of what goes wrong."""

    def __init__(self, volume: core.Volume) -> None:
        self._start = f'MountVolume.SetUp failed for volume "{volume.name}" : '
        self._name = volume.name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, VolumeError):
            raise VolumeError(f"{self._start}{error}") from None
        if isinstance(error, OSError):
            raise VolumeError(f"{self._start}{error.filename or self._name}: {error.strerror}") from None


def _group(pod: core.Pod) -> int | None:
    return pod.spec.security_context.fs_group if pod.spec.security_context is not None else None


def _write(
    pod: core.Pod, volume: core.Volume, path: Path, sources: Sources, facts: Mapping[str, str], group: int | None
) -> None:
    content = files(pod, volume, sources, facts)
    if content is None:
        kind = next((name for name in codec.plain(volume) if name != "name"), "none")
        raise VolumeError(f"volumes of kind {kind} are not served here")
    tree.write(path, content, group)


def _empty_dir(pod: core.Pod, source: core.EmptyDirVolumeSource, path: Path, group: int | None) -> str:
    if source.medium not in ("", "Memory"):
        raise VolumeError(f'an emptyDir of medium "{source.medium}" is not served here')
    fresh = not path.is_dir()
    if fresh:
        path.mkdir(parents=True)
    if source.medium == "Memory" and not os.path.ismount(path):
        size = _memory(pod, source)
        linux.mount("tmpfs", str(path), "tmpfs", _TMPFS, "mode=777" + (f",size={size}" if size else ""))
        fresh = True
    if fresh:
        if group is not None:
            os.chown(path, -1, group)
        # Set apart from mkdir, which the umask would cut.
        path.chmod(0o777 if group is None else 0o2777)
    return str(path)


def _memory(pod: core.Pod, source: core.EmptyDirVolumeSource) -> int:
    """Bytes of a volume in memory: the smaller of its limit and of what the pod may use; 0: half of the machine's."""
    own = quantity.whole(source.size_limit or "0")
    sizes = [own] if own else []
    limits = [one.resources.limits.get("memory", "") for one in pod.spec.containers]
    if all(limits):
        sizes.append(sum(quantity.whole(one) for one in limits))
    return min(sizes, default=0)


def _host_path(source: core.HostPathVolumeSource) -> str:
    path, kind = Path(source.path), source.type or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate" and not path.exists():
        path.touch(mode=0o644)
    checks: dict[str, tuple[str, Callable[[], bool]]] = {
        "Directory": ("directory", path.is_dir),
        "DirectoryOrCreate": ("directory", path.is_dir),
        "File": ("file", path.is_file),
        "FileOrCreate": ("file", path.is_file),
        "Socket": ("socket", path.is_socket),
        "CharDevice": ("character device", path.is_char_device),
        "BlockDevice": ("block device", path.is_block_device),
    }
    if kind in checks and not checks[kind][1]():
        raise VolumeError(f"hostPath type check failed: {source.path} is not a {checks[kind][0]}")
    if not path.exists():
        path.mkdir(parents=True)
    return str(path)
