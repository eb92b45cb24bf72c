"""Who asks, and what they may do. Called by app.py for every request, and by reviews.py.

What they may do is simple so far: whoever may log in may do everything, as upstream with AlwaysAllow. Acting as
somebody else is for administrators only, and what a node's parts have done is told by that node alone: others rely on
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import status
from skerry.api.wire import User
from skerry.apiserver import bodies

if TYPE_CHECKING:
    from skerry.api.wire import Request
    from skerry.apiserver.routes import Target

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
_NODE, _NODES = "system:node:", "system:nodes"
_ACKNOWLEDGEMENTS = ("skerry.dev", "acknowledgements")
_WRITES = ("create", "update", "patch", "delete", "deletecollection")
_ACCOUNT, _ACCOUNTS = "system:serviceaccount:", "system:serviceaccounts"
_AS, _GROUP, _UID = "impersonate-user", "impersonate-group", "impersonate-uid"


def acting(request: Request, user: User) -> User:
    """Whom `user` acts as in this request: itself, or who the Impersonate headers name. ApiError 400 or 403."""
    headers = request.headers
    name = headers.get(_AS, "")
    if not name:
        if any(one.startswith("impersonate-") for one in headers):
            raise status.bad_request("groups, uids and extras can be impersonated together with a user only")
        return user
    if MASTERS not in user.groups:
        why = f'User "{user.name}" cannot impersonate resource "users" in API group "" at the cluster scope'
        raise status.forbidden("", "users", name, why)
    groups = tuple(part.strip() for part in headers.get(_GROUP, "").split(",") if part.strip())
    return User(name, groups or _own_groups(name), headers.get(_UID, ""))


def _own_groups(name: str) -> tuple[str, ...]:
    """The groups that a service account is in by its name; none for others."""
    namespace, colon, account = name.removeprefix(_ACCOUNT).partition(":")
    if not name.startswith(_ACCOUNT) or not (namespace and colon and account):
        return ()
    return (_ACCOUNTS, f"{_ACCOUNTS}:{namespace}")


def refusal(user: User, verb: str, group: str, plural: str, name: str) -> str:
    """Why a user may not do this to an object; "" if it may."""
    if (group, plural) != _ACKNOWLEDGEMENTS or verb not in _WRITES or MASTERS in user.groups:
        return ""
    node = user.name.removeprefix(_NODE)
    if _NODES in user.groups and node != user.name and name.rpartition(".")[0] == node:
        return ""
    return (
        f'User "{user.name}" cannot {verb} resource "{plural}" in API group "{group}" at the cluster scope: '
        "a node tells of its own parts, and nobody else does"
    )


def require(request: Request, target: Target, verb: str) -> None:
    """ApiError 403 if who asks may not."""
    row, user = target.resource, request.user
    if (row.group, row.plural) != _ACKNOWLEDGEMENTS or verb not in _WRITES or user is None:
        return
    name = target.name
    if verb == "create":
        _, _, value, _ = bodies.read(request)
        named = value.get("metadata") if isinstance(value, dict) else None
        name = str(named.get("name", "")) if isinstance(named, dict) else ""
    why = refusal(user, verb, row.group, row.plural, name)
    if why:
        raise status.forbidden(row.group, row.plural, name, why)


def groups(user: User) -> list[str]:
    """All groups of a user, with the one that everybody is in who has logged in."""
    return list(dict.fromkeys((*user.groups, AUTHENTICATED)))
