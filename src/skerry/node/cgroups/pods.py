"""The cgroups of one node's pods and containers, in the subtree that was claimed for the cluster.

Called by the node agent, and by tests.

    skerry-<name>-<hash>/<node>/[burstable/|besteffort/]pod<uid>/<container>
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from skerry.node.cgroups import place, settings
from skerry.node.cgroups.oom import KernelKills, machine_kills
from skerry.node.cgroups.subtree import Claim, enable, read, remove, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.api.types import core


class PodCgroups:
    """The cgroups of one node's pods. Without a tree there are none, and `reason` says why."""

    def __init__(self, claim: Claim, node: str, kills: Callable[[], int] = machine_kills) -> None:
        """`kills`: counts whom the kernel killed for want of memory, on the whole machine."""
        self.tree, self.reason = claim
        self._node = node
        self._kills = KernelKills(kills)
        self._containers: dict[str, str] = {}
        self._burstable: dict[str, core.Pod] = {}
        self._levels: dict[str, str] = {}

    @property
    def missing(self) -> tuple[str, ...]:
        """What is not limited: all of "cpu", "memory" and "pids", or some of them."""
        return place.CONTROLLERS if self.tree is None else self.tree.missing

    def verdict(self) -> tuple[bool, str, str]:
        """Whether there is anything that is not limited, with a reason and a message for the Node's condition."""
        if self.tree is None:
            return (
                True,
                "CgroupsNotWritable",
                f"requests and limits of pods are accepted and not enforced: {self.reason}",
            )
        what = ", ".join(one for one in place.CONTROLLERS if one not in self.tree.missing)
        if self.tree.missing:
            rest = ", ".join(self.tree.missing)
            text = f"limits of {rest} are accepted and not enforced: no such cgroups can be written here (but {what})"
            return True, "CgroupsIncomplete", text
        return False, "CgroupsWritable", f"limits of {what} are enforced by cgroups of version {self.tree.version}"

    def sample(self) -> None:
        """To be called every some seconds: see KernelKills."""
        self._kills.sample()

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

    def leave(self, instance: str, *, sigkill: bool = False) -> bool:
        """Removes an ended container's cgroup; whether the kernel killed in it for want of memory.

        `sigkill`: its end was a SIGKILL that nobody here sent. Without a memory cgroup that is half of the answer.
        """
        path = self._containers.pop(instance, "")
        if self.tree is None or not path:
            return sigkill and self._kills.just_now()
        root = self.tree.roots.get("" if self.tree.version == 2 else "memory")
        if root is None or "memory" in self.tree.missing:
            killed = sigkill and self._kills.just_now()
        else:
            killed = settings.killed(read(os.path.join(self._at(root, path), settings.oom_file(self.tree.version)))) > 0
        for one in self.tree.roots.values():
            remove(self._at(one, path))
        return killed

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
                enable(self._at(root, path), read(os.path.join(self._at(root, path), "cgroup.controllers")).split())
        self._apply(path, wanted)

    def _apply(self, path: str, wanted: settings.Settings) -> None:
        assert self.tree is not None
        for one in settings.files(self.tree.version, wanted):
            root = self.tree.roots.get("" if self.tree.version == 2 else one.controller)
            if root is None or one.controller in self.tree.missing:
                continue
            try:
                write(os.path.join(self._at(root, path), one.name), one.text)
            except OSError:
                if not one.optional:
                    raise

    def _at(self, root: str, path: str) -> str:
        return os.path.join(root, self._node, path) if path else os.path.join(root, self._node)


def _join(level: str, name: str) -> str:
    return f"{level}/{name}" if level else name
