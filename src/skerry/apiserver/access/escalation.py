"""Nobody gives what they do not have: who writes a role or a binding must have its rights, or the verbs `escalate` or
`bind` on it. Called by admission.py with what is about to be stored; the sentences are upstream's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import rbac as rules
from skerry.api import resources, status
from skerry.api.rbac import GROUP, Question
from skerry.api.types import rbac

if TYPE_CHECKING:
    from skerry.api.wire import User
    from skerry.apiserver.access.authorizer import Authorizer

    AnyRole = rbac.Role | rbac.ClusterRole
    AnyBinding = rbac.RoleBinding | rbac.ClusterRoleBinding

_EVERYTHING = [
    rbac.PolicyRule(verbs=["*"], api_groups=["*"], resources=["*"]),
    rbac.PolicyRule(verbs=["*"], non_resource_ur_ls=["*"]),
]


async def check_role(access: Authorizer, user: User, new: AnyRole, old: AnyRole | None) -> None:
    """ApiError 403 if the role has more than the user. What is as it was is not looked at."""
    aggregation = new.aggregation_rule if isinstance(new, rbac.ClusterRole) else None
    before = old.aggregation_rule if isinstance(old, rbac.ClusterRole) else None
    same = old is not None and new.rules == old.rules
    if same and aggregation == before:
        return
    plural, meta = resources.of(type(new)).plural, new.metadata
    decision = await access.decide(user, Question("escalate", GROUP, plural, meta.namespace, meta.name))
    if decision.allowed:
        return
    if not same:
        _covered(access, user, plural, meta.name, meta.namespace, new.rules)
    if aggregation is not None and aggregation != before:
        held = [one.rule for one in access.roles.grants(user).rules("")]
        if rules.uncovered(held, _EVERYTHING):
            why = "must have cluster-admin privileges to use an aggregationRule"
            raise status.forbidden(GROUP, plural, meta.name, why)


async def check_binding(access: Authorizer, user: User, new: AnyBinding, old: AnyBinding | None) -> None:
    """ApiError 403 if the role that is bound has more than the user; 404 if there is no such role."""
    if old is not None and new.subjects == old.subjects and new.role_ref == old.role_ref:
        return
    meta, ref = new.metadata, new.role_ref
    plural = "roles" if ref.kind == "Role" else "clusterroles"
    decision = await access.decide(user, Question("bind", GROUP, plural, meta.namespace, ref.name))
    if decision.allowed:
        return
    found = access.roles.rules_of(ref, meta.namespace)
    if found is None:
        raise status.not_found(GROUP, plural, ref.name)
    _covered(access, user, resources.of(type(new)).plural, meta.name, meta.namespace, found)


def _covered(
    access: Authorizer, user: User, plural: str, name: str, namespace: str, wanted: list[rbac.PolicyRule]
) -> None:
    grants = access.roles.grants(user)
    missing = rules.uncovered((one.rule for one in grants.rules(namespace)), wanted)
    if not missing:
        return
    groups = " ".join(f'"{one}"' for one in user.groups)
    lines = "\n".join(missing)
    why = f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{lines}'
    trouble = grants.trouble(namespace)
    raise status.forbidden(GROUP, plural, name, f"{why}; resolution errors: {trouble}" if trouble else why)
