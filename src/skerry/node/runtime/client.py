"""The runtime as the node agent sees it: pods and containers, started, watched, entered and removed.

Called by the node agent. Runs in the agent's event loop and speaks to the node's spawner over a socketpair; the pod
network is made here (node/network), since the agent is root in the cluster's user namespace.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from skerry.channel import Channel
from skerry.clock import Clock
from skerry.netlink.namespace import inside
from skerry.node.network.addresses import Addresses, NoAddress
from skerry.node.network.pods import PodNetwork
from skerry.node.runtime.spec import (
    ContainerSpec,
    ExecResult,
    Exit,
    Overlay,
    PodSandbox,
    PodSandboxSpec,
    RuntimeFailure,
    Started,
    StartError,
    encode,
)
from skerry.packets import Message

_T = TypeVar("_T")
_PIECE = 1 << 16


class _Pod:
    def __init__(self, sandbox: PodSandbox, netns: int) -> None:
        self.sandbox, self.netns = sandbox, netns


class _Process:
    """A container or an exec that has been asked for."""

    def __init__(self, spec: ContainerSpec, container: str) -> None:
        self.spec = spec
        self.container = container  # of an exec: where; of a container: itself
        self.started_at = 0.0
        self.exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()


class Runtime:
    """Pods and containers of this node.

    Made inside a running event loop from what `NodeContext` holds. Containers are known by `ContainerSpec.id`, pods by
    `PodSandboxSpec.uid`. When the agent dies, the kernel ends every container.
    """

    def __init__(
        self, spawner: socket.socket, *, pod_cidrs: Sequence[str], node_ips: Sequence[str], clock: Clock
    ) -> None:
        self._channel = Channel(spawner, self._told)
        self._addresses = Addresses(pod_cidrs)
        self._network = PodNetwork()
        self._node_ips = tuple(node_ips)
        self._clock = clock
        self._pods: dict[str, _Pod] = {}
        self._processes: dict[str, _Process] = {}
        self._never_ran: dict[str, ContainerSpec] = {}
        self._execs = 0

    # Pods

    async def create_pod(self, spec: PodSandboxSpec) -> PodSandbox:
        """Makes the pod's namespaces and connects them. RuntimeFailure, e.g. if no address is left: nothing is left."""
        if spec.uid in self._pods:
            raise RuntimeFailure(f"pod {spec.uid} has a sandbox already")
        private = spec.netns == "private"
        try:
            ips = self._addresses.allocate() if private else self._node_ips
        except NoAddress as error:
            raise RuntimeFailure(f"failed to set up the pod's network: {error}") from error
        netns = -1
        try:
            message: Message = {"pod": spec.uid, "hostname": spec.hostname, "private": private}
            message |= {"ipc": spec.ipc == "private", "pids": spec.pids, "sysctls": spec.sysctls}
            _, fds = await self._ask(message, [])
            if private:
                netns = fds[0]
                self._network.connect(spec.uid, ips, netns)
                self._network.lead(spec.uid, ips, spec.ports)
        except (OSError, RuntimeFailure) as error:
            self._channel.tell({"unpod": spec.uid})
            if netns >= 0:
                await self._network.disconnect(spec.uid)
                os.close(netns)
            if private:
                self._addresses.release(ips)
            raise RuntimeFailure(f"failed to set up the pod's network: {error}") from error
        self._pods[spec.uid] = _Pod(PodSandbox(spec.uid, ips), netns)
        return self._pods[spec.uid].sandbox

    def avoid(self, addresses: Iterable[str]) -> None:
        """Gives these to new pods only when no others are left: addresses from before this node was started."""
        for one in addresses:
            self._addresses.avoid(one)

    async def remove_pod(self, uid: str) -> None:
        """Kills what still runs in the pod, takes its link and address away. Of an unknown pod: nothing."""
        pod = self._pods.pop(uid, None)
        if pod is None:
            return
        for key, process in list(self._processes.items()):
            if process.spec.pod_uid == uid:
                await self._end(process, key)
        self._channel.tell({"unpod": uid})
        if pod.netns >= 0:
            await self._network.disconnect(uid)
            os.close(pod.netns)
            self._addresses.release(pod.sandbox.ips)

    def socket_in_pod(self, uid: str, family: int, kind: int) -> socket.socket:
        """An unconnected non-blocking socket born in the pod's network namespace (port-forward, loopback probes).

        `family` and `kind` as for `socket.socket`. KeyError for an unknown pod.
        """
        made = self.in_pod(uid, lambda: socket.socket(family, kind))
        made.setblocking(False)
        return made

    def in_pod(self, uid: str, work: Callable[[], _T]) -> _T:
        """What `work` gives, called in the pod's network namespace; it must not wait. KeyError for an unknown pod."""
        pod = self._pods[uid]
        return inside(pod.netns, work) if pod.netns >= 0 else work()

    # Containers

    async def start(self, spec: ContainerSpec) -> Started:
        """Starts a container; returns when its command runs.

        StartError if it did not come so far (nothing is left then, but an Overlay's upper directory until
        `remove_container`).
        """
        if spec.pod_uid not in self._pods:
            raise StartError(f"pod {spec.pod_uid} has no sandbox")
        if spec.id in self._processes:
            raise StartError(f"container {spec.id} was started already")
        with _Pipes(stdin=spec.stdin, tty=spec.tty) as pipes:
            return await self._launch(spec.id, _Process(spec, spec.id), pipes)

    async def wait(self, key: str) -> Exit:
        """Waits until a container (by id) or an exec (by `Started.key`) has ended.

        May be asked many times and by many, also after the end, until it is removed. KeyError if it never started.
        """
        return await asyncio.shield(self._processes[key].exit)

    async def signal(self, key: str, number: int) -> None:
        """Sends a signal to a container's first process (or to an exec). Of one that has ended: nothing.

        As always for the first process of a PID namespace, signals without a handler are dropped, but not SIGKILL,
        which ends everything in the container.
        """
        self._signal(key, number)

    async def remove_container(self, key: str) -> None:
        """Kills it if it still runs, waits for its end, deletes its upper and work directories, forgets it.

        Of an unknown one: nothing.
        """
        spec = self._never_ran.pop(key, None)
        process = self._processes.get(key)
        if process is not None:
            await self._end(process, key)
            self._processes.pop(key, None)
            if key == process.container:
                spec = process.spec
        if spec is not None and isinstance(spec.rootfs, Overlay):
            await asyncio.to_thread(_delete, spec.rootfs.upper, spec.rootfs.work)

    # Commands inside containers

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

        It gets the container's user, capabilities, directory and environment, with `env` on top. StartError if it
        cannot start or the container is not running; TimeoutError after `seconds`, when the command has been killed.
        """
        with _Pipes(merged=True) as pipes:
            started = await self._exec(container_id, argv, env, pipes)
        output = _Output(started.stdout, limit)
        late = False

        def kill() -> None:
            nonlocal late
            late = True
            self._signal(started.key, signal.SIGKILL, group=True)

        timer = None if seconds is None else self._clock.call_later(seconds, kill)
        try:
            ended = await self.wait(started.key)
        except asyncio.CancelledError:
            kill()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            output.close()
            self._processes.pop(started.key, None)
        if late:
            raise TimeoutError(f"command {argv} timed out after {seconds} s")
        return ExecResult(code=ended.code, output=bytes(output.data))

    async def exec_stream(
        self,
        container_id: str,
        argv: list[str],
        *,
        env: dict[str, str] | None = None,
        stdin: bool = False,
        tty: bool = False,
    ) -> Started:
        """The same, handing out the pipes or the terminal (for `kubectl exec`).

        Call `wait(started.key)` for its exit code and then `remove_container(started.key)`.
        """
        with _Pipes(stdin=stdin, tty=tty) as pipes:
            return await self._exec(container_id, argv, env, pipes, tty=tty)

    async def kill_group(self, key: str) -> None:
        """Kills an exec and what it started. Of one that has ended: nothing."""
        self._signal(key, signal.SIGKILL, group=True)

    async def close(self) -> None:
        """Stops speaking to the spawner. Containers stay."""
        self._channel.close()
        self._network.close()

    async def _exec(
        self, container: str, argv: list[str], env: dict[str, str] | None, pipes: _Pipes, *, tty: bool = False
    ) -> Started:
        inside_of = self._processes.get(container)
        if inside_of is None or inside_of.exit.done():
            raise StartError(f"container {container} is not running")
        env = {**inside_of.spec.env, **(env or {})}
        spec = dataclasses.replace(inside_of.spec, argv=argv, env=env, mounts=[], tmpfs=[], tty=tty)
        self._execs += 1
        return await self._launch(f"{container}/exec/{self._execs}", _Process(spec, container), pipes)

    # The spawner

    async def _launch(self, key: str, process: _Process, pipes: _Pipes) -> Started:
        self._processes[key] = process
        message: Message = {"spec": encode(process.spec)}
        message |= {"start": key} if key == process.container else {"exec": key, "in": process.container}
        try:
            answer, _ = await self._ask(message, pipes.theirs)
        except (OSError, RuntimeFailure) as error:
            del self._processes[key]
            if key == process.container:
                self._never_ran[key] = process.spec
            raise StartError(str(error)) from error
        except asyncio.CancelledError:
            self._signal(key, signal.SIGKILL)
            raise
        process.started_at = self._clock.now()
        stdin, stdout, stderr = pipes.hand_over()
        return Started(
            key=key, pid=answer["pid"], started_at=process.started_at, stdin=stdin, stdout=stdout, stderr=stderr
        )

    async def _ask(self, message: Message, fds: list[int]) -> tuple[Message, list[int]]:
        answer, received = await self._channel.ask(message, fds)
        if "error" in answer:
            raise RuntimeFailure(answer["error"])
        return answer, received

    def _signal(self, key: str, number: int, group: bool = False) -> None:
        process = self._processes.get(key)
        if process is not None and not process.exit.done():
            self._channel.tell({"signal": int(number), "key": key, "group": group})

    async def _end(self, process: _Process, key: str) -> None:
        self._signal(key, signal.SIGKILL)
        await asyncio.shield(process.exit)

    def _told(self, message: Message, fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)
        process = self._processes.get(message["ended"])
        if process is None or process.exit.done():
            return
        code = os.waitstatus_to_exitcode(message["status"])
        now = self._clock.now()
        process.exit.set_result(
            Exit(
                code=code if code >= 0 else 128 - code,
                signal=max(0, -code),
                started_at=process.started_at or now,
                finished_at=now,
            )
        )


class _Pipes:
    """The pipes of a new process: `theirs` are closed at the end, ours too unless they were handed over.

    Of a terminal there is only a socket, over which the process sends the master side before it runs its command.
    """

    def __init__(self, *, stdin: bool = False, merged: bool = False, tty: bool = False) -> None:
        self._console: socket.socket | None = None
        self._ours: list[int | None] = [None, None, None]
        if tty:
            self._console, other = socket.socketpair()
            self.theirs = [other.detach()]
            return
        out, their_out = os.pipe()
        error, their_error = (out, their_out) if merged else os.pipe()
        if stdin:
            their_in, self._ours[0] = os.pipe()
        else:
            their_in = os.open("/dev/null", os.O_RDONLY)
        self.theirs = [their_in, their_out, their_error]
        self._ours[1:] = [out, error]

    def hand_over(self) -> tuple[int | None, int, int | None]:
        """Stdin (or None), stdout, stderr, which are the caller's from now on. RuntimeFailure without a terminal."""
        if self._console is not None:
            self._console.setblocking(False)
            try:
                _, fds, _, _ = socket.recv_fds(self._console, 1, 1)
            except OSError:
                fds = []
            if not fds:
                raise RuntimeFailure("the terminal was not handed over")
            self._ours = [os.dup(fds[0]), fds[0], None]
        for fd in self._ours:
            if fd is not None:
                os.set_blocking(fd, False)
        stdin, stdout, stderr = self._ours
        self._ours = []
        assert stdout is not None
        return stdin, stdout, stderr

    def __enter__(self) -> _Pipes:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in {*self.theirs, *self._ours}:
            if fd is not None:
                os.close(fd)
        if self._console is not None:
            self._console.close()


class _Output:
    """Reads a pipe while a command runs; keeps the first `limit` bytes."""

    def __init__(self, fd: int, limit: int) -> None:
        self.data = bytearray()
        self._fd, self._limit = fd, limit
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._read)

    def close(self) -> None:
        """Takes what is still there (a child left in the background may keep the pipe open for ever), closes."""
        while self._read():
            pass
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _read(self) -> bool:
        try:
            piece = os.read(self._fd, _PIECE)
        except BlockingIOError:
            return False
        if not piece:
            self._loop.remove_reader(self._fd)
        self.data += piece[: max(0, self._limit - len(self.data))]
        return bool(piece)


def _delete(*directories: str) -> None:
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)
