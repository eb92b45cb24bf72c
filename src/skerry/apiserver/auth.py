"""Who asks: tokens, certificates, nobody, and whom they act as. Called by app.py and edge.py for every request.

What they may do is in access/.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from skerry.api import status
from skerry.api.rbac import Question
from skerry.api.wire import User

if TYPE_CHECKING:
    from skerry.api.wire import Request
    from skerry.apiserver.access.authorizer import Authorizer

AUTHENTICATED, UNAUTHENTICATED = "system:authenticated", "system:unauthenticated"
ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))
"""Who shows nothing at all. (Who shows something wrong is refused.)"""
CREDENTIAL = "authentication.kubernetes.io/credential-id"
_ACCOUNT, _ACCOUNTS = "system:serviceaccount:", "system:serviceaccounts"
_AUTHENTICATION = "authentication.k8s.io"
_AS, _GROUP, _UID, _EXTRA = "impersonate-user", "impersonate-group", "impersonate-uid", "impersonate-extra-"


@functools.lru_cache(256)
def logged_in(user: User) -> User:
    """The user with the group that everybody is in who has logged in."""
    if AUTHENTICATED in user.groups or user.name == ANONYMOUS.name:
        return user
    return replace(user, groups=(*user.groups, AUTHENTICATED))


def account(namespace: str, name: str, uid: str, extra: dict[str, tuple[str, ...]]) -> User:
    """The user that a service account is."""
    return User(f"{_ACCOUNT}{namespace}:{name}", (_ACCOUNTS, f"{_ACCOUNTS}:{namespace}"), uid, extra)


def of_certificate(subject: Any, der: bytes) -> User | None:
    """Whom a client certificate that the cluster's authority signed stands for: CN is the user, each O a group.

    `subject` as Python's ssl gives it. None without a name.
    """
    fields = [pair for part in subject for pair in part]
    name = next((value for key, value in fields if key == "commonName"), "")
    if not name:
        return None
    groups = tuple(value for key, value in fields if key == "organizationName")
    return logged_in(User(name, groups, extra={CREDENTIAL: (f"X509SHA256={hashlib.sha256(der).hexdigest()}",)}))


async def acting(request: Request, user: User, access: Authorizer) -> User:
    """Whom `user` acts as in this request: itself, or who the Impersonate headers name. ApiError 400 or 403."""
    headers = request.headers
    name = headers.get(_AS, "")
    if not name:
        if any(one.startswith("impersonate-") for one in headers):
            raise status.bad_request("groups, uids and extras can be impersonated together with a user only")
        return user
    groups = tuple(part.strip() for part in headers.get(_GROUP, "").split(",") if part.strip())
    uid = headers.get(_UID, "")
    extra = {
        unquote(key[len(_EXTRA) :]).lower(): tuple(part.strip() for part in value.split(","))
        for key, value in headers.items()
        if key.startswith(_EXTRA)
    }
    namespace, own = _account_of(name)
    if own:
        await access.require(user, Question("impersonate", "", "serviceaccounts", namespace, own))
    else:
        await access.require(user, Question("impersonate", "", "users", "", name))
    for group in groups:
        await access.require(user, Question("impersonate", "", "groups", "", group))
    if uid:
        await access.require(user, Question("impersonate", _AUTHENTICATION, "uids", "", uid))
    for key, values in extra.items():
        for value in values:
            await access.require(user, Question("impersonate", _AUTHENTICATION, f"userextras/{key}", "", value))
    if own and not groups:
        groups = (_ACCOUNTS, f"{_ACCOUNTS}:{namespace}")
    if name == ANONYMOUS.name:
        return User(name, groups if UNAUTHENTICATED in groups else (*groups, UNAUTHENTICATED), uid, extra)
    return logged_in(User(name, groups, uid, extra))


def _account_of(name: str) -> tuple[str, str]:
    """Namespace and name of the service account that a user name means; "" if it means none."""
    namespace, colon, own = name.removeprefix(_ACCOUNT).partition(":")
    if not name.startswith(_ACCOUNT) or not (namespace and colon and own) or ":" in own:
        return "", ""
    return namespace, own
