"""Kinds that kubectl and manifests name and that are not served: a sentence that says so. Called by app and discovery.

kubectl cannot do without some of them: `apply` asks for CustomResourceDefinitions, `apply --prune` and `cluster-info
dump` list workloads and volumes, and all give up if they cannot. These are listed, and always empty. A kind that gets a
row in api.resources leaves this table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry.api import codec, status
from skerry.api.resources import Resource
from skerry.api.wire import Response
from skerry.apiserver import representation
from skerry.apiserver.representation import Form

if TYPE_CHECKING:
    from skerry.api.wire import Request
    from skerry.apiserver.routes import Target


def _listed(kind: str, plural: str, short: tuple[str, ...], group: str = "", **more: Any) -> Resource:
    module = group or "core"
    return Resource(kind, plural, kind.lower(), module, group, short_names=short, verbs=("get", "list"), **more)


_WORKLOAD = "use a Deployment instead"

_INSTEAD: dict[Resource, str] = {
    _listed("ReplicationController", "replicationcontrollers", ("rc",)): _WORKLOAD,
}  # fmt: skip

ROWS = tuple(_INSTEAD)
_BY_PATH = {(one.group, one.version, one.plural): one for one in _INSTEAD}


def find(group: str, version: str, plural: str) -> Resource | None:
    """The row of a kind that is not served, or None if it is served or nobody has heard of it."""
    return _BY_PATH.get((group, version, plural))


def answer(target: Target, request: Request, revision: int) -> Response | None:
    """An empty list. None for a watch: it is as if the kind did not exist. ApiError 404 or 405."""
    row = target.resource
    if request.method in ("GET", "HEAD"):
        if target.name:
            raise status.not_found(row.group, row.plural, target.name)
        if not request.flag("watch"):
            return Response(200, _empty(row, request, revision))
    name = f"{row.plural}.{row.group}" if row.group else row.plural
    raise status.ApiError(405, f"{name} are not served by Skerry: {_INSTEAD[row]}")


def _empty(row: Resource, request: Request, revision: int) -> bytes:
    form = representation.wanted(request.headers.get("accept", ""))
    if form is Form.TABLE:
        return representation.table(row, [], 0, "", revision, "")
    kind, version = f"{row.kind}List", row.api_version
    if form is Form.METADATA:
        kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
    meta = {"resourceVersion": str(revision)}
    return codec.encode({"kind": kind, "apiVersion": version, "metadata": meta, "items": []})
