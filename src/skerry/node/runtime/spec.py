"""What the node agent asks of the runtime, and what it gets back: plain values.

Called by the node agent (which builds them from pods), by client.py, and by the spawner and the containers it sets up.
They travel as JSON between agent and spawner; that is kept small, so these are dataclasses and not msgspec Structs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What Docker and containerd give a container that asks for nothing.
DEFAULT_CAPABILITIES = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
    *("NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)


class RuntimeFailure(Exception):
    """The runtime could not do what it was asked; the text is one sentence that may go into an event."""


class StartError(RuntimeFailure):
    """A container (or an exec) did not come as far as running its command.

    No such command, no permission, no such directory, a mount that failed. The text is worded as runc words it, e.g.
    `exec: "foo": executable file not found in $PATH`. A container that started and ended is an `Exit`, never this.
    """


@dataclass(frozen=True, slots=True)
class HostImage:
    """The machine's own file system, read-only, with a few private and hidden places.

    /tmp, /var/tmp, /run and /dev/shm are private; homes and the data directory are hidden; nsswitch.conf says
    `hosts: files dns`.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """An unpacked image. `lowerdirs`: absolute directories, the top layer first.

    `upper` and `work`: directories of this container alone, on one file system; made if missing, deleted by
    `remove_container`.
    """

    lowerdirs: list[str]
    upper: str
    work: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """The file or directory `source` of this machine, shown at `target` (absolute, in the container).

    A missing target is made. Symbolic links in `target` are followed inside the container's root, never out of it.
    """

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tmpfs:
    """An empty file system in memory at `target`. `size` in bytes; 0: the kernel's default (half of the memory)."""

    target: str
    size: int = 0
    mode: int = 0o1777


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMapping:
    """A port of the node's address `host_ip` ("": of all but loopback) that leads to `container_port` of the pod.

    `protocol`: TCP, UDP or SCTP.
    """

    protocol: str
    host_port: int
    container_port: int
    host_ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSandboxSpec:
    """The namespaces that a pod's containers share: network, UTS (host name) and IPC.

    `netns`: "private" gets an address out of the node's pod CIDR; "host" is the node's own network (hostNetwork), with
    the node's own host name whatever `hostname` says. `ipc`: "host" is the node's own (hostIPC). `pids`: each
    container has processes of its own, or sees those of the whole pod (shareProcessNamespace) or of the node (hostPID).
    `sysctls`: names with dots or slashes, e.g. {"net.core.somaxconn": "1024"}; only those of the pod's own namespaces
    can be set. `ports`: of a pod with an address of its own.
    """

    uid: str
    hostname: str
    netns: Literal["private", "host"] = "private"
    ipc: Literal["private", "host"] = "private"
    pids: Literal["container", "pod", "host"] = "container"
    sysctls: dict[str, str] = field(default_factory=dict)
    ports: list[PortMapping] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PodSandbox:
    """A pod's namespaces, made. `ips`: the pod's addresses, one a family (for netns "host": the node's)."""

    uid: str
    ips: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container of a pod that `create_pod` made.

    `id`: unique on the node, chosen by the caller (a restarted container is a new id). `argv`: at least one word; one
    without "/" is looked up inside the root in the PATH of `env` (or DEFAULT_PATH). `env` is everything the process
    gets (nothing is inherited). `cwd` is made if missing where the root is an Overlay. `uid`, `gid`, `groups`: numbers
    inside the image. `capabilities`: names without CAP_; the bounding set, and what a uid 0 process has.
    `stdin`: whether there is one; else it reads /dev/null. `tty`: all three are a terminal of the container's own.
    `cgroups`: directories of this machine whose processes it becomes, by what mount(8) is told to show their hierarchy
    ("cpu,cpuacct"; "" for version 2); it sees them in /sys/fs/cgroup. `oom_score`: its oom_score_adj, never lowered.
    `unmasked`: what /proc usually hides is shown, and the network's sysctls can be written.
    `processes_of`: the id of a running container of the pod whose processes it sees, and which takes it along when it
    ends; "": it has processes of its own.
    """

    id: str
    pod_uid: str
    rootfs: HostImage | Overlay
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    uid: int = 0
    gid: int = 0
    groups: list[int] = field(default_factory=list)
    capabilities: list[str] = field(default_factory=lambda: list(DEFAULT_CAPABILITIES))
    no_new_privileges: bool = False
    read_only_rootfs: bool = False
    mounts: list[Mount] = field(default_factory=list)
    tmpfs: list[Tmpfs] = field(default_factory=list)
    stdin: bool = False
    tty: bool = False
    cgroups: dict[str, str] = field(default_factory=dict)
    oom_score: int = 0
    processes_of: str = ""
    unmasked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A running container or exec. `pid` is in the node's PID namespace (the agent's own).

    `stdin` (None unless asked for), `stdout`, `stderr` are non-blocking pipe ends that belong to the caller now: it
    reads them to their end and closes them (`os.close`). Of a terminal, `stdout` is the master side, which ends with
    EIO, `stderr` is None and `stdin` always a second descriptor of it. `key` names the process to `wait` and `signal`.
    """

    key: str
    pid: int
    started_at: float
    stdin: int | None
    stdout: int
    stderr: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a process ended. `code` is 128 + `signal` when a signal ended it (`signal` is 0 otherwise).

    Times are seconds since 1970 of the runtime's clock.
    """

    code: int
    signal: int
    started_at: float
    finished_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """`output`: what the command wrote to stdout and stderr, in order, cut at the limit asked for."""

    code: int
    output: bytes


def encode(spec: ContainerSpec) -> dict[str, Any]:
    """A container as JSON-able values."""
    return asdict(spec)


def decode(data: dict[str, Any]) -> ContainerSpec:
    """What `encode` made, as a container again."""
    rootfs = data["rootfs"]
    return ContainerSpec(
        **{
            **data,
            "rootfs": Overlay(**rootfs) if rootfs else HostImage(),
            "mounts": [Mount(**one) for one in data["mounts"]],
            "tmpfs": [Tmpfs(**one) for one in data["tmpfs"]],
        }
    )
