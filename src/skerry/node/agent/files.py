"""A pod's directory on its node: where its files, volumes, root file systems and logs are. Called by worker.py.

`<pods>/<namespace>_<name>_<uid>/`: `<container>/<restart>.log`, and under names that no container can have `_volumes`
(those that pods write to), `_rootfs` and `_shared`. What the node itself writes is small and short-lived, some of it
secret: `_files` and the other volumes are in memory, in a directory of the same name (`in_memory`). A dozen files a
pod cost nothing there; ext4 searches long for the inodes of new files where many were deleted a short while ago.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from skerry import linux
from skerry.node.logs.writer import older
from skerry.node.resolvconf import fqdn, hostname, hosts, node_hosts, resolv_conf
from skerry.node.runtime.spec import Mount
from skerry.node.volumes import setup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skerry.api.types import core
    from skerry.node.agent.services import NodeServices
    from skerry.node.resolvconf import Warn

_log = logging.getLogger(__name__)

MESSAGE_LIMIT = 4096
_SHM_FLAGS = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
_SHM_OPTIONS = "mode=1777,size=64m"
_TERMINATION_LOG = "/dev/termination-log"


def uid_of(directory: Path) -> str:
    """The uid in the name of a pod's directory."""
    return directory.name.rpartition("_")[2]


def in_memory(directory: Path) -> None:
    """Makes a directory whose files are in memory, and go with the node; or on disk, where that cannot be."""
    if os.path.ismount(directory):
        return
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    try:
        linux.mount("tmpfs", str(directory), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755")
    except OSError as error:
        _log.warning("the pods' own files are on disk, since %s cannot be in memory: %s", directory, error)


class PodFiles:
    """The directory of one pod, and that of its files in memory (the same, if there is no other place for them)."""

    def __init__(self, pods: Path, pod: core.Pod, memory: Path | None = None) -> None:
        meta = pod.metadata
        name = f"{meta.namespace}_{meta.name}_{meta.uid}"
        self.root = pods / name
        self._memory = (memory or pods) / name

    @property
    def volumes(self) -> Path:
        """What the pod may fill."""
        return self.root / "_volumes"

    @property
    def written(self) -> Path:
        """Volumes whose content the node writes."""
        return self._memory / "_volumes"

    @property
    def _own(self) -> Path:
        return self._memory / "_files"

    def log(self, container: str, attempt: int) -> Path:
        return self.logs(container) / f"{attempt}.log"

    def logs(self, container: str) -> Path:
        return self.root / container

    def scratch(self, instance: str) -> Path:
        """For one instance's root file system."""
        return self.root / "_rootfs" / instance[:12]

    def forget_log(self, container: str, attempt: int) -> None:
        """Deletes the log of an instance whose turn to be `--previous` is over."""
        path = self.log(container, attempt)
        for one in (path, older(path)):
            one.unlink(missing_ok=True)

    def write_own(self, services: NodeServices, pod: core.Pod, ips: Sequence[str]) -> list[Warn]:
        """/etc/hosts, hostname and resolv.conf (D18-D23); warnings that deserve events."""
        self._forget_messages()
        directory = self._own
        directory.mkdir(parents=True, exist_ok=True)
        text, warnings = resolv_conf(pod, services.cluster_dns, services.cluster_domain, services.host_resolv_conf)
        (directory / "resolv.conf").write_text(text)
        (directory / "hosts").write_text(_hosts(services, pod, ips))
        (directory / "hostname").write_text(host_name(services, pod) + "\n")
        self._share_memory(pod)
        return warnings

    def _share_memory(self, pod: core.Pod) -> None:
        """Makes one /dev/shm for several containers."""
        sidecars = [one for one in pod.spec.init_containers if one.restart_policy == "Always"]
        if len(pod.spec.containers) + len(sidecars) > 1 and not os.path.ismount(self._shm):
            self._shm.mkdir(parents=True, exist_ok=True)
            linux.mount("tmpfs", str(self._shm), "tmpfs", _SHM_FLAGS, _SHM_OPTIONS)

    @property
    def _shm(self) -> Path:
        return self.root / "_shared" / "shm"

    def _forget_messages(self) -> None:
        """Deletes those of instances that were killed together with their node: none runs in a new sandbox."""
        for message in self._own.glob("message-*"):
            message.unlink(missing_ok=True)

    def own_mounts(self) -> list[Mount]:
        directory = self._own
        found = [
            Mount(source=str(directory / one), target=f"/etc/{one}") for one in ("hosts", "hostname", "resolv.conf")
        ]
        if os.path.ismount(self._shm):
            found.append(Mount(source=str(self._shm), target="/dev/shm"))  # noqa: S108  the container's own
        return found

    def message_mount(self, container: core.Container, instance: str) -> Mount:
        """The file in which a container may leave its last words."""
        path = self._message(instance)
        path.touch()
        path.chmod(0o666)
        return Mount(source=str(path), target=container.termination_message_path or _TERMINATION_LOG)

    def message(self, container: core.Container, instance: str, code: int, log: Path) -> str:
        """The last words of an instance that ended with `code`: its file, or the end of its log if that was chosen."""
        path = self._message(instance)
        text = _end(path)
        path.unlink(missing_ok=True)
        if not text and code and container.termination_message_policy == "FallbackToLogsOnError":
            lines = [line.split(b" ", 3)[-1] for line in _end(log).splitlines()[-80:]]
            text = b"\n".join(lines)[-2048:]
        return text.decode(errors="replace")

    def _message(self, instance: str) -> Path:
        return self._own / f"message-{instance[:12]}"

    def remove_mounts(self) -> None:
        """Deletes what only running containers need; logs stay."""
        setup.remove(self.volumes)
        setup.remove(self.root / "_shared")
        for path in (self.written, self._own, self.root / "_rootfs"):
            shutil.rmtree(path, ignore_errors=True)

    def remove(self) -> None:
        self.remove_mounts()
        for path in (self._memory, self.root):
            shutil.rmtree(path, ignore_errors=True)


def _hosts(services: NodeServices, pod: core.Pod, ips: Sequence[str]) -> str:
    if not pod.spec.host_network:
        return hosts(pod, ips, services.cluster_domain)
    own = Path("/etc/hosts")
    return node_hosts(pod, own.read_text() if own.exists() else "", services.name, services.ips)


def host_name(services: NodeServices, pod: core.Pod) -> str:
    """What `hostname` says in the pod."""
    if pod.spec.host_network:
        return services.name
    if pod.spec.set_hostname_as_fqdn:
        return fqdn(pod, services.cluster_domain) or hostname(pod)
    return hostname(pod)


def _end(path: Path) -> bytes:
    """The last 4096 bytes of a file, b"" if there is none."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - MESSAGE_LIMIT))
        return file.read(MESSAGE_LIMIT)
    return b""
