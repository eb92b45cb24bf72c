"""Makes a pod's volumes, namespaces and own files. Called by worker.py."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from skerry.api import status
from skerry.api.types import core
from skerry.node.agent.files import host_name
from skerry.node.runtime.spec import PodSandboxSpec, RuntimeFailure
from skerry.node.volumes.payload import Sources, VolumeError, needs
from skerry.node.volumes.setup import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.client.client import Client
    from skerry.node.agent.files import PodFiles
    from skerry.node.agent.instances import Instances
    from skerry.node.agent.services import NodeServices

T = TypeVar("T")


class SandboxError(Exception):
    """The pod cannot begin yet. `reason` is the event's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


async def make_sandbox(
    services: NodeServices,
    pod: core.Pod,
    files: PodFiles,
    instances: Instances,
    say: Callable[[str, str, str], None],
) -> str:
    """The pod's address, when its containers can start. SandboxError: nothing is left but volumes."""
    instances.volumes = await _volumes(services, pod, files, "")
    security = pod.spec.security_context
    spec = PodSandboxSpec(
        uid=pod.metadata.uid,
        hostname=host_name(services, pod),
        netns="host" if pod.spec.host_network else "private",
        sysctls={one.name: one.value for one in security.sysctls} if security is not None else {},
    )
    try:
        ip = (await services.runtime.create_pod(spec)).ip
    except RuntimeFailure as error:
        raise SandboxError("FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}") from error
    try:
        warnings = files.write_own(services, pod, ip)
        if _tell_the_address(pod):
            instances.volumes = await _volumes(services, pod, files, ip)
    except BaseException as error:
        await services.runtime.remove_pod(pod.metadata.uid)
        if isinstance(error, OSError):
            raise SandboxError("FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}") from error
        raise
    for one in warnings:
        say("Warning", one.reason, one.message)
    return ip


def _tell_the_address(pod: core.Pod) -> bool:
    """Whether a volume tells the pod's address, which is known only now."""
    return any(
        item.field_ref is not None and item.field_ref.field_path.startswith("status.podIP")
        for volume in pod.spec.volumes
        for api in (
            [volume.downward_api] if volume.downward_api is not None else [],
            [one.downward_api for one in volume.projected.sources] if volume.projected is not None else [],
        )
        for part in api
        if part is not None
        for item in part.items
    )


async def _volumes(services: NodeServices, pod: core.Pod, files: PodFiles, ip: str) -> dict[str, str]:
    if not pod.spec.volumes:
        return {}
    maps, secrets = needs(pod.spec.volumes)
    namespace = pod.metadata.namespace
    try:
        sources = Sources(
            {name: await found(services.client, core.ConfigMap, name, namespace) for name in maps},
            {name: await found(services.client, core.Secret, name, namespace) for name in secrets},
        )
        facts = {"podIP": ip, "hostIP": services.ip}
        return await asyncio.to_thread(prepare, pod, files.volumes, sources, facts)
    except VolumeError as error:
        raise SandboxError("FailedMount", str(error)) from error
    except status.ApiError as error:
        raise SandboxError("FailedMount", error.message) from error


async def found(client: Client, kind: type[T], name: str, namespace: str) -> T | None:
    """An object, or None if there is none."""
    try:
        return await client.get(kind, name, namespace)
    except status.ApiError as error:
        if status.is_not_found(error):
            return None
        raise
