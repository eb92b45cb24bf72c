"""One pod's worker: does what the pod's machine decides, and tells it what came of it. Called by manager.py.

One coroutine takes the steps, one after another; what takes time (images, starts, hooks) runs beside it and wakes it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from skerry.api import status
from skerry.api.types import core
from skerry.node.agent.files import PodFiles
from skerry.node.agent.instances import Instances
from skerry.node.agent.podvolumes import PodVolumes
from skerry.node.agent.sandboxes import SandboxError, make_sandbox
from skerry.node.agent.statuspatch import StatusWriter
from skerry.node.pods import room
from skerry.node.pods.machine import PodMachine
from skerry.node.pods.state import (
    AbortLaunch,
    CreateSandbox,
    Drain,
    Event,
    Finish,
    Kill,
    Launch,
    RemoveSandbox,
    Role,
    RunHook,
    Terminate,
)
from skerry.node.pods.status import render

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from skerry.clock import Timer
    from skerry.node.agent.drains import Draining
    from skerry.node.agent.services import NodeServices
    from skerry.node.pods.state import Action, Problem

_log = logging.getLogger(__name__)
_LISTS = {Role.INIT: "initContainers", Role.SIDECAR: "initContainers", Role.EPHEMERAL: "ephemeralContainers"}
"""Where the spec has containers of a role; the others are in `containers`."""


class PodWorker:
    """The life of one pod (one uid) on this node, from `run` to its end. `refusal`: why the node does not take it."""

    def __init__(self, services: NodeServices, pod: core.Pod, refusal: Problem | None = None) -> None:
        self._services = services
        self.pod = pod
        self.refusal = refusal
        self.files = PodFiles(services.pods_directory, pod, services.memory_directory)
        self.machine = PodMachine(pod, services.clock.now(), refusal)
        self.volumes = PodVolumes(services, self)
        self.instances = Instances(services, self)
        self.status = pod.status
        """As last rendered."""
        self._writer = StatusWriter(services.client, pod, services.clock)
        self._wake = asyncio.Event()
        self._wake.set()
        self._timer: Timer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._done = False
        self._draining: Draining | None = None
        self._claim = (pod.metadata.generation, room.claim(pod))

    @property
    def claim(self) -> room.Claim:
        """What the pod takes of the node, as its newest spec says."""
        generation = self.pod.metadata.generation
        if self._claim[0] != generation:
            self._claim = (generation, room.claim(self.pod))
        return self._claim[1]

    @property
    def now(self) -> float:
        return self._services.clock.now()

    # What others tell.

    def update(self, pod: core.Pod) -> None:
        """A newer object."""
        self.pod = pod
        self._writer.observe(pod)
        self.machine.on_pod(pod, self.now)
        if pod.metadata.deletion_timestamp:
            self.instances.leave()
        self.volumes.pod_changed()
        self.wake()

    def sources_changed(self) -> None:
        """A ConfigMap or Secret that the pod refers to is there now, or has changed."""
        self.machine.on_sources(self.now)
        self.volumes.sources_changed()
        self.wake()

    def evict(self, message: str) -> None:
        """The pod has to go from this node, for this reason."""
        self.machine.on_evicted(message)
        self.wake()

    def vanish(self) -> None:
        """The object is gone."""
        self._writer.close()
        self.machine.on_vanished(self.now)
        self.volumes.close()
        self.instances.leave()
        self.wake()

    def wake(self) -> None:
        """The machine was told something: take a step soon."""
        self._wake.set()

    def say(self, kind: str, reason: str, message: str, container: str = "") -> None:
        """An event about the pod or one of its containers."""
        path = ""
        if container:
            role = self.machine.containers[container].role
            path = f"spec.{_LISTS.get(role, 'containers')}{{{container}}}"
        self._services.recorder.event(self.pod, kind, reason, message, field_path=path)

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Runs something beside the worker, for as long as the worker lives."""
        task = asyncio.create_task(work, name=f"pod {self.pod.metadata.namespace}/{self.pod.metadata.name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("%s", task.get_name(), exc_info=task.exception())
        self.wake()

    # The steps.

    async def run(self) -> None:
        """Returns when the pod is gone from this node, and from the API if it was to be deleted there."""
        try:
            while not self._done:
                await self._wake.wait()
                self._wake.clear()
                self._step()
        finally:
            self._disarm()
            self._writer.close()
            self.instances.close()
            self.volumes.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _step(self) -> None:
        plan = self.machine.advance(self.now)
        for action in plan.actions:
            self._do(action)
        self.status = render(self.machine, self.status, self._services.ips, self.now)
        self._writer.want(self.status)
        self._disarm()
        if plan.wake_at is not None:
            self._timer = self._services.clock.call_later(max(0.0, plan.wake_at - self.now), self.wake)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _do(self, action: Action) -> None:
        match action:
            case Event():
                self.say(action.type, action.reason, action.message, action.container)
            case CreateSandbox():
                self.spawn(self._create_sandbox())
            case Launch():
                self.instances.launch(action.name, action.attempt)
            case AbortLaunch():
                self.instances.abort(action.name)
            case Drain():
                self._drain(action.seconds)
            case RunHook():
                self.spawn(self.instances.pre_stop(action.name, action.id, action.seconds))
            case Terminate():
                self.spawn(self.instances.terminate(action.id))
            case Kill():
                self.spawn(self.instances.kill(action.id))
            case RemoveSandbox():
                self.spawn(self._remove_sandbox())
            case Finish():
                self.spawn(self._finish())

    def _drain(self, seconds: float) -> None:
        """Of a pod that no Service leads to, nothing has to be waited for."""
        if self._draining is not None:
            self._draining.hurry(seconds)
            return
        self._draining = self._services.drains.of(self.machine.uid, self.machine.ips, seconds)
        if self._draining is None:
            self.machine.on_drained()
            self.wake()
        else:
            self.spawn(self._drained(self._draining))

    async def _drained(self, draining: Draining) -> None:
        try:
            event = (await draining.run()).event()
            self.say(event.type, event.reason, event.message)
        finally:
            self.machine.on_drained()
            self.wake()

    async def _create_sandbox(self) -> None:
        try:
            async with self._services.turns.turn():
                ips = await make_sandbox(self._services, self.pod, self.files, self.volumes, self.say)
        except SandboxError as error:
            self.machine.on_sandbox_failed(error.reason, str(error), self.now)
        except Exception as error:
            self.machine.on_sandbox_failed("FailedCreatePodSandBox", repr(error), self.now)
            raise
        else:
            self.machine.on_sandbox(*ips)
        self.wake()

    async def _remove_sandbox(self) -> None:
        await self.volumes.end()
        await self._services.runtime.remove_pod(self.machine.uid)
        self._services.cgroups.forget(self.machine.uid)
        await asyncio.to_thread(self.files.remove_mounts)
        self.machine.on_sandbox_removed()
        self.wake()

    async def _finish(self) -> None:
        """The last status, then the object itself (R16)."""
        meta, pause = self.pod.metadata, 0.05
        if not self.machine.vanished:
            await self._writer.flush()
        while not self.machine.vanished and not self._writer.gone:
            try:
                await self._services.client.delete(
                    core.Pod, meta.name, meta.namespace, grace_period_seconds=0, uid=meta.uid
                )
                break
            except status.ApiError as error:
                if status.is_not_found(error) or status.is_conflict(error):
                    break
                _log.warning("pod %s/%s was not deleted: %s", meta.namespace, meta.name, error)
                await self._services.clock.sleep(pause)
                pause = min(2 * pause, 5.0)
        self._done = True
        self.wake()
