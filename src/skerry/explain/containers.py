"""What keeps one container from running, or from being ready: images, crashes, probes. Pure; called by `pods`."""

from __future__ import annotations

from typing import Any

from skerry.api.types import core
from skerry.explain.findings import Finding, finding
from skerry.explain.seen import Seen, ago, count, last, seconds

_IMAGE = frozenset(
    ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
     "RegistryUnavailable", "SignatureValidationFailed")
)  # fmt: skip
_CANNOT_START = frozenset(
    ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError",
     "PostStartHookError", "PreStartHookError", "StartError")
)  # fmt: skip
_CRASHING = "CrashLoopBackOff"
_LONGEST = 300


def tidy(text: str) -> str:
    """A message of others as part of a sentence of ours: one line, not endless, without the stop at its end."""
    line = " ".join(text.split())
    return (line if len(line) <= _LONGEST else line[: _LONGEST - 3].rstrip() + "...").removesuffix(".")


def stop(text: str) -> str:
    """The text with a full stop, unless it already ends a sentence."""
    return text if text.endswith((".", "!", "?", "...")) else f"{text}."


def often(seen: Seen, event: core.Event, what: str = "Seen") -> tuple[str, ...]:
    """How often an event was told, and when last."""
    times, when = count(event), last(event)
    if not when:
        return ()
    said = f"once, {ago(seen.now, when)}" if times == 1 else f"{times} times, the last {ago(seen.now, when)}"
    return (f"{what} {said}.",)


def _told(event: core.Event) -> dict[str, Any]:
    return {"event": event.message, "count": count(event), "last": _time(event)}


def _time(event: core.Event) -> str | None:
    series = event.series.last_observed_time if event.series is not None else None
    return series or event.last_timestamp or event.event_time or event.first_timestamp


def image(seen: Seen, pod: core.Pod, status: core.ContainerStatus) -> Finding | None:
    """The image cannot be had; the message stays the same from one try to the next."""
    waiting = status.state.waiting
    if waiting is None or waiting.reason not in _IMAGE:
        return None
    name = pod.metadata.name
    specs = (*pod.spec.containers, *pod.spec.init_containers)
    wanted = next((one.image for one in specs if one.name == status.name and one.image), status.image)
    why = waiting.message.removeprefix(f'Back-off pulling image "{wanted}"').removeprefix(": ")
    told = [one for one in seen.told(pod, ("Failed",)) if wanted in one.message]
    if not why and told:
        why = told[0].message
    for noise in ("ErrImagePull: ", f'Failed to pull image "{wanted}": '):
        why = why.removeprefix(noise)
    said = f": {tidy(why)}" if why else f" ({waiting.reason})"
    text = f"Container {status.name} of pod {name} cannot have its image {wanted}{stop(said)}"
    details = {"container": status.name, "image": wanted, "reason": waiting.reason, "message": waiting.message or None}
    return finding("ImagePull", text, pod=name, details=details, more=often(seen, told[0]) if told else ())


def cannot_start(_: Seen, pod: core.Pod, status: core.ContainerStatus) -> Finding | None:
    """The runtime says why."""
    ended = status.state.terminated or status.last_state.terminated
    waiting = status.state.waiting
    if waiting is not None and waiting.reason in _CANNOT_START:
        reason, message = waiting.reason, waiting.message
    elif ended is not None and ended.reason in ("StartError", "ContainerCannotRun") and status.state.running is None:
        reason, message = ended.reason, ended.message
    else:
        return None
    name = pod.metadata.name
    text = f"Container {status.name} of pod {name} cannot be started: {stop(tidy(message or reason))}"
    details = {"container": status.name, "reason": reason, "message": message or None}
    return finding("ContainerCannotStart", text, pod=name, details=details)


def ends(seen: Seen, pod: core.Pod, status: core.ContainerStatus) -> Finding | None:
    """The container has ended: for good, or again and again."""
    waiting, now, before = status.state.waiting, status.state.terminated, status.last_state.terminated
    is_crashing = waiting is not None and waiting.reason == _CRASHING
    if now is None and not is_crashing:
        return None
    ended = now or before
    name = pod.metadata.name
    details: dict[str, Any] = {"container": status.name, "restarts": status.restart_count}
    how = ""
    if ended is not None:
        details |= {"exitCode": ended.exit_code, "reason": ended.reason or None, "message": ended.message or None,
                    "last": ended.finished_at}  # fmt: skip
        how = f" {_how(ended)}"
    policy = pod.spec.restart_policy or "Always"
    returns = is_crashing or policy == "Always" or (policy == "OnFailure" and now is not None and now.exit_code != 0)
    since = ended.finished_at if ended is not None else None
    if not returns:
        text = f"Container {status.name} of pod {name} has ended{how}; restartPolicy {policy} leaves it at that."
        return finding("ContainerTerminated", text, pod=name, since=since, details=details)
    times = status.restart_count
    said = f"Restarted {times} time{'' if times == 1 else 's'}" if times else "Not restarted yet"
    when = f"; it ended {ago(seen.now, seconds(since))}" if since else ""
    text = f"Container {status.name} of pod {name} does not keep running: it ends{how}."
    more = (f"{said}{when}.", f"`kubectl logs {name} -c {status.name} --previous` has its last words.")
    return finding("CrashLooping", text, pod=name, since=since, more=more, details=details)


