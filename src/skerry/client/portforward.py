"""Forwarding local ports to pods: for each connection a pod is chosen anew, so that one that is gone is not asked.

`kubectl port-forward` chooses one pod and ends with it. Here a Service's ready endpoints (or a workload's ready pods)
take turns, and while there is none, a connection waits. The first half is pure; `Forwarder` is the shell around it.
Called by cluster/forwarding.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from skerry.api import frames, labels, resources, status
from skerry.api.types import apps, core, discovery
from skerry.api.wire import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from skerry.api.wire import Duplex
    from skerry.client.client import Client
    from skerry.clock import Clock

PATIENCE = 15.0
"""Seconds that a connection waits for a pod that takes it."""
PAUSE = 0.1
_READ = 1 << 16
_KINDS = {
    "pod": ("po", "pods"), "service": ("svc", "services"), "deployment": ("deploy", "deployments"),
    "replicaset": ("rs", "replicasets"), "statefulset": ("sts", "statefulsets"), "daemonset": ("ds", "daemonsets"),
}  # fmt: skip
_PORT = re.compile(r"[0-9]{1,5}|[a-z0-9]([-a-z0-9]*[a-z0-9])?")


class Subject(NamedTuple):
    """What is forwarded to; `kind` is one of _KINDS."""

    kind: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Subject:
        """`NAME` (of a pod) or `TYPE/NAME`, as kubectl has it. ValueError with a sentence."""
        named, slash, name = text.rpartition("/")
        wanted = named.lower().partition(".")[0] if slash else "pod"
        kind = next((one for one, others in _KINDS.items() if wanted in (one, *others)), None)
        if kind is None or not name:
            *others, last = _KINDS
            known = ", ".join(f"{one}/NAME" for one in others)
            raise ValueError(f'"{text}" is none of {known} and {last}/NAME')
        return cls(kind, name)


class Ports(NamedTuple):
    """`local`: a number, 0 for any that is free, None for the same as the other. `remote`: a number or a name."""

    local: int | None
    remote: str

    @classmethod
    def parse(cls, text: str) -> Ports:
        """`LOCAL:REMOTE`, `:REMOTE` or `REMOTE`. ValueError with a sentence."""
        local, colon, remote = text.rpartition(":")
        good = _PORT.fullmatch(remote) is not None and (not remote.isdigit() or 0 < int(remote) < 65536)
        if not good or (local and not (local.isdigit() and int(local) < 65536)):
            raise ValueError(f'"{text}" is no [LOCAL:]REMOTE with ports from 1 to 65535, or a port\'s name as REMOTE')
        return cls(int(local or 0) if colon else None, remote)


class Candidate(NamedTuple):
    """A port of a pod that may take a connection."""

    pod: str
    port: int


def service_port(service: core.Service, remote: str) -> core.ServicePort:
    """The Service's port of that number or name. LookupError with a sentence."""
    for one in service.spec.ports:
        if remote in (str(one.port), one.name):
            return one
    known = ", ".join(f"{one.port}{f' ({one.name})' if one.name else ''}" for one in service.spec.ports) or "none"
    raise LookupError(f"service {service.metadata.name} has no port {remote}; it has {known}")


def of_slices(slices: Iterable[discovery.EndpointSlice], name: str) -> list[Candidate]:
    """The ready pods behind the port of that name."""
    found: dict[Candidate, None] = {}
    for one in slices:
        number = next((port.port for port in one.ports if (port.name or "") == name), None)
        for endpoint in one.endpoints if number else ():
            target = endpoint.target_ref
            if endpoint.conditions.ready is not False and target is not None and target.kind == "Pod":
                found[Candidate(target.name, number or 0)] = None
    return sorted(found)


def of_pods(pods: Iterable[core.Pod], remote: str) -> list[Candidate]:
    """The pods that may be asked, with the number of their port."""
    found = [Candidate(one.metadata.name, number) for one in pods if (number := container_port(one, remote))]
    return sorted(found)


def container_port(pod: core.Pod, remote: str) -> int:
    """A port's number; 0 for a name that no container of the pod has."""
    if remote.isdigit():
        return int(remote)
    ports = [port for one in pod.spec.containers for port in one.ports]
    return next((one.container_port for one in ports if one.name == remote), 0)


def is_ready(pod: core.Pod) -> bool:
    """Whether connections should go there."""
    ready = any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)
    return ready and pod.metadata.deletion_timestamp is None


class Upgrades(Protocol):
    """The part of a transport that opens connections of another protocol."""

    async def upgrade(self, request: Request, protocol: str, /) -> Duplex: ...


