"""Who asks, and what they may do. Called by app.py for every request, and by reviews.py.

What they may do is simple so far: whoever may log in may do everything, as upstream with AlwaysAllow. Acting as
somebody else is for administrators only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import status
from skerry.api.wire import User

if TYPE_CHECKING:
    from skerry.api.wire import Request

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
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


def groups(user: User) -> list[str]:
    """All groups of a user, with the one that everybody is in who has logged in."""
    return list(dict.fromkeys((*user.groups, AUTHENTICATED)))
