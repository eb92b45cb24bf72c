"""Parts of objects that have verbs of their own: scale, binding. Called by app.py; eviction.py has the eviction.

status and finalize go the ordinary way of verbs.update and patching.patch: the kind's strategy knows what counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry.api import codec, labels, status, tables
from skerry.api.custom import CustomResource
from skerry.api.types import autoscaling, core, meta
from skerry.api.wire import Response
from skerry.apiserver import applying, bodies, patching, representation, tracking, verbs
from skerry.apiserver.reading import find
from skerry.apiserver.webhooks.admitting import View
from skerry.apiserver.webhooks.matching import CREATE
from skerry.clock import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.api.wire import Request
    from skerry.apiserver.routes import Target
    from skerry.apiserver.verbs import Server
    from skerry.store.base import Record


_SCALE = ("autoscaling", "v1", "Scale")


def _done(warnings: tuple[str, ...]) -> Response:
    value = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    return Response(201, codec.encode(value), warnings=warnings)


def scale_of(obj: Any) -> autoscaling.Scale:
    """The Scale of a Deployment or ReplicaSet."""
    return autoscaling.Scale(
        metadata=meta.ObjectMeta(
            name=obj.metadata.name,
            namespace=obj.metadata.namespace,
            uid=obj.metadata.uid,
            resource_version=obj.metadata.resource_version,
            creation_timestamp=obj.metadata.creation_timestamp,
        ),
        spec=autoscaling.ScaleSpec(replicas=obj.spec.replicas or 0),
        status=autoscaling.ScaleStatus(
            replicas=obj.status.replicas, selector=labels.text(labels.from_selector(obj.spec.selector))
        ),
    )


def _with_replicas(obj: Any, replicas: int) -> Any:
    obj = codec.copy(obj)
    obj.spec.replicas = replicas
    return obj


async def scale(
    server: Server,
    target: Target,
    request: Request,
    read: Callable[[Any], autoscaling.Scale] = scale_of,
    write: Callable[[Any, int], Any] = _with_replicas,
) -> Response:
    """get, update and patch of a scale; `read` and `write` know where the object has it."""
    form = representation.wanted(request.headers.get("accept", ""))

    def answer(record: Record, warnings: tuple[str, ...] = ()) -> Response:
        found = read(verbs.load(target.resource, record))
        body = tables.scale(found, server.clock.now()) if form is representation.Form.TABLE else found
        return Response(200, codec.encode(body), warnings=warnings)

    if request.method == "GET":
        return answer(await find(server.store, target))
    warnings: tuple[str, ...] = ()
    view = View(_SCALE, read, lambda obj, found: write(obj, found.spec.replicas))
    if request.method == "PATCH" and bodies.content_type(request) == patching.APPLY:
        record, warnings = await _apply_scale(server, target, request, view)
        return answer(record, warnings)
    if request.method == "PUT":
        body = bodies.part(request, "autoscaling", "Scale")
        wanted, warnings = body.object, body.warnings

        def decide(found: autoscaling.Scale) -> autoscaling.Scale:
            asked: autoscaling.Scale = wanted or found
            return asked

    elif request.method == "PATCH":
        kind_of_patch = patching.PATCHES.get(bodies.content_type(request), "merge")
        document = bodies.json_of(request.body)

        def decide(found: autoscaling.Scale) -> autoscaling.Scale:
            after = patching.patched("autoscaling", "Scale", codec.plain(found), kind_of_patch, document)
            asked: autoscaling.Scale = bodies.typed("autoscaling", "Scale", after, request, []).object
            return asked

    else:
        raise status.ApiError(405, "the server does not allow this method on the requested resource")

    def make(obj: Any) -> Any:
        found = read(obj)
        asked = decide(found)
        if asked.spec.replicas < 0:
            path, detail = "spec.replicas", "must be greater than or equal to 0"
            error = status.field_invalid(path, asked.spec.replicas, detail)
            raise status.invalid("autoscaling", "Scale", target.name, [error])
        obj = write(obj, asked.spec.replicas)
        obj.metadata.resource_version = asked.metadata.resource_version if request.method == "PUT" else ""
        return obj

    who = tracking.who(request, server.clock.now(), "scale")
    record, told = await verbs.change(
        server, target, make, dry=verbs.dry(request), as_subresource="", view=view, request=request, who=who
    )
    return answer(record, (*warnings, *told))


async def _apply_scale(server: Server, target: Target, request: Request, view: View) -> tuple[Record, tuple[str, ...]]:
    """Applies a Scale: its replicas are a field of the object, which may have other owners."""
    wanted = applying.read(server, request, "scale")
    version, kind = wanted.config.get("apiVersion"), wanted.config.get("kind")
    if (version, kind) != ("autoscaling/v1", "Scale"):
        raise status.bad_request(f"invalid object type: {version or ''}, Kind={kind or ''}")
    spec = wanted.config.get("spec")
    row = target.resource
    custom = row.scale if isinstance(row, CustomResource) else None
    path = custom.spec_replicas_path if custom is not None else ".spec.replicas"
    config: Any = spec.get("replicas") if isinstance(spec, dict) else None
    for name in reversed(path.strip(".").split(".")):
        config = {name: config}
    record, _, told = await applying.into(server, target, request, wanted._replace(config=config), view)
    return record, (*wanted.warnings, *told)


async def bind(server: Server, target: Target, request: Request) -> Response:
    """Gives a pod its node. ApiError 409 if it has one or is being deleted."""
    sent, dry = bodies.part(request, "core", "Binding").object, verbs.dry(request)
    binding: core.Binding
    binding, warnings = await server.webhooks.shown(CREATE, target, request, sent, ("", "v1", "Binding"), dry=dry)
    node = binding.target.name
    if not node:
        errors = [status.field_required("target.name")]
        raise status.invalid("", "Binding", target.name, errors)

    def make(pod: core.Pod) -> core.Pod:
        if pod.metadata.deletion_timestamp:
            why = f"pod {target.name} is being deleted, cannot be assigned to a host"
            raise status.conflict("", "pods/binding", target.name, why)
        if pod.spec.node_name:
            raise status.conflict(
                "", "pods/binding", target.name, f'pod {target.name} is already assigned to node "{pod.spec.node_name}"'
            )
        pod = codec.copy(pod)
        pod.spec.node_name = node
        pod.metadata.annotations.update(binding.metadata.annotations)
        scheduled = core.PodCondition(
            type="PodScheduled", status="True", last_transition_time=rfc3339(server.clock.now())
        )
        pod.status.conditions = [one for one in pod.status.conditions if one.type != "PodScheduled"] + [scheduled]
        pod.metadata.resource_version = ""
        return pod

    await verbs.change(server, target, make, dry=dry, as_subresource="binding")
    return _done(warnings)
