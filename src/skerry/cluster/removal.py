"""Removing a cluster's files, also those that belong to the sub-uids that its containers ran as.

An ordinary user cannot remove what belongs to a sub-uid; root of a user namespace with the same map can. Called by
`skerry delete`, when nothing of the cluster runs any more.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from skerry.cluster.errors import ClusterError


def remove(path: Path) -> None:
    """Remove `path`, a file or a whole tree, whoever's ids it has. No such path is fine. ClusterError if it stays."""
    try:
        _remove_tree(path)
    except PermissionError:
        if os.geteuid() == 0:
            raise
        _remove_as_mapped_root(path)
    if os.path.lexists(path):
        raise ClusterError(f"{path} could not be removed: remove it as root.")


def _remove_tree(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    shutil.rmtree(path, onerror=_open_and_retry)


def _open_and_retry(_: object, name: str, info: object) -> None:
    """An image may hold directories without our own right to write: give it and go on. Re-raises other errors."""
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, FileNotFoundError):
        return
    if not isinstance(error, PermissionError):
        raise error if isinstance(error, BaseException) else OSError(name)
    parent = os.path.dirname(name)
    os.chmod(parent, 0o700)
    if os.path.isdir(name) and not os.path.islink(name):
        os.chmod(name, 0o700)
        shutil.rmtree(name)
    else:
        os.unlink(name)


def _remove_as_mapped_root(path: Path) -> None:
    """Do it in a child that is root in a user namespace with the map that the cluster's had."""
    from skerry import linux
    from skerry.cluster import idmap

    ids = idmap.plan(idmap.Facts.look(), allow_single=True)
    ready_read, ready_write = os.pipe()
    mapped_read, mapped_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(ready_read)
            os.close(mapped_write)
            linux.unshare(linux.CLONE_NEWUSER)
            os.write(ready_write, b"1")
            if os.read(mapped_read, 1):
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)
                _remove_tree(path)
                code = 0
        finally:
            os._exit(code)
    os.close(ready_write)
    os.close(mapped_read)
    try:
        if os.read(ready_read, 1):
            idmap.write(pid, ids)
            os.write(mapped_write, b"1")
    finally:
        os.close(ready_read)
        os.close(mapped_write)
        os.waitpid(pid, 0)
