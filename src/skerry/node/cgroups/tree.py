"""The cgroups themselves: a cluster's subtree, and in it those of a node's pods and containers.

`claim` and `release` are called where the cluster is started, stopped and deleted (cluster/), `PodCgroups` by the node
agent. A claim is written down before anything is made, so that the next start, stop or delete finds what a killed
cluster left: empty directories of the kernel's.

    skerry-<name>-<hash>/<node>/[burstable/|besteffort/]pod<uid>/<container>
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from skerry.node.cgroups import place, settings

if TYPE_CHECKING:
    from skerry.api.types import core

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
            _read("/proc/self/cgroup"), _read("/proc/self/mountinfo"), _ours(), wanted, root=os.geteuid() == 0
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
    return Claim(Tree(found.version, roots, found.options, found.missing))


def _divide(found: place.Place, root: str, wanted: tuple[str, ...]) -> None:
    """Hands the controllers down to the subtree, as version 2 wants it."""
    if found.move:
        leaf = os.path.join(root, _CONTROL)
        os.makedirs(leaf, exist_ok=True)
        for pid in found.move:
            with contextlib.suppress(ProcessLookupError):
                _write(os.path.join(leaf, "cgroup.procs"), str(pid))
    here = [one for one in wanted if one not in found.missing]
    for directory in (found.parents[""], root):
        _enable(directory, here)


def release(record: str) -> bool:
    """Removes the subtree that `record` tells of, whoever made it and however that ended. False if some of it stays."""
    roots = _read(record).splitlines()
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
    enabled = [f"-{one}" for one in _read(os.path.join(above, "cgroup.subtree_control")).split()]
    with contextlib.suppress(OSError):
        _write(os.path.join(root, "cgroup.subtree_control"), " ".join(enabled))
        _write(os.path.join(above, "cgroup.subtree_control"), " ".join(enabled))
        for pid in _read(os.path.join(leaf, "cgroup.procs")).split():
            _write(os.path.join(above, "cgroup.procs"), pid)


def remove(root: str) -> bool:
    """Removes a cgroup and those below it, as far as no process is in them; whether it is gone."""
    for directory, _, _ in os.walk(root, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(directory)
    return not os.path.isdir(root)


class PodCgroups:
    """The cgroups of one node's pods. Without a tree it does nothing, and `reason` says why."""

    def __init__(self, claim: Claim, node: str, *, memory: int = 0) -> None:
        """`memory`: what the machine has, in bytes."""
        self.tree, self.reason = claim
        self._node, self._memory = node, memory
        self._containers: dict[str, str] = {}
        self._burstable: dict[str, core.Pod] = {}
        self._levels: dict[str, str] = {}

    @property
    def counts_kills(self) -> bool:
        """Whether `leave` can tell who was killed for want of memory."""
        return self.tree is not None and "memory" not in self.tree.missing

    def start(self, cores: int, processes: int) -> None:
        """Makes the node's own cgroup and its levels anew; what an earlier life left is removed."""
        if self.tree is None:
            return
        for root in self.tree.roots.values():
            remove(os.path.join(root, self._node))
        try:
            self._make("", settings.for_node(cores, processes), inner=True)
            self._make("burstable", settings.for_burstable([]), inner=True)
            self._make("besteffort", settings.Settings(shares=settings.MIN_SHARES), inner=True)
        except OSError as error:
            self.tree, self.reason = None, f"{error.filename} cannot be written: {(error.strerror or '').lower()}"

    def enter(self, pod: core.Pod, container: core.Container, instance: str) -> dict[str, str]:
        """Makes the cgroup of a container: by mount option (see `Tree.options`), the directory whose process it is to
        become. OSError.
        """
        if self.tree is None:
            return {}
        path = self._pod(pod) + "/" + instance[:12]
        self._make(path, settings.for_container(container), inner=False)
        self._containers[instance] = path
        return {self.tree.options[key]: self._at(root, path) for key, root in self.tree.roots.items()}

    def leave(self, instance: str) -> bool:
        """Removes an ended container's cgroup; whether anything in it was killed for want of memory."""
        path = self._containers.pop(instance, "")
        if self.tree is None or not path:
            return False
        root = self.tree.roots.get("" if self.tree.version == 2 else "memory", "")
        killed = root and settings.killed(
            _read(os.path.join(self._at(root, path), settings.oom_file(self.tree.version)))
        )
        for root in self.tree.roots.values():
            remove(self._at(root, path))
        return bool(killed)

    def forget(self, uid: str) -> None:
        """Removes the cgroup of a pod none of whose containers runs. Of an unknown one: nothing."""
        level = self._levels.pop(uid, None)
        if self.tree is None or level is None:
            return
        for root in self.tree.roots.values():
            remove(self._at(root, _join(level, f"pod{uid}")))
        if self._burstable.pop(uid, None) is not None:
            self._weigh()

    def _pod(self, pod: core.Pod) -> str:
        uid = pod.metadata.uid
        level = settings.level(pod)
        path = _join(level, f"pod{uid}")
        if uid not in self._levels:
            self._make(path, settings.for_pod(pod), inner=True)
            self._levels[uid] = level
            if level == "burstable":
                self._burstable[uid] = pod
                self._weigh()
        return path

    def _weigh(self) -> None:
        self._apply("burstable", settings.for_burstable(self._burstable.values()))

    def _make(self, path: str, wanted: settings.Settings, *, inner: bool) -> None:
        assert self.tree is not None
        for root in self.tree.roots.values():
            os.makedirs(self._at(root, path), exist_ok=True)
            if inner and self.tree.version == 2:
                _enable(self._at(root, path), _read(os.path.join(self._at(root, path), "cgroup.controllers")).split())
        self._apply(path, wanted)

    def _apply(self, path: str, wanted: settings.Settings) -> None:
        assert self.tree is not None
        for one in settings.files(self.tree.version, wanted):
            root = self.tree.roots.get("" if self.tree.version == 2 else one.controller)
            if root is None or one.controller in self.tree.missing:
                continue
            try:
                _write(os.path.join(self._at(root, path), one.name), one.text)
            except OSError:
                if not one.optional:
                    raise

    def _at(self, root: str, path: str) -> str:
        return os.path.join(root, self._node, path) if path else os.path.join(root, self._node)


def _join(level: str, name: str) -> str:
    return f"{level}/{name}" if level else name


def _ours() -> tuple[int, int]:
    """This process and the command that started it."""
    return os.getpid(), os.getppid()


def _enable(directory: str, controllers: list[str]) -> None:
    path = os.path.join(directory, "cgroup.subtree_control")
    already = _read(path).split()
    more = [f"+{one}" for one in controllers if one not in already]
    if more:
        _write(path, " ".join(more))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())  # the kernel wants it in one piece
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or errno.EIO), path) from None
    finally:
        os.close(fd)


__all__ = ["Claim", "PodCgroups", "Tree", "claim", "release"]
