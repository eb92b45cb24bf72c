"""Pods that a node will not take, however often they are tried. Pure. Called by machine.py when a pod arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.node.pods.state import Problem

if TYPE_CHECKING:
    from skerry.api.types import core

SAFE_SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
)
"""Those that every Kubernetes lets a pod set: they concern nobody else."""


def refused(pod: core.Pod) -> Problem | None:
    """Why the pod fails at once, as its status tells; None if it is taken."""
    spec = pod.spec
    if spec.os is not None and spec.os.name not in ("", "linux"):
        text = "Failed to admit pod as the OS field doesn't match node OS"
        return Problem("PodOSNotSupported", f"Pod was rejected: {text}")
    for one in spec.security_context.sysctls if spec.security_context is not None else ():
        name = one.name.replace("/", ".")
        if name not in SAFE_SYSCTLS:
            return _sysctl(one.name, "not allowlisted")
        if spec.host_network and name.startswith("net."):
            return _sysctl(one.name, "not allowed with host net enabled")
        if spec.host_ipc and name.startswith("kernel."):
            return _sysctl(one.name, "not allowed with host ipc enabled")
    return None


def _sysctl(name: str, why: str) -> Problem:
    return Problem("SysctlForbidden", f'Pod was rejected: forbidden sysctl: "{name}" {why}')
