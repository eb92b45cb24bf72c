"""What a node knows of a pod's containers, and what it can be asked to do about them: plain values.

Made and changed by machine.py, read by status.py and node/agent/worker.py.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skerry.node.pods.backoff import Backoff

if TYPE_CHECKING:
    from skerry.api.types import core


class Role(enum.Enum):
    """INIT runs to its end before the next; SIDECAR is an init container that stays; APP is what the pod is for.

    EPHEMERAL was added later to look into the pod: it runs once, and nothing depends on it.
    """

    INIT = "init"
    SIDECAR = "sidecar"
    APP = "app"
    EPHEMERAL = "ephemeral"


class Stage(enum.Enum):
    """IDLE: no process (yet, or any more). LAUNCHING: image and process are on their way. RUNNING: a process."""

    IDLE = "idle"
    LAUNCHING = "launching"
    RUNNING = "running"


class Sandbox(enum.Enum):
    """The pod's namespaces."""

    NONE = "none"
    MAKING = "making"
    READY = "ready"
    REMOVING = "removing"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Ended:
    """How an instance of a container ended. Seconds since 1970; `started_at` 0 if its command never ran."""

    code: int
    reason: str
    finished_at: float
    started_at: float = 0.0
    message: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a container is waiting."""

    reason: str
    message: str = ""


@dataclass(slots=True)
class Stop:
    """A container on its way out. `kill_at`: when patience ends. `hook`: None not run, False running, True over."""

    kill_at: float
    hook: bool | None = None
    signalled: bool = False
    killed: bool = False


@dataclass(slots=True)
class Container:
    """One container of a pod through all its instances. `attempts` counts them; the newest one has `id`.

    `ended`: the end of the newest instance, None while it lives. `last`: the end of the one before. `later`: a problem
    that takes the place of `problem` at a time, with events to say then. `hooking`: its postStart hook has not ended.
    `started`, `ready`: what its probes say.
    `launched`: the image that was asked for last, at `launched_at`. `doom`: why the running instance must make way for
    another, in the words of the event.
    """

    spec: core.Container
    role: Role
    stage: Stage = Stage.IDLE
    attempts: int = 0
    id: str = ""
    image: str = ""
    image_id: str = ""
    launched: str = ""
    launched_at: float = 0.0
    started_at: float = 0.0
    ended: Ended | None = None
    last: Ended | None = None
    problem: Problem | None = None
    later: tuple[float, Problem, tuple[Event, ...]] | None = None
    not_before: float = 0.0
    crash: Backoff = field(default_factory=Backoff)
    pull: Backoff = field(default_factory=Backoff)
    hooking: bool = False
    started: bool = False
    ready: bool = False
    doom: str = ""
    grace: float | None = None
    stop: Stop | None = None
    aborted: bool = False

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def restarts(self) -> int:
        """What the API calls restartCount."""
        return max(0, self.attempts - 1)

    @property
    def running(self) -> bool:
        """Whether the API says so: once the postStart hook is over."""
        return self.stage is Stage.RUNNING and not self.hooking

    @property
    def active(self) -> bool:
        """Whether there is, or may soon be, a process."""
        return self.stage is not Stage.IDLE


def common(one: core.EphemeralContainer) -> core.Container:
    """What an ephemeral container has in common with others, which is all but its target."""
    from skerry.api.types import core

    names = core.Container.__struct_fields__
    return core.Container(**{name: getattr(one, name) for name in names})


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    """Make the pod's volumes and namespaces. Answer: on_sandbox or on_sandbox_failed."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Get the image and start the container's instance number `attempt` (0 is the first).

    Answer: on_started, on_image_failed, on_start_failed or on_aborted.
    """

    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class AbortLaunch:
    """Give up a launch if it has not come to a process. Answer: on_aborted, or the launch's own."""

    name: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Wait until the pod gets no new connections and the open ones are done, for `seconds` from now at most.

    Answer: on_drained. It comes again, with less, when patience with the pod grows shorter meanwhile.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class RunHook:
    """Run the preStop hook, for at most `seconds`. Answer: on_hook_done."""

    name: str
    id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Terminate:
    """Send the stop signal. The end is told by on_exited."""

    name: str
    id: str


@dataclass(frozen=True, slots=True)
class Kill:
    """Send SIGKILL. The end is told by on_exited."""

    name: str
    id: str


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    """Nothing runs any more: take namespaces and volumes away. Answer: on_sandbox_removed."""


@dataclass(frozen=True, slots=True)
class Finish:
    """A deleted pod is gone from the node: write its last status and delete the object."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something people should know. `type`: Normal or Warning. `container`: whom it is about, or ""."""

    type: str
    reason: str
    message: str
    container: str = ""


Action = CreateSandbox | Launch | AbortLaunch | Drain | RunHook | Terminate | Kill | RemoveSandbox | Finish | Event


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, in this order, and when to ask again if nothing happens before (None: never)."""

    actions: tuple[Action, ...]
    wake_at: float | None
