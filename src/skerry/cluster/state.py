"""What a cluster is (`cluster.json`) and whether it runs (`lock`): read and written by the command line's verbs.

The lock is an flock that `skerry up` takes and the daemon inherits, and in the machine's own network its caretaker: it
is free when the cluster has ended. (Nodes die with the daemon, a moment later if it was killed.) The file's content
says who: "PID START PHASE", START being the process's start time, so that a process id that was given to somebody else
is not mistaken for ours.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from skerry.cluster.certificates import Expiry
from skerry.cluster.errors import ClusterError
from skerry.cluster.files import make_private_directory, write_private
from skerry.cluster.networks import MAX_PODS, POD_CIDR, SERVICE_CIDR, MachineNetworks, Networks
from skerry.cluster.paths import ClusterPaths, cluster_paths, data_home

FORMAT = 1
"""Of the data directory. A newer one is refused; an older one will be migrated when there is one."""

STARTING, READY, STOPPING = "starting", "ready", "stopping"


class State(NamedTuple):
    """The options a cluster was made with, which stay the same for its life, and what was decided for it."""

    name: str
    nodes: int = 1
    ephemeral: bool = False
    network: str = "contained"
    announce: str = ""
    """With the network "host": the interfaces on which balancers' addresses are announced, with commas between."""
    store: str = ""
    api_port: int = 0
    """0 until the first start has chosen it."""
    pod_cidr: str = POD_CIDR
    service_cidr: str = SERVICE_CIDR
    max_pods: int = MAX_PODS
    """Of one node."""
    proxy_mode: str = "auto"
    audit_log: bool = False
    registry_mirrors: tuple[tuple[str, str], ...] = ()
    kubeconfigs: tuple[str, ...] = ()
    """Every file that our context was written into, so that `delete` can take it out again."""
    certificates: Expiry | None = None
    created: float = 0.0
    """Unix seconds."""
    version: str = ""
    """Of the Skerry that last started it."""

    @property
    def networks(self) -> Networks:
        """The addresses that follow from its two ranges."""
        kind = MachineNetworks if self.network == "host" else Networks
        return kind(self.pod_cidr, self.service_cidr, self.max_pods)


def load(paths: ClusterPaths) -> State | None:
    """The cluster's state; None if there is no cluster there. ClusterError if it is newer than us, or damaged."""
    try:
        text = paths.state.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        table = json.loads(text)
        found = int(table["format"])
        if found > FORMAT:
            raise ClusterError(
                f"{paths.root} was written by a newer Skerry ({table.get('version', '?')}, format {found}; this one "
                f"reads {FORMAT}): use that one, or `skerry delete` and start anew."
            )
        return _from_json(table)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClusterError(
            f"{paths.state} is damaged ({type(error).__name__}: {error}): restore it, or `skerry delete` the cluster."
        ) from None


def save(paths: ClusterPaths, state: State) -> None:
    """Write cluster.json atomically."""
    table: dict[str, Any] = {
        "format": FORMAT,
        "version": state.version,
        "name": state.name,
        "nodes": state.nodes,
        "ephemeral": state.ephemeral,
        "network": state.network,
        "announce": state.announce,
        "store": state.store,
        "apiPort": state.api_port,
        "podCIDR": state.pod_cidr,
        "serviceCIDR": state.service_cidr,
        "maxPods": state.max_pods,
        "proxyMode": state.proxy_mode,
        "auditLog": state.audit_log,
        "registryMirrors": dict(state.registry_mirrors),
        "kubeconfigs": list(state.kubeconfigs),
        "certificates": state.certificates._asdict() if state.certificates else None,
        "created": state.created,
    }
    write_private(paths.state, json.dumps(table, indent=1).encode() + b"\n")


def _from_json(table: dict[str, Any]) -> State:
    ends = table["certificates"]
    return State(
        name=str(table["name"]),
        nodes=int(table["nodes"]),
        ephemeral=bool(table["ephemeral"]),
        network=str(table["network"]),
        announce=str(table.get("announce", "")),
        store=str(table["store"]),
        api_port=int(table["apiPort"]),
        pod_cidr=str(table.get("podCIDR", POD_CIDR)),
        service_cidr=str(table.get("serviceCIDR", SERVICE_CIDR)),
        max_pods=int(table.get("maxPods", MAX_PODS)),
        proxy_mode=str(table.get("proxyMode", "auto")),
        audit_log=bool(table.get("auditLog", False)),
        registry_mirrors=tuple((str(host), str(url)) for host, url in table["registryMirrors"].items()),
        kubeconfigs=tuple(str(path) for path in table["kubeconfigs"]),
        certificates=Expiry(float(ends["ca"]), float(ends["server"])) if ends else None,
        created=float(table["created"]),
        version=str(table["version"]),
    )


def prepare(paths: ClusterPaths) -> None:
    """Make every directory of the layout, for us alone."""
    make_private_directory(paths.root)
    paths.marker.touch()
    for directory in (paths.run, paths.logs, paths.nodes, paths.images, paths.pki):
        make_private_directory(directory)


