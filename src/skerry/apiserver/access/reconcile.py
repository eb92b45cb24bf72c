"""Puts the roles and bindings of policy.py into the store, and gives back to those that are there what they lost.

Called by the assembly at every start, before anybody can ask: a cluster of an older Skerry gets them, too.
As upstream: what an administrator added stays, and one whose annotation autoupdate says "false" is left alone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from skerry.api import codec
from skerry.api import rbac as rules
from skerry.api.types import rbac
from skerry.apiserver.access import policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.client.client import Client

T = TypeVar("T", rbac.ClusterRole, rbac.ClusterRoleBinding)


async def ensure(client: Client) -> None:
    """Returns when all of them are as they must be."""
    roles, bindings = await asyncio.gather(client.list(rbac.ClusterRole), client.list(rbac.ClusterRoleBinding))
    have: dict[str, rbac.ClusterRole] = {one.metadata.name: one for one in roles.items}
    bound: dict[str, rbac.ClusterRoleBinding] = {one.metadata.name: one for one in bindings.items}
    new = {one.metadata.name: codec.copy(one) for one in policy.CLUSTER_ROLES}
    for name in ("view", "edit", "admin"):  # each takes in the one before it; later changes are the controller's
        if name not in have:
            new[name].rules = rules.aggregated(new[name], {**new, **have}.values())
    await asyncio.gather(
        *(_put(client, wanted, have.get(name), _role_as_wanted) for name, wanted in new.items()),
        *(
            _put(client, codec.copy(one), bound.get(one.metadata.name), _binding_as_wanted)
            for one in policy.CLUSTER_ROLE_BINDINGS
        ),
    )


async def _put(client: Client, wanted: T, known: T | None, mend: Callable[[T, T], T | None]) -> None:
    if known is None:
        await client.create(wanted)
        return
    if known.metadata.annotations.get(policy.AUTOUPDATE) == "false":
        return
    better = mend(wanted, known)
    if better is None:
        await client.delete(type(known), known.metadata.name)
        await client.create(wanted)
        return
    metadata = replace(
        known.metadata,
        labels={**known.metadata.labels, **wanted.metadata.labels},
        annotations={**known.metadata.annotations, **wanted.metadata.annotations},
    )
    if better != known or metadata != known.metadata:
        await client.update(replace(better, metadata=metadata))


def _role_as_wanted(wanted: rbac.ClusterRole, known: rbac.ClusterRole) -> rbac.ClusterRole:
    if wanted.aggregation_rule is not None:
        return replace(known, aggregation_rule=known.aggregation_rule or wanted.aggregation_rule)
    missing = [one for one in wanted.rules if rules.uncovered(known.rules, [one])]
    return replace(known, rules=[*known.rules, *missing])


def _binding_as_wanted(
    wanted: rbac.ClusterRoleBinding, known: rbac.ClusterRoleBinding
) -> rbac.ClusterRoleBinding | None:
    """None: it is bound to another role, which cannot be mended."""
    if known.role_ref != wanted.role_ref:
        return None
    missing = [one for one in wanted.subjects if one not in known.subjects]
    return replace(known, subjects=[*known.subjects, *missing])
