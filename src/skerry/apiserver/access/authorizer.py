"""May this user do this? Administrators, nodes, roles and bindings are asked in this order until one says yes.

Called by app.py for every request, by reviews.py for questions, and by admission.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from skerry.api import status
from skerry.apiserver.access import nodes
from skerry.apiserver.access.rbac import Roles

if TYPE_CHECKING:
    from skerry.api.rbac import Question
    from skerry.api.wire import User
    from skerry.store.base import Store

MASTERS = "system:masters"


class Decision(NamedTuple):
    """`reason` says why it is allowed, or what there is to be said of why it is not."""

    allowed: bool
    reason: str = ""


class Authorizer:
    """`roles` and `nodes` follow the store; nothing is read before the first who is no administrator asks."""

    def __init__(self, store: Store) -> None:
        self.roles = Roles(store)
        self.nodes = nodes.Nodes(store)

    async def decide(self, user: User, asked: Question) -> Decision:
        """The answer, and why."""
        if MASTERS in user.groups:
            return Decision(True)
        said = ""
        node = nodes.name_of(user)
        if node:
            allowed, said = await self.nodes.decide(node, asked)
            if allowed:
                return Decision(True)
        await self.roles.catch_up()
        grants = self.roles.grants(user)
        why = grants.allows(asked)
        if why is not None:
            return Decision(True, why)
        trouble = grants.trouble(asked.namespace)
        return Decision(False, "\n".join(filter(None, (said, f"RBAC: {trouble}" if trouble else ""))))

    async def require(self, user: User, asked: Question) -> None:
        """ApiError 403 if it is not allowed."""
        if MASTERS in user.groups:
            return
        decision = await self.decide(user, asked)
        if not decision.allowed:
            raise refusal(user, asked, decision.reason)


def refusal(user: User, asked: Question, reason: str = "") -> status.ApiError:
    """The 403, as upstream words it."""
    more = f": {reason}" if reason else ""
    if asked.path:
        why = f'User "{user.name}" cannot {asked.verb} path "{asked.path}"{more}'
        return status.ApiError(403, f"forbidden: {why}", details={})
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    why = (
        f'User "{user.name}" cannot {asked.verb} resource "{asked.resource}" in API group "{asked.group}" {where}{more}'
    )
    return status.forbidden(asked.group, asked.resource.partition("/")[0], asked.name, why)
