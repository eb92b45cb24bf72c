"""What a cluster's machine is like, as far as it makes a difference, and what does not work there for that reason.

`Surroundings` are facts, gathered from /proc and by asking the kernel; `judge` makes findings of them and is pure.
Called by probes.py, which adds what a child finds out by trying.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Collection
from typing import NamedTuple

from skerry.cluster.networks import Network, Networks


class Finding(NamedTuple):
    """Something that is missing."""

    name: str
    """One of those that docs/reference/cli.md lists."""
    fatal: bool
    """No node can start; otherwise something that pods may want does not work."""
    sentence: str
    """What is missing, what follows, and the one line that cures it."""


class Ground(NamedTuple):
    """The file system that the data directory is on."""

    path: str
    kind: str
    """ext4, nfs4, overlay, ..."""
    options: frozenset[str]
    """noexec, nosuid, ro, ..."""


class Surroundings(NamedTuple):
    """Facts about this machine and process."""

    release: str = ""
    """Of the kernel, as `uname -r` shows it."""
    container: bool = False
    """This is inside a container."""
    open_files: int = 1 << 20
    """How many files a process may open at most: the hard limit."""
    watchers: int = 1024
    """fs.inotify.max_user_instances."""
    ground: Ground | None = None

    @classmethod
    def look(cls, data: str) -> Surroundings:
        """Reads them. `data` is the data directory, "" for none, which need not be there yet."""
        return cls(
            release=os.uname().release,
            container=in_container(),
            open_files=_hard_limit(),
            watchers=int(_read("/proc/sys/fs/inotify/max_user_instances") or 1024),
            ground=ground(data, _read("/proc/self/mountinfo")) if data else None,
        )


KERNEL_WANTED = (5, 12)
"""The first that has mount_setattr, with which containers' mounts are made read-only."""
FILES_WANTED, WATCHERS_WANTED = 4096, 128
_DEFAULTS = 7
"""A VPN that takes everything does it with two or more routes of few bits; such a route is a default one."""
_RANGES = ("172.30.0.0/16", "172.31.0.0/16", "192.168.192.0/19", "100.96.0.0/16", "10.96.0.0/16", "10.244.0.0/16")
"""What is proposed for pods and Services where the defaults are in use."""


def judge(about: Surroundings) -> list[Finding]:
    """What does not work although nodes start. Pure."""
    found = []
    if about.ground is not None:
        found += _of_ground(about.ground)
    if about.open_files < FILES_WANTED:
        found.append(
            Finding(
                "open-files",
                False,
                f"A process may open {about.open_files} files here, which is soon too few for many pods: raise it with "
                f"`ulimit -Hn {1 << 16}` as root, or in /etc/security/limits.conf, and start the cluster anew.",
            )
        )
    if about.watchers < WATCHERS_WANTED:
        found.append(
            Finding(
                "inotify",
                False,
                f"All programs of one user may have {about.watchers} watchers of files here, and pods that want more "
                'fail with "too many open files": run `sudo sysctl fs.inotify.max_user_instances=1024`.',
            )
        )
    return found


def _of_ground(on: Ground) -> list[Finding]:
    found = []
    if "noexec" in on.options:
        found.append(
            Finding(
                "data-directory",
                False,
                f"{on.path} is mounted noexec, so that programs in pods' volumes cannot be run: put the cluster on "
                "another file system with --data-dir.",
            )
        )
    return found


def no_overlay(about: Surroundings, code: int) -> Finding:
    """Images cannot be mounted from the data directory: what the kernel said when a child tried."""
    on = about.ground
    name = os.strerror(code)
    if on is not None and on.kind == "overlay" and about.container:
        sentence = (
            f"{on.path} is in this container's own layer, where images cannot be mounted, so that only `image: host` "
            "works: give the container a volume there (docker run -v), or put the cluster elsewhere with --data-dir."
        )
    else:
        kind = on.kind if on is not None else "unknown"
        where = on.path if on is not None else "The data directory"
        sentence = (
            f"{where} is on a file system ({kind}) on which images cannot be mounted ({name}), so that only "
            "`image: host` works: put the cluster on a local disk with --data-dir."
        )
    return Finding("data-directory", False, sentence)


