"""Why namespaces could not be made, in one sentence with its cure.

Called by idmap.py and namespaces.py; the command line prints the sentence and exits 1. Pure: what is known about the
machine comes in as values.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from skerry.cluster.errors import ClusterError
from skerry.cluster.surroundings import in_container

APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"


class NamespaceError(ClusterError):
    """The kernel or the machine's set-up does not allow what a cluster needs; one sentence that names the cure."""


class Machine(NamedTuple):
    """What an explanation depends on."""

    root: bool = False
    """Whether this user is root."""
    apparmor: bool = False
    """Whether AppArmor takes the rights out of ordinary users' user namespaces (Ubuntu from 23.10)."""
    limit: str = ""
    """/proc/sys/user/max_user_namespaces."""
    clone: str = ""
    """/proc/sys/kernel/unprivileged_userns_clone (Debian's switch), "" where there is none."""
    selinux: bool = False
    """SELinux is enforcing."""
    container: bool = False
    """This is inside a container."""

    @classmethod
    def look(cls, uid: int) -> Machine:
        """Reads them from /proc."""
        return cls(
            root=uid == 0,
            apparmor=_read(APPARMOR) == "1",
            limit=_read("/proc/sys/user/max_user_namespaces"),
            selinux=_read("/sys/fs/selinux/enforce") == "1",
            container=in_container(),
            clone=_read("/proc/sys/kernel/unprivileged_userns_clone"),
        )


def explain(step: str, code: int, detail: str, machine: Machine) -> NamespaceError:
    """The error for a step that failed with errno `code` (0: no errno; `detail` then says it all).

    `step`: "user" (making the user namespace), "proc" (mounting a fresh /proc), or what was done, as a phrase.
    """
    refused = code in (errno.EPERM, errno.EACCES)
    if refused and machine.apparmor and not machine.root:
        return NamespaceError(
            "AppArmor keeps ordinary users from using user namespaces: "
            "run `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`, give Skerry a profile "
            "(docs/how-to/machines.md has it), or start the cluster as root."
        )
    if step == "user":
        return _no_user_namespace(code, detail, machine)
    if step == "proc" and refused:
        return NamespaceError(
            "A fresh /proc cannot be mounted because parts of this machine's /proc are covered, as in an unprivileged "
            "container: start that container with its /proc unmasked "
            "(docker run --security-opt systempaths=unconfined --security-opt seccomp=unconfined), "
            "or run on the machine itself."
        )
    if refused and machine.container:
        return NamespaceError(
            "This container may not set up namespaces: start it with docker run --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined --security-opt seccomp=unconfined, or run on the machine itself."
        )
    if refused and machine.selinux:
        return NamespaceError(
            "The kernel refused a step of setting up the cluster's namespaces, probably for SELinux: "
            "`sudo ausearch -m avc -ts recent` shows the rule."
        )
    what = "mount /proc" if step == "proc" else step
    why = detail or errno.errorcode.get(code, str(code))
    return NamespaceError(f"The cluster's namespaces could not be set up: {what}: {why}.")


def _no_user_namespace(code: int, detail: str, machine: Machine) -> NamespaceError:
    if code == errno.ENOSPC or machine.limit == "0":
        return NamespaceError(
            f"No more user namespaces are allowed here (user.max_user_namespaces is {machine.limit or 'reached'}): "
            "run `sudo sysctl user.max_user_namespaces=15000`."
        )
    if machine.clone == "0" and not machine.root:
        return NamespaceError(
            "The kernel keeps ordinary users from making user namespaces: "
            "run `sudo sysctl kernel.unprivileged_userns_clone=1`, or start the cluster as root."
        )
    if code == errno.EINVAL:
        return NamespaceError("This kernel has no user namespaces: use one that is built with CONFIG_USER_NS.")
    if code in (errno.EPERM, errno.EACCES):
        return NamespaceError(
            "User namespaces are not allowed here, as in a container or a chroot: "
            "allow them (docker run --security-opt seccomp=unconfined), or run on the machine itself."
        )
    return NamespaceError(f"No user namespace can be made here: {detail or code}.")


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""