def names() -> list[str]:
    """The names of all clusters under the data home, sorted."""
    home = data_home()
    try:
        return sorted(entry.name for entry in home.iterdir() if (entry / "cluster.json").exists())
    except FileNotFoundError:
        return []


def ports(but: str) -> dict[int, str]:
    """The API ports that clusters of this user other than `but` have for life, with the clusters' names."""
    found = {}
    for name in names():
        if name == but:
            continue
        try:
            other = load(cluster_paths(name))
        except ClusterError:
            continue  # damaged: whatever its port is, it does not use it
        if other is not None:
            found[other.api_port] = name
    return found


# --- who holds it ---------------------------------------------------------------------------------------------------


class Holder(NamedTuple):
    """The process that starts or is the cluster."""

    pid: int
    phase: str
    """STARTING until API, nodes and DNS answer, then READY, and STOPPING from the wish to end on."""


def holder(paths: ClusterPaths) -> Holder | None:
    """Who runs the cluster now, or None. Takes no lock, so it disturbs nobody."""
    try:
        words = paths.lock.read_text().split()
        pid, start, phase = int(words[0]), int(words[1]), words[2]
    except (OSError, ValueError, IndexError):
        return None
    return Holder(pid, phase) if start >= 0 and start_time(pid) == start else None


def announce_stop(paths: ClusterPaths) -> None:
    """Say that whoever has the cluster is about to be ended; for another process than that, without the lock."""
    found = holder(paths)
    if found is None:
        return
    try:
        fd = os.open(paths.lock, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return  # another user's: the signal will tell
    try:
        # One that has meanwhile ended is not brought back by this: its start time is that of no process.
        os.pwrite(fd, f"{found.pid} {start_time(found.pid)} {STOPPING}\n".encode().ljust(64), 0)
    finally:
        os.close(fd)


class Lock:
    """The cluster's lock, ours until `close` or until the last process that inherited it has gone."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def announce(self, phase: str, pid: int | None = None) -> None:
        """Say in the file that process `pid` (by default this one) has the cluster, and how far it is."""
        pid = os.getpid() if pid is None else pid
        text = f"{pid} {start_time(pid)} {phase}\n".encode()
        os.pwrite(self.fd, text.ljust(64), 0)

    def clear(self) -> None:
        """Nobody has it any more, whatever was written."""
        os.ftruncate(self.fd, 0)

    def close(self) -> None:
        """Give it up here; processes that inherited it keep it."""
        os.close(self.fd)


def acquire(paths: ClusterPaths, wait: float = 0.0, *, make: bool = False) -> Lock | None:
    """Take the cluster's lock; None if somebody else has it and still has it after `wait` seconds.

    `make`: with the directory, where there is none; else FileNotFoundError.
    """
    until = time.monotonic() + wait
    while True:
        try:
            fd = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            if not make:
                raise
            paths.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            continue  # and again, should somebody be removing it
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have deleted the cluster, and with it the file that we have just locked.
            if paths.lock.exists() and os.path.samestat(os.fstat(fd), paths.lock.stat()):
                return Lock(fd)
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(fd)
                return None
        os.close(fd)
        time.sleep(0.005)  # flock has no time-out of its own


def wait_until_gone(paths: ClusterPaths, seconds: float) -> bool:
    """Wait until nothing holds the lock (True) or `seconds` have passed (False)."""
    try:
        lock = acquire(paths, seconds)
    except FileNotFoundError:
        return True  # deleted meanwhile
    if lock is None:
        return False
    lock.close()
    return True


def start_time(pid: int) -> int:
    """A number for when the process started, that no other process of this id has had or will; -1 if there is none.

    In it are the clock's ticks since boot and which boot that was: files that were written before it mean nobody.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return -1
    # The command name may hold spaces and brackets; fields are counted from the last bracket. A zombie does not count.
    fields = text[text.rindex(b")") + 2 :].split()
    return -1 if fields[0] in (b"Z", b"X") else _boot() << 40 | int(fields[19])


@functools.cache
def _boot() -> int:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return int(file.read(6), 16)
    except (OSError, ValueError):
        return 0


# --- where it is ----------------------------------------------------------------------------------------------------


def link(name: str, root: Path) -> None:
    """Make the cluster at `root` (its `--data-dir`) findable by its name. ClusterError if the name is another's."""
    place = data_home() / name
    if root == place or Path(os.path.realpath(place)) == root:
        return
    if place.is_symlink() and not (place / "cluster.json").exists():
        place.unlink()  # what it pointed to is gone
    make_private_directory(place.parent)
    try:
        place.symlink_to(root, target_is_directory=True)
    except FileExistsError:
        raise ClusterError(
            f'Cluster "{name}" has its data in {os.path.realpath(place)} already: leave out --data-dir, '
            "or choose another --name."
        ) from None


def unlink(name: str) -> None:
    """Forget where `--data-dir` put cluster `name`."""
    place = data_home() / name
    if place.is_symlink():
        place.unlink()
