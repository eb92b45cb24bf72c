"""POST /portForward/NAMESPACE/POD: connections to a pod's own loopback. Called by server.py.

With `port`, one connection, by the frames of api/frames.py; with `patient` too, a container that is about to start is
waited for. Without `port`, a connection that says nothing and ends with the pod: who forwards holds one to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

from skerry.api import frames, status
from skerry.node.pods.state import Role, Stage

if TYPE_CHECKING:
    from skerry.client.http import StreamDuplex
    from skerry.node.agent.manager import PodManager
    from skerry.node.agent.services import NodeServices
    from skerry.node.agent.worker import PodWorker
    from skerry.node.pods.machine import PodMachine
    from skerry.node.streams.call import Call

_READ = 1 << 16
_PATIENCE = 30.0
"""Seconds in which a container that starts again may begin to listen."""
_NOTICE = 0.5
"""Seconds in which we hear that a container has ended whose port is refused."""
_FRESH = 3.0
"""Seconds after its start in which a container may be about to listen."""
_PAUSE = 0.05


async def port_forward(call: Call, manager: PodManager, services: NodeServices) -> None:
    """ApiError 404 without such a pod, 500 if it does not run or nobody listens at the port."""
    if len(call.path) != 3:
        raise status.ApiError(404, "it is at /portForward/NAMESPACE/POD")
    _, namespace, pod = call.path
    worker = manager.find(namespace, pod)
    if worker is None:
        raise status.not_found("", "pods", pod)
    uid = worker.machine.uid
    if not call.query.get("port"):
        if not worker.instances.live:
            raise status.ApiError(500, f"unable to forward port because pod {pod} is not running")
        duplex = await call.upgrade(frames.PROTOCOL)
        await _either(manager.ended(uid), _until_gone(duplex))
        return
    try:
        connection = await _patiently(services, worker, int(call.query["port"]), call.flag("patient"))
    except (OSError, KeyError) as error:
        raise status.ApiError(500, str(error) if isinstance(error, OSError) else f"pod {pod} is not running") from None
    try:
        duplex = await call.upgrade(frames.PROTOCOL)
        await _join(duplex, connection)
    finally:
        connection.close()


async def _patiently(services: NodeServices, worker: PodWorker, port: int, patient: bool) -> socket.socket:
    """As `_connect`, and again for a while if the port may come soon."""
    clock = services.clock
    began = clock.monotonic()
    while True:
        try:
            return await _connect(services, worker.machine.uid, port)
        except OSError:
            waited = clock.monotonic() - began
            soon = waited < _NOTICE or (waited < _PATIENCE and _comes_soon(worker.machine, clock.now()))
            if not patient or not soon:
                raise
        await clock.sleep(_PAUSE)


def _comes_soon(machine: PodMachine, now: float) -> bool:
    """Whether a container of the pod is on its way, or only just there."""
    if machine.leave_at is not None or machine.over:
        return False
    return any(
        now - one.started_at < _FRESH
        if one.stage is Stage.RUNNING
        else one.ended is None or machine.restarts(one, one.ended.code)
        for one in machine.of(Role.APP, Role.SIDECAR)
    )


async def _connect(services: NodeServices, uid: str, port: int) -> socket.socket:
    """To localhost inside the pod, first by IPv4. OSError that says how both went wrong; KeyError without the pod."""
    problems = []
    for family, address, name in ((socket.AF_INET, "127.0.0.1", "IPv4"), (socket.AF_INET6, "::1", "IPv6")):
        made = services.runtime.socket_in_pod(uid, family, socket.SOCK_STREAM)
        try:
            await asyncio.get_running_loop().sock_connect(made, (address, port))
        except OSError as error:
            made.close()
            shown = f"[{address}]" if ":" in address else address
            why = os.strerror(error.errno or 0).lower()
            problems.append(f"{name}: dial tcp{name[-1]} {shown}:{port}: connect: {why}")
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise OSError(f"failed to connect to localhost:{port} inside the pod's network namespace, " + ", ".join(problems))


async def _join(duplex: StreamDuplex, connection: socket.socket) -> None:
    """Until both directions have ended, or one breaks."""
    loop = asyncio.get_running_loop()

    async def inward() -> None:
        decoder = frames.Decoder()
        while data := await duplex.read():
            for channel, content in decoder.feed(data):
                if channel == frames.STDIN:
                    await loop.sock_sendall(connection, content)
                elif channel == frames.CLOSE:
                    connection.shutdown(socket.SHUT_WR)
                    ended.set()
        raise ConnectionResetError("nobody listens any more")

    async def outward() -> str:
        while data := await loop.sock_recv(connection, _READ):
            await duplex.write(frames.encode(frames.STDOUT, data))
        await duplex.write(frames.encode(frames.CLOSE, bytes([frames.STDOUT])))
        await ended.wait()
        return ""

    ended = asyncio.Event()
    tasks = [asyncio.create_task(inward()), asyncio.create_task(outward())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        # A connection that the pod reset is no more than ended: at any text here kubectl would end all its connections.
        with contextlib.suppress(ConnectionError):
            await duplex.write(frames.encode(frames.STATUS, b""))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until_gone(duplex: StreamDuplex) -> None:
    while await duplex.read():
        pass


async def _either(*work: object) -> None:
    tasks = [asyncio.ensure_future(one) for one in work]  # type: ignore[call-overload]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
