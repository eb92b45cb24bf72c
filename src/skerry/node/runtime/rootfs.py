"""A container's file system: what its root is made of, and entering it.

Called by container.py in the process that becomes the container, in a new mount namespace that ends with it, so that
nothing here needs to be undone. Order matters: mount points are made first, since making one may cover its neighbours
(see mountpoints.py), then comes what hides and replaces, then what the container asked for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from skerry import linux
from skerry.node.runtime.mountpoints import Root
from skerry.node.runtime.spec import ContainerSpec, HostImage, Mount, Overlay, Tmpfs

_SAFE = linux.MS_NOSUID | linux.MS_NODEV
_NO_PROGRAMS = _SAFE | linux.MS_NOEXEC
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
# With root's identity map these files belong to this machine's root: no container may write them.
_PROC_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_PROC_COVERED = ("/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/timer_list")
_SHM_SIZE = 64 << 20
_SYSTEM = ("/dev", "/proc", "/sys", "/run", "/tmp", "/var/tmp")  # noqa: S108  the container's own

_HOST_EMPTY = ("dev", "home", "lost+found", "proc", "root", "run", "sys", "tmp")
"""Directories of this machine's root of which `image: host` sees only the name."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the containers of a node have in common.

    `mountpoint` and `scratch`: empty directories of this machine, only used to mount on. `nsswitch`: the file shown as
    /etc/nsswitch.conf with `image: host`. `hidden`: paths of this machine that `image: host` does not show.
    `real_devices`: no user namespace keeps a device node that a container makes from working.
    """

    mountpoint: str
    scratch: str
    nsswitch: str
    hidden: tuple[str, ...]
    real_devices: bool = False


def enter(spec: ContainerSpec, settings: Settings) -> None:
    """Builds the container's root and makes it this process's root. OSError that says which mount failed."""
    wanted: list[Mount | Tmpfs] = [*spec.mounts, *spec.tmpfs]
    if isinstance(spec.rootfs, HostImage):
        _host(settings.mountpoint)
        root = Root(settings.mountpoint, settings.scratch)
        if os.path.exists("/etc/nsswitch.conf"):
            wanted.append(Mount(source=settings.nsswitch, target="/etc/nsswitch.conf", read_only=True))
    else:
        _overlay(spec.rootfs, settings.mountpoint, settings.scratch)
        root = Root(settings.mountpoint, settings.scratch)
    wanted.sort(key=lambda one: one.target.rstrip("/").count("/"))
    _make_mount_points(root, wanted)
    if isinstance(spec.rootfs, HostImage):
        _hide(root, settings)
    _system(root, unmasked=spec.unmasked)
    _cgroups(root, spec.cgroups)
    for one in wanted:
        if isinstance(one, Tmpfs):
            root.tmpfs(one.target, _SAFE, mode=one.mode, size=one.size)
        else:
            root.bind(one.source, one.target, read_only=one.read_only)
    root.freeze()
    if spec.read_only_rootfs or isinstance(spec.rootfs, HostImage):
        linux.make_read_only(settings.mountpoint)
    linux.pivot_root(settings.mountpoint)


def _overlay(image: Overlay, mountpoint: str, scratch: str) -> None:
    for directory in (image.upper, image.work):
        os.makedirs(directory, mode=0o755, exist_ok=True)
    os.chmod(image.upper, 0o755)  # noqa: S103  the container's "/", which all of its users need to read
    rest = f"upperdir={_escape(image.upper)},workdir={_escape(image.work)},userxattr"
    options = f"lowerdir={':'.join(_escape(one, ':') for one in image.lowerdirs)},{rest}"
    if len(options) < os.sysconf("SC_PAGESIZE"):
        linux.mount("overlay", mountpoint, "overlay", data=options)
    else:
        _many_layers(image.lowerdirs, rest, mountpoint, scratch)


def _many_layers(layers: list[str], rest: str, mountpoint: str, scratch: str) -> None:
    """The kernel takes no more than a page of options: short names lead to the layers while it looks for them."""
    linux.mount("tmpfs", scratch, "tmpfs", _SAFE, "mode=755")
    os.chdir(scratch)
    for number, layer in enumerate(layers):
        os.symlink(layer, str(number))
    names = ":".join(str(number) for number in range(len(layers)))
    linux.mount("overlay", mountpoint, "overlay", data=f"lowerdir={names},{rest}")
    os.chdir("/")
    linux.unmount(scratch)


def _escape(path: str, more: str = "") -> str:
    for character in "\\," + more:
        path = path.replace(character, "\\" + character)
    return path


def _host(mountpoint: str) -> None:
    """The machine's own root: a file system in memory into which each directory of the root is bound, read-only."""
    linux.mount("tmpfs", mountpoint, "tmpfs", _SAFE, "mode=755,size=4m")
    with os.scandir("/") as entries:
        for entry in entries:
            here = os.path.join(mountpoint, entry.name)
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), here)
            elif entry.is_dir():
                os.mkdir(here)
                if entry.name in _HOST_EMPTY:
                    continue
                try:
                    linux.bind(entry.path, here)
                except PermissionError:
                    continue  # somebody's FUSE file system: it stays empty
                linux.make_read_only(here, recursive=True)


