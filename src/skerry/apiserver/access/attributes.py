"""What a request asks for, read off its method and URL alone. Called by app.py for every request; pure.

Kinds that are not served are told apart just the same: who may not ask for them is not told that they do not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import labels
from skerry.api.rbac import Question

if TYPE_CHECKING:
    from skerry.api.wire import Request

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NAMESPACE_PARTS = ("status", "finalize")


def question(request: Request) -> Question:
    """The verb and what it is to be done to."""
    path = request.path
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) >= 3:
        group, rest = "", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) >= 4:
        group, rest = parts[1], parts[3:]
    else:
        return Question(request.method.lower(), path=path)
    verb, namespace = _VERBS.get(request.method, ""), ""
    if rest[0] == "namespaces" and len(rest) > 1:
        # A namespace is in itself: who has rights on it there may read it.
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_PARTS:
            rest = rest[2:]
    resource, name = rest[0], rest[1] if len(rest) > 1 else ""
    if len(rest) > 2:
        resource = f"{resource}/{rest[2]}"
    watched = request.flag("watch")
    if verb == "get" and watched and len(rest) <= 2:
        verb = "watch"
    elif not name and verb == "get":
        verb = "list"
    elif not name and verb == "delete":
        verb = "deletecollection"
    if not name and verb in ("list", "watch", "deletecollection"):
        name = _selected(request.query.get("fieldSelector", ""))
    return Question(verb, group, resource, namespace, name)


def _selected(selector: str) -> str:
    """The one name that a field selector leaves."""
    if "metadata.name" not in selector:
        return ""
    try:
        found = labels.parse_fields(selector)
    except ValueError:
        return ""
    return next((one.value for one in found if one.path == "metadata.name" and one.equal), "")