class Finder:
    """Asks the API which pods may take a connection to a subject."""

    def __init__(self, client: Client, namespace: str, subject: Subject) -> None:
        self._client, self._namespace, self._subject = client, namespace, subject

    async def local(self, ports: Ports) -> int:
        """The local port that is meant. ApiError, LookupError if there is no such subject or port."""
        kind, name = self._subject
        number = int(ports.remote) if ports.remote.isdigit() else 0
        if kind == "service":
            service = await self._client.get(core.Service, name, self._namespace)
            number = service_port(service, ports.remote).port
        else:
            pods = await self._pods()
            number = next((port for one in pods if (port := container_port(one, ports.remote))), number)
            if pods and not number:
                raise LookupError(f"{kind} {name} has no port named {ports.remote}")
        return number if ports.local is None else ports.local

    async def candidates(self, remote: str) -> list[Candidate]:
        """Who may be asked now. ApiError, LookupError as above."""
        if self._subject.kind != "service":
            ready = self._subject.kind == "pod"  # a pod that is asked for by its name need not be ready
            return of_pods((one for one in await self._pods() if ready or is_ready(one)), remote)
        name = self._subject.name
        service = await self._client.get(core.Service, name, self._namespace)
        port = service_port(service, remote)
        label = f"kubernetes.io/service-name={name}"
        slices = await self._client.list(discovery.EndpointSlice, self._namespace, label_selector=label)
        return of_slices(slices.items, port.name)

    async def _pods(self) -> list[core.Pod]:
        kind, name = self._subject
        if kind == "pod":
            return [await self._client.get(core.Pod, name, self._namespace)]
        of = {
            "deployment": apps.Deployment, "replicaset": apps.ReplicaSet,
            "statefulset": apps.StatefulSet, "daemonset": apps.DaemonSet,
        }[kind]  # fmt: skip
        owner: Any = await self._client.get(of, name, self._namespace)
        selector = labels.text(labels.from_selector(owner.spec.selector))
        return (await self._client.list(core.Pod, self._namespace, label_selector=selector)).items


@dataclass
class Forwarder:
    """Takes connections and carries them to pods. `say` gets each line for people."""

    finder: Finder
    transport: Upgrades
    namespace: str
    clock: Clock
    say: Callable[[str], None]
    _turn: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def listen(self, addresses: Iterable[str], ports: Ports) -> list[asyncio.Server]:
        """Listens at the local port of every address. OSError if one is taken; ApiError, LookupError as Finder."""
        local = await self.finder.local(ports)
        servers: list[asyncio.Server] = []

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._serve(reader, writer, ports.remote), name="forwarded connection")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        for address in addresses:
            server = await asyncio.start_server(serve, address, local)
            servers.append(server)
            local = server.sockets[0].getsockname()[1]
            shown = f"[{address}]" if ":" in address else address
            self.say(f"Forwarding from {shown}:{local} -> {ports.remote}")
        return servers

    async def close(self) -> None:
        """Ends all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, remote: str) -> None:
        local = writer.get_extra_info("sockname")[1]
        try:
            chosen, pod = await self._connect(remote)
        except (status.ApiError, LookupError) as error:
            self.say(f"A connection for {local} was closed: {error}")
            _reset(writer)
            return
        self.say(f"Handling connection for {local} by pod {chosen.pod}")
        try:
            await join(reader, writer, pod)
        except ConnectionError:
            pass
        finally:
            await pod.close()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _connect(self, remote: str) -> tuple[Candidate, Duplex]:
        """To the next pod that takes it, at most PATIENCE later. ApiError or LookupError with what was wrong last."""
        until = self.clock.monotonic() + PATIENCE
        while True:
            problem: Exception = LookupError(f"no ready pod has port {remote}")
            try:
                candidates = await self.finder.candidates(remote)
            except status.ApiError as error:
                candidates, problem = [], error
            self._turn += 1
            for index in range(len(candidates)):
                one = candidates[(self._turn + index) % len(candidates)]
                path = resources.of(core.Pod).path(self.namespace, one.pod, "portforward")
                try:
                    return one, await self.transport.upgrade(
                        Request("POST", path, {"ports": str(one.port)}), frames.PROTOCOL
                    )
                except status.ApiError as error:
                    problem = error
            if self.clock.monotonic() >= until:
                raise problem
            await self.clock.sleep(PAUSE)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection so that its other end sees that something went wrong."""
    made = writer.get_extra_info("socket")
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pod: Duplex) -> None:
    """Carries bytes both ways until the pod's side has ended. ConnectionError if one side breaks."""

    async def inward() -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_READ):
                await pod.write(frames.encode(frames.STDIN, data))
            await pod.write(frames.encode(frames.CLOSE, bytes([frames.STDIN])))

    task = asyncio.create_task(inward(), name="forwarded connection, inward")
    try:
        decoder = frames.Decoder()
        while data := await pod.read():
            for channel, content in decoder.feed(data):
                if channel == frames.STDOUT:
                    writer.write(content)
                    await writer.drain()
                elif channel == frames.CLOSE and writer.can_write_eof():
                    writer.write_eof()
                elif channel == frames.STATUS:
                    return
        raise ConnectionResetError("the pod went away")
    except ConnectionError:
        _reset(writer)
        raise
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
