"""Which resource a URL means. Called by app.py; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from skerry.api import resources

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.api.resources import Resource

    Find = Callable[[str, str, str], Resource | None]


class Target(NamedTuple):
    """A collection (no name), an object, or a part of one; `rest` is what follows the subresource."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""


def parse(path: str, find: Find = resources.by_path) -> Target | None:
    """The target of a path below /api or /apis; None if nothing is served there. `find` has the kinds that count."""
    parts = list(filter(None, path.split("/")))
    count = len(parts)
    if count >= 3 and parts[0] == "api":
        group, version, parts = "", parts[1], parts[2:]
    elif count >= 4 and parts[0] == "apis":
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if parts[0] == "namespaces" and len(parts) >= 3 and not _of_namespace(group, version, parts[2]):
        namespace, parts = parts[1], parts[2:]
    resource = find(group, version, parts[0])
    if resource is None or (namespace and not resource.namespaced):
        return None
    if len(parts) < 2:
        return Target(resource, namespace)
    if resource.namespaced and not namespace:
        return None
    if len(parts) < 3:
        return Target(resource, namespace, parts[1])
    if parts[2] not in resource.subresources:
        return None
    return Target(resource, namespace, parts[1], parts[2], "/".join(parts[3:]))


def _of_namespace(group: str, version: str, part: str) -> bool:
    """Whether /namespaces/NAME/part is a part of the Namespace itself."""
    row = resources.by_path(group, version, "namespaces")
    return row is not None and part in row.subresources
