"""Where this machine lets us make cgroups: from /proc/self/cgroup, /proc/self/mountinfo and the directories they name.

Called by subtree.py, in the host's namespaces. With cgroup v1 a cluster's subtree goes below the cgroups that we are
in, so that what limits whoever started it limits its pods too. With cgroup v2 a cgroup that holds processes cannot
divide its resources among children: it goes below the nearest cgroup above us that holds none, or that holds only us.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import NamedTuple

CONTROLLERS = ("cpu", "memory", "pids")


class Place(NamedTuple):
    """`parents`: by controller, the directory in which a cluster's own is to be made; with v2 one, under "".

    `options`: by the same keys, what mount(8) is told to show that hierarchy. `missing`: controllers that are not
    to be had. `move`: with v2, the processes that are to leave `parents[""]` first.
    """

    version: int
    parents: dict[str, str]
    options: dict[str, str]
    missing: tuple[str, ...] = ()
    move: tuple[int, ...] = ()


class NotWritableError(Exception):
    """There is no such place; the text is a clause that says why and what could be done."""


_Usable = Callable[..., bool]


class _Mount(NamedTuple):
    root: str
    point: str
    kind: str
    options: tuple[str, ...]


def may_write(path: str) -> bool:
    """Whether this process may write a file, or make others in a directory."""
    return os.access(path, os.W_OK)


def find(
    cgroup: str,
    mountinfo: str,
    ours: Collection[int] = (),
    wanted: tuple[str, ...] = CONTROLLERS,
    *,
    root: bool = False,
    writable: Callable[[str], bool] = may_write,
) -> Place:
    """The place for a cluster's cgroups, from the texts of those files. NotWritableError.

    `ours`: the processes that may be moved. `root`: whether we are root.
    """
    mounts = list(_mounts(mountinfo))
    own = [line.split(":", 2) for line in cgroup.splitlines() if line.count(":") >= 2]
    if not mounts:
        raise NotWritableError("this machine shows no cgroups (nothing is mounted at /sys/fs/cgroup)")

    def usable(directory: str, *names: str) -> bool:
        return all(writable(os.path.join(directory, name)) for name in ("", *names))

    old = _v1(own, mounts, wanted, usable)
    refusal = None
    try:
        new = _v2(own, mounts, ours, wanted, usable, root)
    except NotWritableError as error:
        new, refusal = None, error
    found = max((one for one in (new, old) if one is not None), key=lambda one: -len(one.missing), default=None)
    if found is not None and len(found.missing) < len(wanted):
        return found
    if refusal is not None:
        raise refusal
    raise NotWritableError("cgroups of version 1 can be written by root alone: a cluster of root's has limits")


def _mounts(mountinfo: str) -> list[_Mount]:
    found = []
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if separator and len(fields) >= 5 and len(kinds) >= 3 and kinds[0] in ("cgroup", "cgroup2"):
            found.append(_Mount(_plain(fields[3]), _plain(fields[4]), kinds[0], tuple(kinds[2].split(","))))
    return found


def _plain(path: str) -> str:
    """A path of mountinfo, in which spaces and the like are written in octal."""
    return path.encode().decode("unicode_escape") if "\\" in path else path


def _directory(mount: _Mount, path: str) -> str:
    """Where the cgroup `path` is shown, "" if it is not."""
    if path == mount.root or mount.root == "/":
        below = path if mount.root == "/" else "/"
    elif path.startswith(mount.root + "/"):
        below = path[len(mount.root) :]
    else:
        return ""
    found = os.path.normpath(mount.point + below)
    return found if ".." not in path.split("/") and os.path.isdir(found) else ""


def _v1(own: list[list[str]], mounts: list[_Mount], wanted: tuple[str, ...], usable: _Usable) -> Place | None:
    parents, options = {}, {}
    for controller in wanted:
        line = next((line for line in own if controller in line[1].split(",")), None)
        mount = next((one for one in mounts if one.kind == "cgroup" and controller in one.options), None)
        directory = _directory(mount, line[2]) if line is not None and mount is not None else ""
        if directory and line is not None and usable(directory, "cgroup.procs"):
            parents[controller], options[controller] = directory, line[1]
    if not parents:
        return None
    return Place(1, parents, options, tuple(one for one in wanted if one not in parents))


def _v2(
    own: list[list[str]],
    mounts: list[_Mount],
    ours: Collection[int],
    wanted: tuple[str, ...],
    usable: _Usable,
    root: bool,
) -> Place | None:
    mount = next((one for one in mounts if one.kind == "cgroup2"), None)
    path = next((line[2] for line in own if line[:2] == ["0", ""]), None)
    if mount is None or path is None or not set(_words(mount.point, "cgroup.controllers")) & set(wanted):
        return None  # none, or (hybrid) one that has no controllers
    here = _directory(mount, path)
    if not here:
        raise NotWritableError(f"our cgroup {path} is not shown below {mount.point}")
    top = os.path.normpath(mount.point)
    directory, seen = here, ""
    while usable(directory, "cgroup.procs", "cgroup.subtree_control"):
        inside = [int(word) for word in _words(directory, "cgroup.procs")]
        first = directory == top and not os.path.exists(os.path.join(directory, "cgroup.type"))
        alone = directory == here and set(inside) <= set(ours)
        if not inside or first or alone:
            missing = tuple(one for one in wanted if one not in _words(directory, "cgroup.controllers"))
            return Place(2, {"": directory}, {"": ""}, missing, tuple(inside) if alone and not first else ())
        seen = directory
        if directory == top:
            break
        directory = os.path.dirname(directory)
    if seen:
        raise NotWritableError(f"the cgroup {seen} holds other processes, so that its resources cannot be divided")
    if root:
        raise NotWritableError(f"{top} is mounted read-only, as in a container without privileges")
    raise NotWritableError(
        "this session's cgroup belongs to root: `systemd-run --user --scope -p Delegate=yes skerry up` starts the "
        "cluster in one of its own"
    )


def _words(directory: str, name: str) -> list[str]:
    try:
        with open(os.path.join(directory, name)) as file:
            return file.read().split()
    except OSError:
        return []
