"""The container instances of one pod: launched, watched, probed, logged, stopped. Called by worker.py.

The worker's machine decides; everything here ends in telling it something and waking the worker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from skerry.api import quantity, status
from skerry.api.types import core
from skerry.node.agent import hostpaths, pullsecrets
from skerry.node.agent.capacity import machine_resources
from skerry.node.agent.containers import HOST_IMAGE, CreateError, container_spec, stop_signal
from skerry.node.agent.environment import ConfigError, needs, service_variables, variables
from skerry.node.agent.objects import refs
from skerry.node.cgroups.settings import oom_score
from skerry.node.images.errors import ImageError
from skerry.node.logs.writer import ContainerLog
from skerry.node.pods.downward import addresses
from skerry.node.probes.handlers import run_hook
from skerry.node.probes.worker import ContainerProbes
from skerry.node.runtime.spec import ExecResult, RuntimeFailure
from skerry.node.volumes.mounts import mounts
from skerry.node.volumes.payload import VolumeError

if TYPE_CHECKING:
    from skerry.node.agent.services import NodeServices
    from skerry.node.agent.worker import PodWorker
    from skerry.node.images.store import Image
    from skerry.node.probes.schedule import Kind
    from skerry.node.runtime.spec import ContainerSpec

_log = logging.getLogger(__name__)

_SIGKILLED = 128 + signal.SIGKILL
POST_START_LIMIT = 24 * 3600.0
"""Seconds that a postStart hook may take: upstream knows no limit."""

LAST_OUTPUT = 2.0
"""Seconds that the pipes of an ended container are still read."""


@dataclass(slots=True)
class Instance:
    """A running container."""

    id: str
    name: str
    log: ContainerLog
    probes: ContainerProbes
    stop_signal: int
    stdin: int | None
    killed: bool = False
    """By us."""
    post_start: asyncio.Task[None] | None = None

    def end_stdin(self) -> None:
        """Nobody will write to it any more."""
        if self.stdin is not None:
            os.close(self.stdin)
            self.stdin = None


@dataclass(slots=True)
class _Launch:
    task: asyncio.Task[None]
    committed: bool = False
    """Past the point where it can be given up: there may be a process."""


class Instances:
    """`live`: the running instances by id."""

    def __init__(self, services: NodeServices, worker: PodWorker) -> None:
        self._services, self._worker = services, worker
        self.live: dict[str, Instance] = {}
        self._launches: dict[str, _Launch] = {}

    def current(self, name: str) -> Instance | None:
        """The running instance of a container."""
        return self.live.get(self._worker.machine.containers[name].id)

    # Starting.

    def launch(self, name: str, attempt: int) -> None:
        self._launches[name] = _Launch(self._worker.spawn(self._launch(name, attempt)))

    def abort(self, name: str) -> None:
        """Gives up a launch that still waits for its image."""
        launch = self._launches.get(name)
        if launch is not None and not launch.committed:
            launch.task.cancel()
            self._worker.machine.on_aborted(name)
            self._worker.wake()

    async def _launch(self, name: str, attempt: int) -> None:
        worker, machine = self._worker, self._worker.machine
        container = machine.containers[name].spec
        instance = secrets.token_hex(32)
        image: Image | None = None
        try:
            image = await self._image(container)
            async with self._services.turns.turn(urgent=True):
                self._launches[name].committed = True
                await self._start(container, image, instance, attempt)
        except ImageError as error:
            machine.on_image_failed(name, error.reason, error.message, worker.now)
        except (ConfigError, VolumeError) as error:
            machine.on_start_failed(name, "CreateContainerConfigError", str(error), worker.now)
        except CreateError as error:
            machine.on_start_failed(name, error.reason, str(error), worker.now)
        except RuntimeFailure as error:
            text = f"failed to start container: {error}"
            machine.on_start_failed(name, "RunContainerError", text, worker.now, instance, *_names(container, image))
            await self._services.runtime.remove_container(instance)
        except (status.ApiError, OSError) as error:
            machine.on_start_failed(name, "CreateContainerError", str(error), worker.now)
        except Exception as error:
            # Whatever it is, the container must not wait for ever for an answer.
            machine.on_start_failed(name, "CreateContainerError", repr(error), worker.now)
            worker.wake()
            raise
        worker.wake()

    async def _image(self, container: core.Container) -> Image | None:
        if container.image == HOST_IMAGE:
            return None

        def say(kind: str, reason: str, message: str) -> None:
            self._worker.say(kind, reason, message, container.name)

        worker = self._worker
        accounts = await pullsecrets.accounts(self._services.objects, worker.pod, container.image, worker.say)
        return await self._services.images.ensure(container.image, container.image_pull_policy, say, accounts)

    async def _start(self, container: core.Container, image: Image | None, instance: str, attempt: int) -> None:
        worker, services = self._worker, self._services
        spec = await self._spec(container, image, instance)
        worker.files.forget_log(container.name, attempt - 2)
        log = ContainerLog(worker.files.log(container.name, attempt), services.clock)
        try:
            joined = services.cgroups.enter(worker.pod, container, instance)
            score = oom_score(worker.pod, container, quantity.whole(machine_resources()["memory"]))
            started = await services.runtime.start(replace(spec, cgroups=joined, oom_score=score))
        except BaseException:
            log.close()
            services.cgroups.leave(instance)
            raise
        log.attach(started.stdout, started.stderr)
        probes = ContainerProbes(
            container,
            ip=worker.machine.ip,
            began=started.started_at,
            run=self._runner(instance),
            clock=services.clock,
            listener=_Told(worker, container.name, instance),
        )
        made = Instance(instance, container.name, log, probes, stop_signal(container, image), started.stdin)
        self.live[instance] = made
        worker.machine.on_started(container.name, instance, started.started_at, *_names(container, image))
        hook = container.lifecycle.post_start if container.lifecycle is not None else None
        if hook is not None:
            made.post_start = worker.spawn(self._post_start(made, hook))
        elif worker.machine.leave_at is None:
            probes.start()
        worker.spawn(self._watch(made))

    async def _spec(self, container: core.Container, image: Image | None, instance: str) -> ContainerSpec:
        pod, services, files = self._worker.pod, self._services, self._worker.files
        sources = await self._worker.volumes.following.sources(refs(pod.metadata.namespace, *needs(container)))
        links = pod.spec.enable_service_links is not False
        from_services = service_variables(services.informers.of(core.Service).list(), pod.metadata.namespace, links)
        facts = {**addresses(self._worker.machine.ips, services.ips), **machine_resources()}
        own = variables(pod, container, from_services, sources, facts)
        return container_spec(
            pod,
            container,
            image=image,
            instance=instance,
            scratch=files.scratch(instance),
            variables=own,
            mounts=[
                *files.own_mounts(),
                files.message_mount(container, instance),
                *mounts(container, self._worker.volumes.paths, own, hostpaths.read_only(self._worker.pod)),
            ],
            processes_of=self._target(container.name),
        )

    def _target(self, name: str) -> str:
        """The instance that an ephemeral container was added to look at, "" for none. CreateError."""
        for one in self._worker.pod.spec.ephemeral_containers:
            if one.name == name and one.target_container_name:
                target = self.current(one.target_container_name)
                if target is None:
                    raise CreateError(f"container {one.target_container_name}, its target, is not running")
                return target.id
        return ""

    def _runner(self, instance: str) -> _Runner:
        return _Runner(self._services, instance)

    # Running and ending.

    async def _watch(self, one: Instance) -> None:
        worker, services = self._worker, self._services
        ended = await services.runtime.wait(one.id)
        one.probes.stop()
        if one.post_start is not None:
            one.post_start.cancel()
        one.log.last()
        try:
            async with asyncio.timeout(LAST_OUTPUT):
                await one.log.finished()
        except TimeoutError:
            one.log.close()
        container = worker.machine.containers[one.name].spec
        words = worker.files.message(container, one.id, ended.code, one.log.path)
        self.live.pop(one.id, None)
        one.end_stdin()
        killed = services.cgroups.leave(one.id, sigkill=ended.code == _SIGKILLED and not one.killed)
        worker.machine.on_exited(
            *(one.name, one.id, ended.code, ended.finished_at, worker.now, words), out_of_memory=killed
        )
        worker.wake()
        await services.runtime.remove_container(one.id)

    def leave(self) -> None:
        """The pod is being deleted (R7)."""
        for one in self.live.values():
            one.probes.leave()

    async def _post_start(self, one: Instance, hook: core.LifecycleHandler) -> None:
        """Runs the hook, for as long as it takes; the container begins to be probed when it is over."""
        worker = self._worker
        failure = await self._hook(one.name, one.id, hook, POST_START_LIMIT)
        worker.machine.on_hooked(one.name, one.id, failure and f"PostStartHook failed: {failure}")
        worker.wake()
        if not failure and worker.machine.leave_at is None:
            one.probes.start()

    async def pre_stop(self, name: str, instance: str, seconds: float) -> None:
        """Runs the hook; how it ended matters only for an event (R15)."""
        worker = self._worker
        lifecycle = worker.machine.containers[name].spec.lifecycle
        if lifecycle is not None and lifecycle.pre_stop is not None:
            failure = await self._hook(name, instance, lifecycle.pre_stop, seconds)
            if failure:
                worker.say("Warning", "FailedPreStopHook", f"PreStopHook failed: {failure}", name)
        worker.machine.on_hook_done(name, instance, worker.now)
        worker.wake()

    async def _hook(self, name: str, instance: str, hook: core.LifecycleHandler, seconds: float) -> str:
        """What went wrong with a hook, or ""."""
        worker = self._worker
        if hook.sleep is not None:
            await self._services.clock.sleep(min(hook.sleep.seconds, seconds))
            return ""
        container = worker.machine.containers[name].spec
        return await run_hook(hook, container, worker.machine.ip, self._runner(instance), seconds)

    async def terminate(self, instance: str) -> None:
        one = self.live.get(instance)
        if one is not None:
            await self._services.runtime.signal(instance, one.stop_signal)

    async def kill(self, instance: str) -> None:
        one = self.live.get(instance)
        if one is not None:
            one.killed = True
        await self._services.runtime.signal(instance, signal.SIGKILL)

    def close(self) -> None:
        """The worker ends; what still runs is the runtime's to end."""
        for one in self.live.values():
            one.probes.stop()
            one.log.close()


def _names(container: core.Container, image: Image | None) -> tuple[str, str]:
    """What the container's status has as image and imageID."""
    return (image.reference, image.digest) if image is not None else (container.image, "")


class _Runner:
    """Runs commands in one instance, for probes and hooks."""

    def __init__(self, services: NodeServices, instance: str) -> None:
        self._services, self._instance = services, instance

    async def __call__(self, command: list[str], seconds: float) -> ExecResult:
        return await self._services.runtime.exec(self._instance, command, seconds=seconds)


class _Told:
    """What the probes of one instance find, for the pod's machine."""

    def __init__(self, worker: PodWorker, name: str, instance: str) -> None:
        self._worker, self._name, self._instance = worker, name, instance

    def ready(self, ready: bool) -> None:
        self._worker.machine.on_ready(self._name, self._instance, ready)
        self._worker.wake()

    def startup_passed(self) -> None:
        self._worker.machine.on_startup_passed(self._name, self._instance)
        self._worker.wake()

    def unhealthy(self, kind: Kind, grace: int | None) -> None:
        self._worker.machine.on_unhealthy(self._name, self._instance, kind.value, grace)
        self._worker.wake()

    def say(self, reason: str, message: str) -> None:
        self._worker.say("Warning", reason, message, self._name)
