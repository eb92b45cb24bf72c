"""The scale of a custom object, at the paths that its definition names. Called by app.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry.api import codec, status
from skerry.api.custom import CustomResource
from skerry.api.structural import paths
from skerry.api.types import autoscaling, meta
from skerry.apiserver import known, subresources
from skerry.apiserver.reading import find

if TYPE_CHECKING:
    from skerry.api.unstructured import Unstructured
    from skerry.api.wire import Request, Response
    from skerry.apiserver.routes import Target
    from skerry.apiserver.verbs import Server


def scale_of(obj: Unstructured) -> autoscaling.Scale:
    """ApiError 500 if a path leads to something that is no number."""
    row = obj.row
    assert isinstance(row, CustomResource)
    places = row.scale
    assert places is not None
    found = obj.metadata
    selector = paths.dotted(obj.content, places.label_selector_path) if places.label_selector_path else ""
    return autoscaling.Scale(
        metadata=meta.ObjectMeta(
            name=found.name,
            namespace=found.namespace,
            uid=found.uid,
            resource_version=found.resource_version,
            creation_timestamp=found.creation_timestamp,
        ),
        spec=autoscaling.ScaleSpec(replicas=_number(obj, places.spec_replicas_path)),
        status=autoscaling.ScaleStatus(
            replicas=_number(obj, places.status_replicas_path), selector=selector if isinstance(selector, str) else ""
        ),
    )


def _number(obj: Unstructured, path: str) -> int:
    value = paths.dotted(obj.content, path)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def with_replicas(obj: Unstructured, replicas: int) -> Unstructured:
    """A copy with another number of replicas."""
    row = obj.row
    assert isinstance(row, CustomResource)
    assert row.scale is not None
    made = codec.copy(obj)
    *above, last = row.scale.spec_replicas_path.removeprefix(".").split(".")
    inner: dict[str, Any] = made.content
    for name in above:
        inner = inner.setdefault(name, {})
    inner[last] = replicas
    return made


async def answer(server: Server, target: Target, request: Request) -> Response:
    """get, update and patch. ApiError 500 if the object does not say how many it wants."""
    if request.method == "GET":
        row = target.resource
        assert isinstance(row, CustomResource)
        assert row.scale is not None
        obj = known.typed(row, await find(server.store, target))
        if paths.dotted(obj.content, row.scale.spec_replicas_path) is None:
            text = f'the spec replicas field "{row.scale.spec_replicas_path}" does not exist'
            raise status.ApiError(500, f"Internal error occurred: {text}")
    return await subresources.scale(server, target, request, scale_of, with_replicas)
