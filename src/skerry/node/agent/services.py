"""What a node agent works with. Made by the process that runs a node (cluster/nodeprocess.py) and by tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from skerry.node.agent.drains import Drains
from skerry.node.agent.health import Health
from skerry.node.agent.objects import Objects
from skerry.node.agent.turns import Turns
from skerry.node.cgroups.pods import PodCgroups
from skerry.node.cgroups.subtree import Claim

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from skerry.client.client import Client
    from skerry.client.events import Recorder
    from skerry.client.informer import Informers
    from skerry.clock import Clock
    from skerry.node.images.manager import Images
    from skerry.node.runtime.client import Runtime


@dataclass(kw_only=True)
class NodeServices:
    """`name`, `ips` and `pod_cidrs` (one a family, the primary first), `max_pods`: the node's. `data`: its own
    directory. `socket`: where its streams server listens.

    `informers` are shared with whatever else runs in the process and started by the caller. `recorder` writes events as
    component "kubelet". `host_resolv_conf` is the text of the machine's own file. The node says Ready when `ready` is
    set (None: at once).
    """

    name: str
    ips: tuple[str, ...]
    pod_cidrs: tuple[str, ...]
    client: Client
    informers: Informers
    clock: Clock
    runtime: Runtime
    images: Images
    recorder: Recorder
    data: Path
    socket: Path
    max_pods: int = 110
    cluster_dns: tuple[str, ...] = ("10.96.0.10",)
    cluster_domain: str = "cluster.local"
    host_resolv_conf: str = ""
    ready: asyncio.Event | None = None
    health: Health = field(default_factory=Health)
    conditions: tuple[tuple[str, bool, str, str], ...] = ()
    """Type, status, reason and message of what others in this process have the Node say."""
    connections: Callable[[str], list[dict[str, Any]]] | None = None
    """How many connections the node's proxy gave the endpoints of a Service (namespace/name; "": of all). OSError."""
    cgroups: PodCgroups = field(default_factory=lambda: PodCgroups(Claim(None, "nobody claimed any"), ""))
    objects: Objects = field(init=False)
    turns: Turns = field(init=False)
    drains: Drains = field(init=False)

    def __post_init__(self) -> None:
        self.objects = Objects(self.client, self.clock)
        self.turns = Turns(self.clock)
        self.drains = Drains(self.client, self.informers, self.clock, self.runtime, self.name)

    @property
    def pods_directory(self) -> Path:
        """One directory a pod: `<namespace>_<name>_<uid>`."""
        return self.data / "pods"

    @property
    def memory_directory(self) -> Path:
        """The same for what is in memory."""
        return self.data / "memory"
