"""A pod's eviction: its deletion if the PodDisruptionBudget that covers it allows one. Called by app.py.

The budget is taken from before the pod is deleted: its status says how many more may go and who went, until its
controller has seen the pod go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry.api import budgets, codec, resources, status
from skerry.api.types import core, meta, policy
from skerry.api.wire import Response
from skerry.apiserver import bodies, deletion, metadata, verbs
from skerry.apiserver.reading import find
from skerry.apiserver.routes import Target
from skerry.apiserver.webhooks.matching import CREATE
from skerry.clock import rfc3339

if TYPE_CHECKING:
    from skerry.api.wire import Request
    from skerry.apiserver.verbs import Server

MOST_DISRUPTED = 2000
"""Pods that may be on their way out under one budget without its controller having seen one of them go."""
_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
_SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."


async def evict(server: Server, target: Target, request: Request) -> Response:
    """ApiError 429 if the pod's budget does not allow it now."""
    eviction: policy.Eviction = bodies.part(request, "policy", "Eviction").object
    if eviction.metadata.name and eviction.metadata.name != target.name:
        raise status.bad_request("name in URL does not match name in Eviction object")
    options = eviction.delete_options or meta.DeleteOptions()
    dry = verbs.dry(request) or options.dry_run == ["All"]
    kind = ("policy", "v1", "Eviction")
    eviction, warnings = await server.webhooks.shown(CREATE, target, request, eviction, kind, dry=dry)
    pod: core.Pod = verbs.load(target.resource, await find(server.store, target))
    wanted = options.preconditions or meta.Preconditions()
    metadata.check_preconditions(pod, target.resource, wanted.uid or "", wanted.resource_version or "")
    going = pod.status.phase in ("Succeeded", "Failed", "Pending") or bool(pod.metadata.deletion_timestamp)
    if not going:
        await _take(server, pod, dry)
        if not wanted.resource_version and not dry:
            await _say(server, target, pod)
    await deletion.remove(server, Target(target.resource, target.namespace, target.name), options, dry=dry)
    done = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    return Response(201, codec.encode(done), warnings=warnings)


async def _take(server: Server, pod: core.Pod, dry: bool) -> None:
    """Takes one disruption from the budget that covers the pod. ApiError if it has none."""
    row = resources.of(policy.PodDisruptionBudget)
    records, _ = await server.store.range(row.key(pod.metadata.namespace, ""))
    found = [one for one in (verbs.load(row, record) for record in records) if budgets.covers(one, pod)]
    if not found:
        return
    if len(found) > 1:
        raise status.ApiError(500, _SEVERAL)
    (budget,) = found
    if not budgets.is_ready(pod) and _lets_unready_go(budget):
        return
    target = Target(row, pod.metadata.namespace, budget.metadata.name, "status")
    now = server.clock.now()

    def make(current: Any) -> Any:
        _refuse(current)
        current = codec.copy(current)
        current.status.disruptions_allowed -= 1
        current.status.disrupted_pods[pod.metadata.name] = rfc3339(now)
        if not current.status.disruptions_allowed:
            known, generation = current.status.conditions, current.metadata.generation
            current.status.conditions = budgets.conditions(known, 0, generation, now)
        current.metadata.resource_version = ""
        return current

    await verbs.change(server, target, make, dry=dry)


def _lets_unready_go(budget: policy.PodDisruptionBudget) -> bool:
    """Whether a pod that is not ready anyhow may be evicted without asking."""
    if budget.spec.unhealthy_pod_eviction_policy == "AlwaysAllow":
        return True
    return 0 < budget.status.desired_healthy <= budget.status.current_healthy


def _refuse(budget: policy.PodDisruptionBudget) -> None:
    name, said = budget.metadata.name, budget.status
    if said.observed_generation < budget.metadata.generation:
        raise _too_many(f"The disruption budget {name} is still being processed by the server.", again=10)
    if len(said.disrupted_pods) > MOST_DISRUPTED:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise status.forbidden("policy", "poddisruptionbudgets", name, why)
    if said.disruptions_allowed <= 0:
        failure = budgets.sync_failure(budget)
        if failure:
            raise _too_many(
                f"The disruption budget {name} does not allow evicting pods currently because it failed sync: {failure}"
            )
        raise _too_many(
            f"The disruption budget {name} needs {said.desired_healthy} healthy pods and has {said.current_healthy} "
            "currently"
        )


def _too_many(why: str, again: int = 0) -> status.ApiError:
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if again:
        details["retryAfterSeconds"] = again
    return status.ApiError(429, _REFUSED, details=details)


async def _say(server: Server, target: Target, pod: core.Pod) -> None:
    """Writes down on the pod why it is about to go."""
    condition = core.PodCondition(
        type="DisruptionTarget",
        status="True",
        reason="EvictionByEvictionAPI",
        message="Eviction API: evicting",
        last_transition_time=rfc3339(server.clock.now()),
    )

    def make(current: Any) -> Any:
        metadata.check_preconditions(current, target.resource, pod.metadata.uid, "")
        kept = [one for one in current.status.conditions if one.type != condition.type]
        current = codec.copy(current)
        current.status.conditions = [*kept, condition]
        current.metadata.resource_version = ""
        return current

    await verbs.change(server, Target(target.resource, target.namespace, target.name, "status"), make)
