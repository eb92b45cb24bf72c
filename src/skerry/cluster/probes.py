"""What this machine does not let a cluster do, each with its cure: asked before there is a cluster, or when one failed.

`skerry up` warns of what will not work and, if nodes do not start, looks here for the reason; `skerry status` shows
the findings. A child tries the namespaces for real, since no file says all that can be in the way (seccomp, AppArmor,
a container's covered /proc). The sentences for what the kernel refuses stand in obstacles.py, those for missing
sub-uids in idmap.py: making the namespaces gives the same ones.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import NamedTuple

from skerry import linux
from skerry.cluster import idmap, obstacles


class Finding(NamedTuple):
    """Something that is missing."""

    name: str
    """user-namespaces, proc, nftables or sub-uids."""
    fatal: bool
    """No node can start; otherwise only some images do not run."""
    sentence: str
    """What is missing, what follows, and the one line that cures it."""


class Trial(NamedTuple):
    """How far a child came in making what a node needs: the first step that failed, "" for none, and its errno."""

    step: str
    code: int


def judge(trial: Trial, machine: obstacles.Machine, ids: idmap.Facts) -> list[Finding]:
    """What is missing on this machine, the gravest first. Pure."""
    found = []
    if trial.step == "nftables":
        sentence = (
            "The kernel has no nftables, which carries the traffic of Services: load it with `sudo modprobe nf_tables`."
        )
        found.append(Finding("nftables", True, sentence))
    elif trial.step:
        name = "proc" if trial.step == "proc" else "user-namespaces"
        found.append(Finding(name, True, str(obstacles.explain(trial.step, trial.code, "", machine))))
    return found + warnings(ids)


def warnings(ids: idmap.Facts) -> list[Finding]:
    """What will not work although nodes start: only where an ordinary user has no ids to lend. Pure."""
    try:
        idmap.plan(ids)
    except obstacles.NamespaceError as error:
        return [Finding("sub-uids", False, str(error))]
    return []


def findings() -> list[Finding]:
    """Everything that is missing here. Takes some milliseconds and leaves nothing behind."""
    return judge(_try(), obstacles.Machine.look(os.geteuid()), idmap.Facts.look())


_STEPS = ("", "user", "the namespaces of a node", "proc", "nftables")


def _try() -> Trial:
    """Fork a child that makes a user namespace and, in it, what a node needs."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, struct.pack("=II", *_trial()))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    step, code = struct.unpack("=II", said) if said else (2, 0)
    return Trial(_STEPS[step], code)


def _trial() -> tuple[int, int]:
    step = 1
    try:
        uid, gid = os.geteuid(), os.getegid()
        linux.unshare(linux.CLONE_NEWUSER)
        for file, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{file}", "w") as stream:
                stream.write(text)
        step = 2
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWPID)
        linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
        linux.mount("tmpfs", "/tmp", "tmpfs")  # noqa: S108 - in a mount namespace of our own
        step = 3
        _mount_proc_as_first_process()
        step = 4
        _ask_nftables()
    except OSError as error:
        return step, error.errno or 0
    return 0, 0


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
