"""What the runtime is told to start: a pod's container and its image become a ContainerSpec. Pure but for users.

Called by worker.py for each instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from skerry import linux
from skerry.node.images import users
from skerry.node.pods.text import expand
from skerry.node.runtime.spec import DEFAULT_CAPABILITIES, ContainerSpec, HostImage, Mount, Overlay

if TYPE_CHECKING:
    from pathlib import Path

    from skerry.api.types import core
    from skerry.node.images.store import Image

T = TypeVar("T")

HOST_IMAGE = "host"
"""`image: host` is the machine's own file system."""


class CreateError(Exception):
    """The container cannot be made. `reason` is what it waits with."""

    def __init__(self, message: str, reason: str = "CreateContainerError") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class User:
    """Who a container runs as."""

    uid: int
    gid: int
    groups: list[int]


def container_spec(
    pod: core.Pod,
    container: core.Container,
    *,
    image: Image | None,
    instance: str,
    scratch: Path,
    variables: dict[str, str],
    mounts: list[Mount],
    processes_of: str = "",
) -> ContainerSpec:
    """The container, ready for the runtime. CreateError.

    `image`: None for `image: host`. `scratch`: a directory of this instance alone. `variables`: of the container's own
    spec and of Services. `processes_of`: as in ContainerSpec.
    """
    command = [expand(word, variables) for word in container.command]
    arguments = [expand(word, variables) for word in container.args]
    env: dict[str, str] = {}
    cwd = container.working_dir
    rootfs: HostImage | Overlay = HostImage()
    if image is not None:
        env |= image.config.env
        cwd = cwd or image.config.working_dir
        if not command:
            command = list(image.config.entrypoint)
            arguments = arguments or list(image.config.cmd)
        upper, work = str(scratch / "upper"), str(scratch / "work")
        rootfs = Overlay(lowerdirs=list(reversed(image.layers)), upper=upper, work=work)
    argv = command + arguments
    if not argv:
        raise CreateError("no command specified")
    user = user_of(pod, container, image)
    security = container.security_context
    return ContainerSpec(
        id=instance,
        pod_uid=pod.metadata.uid,
        rootfs=rootfs,
        argv=argv,
        env=env | variables,
        cwd=cwd or "/",
        uid=user.uid,
        gid=user.gid,
        groups=user.groups,
        capabilities=capabilities(security),
        unmasked=security is not None and (bool(security.privileged) or security.proc_mount == "Unmasked"),
        no_new_privileges=security is not None and security.allow_privilege_escalation is False,
        read_only_rootfs=bool(security is not None and security.read_only_root_filesystem),
        mounts=_unique(mounts),
        stdin=container.stdin,
        tty=container.tty,
        processes_of=processes_of,
    )


def _unique(mounts: list[Mount]) -> list[Mount]:
    """Parents before children; the last of several on one place wins, so that a volume can be put on /etc/hosts."""
    found = {one.target.rstrip("/") or "/": one for one in mounts}
    return sorted(found.values(), key=lambda one: one.target.rstrip("/").count("/"))


def user_of(pod: core.Pod, container: core.Container, image: Image | None) -> User:
    """The securityContexts' user, else the image's; its groups from the image's own files. CreateError."""
    outer, inner = pod.spec.security_context, container.security_context
    layers = image.layers if image is not None else ["/"]
    name = image.config.user if image is not None else ""
    wanted = _first(inner.run_as_user if inner else None, outer.run_as_user if outer else None)
    try:
        uid, gid, groups = users.resolve(name if wanted is None else str(wanted), layers)
    except users.NoSuchUserError as error:
        raise CreateError(str(error)) from None
    group = _first(inner.run_as_group if inner else None, outer.run_as_group if outer else None)
    extra = [*outer.supplemental_groups, *([outer.fs_group] if outer.fs_group is not None else [])] if outer else []
    if _first(inner.run_as_non_root if inner else None, outer.run_as_non_root if outer else None):
        _refuse_root(pod, container, name if wanted is None else "", uid)
    gid = gid if group is None else group
    if outer is not None and outer.supplemental_groups_policy == "Strict":
        groups = []
    return User(uid, gid, list(dict.fromkeys([gid, *groups, *extra])))


def _first(*values: T | None) -> T | None:
    return next((one for one in values if one is not None), None)


def _refuse_root(pod: core.Pod, container: core.Container, name: str, uid: int) -> None:
    meta = pod.metadata
    where = f'(pod: "{meta.name}_{meta.namespace}({meta.uid})", container: {container.name})'
    who = name.partition(":")[0]
    if who and not who.isdigit():
        text = f"image has non-numeric user ({who}), cannot verify user is non-root"
    elif uid == 0:
        text = "image will run as root"
    else:
        return
    raise CreateError(f"container has runAsNonRoot and {text} {where}", "CreateContainerConfigError")


def capabilities(security: core.SecurityContext | None) -> list[str]:
    """Names without CAP_: the default ones, without `drop`, with `add`; all of them for a privileged container."""
    if security is not None and security.privileged:
        return list(linux.CAPABILITIES)
    found = set(DEFAULT_CAPABILITIES)
    if security is not None and security.capabilities is not None:
        drop = {one.upper().removeprefix("CAP_") for one in security.capabilities.drop}
        add = {one.upper().removeprefix("CAP_") for one in security.capabilities.add}
        found = set() if "ALL" in drop else found - drop
        found |= set(linux.CAPABILITIES) if "ALL" in add else add
    return sorted(found)


def stop_signal(container: core.Container, image: Image | None) -> int:
    """The number of the signal that asks the container to end: lifecycle.stopSignal, the image's, or SIGTERM."""
    import signal

    chosen = container.lifecycle.stop_signal if container.lifecycle is not None else None
    name = chosen or (image.config.stop_signal if image is not None else "") or "SIGTERM"
    if name.isdigit():
        return int(name)
    name = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    if name.startswith("SIGRTMIN+") and name[9:].isdigit():
        return int(signal.SIGRTMIN) + int(name[9:])
    try:
        return int(signal.Signals[name])
    except KeyError:
        return int(signal.SIGTERM)
