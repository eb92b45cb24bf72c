"""delete and deletecollection: grace periods, finalizers and propagation. Called by app.py.

An object with finalizers or a grace period is only marked; it goes when the last of them is gone (verbs.finished).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry.api import codec, status
from skerry.api.numerals import whole
from skerry.api.types import core, meta, scheduling
from skerry.api.wire import Response
from skerry.apiserver import bodies, known, metadata, priorities, strategies
from skerry.apiserver.reading import find, select
from skerry.apiserver.routes import Target
from skerry.apiserver.selection import Selection
from skerry.apiserver.verbs import answer, dry, finished, gone, load, settled, stored
from skerry.apiserver.webhooks.matching import DELETE
from skerry.clock import rfc3339
from skerry.store.base import Conflict, Record

if TYPE_CHECKING:
    from skerry.api.resources import Resource
    from skerry.api.wire import Request
    from skerry.apiserver.verbs import Server

_ATTEMPTS = 20
_IMMORTAL = ("default", "kube-public", "kube-system")
_POLICIES = ("Foreground", "Background", "Orphan")
_FOREGROUND, _ORPHAN = "foregroundDeletion", "orphan"


def options_of(request: Request) -> meta.DeleteOptions:
    """DeleteOptions from the body and, where it says nothing, from the query. ApiError 400 or 422."""
    options = meta.DeleteOptions()
    if request.body.strip():
        _, kind, value, _ = bodies.read(request)
        if kind not in ("", "DeleteOptions"):
            raise status.bad_request(f"the body of a deletion must be DeleteOptions, not {kind}")
        options = bodies.convert("meta", "DeleteOptions", value)
    query = request.query
    if options.grace_period_seconds is None and query.get("gracePeriodSeconds", ""):
        text = query["gracePeriodSeconds"]
        seconds = whole(text.removeprefix("-"))
        if seconds is None:
            raise status.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
        options.grace_period_seconds = -seconds if text[0] == "-" else seconds
    options.propagation_policy = options.propagation_policy or query.get("propagationPolicy") or None
    if options.orphan_dependents is None and query.get("orphanDependents"):
        options.orphan_dependents = request.flag("orphanDependents")
    policy, errors = options.propagation_policy, []
    if policy not in (None, *_POLICIES):
        errors.append(status.field_not_supported("propagationPolicy", policy, _POLICIES))
    elif policy is not None and options.orphan_dependents is not None:
        said = "orphanDependents and deletionPropagation cannot be both set"
        errors.append(status.field_invalid("propagationPolicy", policy, said))
    if options.dry_run not in ([], ["All"]):
        errors.append(status.field_not_supported("dryRun", options.dry_run, ["All"]))
    if errors:
        raise status.invalid("meta.k8s.io", "DeleteOptions", "", errors)
    if options.grace_period_seconds is not None and options.grace_period_seconds < 0:
        options.grace_period_seconds = 1
    return options


async def delete(server: Server, target: Target, request: Request) -> Response:
    options = options_of(request)
    without = dry(request) or options.dry_run == ["All"]
    record, gone, warnings = await remove(server, target, options, dry=without, request=request)
    if not gone or target.resource.returns_deleted:
        return answer(server, target, request, record, 200, *warnings)
    return Response(200, codec.encode(_success(target.resource, load(target.resource, record))), warnings=warnings)


async def delete_collection(server: Server, target: Target, request: Request) -> Response:
    """Deletes what the selectors select; the list of what was there."""
    options = options_of(request)
    without = dry(request) or options.dry_run == ["All"]
    row = target.resource
    records, revision, _, _ = await select(server, target, Selection(row, request.query), request.query)
    for record in records:
        obj = load(row, record)
        one = Target(row, obj.metadata.namespace, obj.metadata.name)
        try:
            await remove(server, one, options, dry=without, request=request)
        except status.ApiError as error:
            if not status.is_not_found(error):
                raise
    head = f'{{"kind":"{row.list_kind}","apiVersion":"{row.api_version}","metadata":{{"resourceVersion":"{revision}"}}'
    items = b",".join(known.value(row, record) for record in records)
    return Response(200, head.encode() + b',"items":[' + items + b"]}")


async def remove(
    server: Server,
    target: Target,
    options: meta.DeleteOptions,
    *,
    dry: bool = False,
    request: Request | None = None,
) -> tuple[Record, bool, tuple[str, ...]]:
    """Deletes or marks one object; its last record, whether it is gone, and warnings.

    `request`: of the one who deletes it, None for the server.
    """
    row, strategy = target.resource, strategies.of(target.resource)
    wanted = options.preconditions or meta.Preconditions()
    if options.propagation_policy is None and options.orphan_dependents is None:
        options.propagation_policy = strategy.default_propagation() or None
    for _ in range(_ATTEMPTS):
        current = await find(server.store, target)
        obj = load(row, current)
        if isinstance(obj, core.Namespace) and target.name in _IMMORTAL:
            raise status.forbidden("", row.plural, target.name, "this namespace may not be deleted")
        if isinstance(obj, scheduling.PriorityClass):
            priorities.refuse_deletion(target.name)
        metadata.check_preconditions(obj, row, wanted.uid or "", wanted.resource_version or "")
        warnings = await _shown(server, target, options, obj, request, dry=dry)
        if not mark(obj, row, options, strategy.default_delete_grace(obj), server.clock.now()):
            return current, False, warnings
        if dry:
            return current, finished(obj), warnings
        try:
            if finished(obj):
                return await gone(server, row, obj, current), True, warnings
            obj.metadata.resource_version = ""
            record = await stored(server.store.update(current.key, known.encoded(row, obj), current.revision))
            await settled(server, row)
            return record, False, warnings
        except Conflict:
            continue
    raise status.conflict(row.group, row.plural, target.name)


async def _shown(
    server: Server, target: Target, options: meta.DeleteOptions, obj: Any, request: Request | None, *, dry: bool
) -> tuple[str, ...]:
    """What webhooks say of a deletion. ApiError if one refuses it."""
    said = codec.plain(options)
    hooks = await server.webhooks.begin(DELETE, target, request, dry=dry, options=said)
    if hooks is None:
        return ()
    old = codec.plain(obj)
    await hooks.mutate(None, old)
    await hooks.validate(None, old)
    return tuple(hooks.warnings)


def mark(obj: Any, row: Resource, options: meta.DeleteOptions, default_grace: int, now: float) -> bool:
    """Writes the deletion into an object's metadata; False if that changes nothing.

    A second deletion may only shorten the grace period.
    """
    found: meta.ObjectMeta = obj.metadata
    grace = default_grace
    if options.grace_period_seconds is not None and default_grace:
        grace = options.grace_period_seconds
    finalizers = list(found.finalizers)
    policy = options.propagation_policy or ("Orphan" if options.orphan_dependents else None)
    if policy in ("Foreground", "Orphan"):
        chosen, other = (_FOREGROUND, _ORPHAN) if policy == "Foreground" else (_ORPHAN, _FOREGROUND)
        finalizers = [one for one in finalizers if one != other]
        if chosen not in finalizers:
            finalizers.append(chosen)
    elif policy == "Background" and not found.deletion_timestamp:
        finalizers = [one for one in finalizers if one not in (_FOREGROUND, _ORPHAN)]
    changed = finalizers != found.finalizers
    found.finalizers = finalizers
    if not found.deletion_timestamp:
        found.deletion_timestamp = rfc3339(now + grace)
        found.deletion_grace_period_seconds = grace
        if row.generation:
            found.generation += 1
        if isinstance(obj, core.Namespace):
            obj.status.phase = "Terminating"
        return True
    if grace < (found.deletion_grace_period_seconds or 0):
        found.deletion_timestamp = rfc3339(now + grace)
        found.deletion_grace_period_seconds = grace
        return True
    return changed or finished(obj)


def _success(row: Resource, obj: Any) -> dict[str, Any]:
    details = {"name": obj.metadata.name, "kind": row.plural, "uid": obj.metadata.uid}
    if row.group:
        details["group"] = row.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
