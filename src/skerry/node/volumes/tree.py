"""A directory whose content changes all at once, as upstream's volumes do. Called by setup.py.

The files are in a directory of their own to which the link `..data` points, and every name outside is a link into
`..data`: one rename of that link shows a reader the new content, wholly or not at all, and programs that watch `..data`
work. A file that was opened (or mounted by itself) before stays what it was.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from skerry.node.volumes.payload import File, VolumeError

if TYPE_CHECKING:
    from collections.abc import Mapping

_DATA = "..data"


def write(path: Path, content: Mapping[str, File], group: int | None) -> bool:
    """Makes `path` have this content; whether anything changed. `group`: whose the files are, who may read them too.

    VolumeError for a name that leads out, OSError.
    """
    wanted = {inside(name): _for_group(file, group) for name, file in content.items()}
    data = path / _DATA
    previous = os.readlink(data) if data.is_symlink() else ""
    if previous and _read(path / previous) == {name: (file.mode, file.content) for name, file in wanted.items()}:
        return False
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o755)
    fresh = path / f"..{int(previous[2:]) + 1 if previous[2:].isdigit() else 1}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    fresh.chmod(0o755)
    for name, file in wanted.items():
        _file(fresh / name, file, group)
    link = path / "..new"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.replace(data)
    names = {PurePosixPath(name).parts[0] for name in wanted}
    for name in names:
        if not (path / name).is_symlink():
            (path / name).symlink_to(f"{_DATA}/{name}")
    for entry in path.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    if previous:
        shutil.rmtree(path / previous, ignore_errors=True)
    return True


def _for_group(file: File, group: int | None) -> File:
    return file if group is None else file._replace(mode=file.mode | 0o440)


def _file(target: Path, file: File, group: int | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(file.content)
    # Set apart from the making, which the umask would cut.
    target.chmod(file.mode)
    if group is not None or file.owner is not None:
        os.chown(target, -1 if file.owner is None else file.owner, -1 if group is None else group)


def _read(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and content of every file below a directory."""
    found = (one for one in directory.rglob("*") if one.is_file())
    return {str(one.relative_to(directory)): (stat.S_IMODE(one.stat().st_mode), one.read_bytes()) for one in found}


def inside(name: str) -> str:
    """A relative path that does not climb. VolumeError for any other."""
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        raise VolumeError(f"invalid path {name}")
    return name
