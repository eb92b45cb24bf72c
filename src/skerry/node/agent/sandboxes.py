"""Makes a pod's volumes, namespaces and own files. Called by worker.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import status
from skerry.node.agent.files import host_name
from skerry.node.resolvconf import fqdn
from skerry.node.runtime.spec import PodSandboxSpec, PortMapping, RuntimeFailure
from skerry.node.volumes.payload import VolumeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from skerry.api.types import core
    from skerry.node.agent.files import PodFiles
    from skerry.node.agent.podvolumes import PodVolumes
    from skerry.node.agent.services import NodeServices


LONGEST_NAME = 64
"""Characters of a host name that the kernel holds."""


class SandboxError(Exception):
    """The pod cannot begin yet. `reason` is the event's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


async def make_sandbox(
    services: NodeServices,
    pod: core.Pod,
    files: PodFiles,
    volumes: PodVolumes,
    say: Callable[[str, str, str], None],
) -> tuple[str, ...]:
    """The pod's addresses, when its containers can start. SandboxError: nothing is left but volumes."""
    refuse(pod, services.cluster_domain)
    await _make(volumes, ())
    security = pod.spec.security_context
    spec = PodSandboxSpec(
        uid=pod.metadata.uid,
        hostname=host_name(services, pod),
        netns="host" if pod.spec.host_network else "private",
        ipc="host" if pod.spec.host_ipc else "private",
        pids="host" if pod.spec.host_pid else "pod" if pod.spec.share_process_namespace else "container",
        sysctls={one.name: one.value for one in security.sysctls} if security is not None else {},
        ports=_ports(pod.spec),
    )
    try:
        ips = (await services.runtime.create_pod(spec)).ips
    except RuntimeFailure as error:
        raise SandboxError("FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}") from error
    try:
        warnings = files.write_own(services, pod, ips)
        if volumes.tell_the_address:
            await _make(volumes, ips)
    except BaseException as error:
        await services.runtime.remove_pod(pod.metadata.uid)
        if isinstance(error, OSError):
            raise SandboxError("FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}") from error
        raise
    for one in warnings:
        say("Warning", one.reason, one.message)
    return ips


async def _make(volumes: PodVolumes, ips: Sequence[str]) -> None:
    try:
        await volumes.make(ips)
    except VolumeError as error:
        raise SandboxError("FailedMount", str(error)) from error
    except status.ApiError as error:
        raise SandboxError("FailedMount", error.message) from error


def _ports(spec: core.PodSpec) -> list[PortMapping]:
    """The node's ports that lead to the pod. One with the node's own network has them anyway."""
    if spec.host_network:
        return []
    sidecars = [one for one in spec.init_containers if one.restart_policy == "Always"]
    return [
        PortMapping(
            protocol=port.protocol or "TCP",
            host_port=port.host_port,
            container_port=port.container_port,
            host_ip="" if port.host_ip in ("0.0.0.0", "::") else port.host_ip,
        )
        for one in (*sidecars, *spec.containers)
        for port in one.ports
        if port.host_port
    ]


def refuse(pod: core.Pod, domain: str) -> None:
    """SandboxError for what nothing here can give a pod: it waits, and an event says why."""
    spec = pod.spec
    name = fqdn(pod, domain)
    if spec.set_hostname_as_fqdn and len(name) > LONGEST_NAME:
        why = f"{name} is too long ({LONGEST_NAME} characters is the max, {len(name)} characters requested)"
        text = f"Failed to construct FQDN from pod hostname and cluster domain, FQDN {why}"
        raise SandboxError("FailedCreatePodSandBox", f"Failed to create pod sandbox: {text}")
    if spec.runtime_class_name:
        why = f'RuntimeClass "{spec.runtime_class_name}" not found: there is only one way to run containers here'
        raise SandboxError("FailedCreatePodSandBox", f"Failed to create pod sandbox: {why}")
    if spec.resource_claims:
        raise SandboxError(
            "FailedPrepareDynamicResources", "resource claims are not served: there is no driver for them"
        )
