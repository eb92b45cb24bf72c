"""What a container sees of its pod's volumes. Called by node/agent/instances.py for each instance."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from skerry.node.pods.text import expand
from skerry.node.runtime.spec import Mount
from skerry.node.volumes.payload import VolumeError
from skerry.node.volumes.tree import inside

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from skerry.api.types import core

_UNKNOWN = re.compile(r"(?<!\$)\$\(([^()]*)\)")


def mounts(
    container: core.Container,
    volumes: Mapping[str, str],
    variables: Mapping[str, str],
    read_only: Collection[str] = (),
) -> list[Mount]:
    """The mounts of a container whose pod's volumes are at `volumes`. VolumeError. `variables` are for subPathExpr;
    `read_only`: volumes that nobody may write to.
    """
    if container.volume_devices:
        raise VolumeError("volumeDevices are not served: there are no block devices for pods here")
    out = []
    for one in container.volume_mounts:
        if one.name not in volumes:
            raise VolumeError(f'volume "{one.name}" is not there')
        if one.mount_propagation == "Bidirectional":
            raise VolumeError(f'mountPropagation Bidirectional of volume "{one.name}" is not served: use None')
        source = Path(volumes[one.name])
        part = one.sub_path or _expanded(one.sub_path_expr, variables)
        if part:
            source = _sub_path(source, inside(part))
        out.append(Mount(source=str(source), target=one.mount_path, read_only=one.read_only or one.name in read_only))
    return out


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    for name in _UNKNOWN.findall(text):
        if name not in variables:
            raise VolumeError(f'missing value for "{name}"')
    return expand(text, variables)


def _sub_path(root: Path, part: str) -> Path:
    """A directory (made if missing, as open as the volume is) or file in a volume. A link that leads out is refused."""
    found, outside = root / part, root.resolve()
    if not found.exists():
        _make(root, part)
    real = found.resolve()
    if real != outside and outside not in real.parents:
        raise VolumeError(f"subPath {part} leads out of the volume")
    return real


def _make(root: Path, part: str) -> None:
    like = root.stat()
    here = root
    for name in Path(part).parts:
        here = here / name
        if not here.exists():
            here.mkdir()
            here.chmod(like.st_mode & 0o7777)
            os.chown(here, -1, like.st_gid)
