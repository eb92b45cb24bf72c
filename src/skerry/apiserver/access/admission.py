"""What the one who writes may make of an object, told once it is known what it is to become. Called by verbs.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry.api.rbac import Question
from skerry.api.types import core, rbac
from skerry.apiserver.access import escalation, nodes, restriction
from skerry.apiserver.access.authorizer import MASTERS

if TYPE_CHECKING:
    from skerry.api.wire import Request, User
    from skerry.apiserver.access.authorizer import Authorizer
    from skerry.apiserver.routes import Target


async def admit(access: Authorizer, user: User | None, new: Any, old: Any | None) -> None:
    """ApiError 403 if `user` may not make `new` of `old` (None: a new object)."""
    if user is None or MASTERS in user.groups:
        return
    if isinstance(new, rbac.Role | rbac.ClusterRole):
        await escalation.check_role(access, user, new, old)
    elif isinstance(new, rbac.RoleBinding | rbac.ClusterRoleBinding):
        await escalation.check_binding(access, user, new, old)
    elif isinstance(new, core.Node):
        node = nodes.name_of(user)
        if node:
            restriction.check_node(node, new, old)


async def may_create(access: Authorizer, target: Target, request: Request) -> None:
    """A PUT or a PATCH of what is not there creates it, which takes that right, too. ApiError 403."""
    if request.user is not None and request.method != "POST":
        row = target.resource
        asked = Question("create", row.group, row.plural, target.namespace, target.name)
        await access.require(request.user, asked)