def _make_mount_points(root: Root, wanted: list[Mount | Tmpfs]) -> None:
    inside = (*_SYSTEM, *(one.target.rstrip("/") for one in wanted))
    for one in wanted:
        if not any(one.target.startswith(place + "/") for place in inside):
            root.make(one.target, directory=isinstance(one, Tmpfs) or os.path.isdir(one.source))


def _hide(root: Root, settings: Settings) -> None:
    root.tmpfs("/tmp", _SAFE, mode=0o1777)  # noqa: S108
    root.tmpfs("/run", _SAFE, mode=0o755)
    for place, mode in (("/var/tmp", 0o1777), ("/var/run", 0o755)):  # noqa: S108
        if os.path.isdir(place) and not os.path.islink(place):
            root.tmpfs(place, _SAFE, mode=mode)
    for path in settings.hidden:
        real = os.path.realpath(path) if path else "/"
        if real != "/" and root.has(real):
            root.tmpfs(real, _SAFE, mode=0o755)


def _system(root: Root, *, unmasked: bool) -> None:
    """/proc, /sys and /dev, as containers everywhere have them."""
    root.mount("proc", "/proc", "proc", _NO_PROGRAMS)
    for path in _PROC_READ_ONLY:
        if root.has(path):
            root.bind_itself(path)
            root.read_only(path)
    if unmasked:
        root.bind("/proc/sys/net", "/proc/sys/net")
    for path in () if unmasked else _PROC_COVERED:
        if root.has(path):
            root.bind("/dev/null", path, read_only=True)
    try:
        root.mount("sysfs", "/sys", "sysfs", _NO_PROGRAMS | linux.MS_RDONLY)
    except PermissionError:
        root.bind("/sys", "/sys", read_only=True)
    root.tmpfs("/dev", linux.MS_NOSUID, mode=0o755, size=64 << 10)
    for name in _DEVICES:
        # These are the machine's own. Read-only keeps their owner and mode; the device itself can still be written.
        root.bind(f"/dev/{name}", f"/dev/{name}", read_only=True)
    for name, target in _DEVICE_LINKS.items():
        root.symlink(target, f"/dev/{name}")
    flags = linux.MS_NOSUID | linux.MS_NOEXEC
    try:
        root.mount("devpts", "/dev/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=0620,gid=5")
    except OSError:  # a map of one user has no group 5
        root.mount("devpts", "/dev/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=0620")
    root.tmpfs("/dev/shm", _NO_PROGRAMS, mode=0o1777, size=_SHM_SIZE)  # noqa: S108
    try:
        root.mount("mqueue", "/dev/mqueue", "mqueue", _NO_PROGRAMS)
    except OSError:
        pass  # a kernel without POSIX message queues


def _cgroups(root: Root, joined: dict[str, str]) -> None:
    """What programs read their limits from; without cgroups of its own a container sees none."""
    if not joined or not root.has("/sys/fs/cgroup"):
        return
    flags = _NO_PROGRAMS | linux.MS_RDONLY
    try:
        if "" in joined:
            root.mount("cgroup2", "/sys/fs/cgroup", "cgroup2", flags)
            return
        root.tmpfs("/sys/fs/cgroup", _NO_PROGRAMS, mode=0o755, size=64 << 10)
        for hierarchy in joined:
            place = f"/sys/fs/cgroup/{hierarchy}"
            root.make(place, directory=True)
            root.mount("cgroup", place, "cgroup", flags, hierarchy)
            for name in hierarchy.split(","):
                if name != hierarchy:
                    root.symlink(hierarchy, f"/sys/fs/cgroup/{name}")
        root.read_only("/sys/fs/cgroup")
    except PermissionError:
        pass  # where /sys is this machine's (a map of one user); limits hold all the same
