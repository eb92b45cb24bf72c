"""What a Deployment's status says (A5), and when it will change by itself. Pure."""

from __future__ import annotations

import msgspec

from skerry import clock
from skerry.api.types import apps
from skerry.controllers.deployment import rollout

AVAILABLE, PROGRESSING, FAILURE = "Available", "Progressing", "ReplicaFailure"
CREATED, FOUND, UPDATED = "NewReplicaSetCreated", "FoundNewReplicaSet", "ReplicaSetUpdated"
DONE, LATE = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"
PAUSED, RESUMED = "DeploymentPaused", "DeploymentResumed"


def find(conditions: list[apps.DeploymentCondition], kind: str) -> apps.DeploymentCondition | None:
    return next((one for one in conditions if one.type == kind), None)


def put(conditions: list[apps.DeploymentCondition], new: apps.DeploymentCondition) -> list[apps.DeploymentCondition]:
    """The list with a condition set; nothing moves if it says the same, and lastTransitionTime only with the truth."""
    known = find(conditions, new.type)
    if known is not None and (known.status, known.reason) == (new.status, new.reason):
        return conditions
    if known is not None and known.status == new.status:
        new.last_transition_time = known.last_transition_time
    return [*(one for one in conditions if one.type != new.type), new]


def condition(kind: str, truth: str, reason: str, message: str, now: float) -> apps.DeploymentCondition:
    time = clock.rfc3339(now)
    return apps.DeploymentCondition(
        type=kind, status=truth, reason=reason, message=message, last_update_time=time, last_transition_time=time
    )


def is_complete(deployment: apps.Deployment, status: apps.DeploymentStatus) -> bool:
    """All replicas are of the new version and available, and none of the old are left."""
    replicas = deployment.spec.replicas or 0
    return (
        status.updated_replicas == replicas
        and status.replicas == replicas
        and status.available_replicas == replicas
        and status.observed_generation >= deployment.metadata.generation
    )


def counted(world: rollout.World, now: float) -> apps.DeploymentStatus:
    """The numbers and the Available condition."""
    deployment, sets = world.deployment, world.all
    available = rollout.available(sets)
    status = msgspec.structs.replace(
        deployment.status,
        observed_generation=deployment.metadata.generation,
        replicas=sum(one.status.replicas for one in sets),
        updated_replicas=world.new.status.replicas if world.new is not None else 0,
        ready_replicas=sum(one.status.ready_replicas for one in sets),
        available_replicas=available,
        unavailable_replicas=max(0, rollout.total(sets) - available),
    )
    least = (deployment.spec.replicas or 0) - rollout.bounds(deployment)[1]
    if available >= least:
        made = condition(AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now)
    else:
        made = condition(
            AVAILABLE, "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", now
        )
    status.conditions = put(status.conditions, made)
    return status


def decide(
    world: rollout.World, now: float, *, created: str = "", failed: str = ""
) -> tuple[apps.DeploymentStatus, float | None]:
    """(the status, seconds until the progress deadline or None).

    `created` is the name of a ReplicaSet that was made in this very sync, `failed` the refusal of one.
    """
    deployment = world.deployment
    status = counted(world, now)
    if failed:
        text = f'Failed to create new replica set "{deployment.metadata.name}": {failed}'
        status.conditions = put(status.conditions, condition(PROGRESSING, "False", "ReplicaSetCreateError", text, now))
        return status, None
    if deployment.spec.progress_deadline_seconds is not None:
        status.conditions = _paused(deployment, status.conditions, now)
        status.conditions = _started(world, status.conditions, created, now)
    if not deployment.spec.paused:
        _progress(world, status, now)
    status.conditions = _failures(world, status.conditions, now)
    return status, _deadline(deployment, status, now)


