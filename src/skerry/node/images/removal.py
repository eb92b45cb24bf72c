"""Takes images out of the store: their names first, then the layers and configurations that no name leads to any more.

Called by the node's housekeeping, in a thread. Other nodes use the same store meanwhile. A layer is removed under its
lock, and what has no name is left alone for an hour, since it may be half of an image that is being pulled; whoever
meets a gap all the same finds the image missing and pulls it again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from skerry.node.images.garbage import Disk, Kept

if TYPE_CHECKING:
    from skerry.node.images.store import Store

_ORPHAN_AGE = 3600.0


def kept(store: Store) -> list[Kept]:
    """The images of a store."""
    by_id: dict[str, Kept] = {}
    sizes: dict[str, int] = {}
    for record, _, used in store.names():
        layers = {name: _size(store, name, sizes) for name in record.layers}
        had = by_id.get(record.config, Kept(record.config, (), layers, 0.0))
        by_id[record.config] = had._replace(
            names=(*had.names, record.key), used=max(had.used, used), loaded=had.loaded or record.loaded
        )
    return list(by_id.values())


def disk(store: Store) -> Disk:
    """The disk that a store is on."""
    found = os.statvfs(store.root)
    return Disk(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


def remove(store: Store, images: Iterable[Kept], now: float) -> None:
    """Removes images, unless somebody has asked for one of them since it was looked at. `now`: since 1970."""
    wanted = {one.id: one for one in images}
    layers: set[str] = set()
    for record, path, used in store.names():
        one = wanted.get(record.config)
        if one is not None and record.key in one.names and used <= one.used:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            layers.update(record.layers)
    sweep(store, now, layers)


def sweep(store: Store, now: float, layers: Collection[str] = ()) -> None:
    """Removes what no name leads to: these layers at once, others and configurations when they are old enough."""
    names = store.names()
    needed = {store.layer(layer) for one in names for layer in one.record.layers}
    at_once = {store.layer(layer) for layer in layers}
    old = now - _ORPHAN_AGE
    for entry in os.scandir(os.path.join(store.root, "layers")):
        place = os.path.join(entry.path, "fs")
        if place != store.nothing and place not in needed and (place in at_once or entry.stat().st_mtime < old):
            store.remove_layer(entry.name)
    configs = {one.record.config.removeprefix("sha256:") for one in names}
    for entry in os.scandir(os.path.join(store.root, "blobs")):
        if entry.name not in configs and entry.stat().st_mtime < old:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(entry.path)


def _size(store: Store, layer: str, known: dict[str, int]) -> int:
    if layer not in known:
        known[layer] = 0
        with contextlib.suppress(OSError, ValueError), open(store.meta(layer), encoding="utf-8") as file:
            known[layer] = int(json.load(file).get("size", 0))
    return known[layer]
