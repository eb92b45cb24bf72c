"""What this machine does not let a cluster do, each with its cure: asked before there is a cluster, or when one failed.

`skerry up` warns of what will not work and, if nodes do not start, looks here for the reason; `skerry status` shows
the findings. A child tries the namespaces and an overlay for real, since no file says all that can be in the way
(seccomp, AppArmor, a container's covered /proc). The sentences for what the kernel refuses stand in obstacles.py, those
for missing sub-uids in idmap.py (making the namespaces gives the same ones), the others in surroundings.py.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import NamedTuple

from skerry import linux
from skerry.cluster import idmap, obstacles, surroundings
from skerry.cluster.networks import Networks
from skerry.cluster.place import PROBE
from skerry.cluster.surroundings import Finding, Surroundings


class Trial(NamedTuple):
    """How far a child came in making what a node needs: the first step that failed, "" for none, and its errno."""

    step: str
    code: int
    overlay: int = 0
    """The errno of mounting an overlay that lies in the data directory."""


def judge(trial: Trial, machine: obstacles.Machine, ids: idmap.Facts, about: Surroundings) -> list[Finding]:
    """What is missing on this machine, the gravest first. Pure."""
    found = []
    if surroundings.wsl(about.release) == 1:
        sentence = "WSL 1 has no namespaces: run `wsl --set-version NAME 2` in Windows, NAME being this distribution."
        found.append(Finding("user-namespaces", True, sentence))
    elif surroundings.version(about.release) < surroundings.KERNEL_WANTED:
        wanted = ".".join(map(str, surroundings.KERNEL_WANTED))
        sentence = f"This is Linux {about.release}, and nodes need {wanted}: use a newer kernel."
        found.append(Finding("kernel", True, sentence))
    elif trial.step == "nftables":
        found.append(Finding("nftables", False, _no_nftables(about)))
    elif trial.step:
        name = "proc" if trial.step == "proc" else "user-namespaces"
        error = obstacles.explain(trial.step, trial.code, "", machine)
        found.append(Finding(name, True, str(error)))
    elif trial.overlay:
        found.append(surroundings.no_overlay(about, trial.overlay))
    return found + warnings(ids, about)


def warnings(ids: idmap.Facts, about: Surroundings) -> list[Finding]:
    """What will not work although nodes start and images can be mounted. Pure."""
    found = []
    try:
        idmap.plan(ids)
    except obstacles.NamespaceError as error:
        found.append(Finding("sub-uids", False, f"{error} Until then only programs that run as root inside work."))
    return found + surroundings.judge(about)


def findings(data: str = "", networks: Networks | None = None) -> list[Finding]:
    """Everything that is missing here for a cluster with its data in `data`, or for any cluster.

    Takes some milliseconds and leaves nothing behind.
    """
    about = Surroundings.look(data)
    shared = surroundings.overlap(surroundings.routes(), networks) if networks is not None else None
    found = judge(_try(data), obstacles.Machine.look(os.geteuid()), idmap.Facts.look(), about)
    return found + ([shared] if shared is not None else [])


def concerns(data: str) -> list[Finding]:
    """What `skerry up` warns of when the nodes are up."""
    about = Surroundings.look(data)
    ids = idmap.Facts.look()
    trial = Trial("", 0)
    if about.ground is not None and about.ground.kind not in _CARRY_OVERLAYS:
        trial = _try(data)
    return judge(trial, obstacles.Machine(), ids, about)


_CARRY_OVERLAYS = ("ext4", "xfs", "btrfs")
"""File systems that are known to: nobody waits for a trial."""


def _no_nftables(about: Surroundings) -> str:
    what = "The kernel has no nftables: Services are carried in user space, which is slower. If you can, "
    if surroundings.wsl(about.release):
        return what + "run `wsl --update` in Windows for a kernel that has it."
    if about.container:
        return what + "run `sudo modprobe nf_tables` on the machine that this container runs on."
    return what + "load it with `sudo modprobe nf_tables`."


_STEPS = ("", "user", "the namespaces of a node", "proc", "nftables")


def _try(data: str) -> Trial:
    """Fork a child that makes a user namespace and, in it, what a node needs, and an overlay in directory `data`."""
    place = _place(data) if data and os.access(data, os.W_OK | os.X_OK) else ""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, struct.pack("=III", *_trial(place)))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    if place:
        _remove(place)
    step, code, overlay = struct.unpack("=III", said) if said else (2, 0, 0)
    return Trial(_STEPS[step], code, overlay)


def _trial(place: str) -> tuple[int, int, int]:
    step, overlay = 1, 0
    try:
        uid, gid = os.geteuid(), os.getegid()
        linux.unshare(linux.CLONE_NEWUSER)
        for file, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{file}", "w") as stream:
                stream.write(text)
        step = 2
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWPID)
        linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
        overlay = _overlay(place) if place else 0
        linux.mount("tmpfs", "/tmp", "tmpfs")  # noqa: S108 - in a mount namespace of our own
        step = 3
        _mount_proc_as_first_process()
        step = 4
        _ask_nftables()
    except OSError as error:
        return step, error.errno or 0, overlay
    return 0, 0, overlay


def _overlay(place: str) -> int:
    """Mount one as the runtime does; its errno. It ends with the mount namespace."""
    lower, upper, work, root = (os.path.join(place, name) for name in ("lower", "upper", "work", "root"))
    try:
        for directory in (lower, upper, work, root):
            os.mkdir(directory)
        os.setxattr(lower, "user.overlay.opaque", b"y")  # how an image's layer hides what is below
        options = f"lowerdir={lower},upperdir={upper},workdir={work},userxattr"
        linux.mount("overlay", root, "overlay", data=options)
        with open(os.path.join(root, "file"), "w"):
            pass
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _place(data: str) -> str:
    import tempfile

    return tempfile.mkdtemp(prefix=PROBE, dir=data)


def _remove(place: str) -> None:
    """What is left of the overlay; the kernel has put a directory into it that its owner has to open first."""
    import shutil

    for path, names, _ in os.walk(place):
        for name in names:  # before the walk goes into it
            os.chmod(os.path.join(path, name), 0o700)
    shutil.rmtree(place, ignore_errors=True)


def _mount_proc_as_first_process() -> None:
    """Mount /proc in the first process of the new PID namespace, the only one that may. OSError."""
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            linux.mount("proc", "/proc", "proc")
        except OSError as error:
            code = error.errno or 1
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))


def _ask_nftables() -> None:
    """Ask the kernel for its ruleset's generation. OSError if nobody there knows nf_tables."""
    netlink_netfilter, get_generation, request, error = 12, (10 << 8) | 16, 1, 2
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, netlink_netfilter) as channel:
        channel.settimeout(1)
        channel.send(struct.pack("=IHHIIBBH", 20, get_generation, request, 1, 0, 0, 0, 0))
        answer = channel.recv(4096)
    if struct.unpack_from("=IH", answer)[1] == error:
        code = -struct.unpack_from("=i", answer, 16)[0]
        raise OSError(code, os.strerror(code))