def _paused(
    deployment: apps.Deployment, conditions: list[apps.DeploymentCondition], now: float
) -> list[apps.DeploymentCondition]:
    known = find(conditions, PROGRESSING)
    if known is not None and known.reason == LATE:
        return conditions
    was = known is not None and known.reason == PAUSED
    if deployment.spec.paused and not was:
        return put(conditions, condition(PROGRESSING, "Unknown", PAUSED, "Deployment is paused", now))
    if not deployment.spec.paused and was:
        return put(conditions, condition(PROGRESSING, "Unknown", RESUMED, "Deployment is resumed", now))
    return conditions


def _started(
    world: rollout.World, conditions: list[apps.DeploymentCondition], created: str, now: float
) -> list[apps.DeploymentCondition]:
    if created:
        text = f'Created new replica set "{created}"'
        return put(conditions, condition(PROGRESSING, "True", CREATED, text, now))
    if world.new is not None and find(conditions, PROGRESSING) is None:
        text = f'Found new replica set "{world.new.metadata.name}"'
        return put(conditions, condition(PROGRESSING, "True", FOUND, text, now))
    return conditions


def _progress(world: rollout.World, status: apps.DeploymentStatus, now: float) -> None:
    deployment, known = world.deployment, find(status.conditions, PROGRESSING)
    settled = status.replicas == status.updated_replicas and known is not None and known.reason == DONE
    if deployment.spec.progress_deadline_seconds is None or settled:
        return
    if world.new is not None:
        about = f'ReplicaSet "{world.new.metadata.name}"'
    else:
        about = f'Deployment "{deployment.metadata.name}"'
    if is_complete(deployment, status):
        made = condition(PROGRESSING, "True", DONE, f"{about} has successfully progressed.", now)
        status.conditions = put(status.conditions, made)
    elif _has_moved(deployment.status, status):
        made = condition(PROGRESSING, "True", UPDATED, f"{about} is progressing.", now)
        if known is not None and known.status == "True":
            made.last_transition_time = known.last_transition_time
        others = [one for one in status.conditions if one.type != PROGRESSING]
        status.conditions = [*others, made]
    elif _is_late(deployment, status, now):
        made = condition(PROGRESSING, "False", LATE, f"{about} has timed out progressing.", now)
        status.conditions = put(status.conditions, made)


def _has_moved(old: apps.DeploymentStatus, new: apps.DeploymentStatus) -> bool:
    return (
        new.updated_replicas > old.updated_replicas
        or new.replicas - new.updated_replicas < old.replicas - old.updated_replicas
        or new.ready_replicas > old.ready_replicas
        or new.available_replicas > old.available_replicas
    )


def _is_late(deployment: apps.Deployment, status: apps.DeploymentStatus, now: float) -> bool:
    known = find(status.conditions, PROGRESSING)
    if known is None or known.reason == DONE:
        return False
    if known.reason == LATE:
        return True
    since = clock.parse_rfc3339(known.last_update_time or known.last_transition_time or clock.rfc3339(now))
    return since + (deployment.spec.progress_deadline_seconds or 0) < now


def _deadline(deployment: apps.Deployment, status: apps.DeploymentStatus, now: float) -> float | None:
    known = find(status.conditions, PROGRESSING)
    limit = deployment.spec.progress_deadline_seconds
    if limit is None or known is None or known.reason in (DONE, LATE, PAUSED) or is_complete(deployment, status):
        return None
    since = clock.parse_rfc3339(known.last_update_time or clock.rfc3339(now))
    return max(0.0, since + limit - now) + 1.0


def _failures(
    world: rollout.World, conditions: list[apps.DeploymentCondition], now: float
) -> list[apps.DeploymentCondition]:
    sets = [world.new] if world.new is not None else list(world.old)
    for one in sets:
        for failure in one.status.conditions:
            if failure.type == FAILURE:
                made = condition(FAILURE, failure.status, failure.reason, failure.message, now)
                return put(conditions, made)
    return [one for one in conditions if one.type != FAILURE]
