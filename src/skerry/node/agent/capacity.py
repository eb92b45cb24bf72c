"""What this machine is and has: for the Node object and for pods that ask. Reads files of /proc and /etc.

Called by registration.py and instances.py.
"""

from __future__ import annotations

import functools
import os
import platform
from typing import TYPE_CHECKING

from skerry import REPORTED, __version__
from skerry.api.types import core

if TYPE_CHECKING:
    from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


@functools.cache
def machine_resources() -> dict[str, str]:
    """What there is of cpu and memory, as quantities."""
    fields = dict(line.split(":", 1) for line in _read("/proc/meminfo").splitlines() if ":" in line)
    return {"cpu": str(cores()), "memory": fields.get("MemTotal", "0 kB").split()[0] + "Ki"}


def cores() -> int:
    """Processors that this process and its containers may run on."""
    return len(os.sched_getaffinity(0))


def processes() -> int:
    """How many processes and threads this machine can have."""
    found = [_read(f"/proc/sys/kernel/{name}").strip() for name in ("pid_max", "threads-max")]
    return min((int(one) for one in found if one.isdigit()), default=32768)


def capacity(data: Path, pods: int) -> dict[str, str]:
    """What a Node's status has as capacity, for so many `pods`; `data` is on the disk that they use."""
    disk = os.statvfs(data)
    return {**machine_resources(), "pods": str(pods), "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki"}


def architecture() -> str:
    found = platform.machine()
    return _ARCHITECTURES.get(found, found)


def node_info() -> core.NodeSystemInfo:
    """The machine as `kubectl get nodes -o wide` shows it."""
    release = dict(line.split("=", 1) for line in _read("/etc/os-release").splitlines() if "=" in line)
    machine = _read("/etc/machine-id").strip()
    return core.NodeSystemInfo(
        machine_id=machine,
        system_uuid=machine,
        boot_id=_read("/proc/sys/kernel/random/boot_id").strip(),
        kernel_version=os.uname().release,
        os_image=release.get("PRETTY_NAME", "Linux").strip("\"'"),
        container_runtime_version=f"skerry://{__version__}",
        kubelet_version=REPORTED,
        operating_system="linux",
        architecture=architecture(),
    )
