"""Gives directories back the mode and owner that a sloppy layer would take from them.

Some builders write `tmp/file` without an entry for `tmp`. Unpacked alone, such a layer gets a made-up `tmp`, and
overlayfs shows the attributes of the topmost directory: /tmp would no longer be writable for all. So the store puts a
layer of mere directories on top of such a one, with the attributes that the layers below gave them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory to be shown with these attributes."""

    path: str
    mode: int
    uid: int
    gid: int


def needed(layer: str, implicit: Sequence[str], below: Sequence[str]) -> list[Folder]:
    """The directories to lay above `layer` so that its made-up ones look as in `below` (lowest first)."""
    found: dict[str, Folder] = {}
    for path in implicit:
        own, lower = _folder(layer, path), _from(below, path)
        if own is not None and lower is not None and own != lower and not _is_opaque(os.path.join(layer, path)):
            found[path] = lower
    for path in list(found):  # the folders above are shown from here too: as they are
        while path := path.rpartition("/")[0]:
            own = _folder(layer, path)
            if own is not None:
                found.setdefault(path, own)
    return [found[path] for path in sorted(found)]


def make(folders: Sequence[Folder], target: str, *, keep_owners: bool) -> None:
    """Makes the directories in the empty directory `target`."""
    for folder in folders:
        path = os.path.join(target, folder.path)
        os.mkdir(path)
        if keep_owners:
            os.chown(path, folder.uid, folder.gid)
    for folder in reversed(folders):
        os.chmod(os.path.join(target, folder.path), folder.mode)


def _from(layers: Sequence[str], path: str) -> Folder | None:
    for layer in reversed(layers):
        try:
            mode = os.lstat(os.path.join(layer, path)).st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        return _folder(layer, path) if stat.S_ISDIR(mode) else None
    return None


def _folder(layer: str, path: str) -> Folder | None:
    try:
        info = os.lstat(os.path.join(layer, path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISDIR(info.st_mode):
        return None
    return Folder(path, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)


def _is_opaque(path: str) -> bool:
    return "user.overlay.opaque" in os.listxattr(path, follow_symlinks=False)
