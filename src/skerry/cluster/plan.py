"""What a contained cluster is to look like, and what each of its node agents gets: plain values.

Made by the control plane's assembly, used by namespaces.py (outside), init.py (inside) and the node agent.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from skerry.cluster.networks import Networks


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node. `index` counts from 1."""

    name: str
    index: int
    node_ips: tuple[str, ...]
    """10.243.0.(index + 1), unless the cluster has other networks; one a family, the primary first."""
    pod_cidrs: tuple[str, ...]
    """10.244.index.0/24, likewise."""

    @classmethod
    def of(cls, index: int, networks: Networks | None = None) -> NodePlan:
        """The node with this index, with the names and numbers that all of Skerry uses."""
        numbers = networks or Networks()
        return cls(f"node-{index}", index, numbers.node_ips(index), numbers.node_pods(index))

    @property
    def node_ip(self) -> str:
        """Its address of the primary family."""
        return self.node_ips[0]


class NodeContext(NamedTuple):
    """What the node agent is called with, in a process of its own inside the node.

    It is root of the cluster's user namespace, in the node's namespaces, with the machine's file system. It has one
    thread and no event loop yet; its stdout and stderr are the node's log. SIGTERM asks it to end; when it ends,
    however it does, the kernel ends the node with every container.
    """

    node: NodePlan
    cluster: Plan
    spawner: socket.socket
    """For `skerry.node.runtime.client.Runtime`."""
    broker: socket.socket
    """For `skerry.cluster.sockets.Broker`."""


class Plan(NamedTuple):
    """One cluster. `data_dir` is absolute and belongs to this user; logs go to `<data_dir>/logs/`."""

    name: str
    data_dir: str
    nodes: tuple[NodePlan, ...]
    node_main: Callable[[NodeContext], int | None]
    """Runs a node's agent; what it returns is its exit code."""
    networks: Networks = Networks()
    api_port: int = 6443
    hidden: tuple[str, ...] = ()
    """More of this machine's paths that `image: host` does not show (it never shows the data directory and homes)."""
    allow_single_uid: bool = False
    """Start with a map of this one user where newuidmap or ranges are missing, instead of raising NamespaceError."""

    @property
    def api_address(self) -> str:
        """Where the API server listens inside the cluster."""
        return self.networks.api_address
