"""Where a cluster's data lies: finding or choosing the directory, what in it is ours, and taking that away.

Called by lifecycle.py. Layout and names are in paths.py. A directory of ours is known by its marker, written before
anything else and removed last: without it, nothing in a directory is touched.
"""

from __future__ import annotations

import re
from pathlib import Path

from skerry.cluster import state
from skerry.cluster.errors import ClusterError
from skerry.cluster.paths import ClusterPaths, cluster_paths

_HALF_WRITTEN = re.compile(r"\..+\.[0-9]+")
"""What files.write_private leaves when it is killed."""


PROBE = ".probe-"
"""How the names of directories begin in which probes.py tries something."""


def choose(name: str, data_dir: str | None) -> ClusterPaths:
    """Where cluster `name` is or shall be. ClusterError if `--data-dir` contradicts where it is, or is another's."""
    paths = cluster_paths(name)
    if data_dir is None:
        return paths
    wanted = cluster_paths(name, Path(data_dir))
    if wanted.root != paths.root and paths.state.exists():
        raise ClusterError(
            f'Cluster "{name}" has its data in {paths.root}: leave out --data-dir, or choose another --name.'
        )
    found = state.load(wanted)
    if found is not None and found.name != name:
        raise ClusterError(f'{wanted.root} holds the cluster "{found.name}": choose another --data-dir.')
    return wanted


def refuse_foreign(paths: ClusterPaths) -> None:
    """ClusterError if there is something in a new cluster's directory, and it is not what an attempt has left."""
    if paths.state.exists() or paths.marker.exists() or not paths.root.exists():
        return
    foreign = sorted(item.name for item in paths.root.iterdir() if item != paths.lock)
    if foreign:
        raise ClusterError(
            f"{paths.root} is not empty and holds no cluster ({foreign[0]} is in it): choose an empty directory."
        )


def clear(paths: ClusterPaths) -> None:
    """Remove what a first start, or a removal, that was killed has left where a new cluster is to be; logs stay."""
    from skerry.cluster import removal

    _release(paths)
    for path in _ours(paths):
        if path != paths.logs:
            removal.remove(path)


def tidy(paths: ClusterPaths) -> None:
    """Remove what a cluster that was killed has left: sockets where nobody listens, files that were being written."""
    from skerry.cluster import removal

    for directory in (paths.root, paths.run, paths.pki):
        for item in directory.iterdir():
            if item.is_socket() or _HALF_WRITTEN.fullmatch(item.name):
                item.unlink()
    for tried in _tried(paths):
        removal.remove(tried)


def remove(name: str, paths: ClusterPaths) -> None:
    """Remove the cluster's data and the way to find it. The caller holds its lock. ClusterError if something stays."""
    from skerry.cluster import removal

    if paths.state.exists() or paths.marker.exists():
        # Whatever becomes of this process, what is left is no cluster, and is known as ours.
        paths.marker.touch()
        _release(paths)
        for path in _ours(paths):
            removal.remove(path)
    state.unlink(name)
    removal.remove(paths.marker)
    removal.remove(paths.lock)
    try:
        paths.root.rmdir()
    except OSError:
        pass  # --data-dir has somebody else's files, or another command has begun to use it


def sweep(paths: ClusterPaths) -> None:
    """Remove what a cluster that was killed has left outside of its directory, unless it is being started again."""
    left = paths.cgroups.exists() or paths.machine.exists()
    if left and (lock := state.acquire(paths)) is not None:
        try:
            _release(paths)
        finally:
            lock.close()


def _release(paths: ClusterPaths) -> None:
    """Gives back what a cluster had of the machine."""
    if paths.machine.exists():
        from skerry.cluster import machine

        machine.put_back(paths.machine)
    if paths.cgroups.exists():
        from skerry.node.cgroups import subtree

        subtree.release(str(paths.cgroups))


def _ours(paths: ClusterPaths) -> list[Path]:
    """What a cluster has below its root and where its sockets are, cluster.json first; but lock and marker."""
    partial = sorted(item for item in paths.root.iterdir() if _HALF_WRITTEN.fullmatch(item.name))
    layout = (paths.tokens, paths.pki, paths.run, paths.nodes, paths.images, paths.logs, paths.cgroups, paths.machine)
    return [paths.state, *sorted(paths.root.glob(paths.store.name + "*")), *layout, *partial, *_tried(paths)]


def _tried(paths: ClusterPaths) -> list[Path]:
    return sorted(paths.root.glob(f"{PROBE}*"))
