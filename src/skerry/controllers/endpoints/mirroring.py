"""EndpointSlices for Endpoints that people write (X1-X9). Called by the controller's shell and the scenario runner.

Consumers read slices only, so an Endpoints object of a Service without selector is copied into slices. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from skerry.api.subsets import repack
from skerry.api.types import core, discovery, meta
from skerry.controllers.endpoints import members, slices
from skerry.controllers.endpoints.plan import Plan
from skerry.controllers.endpoints.slices import MANAGED_BY, SERVICE_NAME, Port, port_key, prefix

CONTROLLER = "endpointslicemirroring-controller.k8s.io"
SKIP_LABEL = "endpointslice.kubernetes.io/skip-mirror"
MAX_ADDRESSES = 1000
_DROPPED = (members.TRIGGER_ANNOTATION, "kubectl.kubernetes.io/last-applied-configuration")


@dataclass
class Mirrored:
    """What to write, what could not be mirrored (X5), and how many endpoints and slices there will be.

    `skipped` counts all addresses that are left out. `updated` are endpoints that stay and say something else.
    """

    plan: Plan
    invalid: int = 0
    skipped: int = 0
    updated: int = 0
    endpoints: int = 0
    slices: int = 0

    @property
    def is_over(self) -> bool:
        """Whether a subset has more addresses than the limit."""
        return self.skipped > self.invalid


def is_mirrored(endpoints: core.Endpoints | None, service: core.Service | None) -> bool:
    """Whether slices are to be made from this Endpoints (X2)."""
    return (
        endpoints is not None
        and service is not None
        and not service.spec.selector
        and endpoints.metadata.labels.get(SKIP_LABEL) != "true"
        and members.LEADER_ANNOTATION not in endpoints.metadata.annotations
    )


def reconcile(
    endpoints: core.Endpoints | None,
    service: core.Service | None,
    existing: Iterable[discovery.EndpointSlice],
    limit: int = MAX_ADDRESSES,
) -> Mirrored:
    """The writes that make the mirror of an Endpoints right.

    `existing` are the slices with this name that this controller manages. What is not (or no longer) to be mirrored
    gets all of them deleted (X2).
    """
    result = Mirrored(Plan())
    found = [one for one in existing if one.metadata.deletion_timestamp is None]
    if endpoints is None or not is_mirrored(endpoints, service):
        result.plan.delete = found
        return result
    wanted: dict[tuple[str, tuple[Port, ...]], discovery.EndpointSlice] = {}
    for subset in repack(endpoints.subsets):
        _mirror(endpoints, subset, limit, wanted, result)
    result.endpoints, result.slices = sum(len(one.endpoints) for one in wanted.values()), len(wanted)
    by_key: dict[tuple[str, tuple[Port, ...]], list[discovery.EndpointSlice]] = {}
    for one in found:
        by_key.setdefault((one.address_type, port_key(one)), []).append(one)
    plan = result.plan
    for key, made in wanted.items():
        same = by_key.pop(key, [])
        _count(result, same[0].endpoints if same else [], made.endpoints)
        if not same:
            plan.create.append(made)
            continue
        plan.delete += same[1:]
        if not _says_the_same(same[0], made):
            plan.update.append(_under_the_name_of(same[0], made))
    for left in by_key.values():
        plan.delete += left
        plan.removed += sum(len(one.endpoints) for one in left)
    _recycle(plan)
    if endpoints.metadata.deletion_timestamp is not None:
        plan.create.clear()
    return result


def _mirror(
    endpoints: core.Endpoints,
    subset: core.EndpointSubset,
    limit: int,
    wanted: dict[tuple[str, tuple[Port, ...]], discovery.EndpointSlice],
    result: Mirrored,
) -> None:
    """Adds the slices of one subset, one an address family (X3-X5)."""
    taken = 0
    made: dict[str, discovery.EndpointSlice] = {}
    told = [(one, True) for one in subset.addresses] + [(one, False) for one in subset.not_ready_addresses]
    for address, ready in told:
        known = members.canonical(address.ip) if taken < limit else None
        if known is None:
            result.skipped += 1
            result.invalid += taken < limit
            continue
        family, ip = known
        if family not in made:
            empty = _empty(endpoints, subset, family)
            made[family] = wanted.setdefault((family, port_key(empty)), empty)
        made[family].endpoints.append(
            discovery.Endpoint(
                addresses=[ip],
                conditions=discovery.EndpointConditions(ready=ready),
                hostname=address.hostname or None,
                node_name=address.node_name or None,
                target_ref=address.target_ref,
            )
        )
        taken += 1


def _count(result: Mirrored, old: list[discovery.Endpoint], new: list[discovery.Endpoint]) -> None:
    """Notes how many endpoints come, go, and change; for metrics."""
    before, after = ({slices.identity(one): one for one in some} for some in (old, new))
    result.plan.added += len(after.keys() - before.keys())
    result.plan.removed += len(before.keys() - after.keys())
    both = after.keys() & before.keys()
    result.updated += sum(not slices.same_beyond_identity(before[one], after[one]) for one in both)


def _empty(endpoints: core.Endpoints, subset: core.EndpointSubset, family: str) -> discovery.EndpointSlice:
    labels = dict(endpoints.metadata.labels)
    labels[SERVICE_NAME] = endpoints.metadata.name
    labels[MANAGED_BY] = CONTROLLER
    return discovery.EndpointSlice(
        metadata=meta.ObjectMeta(
            generate_name=prefix(endpoints.metadata.name),
            namespace=endpoints.metadata.namespace,
            labels=labels,
            annotations={key: value for key, value in endpoints.metadata.annotations.items() if key not in _DROPPED},
            owner_references=[
                meta.OwnerReference(
                    api_version="v1",
                    kind="Endpoints",
                    name=endpoints.metadata.name,
                    uid=endpoints.metadata.uid,
                    controller=True,
                    block_owner_deletion=True,
                )
            ],
        ),
        address_type=family,
        ports=[
            discovery.EndpointPort(
                name=one.name, protocol=one.protocol or "TCP", port=one.port, app_protocol=one.app_protocol
            )
            for one in subset.ports
        ],
    )


def _says_the_same(old: discovery.EndpointSlice, new: discovery.EndpointSlice) -> bool:
    """X7: whether endpoints, labels and annotations agree; whose it is must agree too."""
    return (
        _comparable(old.endpoints) == _comparable(new.endpoints)
        and old.metadata.labels == new.metadata.labels
        and old.metadata.annotations == new.metadata.annotations
        and old.metadata.owner_references == new.metadata.owner_references
    )


def _comparable(endpoints: list[discovery.Endpoint]) -> list[bytes]:
    return sorted(msgspec.json.encode(one) for one in endpoints)


def _under_the_name_of(old: discovery.EndpointSlice, new: discovery.EndpointSlice) -> discovery.EndpointSlice:
    metadata = msgspec.structs.replace(
        old.metadata,
        labels=new.metadata.labels,
        annotations=new.metadata.annotations,
        owner_references=new.metadata.owner_references,
    )
    return msgspec.structs.replace(new, metadata=metadata)


def _recycle(plan: Plan) -> None:
    kept: list[discovery.EndpointSlice] = []
    for new in plan.create:
        old = next((one for one in plan.delete if one.address_type == new.address_type), None)
        if old is None:
            kept.append(new)
        else:
            plan.delete.remove(old)
            plan.update.append(_under_the_name_of(old, new))
    plan.create = kept
