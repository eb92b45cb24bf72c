"""Makes a pod's volumes on disk and says where they are. Called by node/agent, before the pod's first container.

Files that come from objects are put in a directory of their own to which `..data` points, as upstream does it, so that
programs which watch `..data` work.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from skerry.node.pods.text import expand
from skerry.node.runtime.spec import Mount
from skerry.node.volumes.payload import File, Sources, VolumeError, files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skerry.api.types import core

_DATA = "..data"


def prepare(pod: core.Pod, directory: Path, sources: Sources, facts: Mapping[str, str]) -> dict[str, str]:
    """Makes every volume of the pod under `directory`; where each is, by name. VolumeError, then some may be made."""
    group = pod.spec.security_context.fs_group if pod.spec.security_context is not None else None
    out = {}
    for volume in pod.spec.volumes:
        try:
            out[volume.name] = _one(pod, volume, directory / volume.name, sources, facts, group)
        except VolumeError as error:
            raise VolumeError(f'MountVolume.SetUp failed for volume "{volume.name}" : {error}') from None
        except OSError as error:
            text = f"{error.filename or volume.name}: {error.strerror}"
            raise VolumeError(f'MountVolume.SetUp failed for volume "{volume.name}" : {text}') from None
    return out


def _one(
    pod: core.Pod, volume: core.Volume, path: Path, sources: Sources, facts: Mapping[str, str], group: int | None
) -> str:
    if volume.host_path is not None:
        return _host_path(volume.host_path)
    content = files(pod, volume, sources, facts)
    if content is not None:
        _write(path, content, group)
        return str(path)
    if volume.empty_dir is None:
        raise VolumeError("volumes of this kind are not supported")
    if not path.is_dir():
        path.mkdir(parents=True)
        # Set apart from mkdir, which the umask would cut.
        path.chmod(0o777 if group is None else 0o2777)
        if group is not None:
            os.chown(path, -1, group)
    return str(path)


def _host_path(source: core.HostPathVolumeSource) -> str:
    path, kind = Path(source.path), source.type or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch(mode=0o644)
    checks = {
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


def _write(path: Path, content: Mapping[str, File], group: int | None) -> None:
    """The volume's directory with this content; one `rename` changes what its readers see."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o755)
    data = path / _DATA
    previous = os.readlink(data) if data.is_symlink() else ""
    number = int(previous[2:]) + 1 if previous[2:].isdigit() else 1
    fresh = path / f"..{number}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for name, file in content.items():
        target = fresh / _inside(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(file.mode | (0o440 if group is not None else 0))
        if group is not None:
            os.chown(target, -1, group)
    link = path / "..new"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.replace(data)
    wanted = {PurePosixPath(_inside(name)).parts[0] for name in content}
    for name in wanted:
        if not (path / name).is_symlink():
            (path / name).symlink_to(f"{_DATA}/{name}")
    for entry in path.iterdir():
        if not entry.name.startswith("..") and entry.name not in wanted:
            entry.unlink()
    if previous:
        shutil.rmtree(path / previous, ignore_errors=True)


def _inside(name: str) -> str:
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        raise VolumeError(f"invalid path {name}")
    return name


def mounts(container: core.Container, volumes: Mapping[str, str], variables: Mapping[str, str]) -> list[Mount]:
    """What a container sees of the volumes at `volumes`. VolumeError. `variables` are for subPathExpr."""
    out = []
    for one in container.volume_mounts:
        if one.name not in volumes:
            raise VolumeError(f'volume "{one.name}" is not there')
        source = Path(volumes[one.name])
        part = one.sub_path or (expand(one.sub_path_expr, variables) if one.sub_path_expr else "")
        if part:
            source = _sub_path(source, _inside(part))
        out.append(Mount(source=str(source), target=one.mount_path, read_only=one.read_only))
    return out


def _sub_path(root: Path, part: str) -> Path:
    """A directory (made if missing) or file in a volume. Links that lead out of the volume are refused."""
    found = root / part
    if not found.exists():
        found.mkdir(parents=True)
    real = found.resolve()
    if real != root.resolve() and root.resolve() not in real.parents:
        raise VolumeError(f"subPath {part} leads out of the volume")
    return real
