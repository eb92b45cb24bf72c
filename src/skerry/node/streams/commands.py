"""POST /exec and /attach/NAMESPACE/POD/CONTAINER, upgraded to the frames of api/frames.py. Called by server.py.

Query as the API's: command (repeated), stdin, stdout, stderr, tty.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from skerry.api import codec, frames, status
from skerry.node.runtime.spec import StartError
from skerry.node.streams.descriptors import Input, Output

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from skerry.client.http import StreamDuplex
    from skerry.node.agent.instances import Instance
    from skerry.node.agent.manager import PodManager
    from skerry.node.agent.services import NodeServices
    from skerry.node.agent.worker import PodWorker
    from skerry.node.streams.call import Call

_LAST_OUTPUT = 1.0
"""Seconds of silence after the end of a command, while something it left behind holds its output open."""
_LINGER = 10.0
"""Seconds in which the other side takes the end."""
_TAPPED = 1 << 20
"""Bytes that an attached client may be behind before the container has to wait."""


def _nothing() -> None:
    """A terminal does not end with what is typed: it still has a size."""


def _running(call: Call, manager: PodManager) -> tuple[PodWorker, Instance]:
    """ApiError, worded as a kubelet does."""
    if len(call.path) != 4:
        raise status.ApiError(404, f"it is at /{call.path[0]}/NAMESPACE/POD/CONTAINER")
    _, namespace, pod, name = call.path
    worker = manager.find(namespace, pod)
    if worker is None:
        raise status.not_found("", "pods", pod)
    one = worker.instances.current(name) if name in worker.machine.containers else None
    if one is None:
        raise status.ApiError(500, f'container not found ("{name}")')  # kubectl says that it could not upgrade
    return worker, one


async def exec_(call: Call, manager: PodManager, services: NodeServices) -> None:
    """Runs a command. When the caller goes away the command is killed."""
    _, one = _running(call, manager)
    tty, runtime = call.flag("tty"), services.runtime
    duplex = await call.upgrade(frames.PROTOCOL)
    try:
        started = await runtime.exec_stream(one.id, call.values("command"), stdin=call.flag("stdin"), tty=tty)
    except StartError as error:
        await _finish(duplex, _internal(_not_started(str(error))))
        return
    entrance = Input(os.open(os.devnull, os.O_WRONLY) if started.stdin is None else started.stdin)
    outputs = [(frames.STDOUT, Output(started.stdout))]
    if started.stderr is not None:
        outputs.append((frames.STDERR, Output(started.stderr)))

    async def until_exit() -> int:
        ended = await runtime.wait(started.key)
        for _, output in outputs:
            output.hurry(_LAST_OUTPUT)
        return ended.code

    async def work() -> int:
        async with asyncio.TaskGroup() as tasks:
            code = tasks.create_task(until_exit())
            for channel, output in outputs:
                tasks.create_task(_copy(duplex, channel, output))
        return code.result()

    try:
        end = _nothing if tty else entrance.close
        code = await _while_listening(work(), _inward(duplex, entrance, accepts=call.flag("stdin"), end=end))
        if code is not None:
            await _finish(duplex, _exited(code))
    finally:
        await runtime.kill_group(started.key)
        entrance.close()
        for _, output in outputs:
            output.close()
        await asyncio.shield(_forget(services, started.key))


async def _forget(services: NodeServices, key: str) -> None:
    with contextlib.suppress(ConnectionError):
        await services.runtime.remove_container(key)


async def attach(call: Call, manager: PodManager, _services: NodeServices) -> None:
    """Joins a running container: what it prints from now on, and its stdin if it has one."""
    worker, one = _running(call, manager)
    spec = worker.machine.containers[one.name].spec
    wanted = {name for name in ("stdout", "stderr") if call.flag(name)}
    duplex = await call.upgrade(frames.PROTOCOL)
    entrance = Input(os.dup(one.stdin) if one.stdin is not None else os.open(os.devnull, os.O_WRONLY))
    with_stdin = call.flag("stdin") and spec.stdin

    def end_stdin() -> None:
        if with_stdin and spec.stdin_once and not spec.tty:
            entrance.close()
            one.end_stdin()

    tap = _Tap(one, wanted)
    try:
        inward = _inward(duplex, entrance, accepts=with_stdin, end=end_stdin)
        if await _while_listening(tap.copy(duplex), inward) is not None:
            await _finish(duplex, _exited(0))
    finally:
        tap.close()
        entrance.close()
        end_stdin()


class _Tap:
    """What a container prints, held for one client: at most _TAPPED bytes, then the container waits."""

    def __init__(self, one: Instance, wanted: set[str]) -> None:
        self._log, self._wanted = one.log, wanted
        self._pieces: list[tuple[int, bytes]] = []
        self._held = 0
        self._changed = asyncio.Event()
        self._log.tap(self._take)

    def _take(self, name: str, data: bytes) -> None:
        if name in self._wanted:
            self._pieces.append((frames.STDOUT if name == "stdout" else frames.STDERR, data))
            self._held += len(data)
            if self._held > _TAPPED:
                self._log.pause(self._take)
        self._changed.set()

    async def copy(self, duplex: StreamDuplex) -> int:
        """Returns when the container has ended and everything was sent."""
        ended = asyncio.create_task(self._log.finished(), name="attached container")
        ended.add_done_callback(lambda _: self._changed.set())
        try:
            while self._pieces or not ended.done():
                pieces, self._pieces, self._held = self._pieces, [], 0
                self._changed.clear()
                for channel, data in pieces:
                    await duplex.write(frames.encode(channel, data))
                if not self._pieces:
                    self._log.resume(self._take)
                    if not ended.done():
                        await self._changed.wait()
        finally:
            ended.cancel()
        return 0

    def close(self) -> None:
        self._log.untap(self._take)


async def _while_listening(work: Coroutine[Any, Any, int], inward: Coroutine[Any, Any, None]) -> int | None:
    """The result of `work`; None if the other side went away before it was done."""
    working, listening = asyncio.create_task(work), asyncio.create_task(inward)
    try:
        await asyncio.wait((working, listening), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return None
        try:
            return working.result()
        except ConnectionError:
            return None
        except BaseExceptionGroup as group:
            if group.split(ConnectionError)[1] is not None:
                raise
            return None
    finally:
        for task in (working, listening):
            task.cancel()
        await asyncio.gather(working, listening, return_exceptions=True)


async def _copy(duplex: StreamDuplex, channel: int, output: Output) -> None:
    while data := await output.read():
        await duplex.write(frames.encode(channel, data))


async def _inward(duplex: StreamDuplex, entrance: Input, *, accepts: bool, end: Callable[[], None]) -> None:
    """Returns when the other side has gone away. `end`: what the end of stdin means."""
    decoder = frames.Decoder()
    queue: asyncio.Queue[bytes] = asyncio.Queue(8)

    async def feed() -> None:
        while data := await queue.get():
            try:
                await entrance.write(data)
            except BrokenPipeError:
                accepting.clear()
        end()

    accepting = {True} if accepts else set()
    feeding = asyncio.create_task(feed(), name="stdin")
    try:
        while data := await duplex.read():
            for channel, content in decoder.feed(data):
                if channel == frames.RESIZE:
                    entrance.resize(content)
                elif channel == frames.STDIN and accepting and content:
                    await queue.put(content)
                elif channel == frames.CLOSE and accepts:
                    await queue.put(b"")
                    accepting.clear()
    except frames.FrameError:
        pass
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def _finish(duplex: StreamDuplex, said: dict[str, Any]) -> None:
    """Says how it ended, and reads what still comes, so that the other side is not cut off before it has read this."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(_LINGER):
            await duplex.write(frames.encode(frames.STATUS, codec.encode(said)))
            while await duplex.read():
                pass


def _not_started(text: str) -> str:
    if text.startswith("container ") and text.endswith(" is not running"):
        return f"error executing command in container: {text}"
    return (
        "error executing command in container: failed to exec in container: OCI runtime exec failed: exec failed: "
        f"unable to start container process: {text}: unknown"
    )


def _exited(code: int) -> dict[str, Any]:
    """A Status as a kubelet says it."""
    said: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}}
    if code == 0:
        return said | {"status": "Success"}
    return said | {
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _internal(text: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {text}",
        "reason": "InternalError",
        "details": {"causes": [{"message": text}]},
        "code": 500,
    }
