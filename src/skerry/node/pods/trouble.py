"""What becomes of a container that could not be started, or ended: what is shown, and when it is tried again. Pure.

A part of machine.py. Rules R12 and R18.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.node.pods.state import Container, Ended, Event, Problem, Role, Stage
from skerry.node.pods.text import go_duration

if TYPE_CHECKING:
    from skerry.api.types import core
    from skerry.node.pods.stopping import Outbox

SETTLE = 1.0
"""Seconds for which a failure is shown before the pause that follows it (ErrImagePull, then ImagePullBackOff)."""

RETRY = 10.0
"""Seconds between tries that have no growing pause of their own."""

START_ERROR_CODE = 128


def image_failed(one: Container, out: Outbox, reason: str, message: str, now: float) -> None:
    """There is no image: ErrImagePull, after which the pauses grow, InvalidImageName or ErrImageNeverPull."""
    one.stage = Stage.IDLE
    one.problem, one.later = Problem(reason, message), None
    out.failed(one.name, f"Error: {reason}")
    if reason != "ErrImagePull":
        one.not_before = now + RETRY
        return
    one.not_before = now + one.pull.lengthen(now, now)
    text = f'Back-off pulling image "{one.spec.image}"'
    events = (
        Event("Normal", "BackOff", text, one.name),
        Event("Warning", "Failed", "Error: ImagePullBackOff", one.name),
    )
    one.later = (now + SETTLE, Problem("ImagePullBackOff", f"{text}: ErrImagePull: {message}"), events)


def not_made(one: Container, out: Outbox, problem: Problem, again: float) -> None:
    """There was no instance at all; the next try is not before `again`."""
    one.stage = Stage.IDLE
    one.problem, one.later = problem, None
    out.failed(one.name, f"Error: {problem.message}")
    one.not_before = again


def not_started(one: Container, out: Outbox, pod: core.Pod, problem: Problem, instance: str, now: float) -> None:
    """An instance was made, but its command did not come to run: as if it had ended at once."""
    one.stage = Stage.IDLE
    one.problem, one.later = problem, None
    out.do(Event("Normal", "Created", "Container created", one.name))
    out.failed(one.name, f"Error: {problem.message}")
    one.attempts += 1
    one.id = instance
    one.last = one.ended or one.last
    one.ended = Ended(START_ERROR_CODE, "StartError", now, 0.0, problem.message, instance)
    if restarts(one, pod, START_ERROR_CODE):
        if not one.crash.seconds:
            one.crash.lengthen(now, now)
        pause(one, pod, now)
    else:
        one.problem = None


def restarts(one: Container, pod: core.Pod, code: int) -> bool:
    """Whether a container that ended with `code` is started again (R18)."""
    if one.role is Role.EPHEMERAL:
        return False
    policy = one.spec.restart_policy or pod.spec.restart_policy or "Always"
    if one.role is Role.SIDECAR or any(_applies(rule, code) for rule in one.spec.restart_policy_rules):
        return True
    if one.role is Role.INIT:
        return code != 0 and policy != "Never"
    return policy == "Always" or (policy == "OnFailure" and code != 0)


def pause(one: Container, pod: core.Pod, now: float) -> None:
    """Holds the next instance back, and says so a moment later."""
    assert one.ended is not None
    one.not_before = one.crash.due(one.ended.finished_at)
    if one.not_before <= now:
        return
    meta = pod.metadata
    name = f"{meta.name}_{meta.namespace}({meta.uid})"
    text = f"back-off {go_duration(one.crash.seconds)} restarting failed container={one.name} pod={name}"
    said = f"Back-off restarting failed container {one.name} in pod {name}"
    one.later = (now + SETTLE, Problem("CrashLoopBackOff", text), (Event("Warning", "BackOff", said, one.name),))


def _applies(rule: core.ContainerRestartRule, code: int) -> bool:
    """Whether a container's own rule restarts what ended with `code`."""
    codes = rule.exit_codes
    return rule.action == "Restart" and codes is not None and (code in codes.values) == (codes.operator == "In")