def _how(ended: core.ContainerStateTerminated) -> str:
    if ended.reason == "OOMKilled":
        return "because it needs more memory than its limit (OOMKilled)"
    if ended.signal:
        return f"by signal {ended.signal}"
    said = f": {tidy(ended.message)}" if ended.message else ""
    return f"with exit code {ended.exit_code}{said}"


def init(seen: Seen, pod: core.Pod, status: core.ContainerStatus, which: str) -> Finding:
    """An init container that has not done its work; `which` is as `1 of 2`."""
    name = pod.metadata.name
    crashed = ends(seen, pod, status)
    if crashed is not None:
        failed = status.state.terminated or status.last_state.terminated
        how = f" {_how(failed)}" if failed is not None else ""
        text = f"Init container {status.name} ({which}) of pod {name} fails: it ends{how}."
        return finding("InitContainerFailing", text, pod=name, since=crashed.since, more=crashed.more,
                       details=crashed.details)  # fmt: skip
    running = status.state.running
    since = running.started_at if running is not None else None
    state = "has not finished" if running is not None else "has not started"
    text = f"Pod {name} waits for its init container {status.name} ({which}), which {state}."
    return finding("InitContainerRunning", text, pod=name, since=since, details={"container": status.name})


def startup(seen: Seen, pod: core.Pod, status: core.ContainerStatus, spec: core.Container) -> Finding | None:
    """Until the startup probe has succeeded, the readiness probe is not even asked."""
    probe = spec.startup_probe
    if probe is None or status.started or status.state.running is None:
        return None
    name = pod.metadata.name
    event = _failure(seen, pod, spec, "Startup")
    got = f": {_got(event)}" if event is not None else ""
    text = f"The startup probe of container {spec.name} of pod {name} ({describe(probe)}) has not succeeded yet"
    details = {"container": spec.name, "probe": describe(probe), **(_told(event) if event is not None else {})}
    return finding("StartupProbeNotDone", stop(text + got), pod=name, since=status.state.running.started_at,
                   more=often(seen, event, "Failed") if event is not None else (), details=details)  # fmt: skip


def readiness(seen: Seen, pod: core.Pod, status: core.ContainerStatus, spec: core.Container) -> Finding | None:
    """What the probe asks, what it got, how often and when last."""
    probe = spec.readiness_probe
    if probe is None or status.ready or status.state.running is None:
        return None
    name = pod.metadata.name
    event = _failure(seen, pod, spec, "Readiness")
    since = next((one.last_transition_time for one in pod.status.conditions if one.type == "Ready"), None)
    asked = describe(probe)
    details: dict[str, Any] = {"container": spec.name, "probe": asked, "periodSeconds": probe.period_seconds or 10}
    if event is None:
        wait = probe.initial_delay_seconds
        delay = f"; it is first asked after {wait} s" if wait else ""
        text = f"The readiness probe of container {spec.name} of pod {name} ({asked}) has not succeeded yet{delay}."
        return finding("ReadinessProbePending", text, pod=name, since=since, details=details)
    text = f"The readiness probe of container {spec.name} of pod {name} ({asked}) fails: {stop(_got(event))}"
    more = (*often(seen, event, "Failed"), f"It is asked every {probe.period_seconds or 10} s.")
    return finding("ReadinessProbeFailing", text, pod=name, since=since, more=more, details=details | _told(event))


def _failure(seen: Seen, pod: core.Pod, spec: core.Container, kind: str) -> core.Event | None:
    """The newest event that tells of a failure of this container's probe."""
    path = f"spec.containers{{{spec.name}}}"
    told = seen.told(pod, ("Unhealthy", "ProbeWarning"), f"{kind} probe ")
    own = [one for one in told if path in (one.involved_object.field_path or path)]
    return own[0] if own else None


def _got(event: core.Event) -> str:
    said = event.message.partition(": ")[2]
    return tidy(said) or "it said nothing"


def describe(probe: core.Probe) -> str:
    """What a probe asks: `GET :8080/healthz`, `TCP :5432`, `exec cat /tmp/ready`."""
    if probe.http_get is not None:
        get = probe.http_get
        scheme = "" if get.scheme in ("", "HTTP") else f"{get.scheme.lower()}://"
        return f"GET {scheme}{get.host}:{get.port}{get.path or '/'}"
    if probe.tcp_socket is not None:
        return f"TCP {probe.tcp_socket.host}:{probe.tcp_socket.port}"
    if probe.grpc is not None:
        return f"gRPC :{probe.grpc.port}"
    return f"exec {tidy(' '.join(probe.exec.command))}" if probe.exec is not None else "nothing to ask"