class Shared(NamedTuple):
    """Addresses that are the cluster's and somebody else's, too."""

    sentence: str
    """Who has them: the beginning of a sentence."""
    options: str
    """With these a cluster has others; "" where nothing can be proposed."""


def overlap(routes: Collection[tuple[str, str]], networks: Networks) -> Finding | None:
    """The cluster's addresses are also elsewhere, in a VPN perhaps; `routes` as the function has them. Pure."""
    found = shared(routes, networks)
    if found is None:
        return None
    cure = f"`skerry up {found.options}`" if found.options else "--pod-cidr"
    end = f"inside the cluster such an address is the cluster's; one made with {cure} has others."
    return Finding("addresses", False, f"{found.sentence}: {end}")


def shared(routes: Collection[tuple[str, str]], networks: Networks) -> Shared | None:
    """The first of these routes that leads to addresses of the cluster. Pure."""
    every = [
        (what, one) for what, of in (("Services", networks.service_cidrs), ("pods", networks.pod_cidrs)) for one in of
    ]
    ranges = [(what, Network(one)) for what, one in every if ":" not in one]
    used = [Network(destination) for destination, _ in routes]
    for destination, link in routes:
        for what, mine in ranges:
            if Network(destination).prefixlen > _DEFAULTS and mine.overlaps(Network(destination)):
                free = [text for text in _RANGES if not any(Network(text).overlaps(one) for one in used)]
                options = f"--pod-cidr {free[0]} --service-cidr {free[1]}" if free[1:] else ""
                sentence = f"This machine reaches {destination} through {link}, and the cluster's {what} are in {mine}"
                return Shared(sentence, options)
    return None


def ground(path: str, mountinfo: str) -> Ground:
    """The file system that `path` (or what is there of its parents) is on, from the text of /proc/self/mountinfo."""
    best, found = -1, Ground(path, "unknown", frozenset())
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 6 or not after:
            continue
        point = fields[4].encode().decode("unicode_escape") if "\\" in fields[4] else fields[4]
        below = path == point or path.startswith(point.rstrip("/") + "/")
        # Of several mounts at one place the last one is seen.
        if below and len(point) >= best:
            best, found = len(point), Ground(path, after.split()[0], frozenset(fields[5].split(",")))
    return found


def wsl(release: str) -> int:
    """Which Windows Subsystem for Linux this is: 1, 2, or 0 for none."""
    if "microsoft" not in release.lower():
        return 0
    return 1 if release.endswith("-Microsoft") else 2


def version(release: str) -> tuple[int, int]:
    """The kernel's, of `uname -r`: (6, 1) for 6.1.0-18-amd64."""
    words = release.split("-")[0].split(".")
    numbers = [int(word) for word in words[:2] if word.isdigit()]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (99, 0)


def in_container() -> bool:
    """Whether a container program started this process, as far as one can know."""
    if any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv", "/run/systemd/container"))):
        return True
    return bool(os.environ.get("container") or os.environ.get("KUBERNETES_SERVICE_HOST"))  # noqa: SIM112 - systemd's name


def _hard_limit() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 1 << 30 if hard == resource.RLIM_INFINITY else hard


def routes() -> list[tuple[str, str]]:
    """(range, link) of this machine's IPv4 routes, from every table; not the default ones."""
    from skerry.netlink.route import Routes

    try:
        with Routes() as here:
            names = {link.index: link.name for link in here.links()}
            found = [(one.destination, names.get(one.link, "?")) for one in here.routes(everywhere=True)]
    except OSError:
        return []  # a sandbox without netlink
    return list(dict.fromkeys(one for one in found if one[0] != "default"))


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""
