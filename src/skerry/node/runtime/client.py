"""The runtime as the node agent sees it: pods and containers, started, watched, entered and removed.

Called by the node agent. Runs in the agent's event loop and speaks to the node's spawner over a socketpair; the pod
network is made here (node/network), since the agent is root in the cluster's user namespace.
"""

from __future__ import annotations

import socket

from skerry.clock import Clock
from skerry.node.runtime.spec import ContainerSpec, ExecResult, Exit, PodSandbox, PodSandboxSpec, Started


class Runtime:
    """Pods and containers of this node.

    Made inside a running event loop from what `NodeContext` holds. Containers are known by `ContainerSpec.id`, pods by
    `PodSandboxSpec.uid`. When the agent dies, the kernel ends every container.
    """

    def __init__(self, spawner: socket.socket, *, pod_cidr: str, node_ip: str, clock: Clock) -> None:
        raise NotImplementedError

    async def create_pod(self, spec: PodSandboxSpec) -> PodSandbox:
        """Makes the pod's namespaces and connects them. RuntimeFailure, e.g. if no address is left: nothing is left."""
        raise NotImplementedError

    async def remove_pod(self, uid: str) -> None:
        """Kills what still runs in the pod, takes its link and address away. Of an unknown pod: nothing."""
        raise NotImplementedError

    async def start(self, spec: ContainerSpec) -> Started:
        """Starts a container; returns when its command runs.

        StartError if it did not come so far (nothing is left then, but an Overlay's upper directory until
        `remove_container`).
        """
        raise NotImplementedError

    async def wait(self, key: str) -> Exit:
        """Waits until a container (by id) or an exec (by `Started.key`) has ended.

        May be asked many times and by many, also after the end, until it is removed. KeyError if it never started.
        """
        raise NotImplementedError

    async def signal(self, key: str, number: int) -> None:
        """Sends a signal to a container's first process (or to an exec). Of one that has ended: nothing.

        As always for the first process of a PID namespace, signals without a handler are dropped, but not SIGKILL,
        which ends everything in the container.
        """
        raise NotImplementedError

    async def exec(
        self,
        container_id: str,
        argv: list[str],
        *,
        env: dict[str, str] | None = None,
        seconds: float | None = None,
        limit: int = 10 << 10,
    ) -> ExecResult:
        """Runs a command inside a running container and gathers at most `limit` bytes of its output.

        It gets the container's user, capabilities, directory and environment, with `env` on top. StartError if it cannot
        start or the container is not running; TimeoutError after `seconds`, when the command has been killed.
        """
        raise NotImplementedError

    async def exec_stream(
        self, container_id: str, argv: list[str], *, env: dict[str, str] | None = None, stdin: bool = False
    ) -> Started:
        """The same, handing out the pipes (for `kubectl exec`).

        Call `wait(started.key)` for its exit code and then `remove_container(started.key)`.
        """
        raise NotImplementedError

    async def remove_container(self, key: str) -> None:
        """Kills it if it still runs, waits for its end, deletes its upper and work directories, forgets it.

        Of an unknown one: nothing.
        """
        raise NotImplementedError

    def socket_in_pod(self, uid: str, family: int, kind: int) -> socket.socket:
        """An unconnected non-blocking socket born in the pod's network namespace (port-forward, loopback probes).

        `family` and `kind` as for `socket.socket`. KeyError for an unknown pod.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Stops speaking to the spawner. Containers stay."""
        raise NotImplementedError
