"""A cluster's own subtree of the machine's cgroups: made before the nodes start, removed when they have ended.

Called where the cluster is started, stopped and deleted (cluster/), so it imports little. A claim is written down
before anything is made: the next start, stop or delete finds by it what a killed cluster left, empty directories.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from typing import NamedTuple

from skerry.node.cgroups import place

_PREFIX = "skerry-"
_CONTROL = "control"
"""With cgroup v2 and a cgroup of our own: where we ourselves are meanwhile."""
_PATIENCE = 2.0
"""Seconds until the last process of a cluster that was ended has left its cgroup."""


class Tree(NamedTuple):
    """A cluster's subtree. `roots`, `options`: by controller as in `Place`; `missing`: what is not limited."""

    version: int
    roots: dict[str, str]
    options: dict[str, str]
    missing: tuple[str, ...] = ()


class Claim(NamedTuple):
    """What was found for a cluster: its subtree, or None and why there is none."""

    tree: Tree | None
    reason: str = ""


def claim(name: str, record: str, wanted: tuple[str, ...] = place.CONTROLLERS) -> Claim:
    """Makes the subtree of cluster `name`, where this machine lets us. `record`: the file that remembers it."""
    release(record)
    try:
        found = place.find(
            read("/proc/self/cgroup"), read("/proc/self/mountinfo"), _ours(), wanted, root=os.geteuid() == 0
        )
    except place.NotWritableError as error:
        return Claim(None, str(error))
    unique = hashlib.sha256(os.path.abspath(record).encode()).hexdigest()[:8]
    roots = {key: os.path.join(parent, f"{_PREFIX}{name}-{unique}") for key, parent in found.parents.items()}
    with open(record, "w", encoding="utf-8") as file:
        file.writelines(f"{root}\n" for root in roots.values())
    try:
        for root in roots.values():
            os.makedirs(root, exist_ok=True)
        if found.version == 2:
            _divide(found, roots[""], wanted)
    except OSError as error:
        release(record)
        return Claim(None, f"{error.filename or 'a cgroup'} cannot be made: {(error.strerror or '').lower()}")
    here = set(wanted) - set(found.missing)
    missing = tuple(one for one in place.CONTROLLERS if one not in here)
    return Claim(Tree(found.version, roots, found.options, missing))


def _divide(found: place.Place, root: str, wanted: tuple[str, ...]) -> None:
    """Hands the controllers down to the subtree, as version 2 wants it."""
    if found.move:
        leaf = os.path.join(root, _CONTROL)
        os.makedirs(leaf, exist_ok=True)
        for pid in found.move:
            with contextlib.suppress(ProcessLookupError):
                write(os.path.join(leaf, "cgroup.procs"), str(pid))
    here = [one for one in wanted if one not in found.missing]
    for directory in (found.parents[""], root):
        enable(directory, here)


def release(record: str) -> bool:
    """Removes the subtree that `record` tells of, whoever made it and however that ended. False if some of it stays."""
    roots = read(record).splitlines()
    until = time.monotonic() + _PATIENCE
    for root in roots:
        if os.path.basename(root).startswith(_PREFIX):
            _come_back(root)
            while not remove(root) and time.monotonic() < until:
                time.sleep(0.01)  # the kernel says nothing when a cgroup becomes empty in both versions
    left = [root for root in roots if os.path.isdir(root)]
    if not left:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(record)
    return not left


def _come_back(root: str) -> None:
    """Takes back what `_divide` did where the cgroup above was ours alone."""
    leaf, above = os.path.join(root, _CONTROL), os.path.dirname(root)
    if not os.path.isdir(leaf):
        return
    remove(root)  # all but the leaf
    enabled = [f"-{one}" for one in read(os.path.join(above, "cgroup.subtree_control")).split()]
    with contextlib.suppress(OSError):
        write(os.path.join(root, "cgroup.subtree_control"), " ".join(enabled))
        write(os.path.join(above, "cgroup.subtree_control"), " ".join(enabled))
        for pid in read(os.path.join(leaf, "cgroup.procs")).split():
            write(os.path.join(above, "cgroup.procs"), pid)


def remove(root: str) -> bool:
    """Removes a cgroup and those below it, as far as no process is in them; whether it is gone."""
    for directory, _, _ in os.walk(root, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(directory)
    return not os.path.isdir(root)


def _ours() -> tuple[int, int]:
    """This process and the command that started it."""
    return os.getpid(), os.getppid()


def enable(directory: str, controllers: list[str]) -> None:
    """Version 2: lets the cgroups below a directory have these controllers. OSError."""
    path = os.path.join(directory, "cgroup.subtree_control")
    already = read(path).split()
    more = [f"+{one}" for one in controllers if one not in already]
    if more:
        write(path, " ".join(more))


def read(path: str) -> str:
    """A file of the kernel's, "" where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def write(path: str, text: str) -> None:
    """Writes a file of the kernel's that exists. OSError with its path."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())  # the kernel wants it in one piece
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or errno.EIO), path) from None
    finally:
        os.close(fd)
