"""PATCH with application/apply-patch+yaml: server-side apply. Called by patching.patch and by subresources.scale.

What is to be decided is in api/apply; here it is read, created or changed, and stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from skerry.api import codec, schema, status
from skerry.api.apply import applying, managed
from skerry.api.apply.walk import Unfit
from skerry.api.patch.base import copied
from skerry.api.rawfields import UNMANAGED
from skerry.apiserver import bodies, metadata, tracking, verbs
from skerry.apiserver.access import admission

if TYPE_CHECKING:
    from skerry.api.wire import Request, Response
    from skerry.apiserver.routes import Target
    from skerry.apiserver.tracking import Who
    from skerry.apiserver.verbs import Server
    from skerry.apiserver.webhooks.admitting import View
    from skerry.store.base import Record


_ATTEMPTS = 5


class Wanted(NamedTuple):
    """What somebody applies, who that is, and what its client is to be told."""

    config: dict[str, Any]
    who: Who
    force: bool
    warnings: tuple[str, ...]


def read(server: Server, request: Request, subresource: str) -> Wanted:
    """The body and the options of a request. ApiError 400 or 422."""
    if not request.query.get("fieldManager"):
        wrong = status.field_required("fieldManager", "is required for apply patch")
        raise status.invalid("meta.k8s.io", "PatchOptions", "", [wrong])
    who = tracking.who(request, server.clock.now(), subresource)
    mode = request.query.get("fieldValidation") or "Warn"
    if mode not in ("Strict", "Warn", "Ignore"):
        wrong = status.field_not_supported("fieldValidation", mode, ["Ignore", "Strict", "Warn"])
        raise status.invalid("meta.k8s.io", "PatchOptions", "", [wrong])
    config, duplicates = _parse(request.body)
    if duplicates and mode == "Strict":
        raise status.bad_request(f"error strict decoding patch: {', '.join(duplicates)}")
    said = config.get("metadata")
    if isinstance(said, dict):
        if said.get("managedFields") is not None:
            raise status.bad_request("metadata.managedFields must be nil")
        config = {**config, "metadata": {key: one for key, one in said.items() if key != "managedFields"}}
    force = request.flag("force")
    return Wanted(config, _applied(who), force, tuple(duplicates) if mode == "Warn" else ())


def _applied(who: Who) -> Who:
    return tracking.Who(who.manager, who.time, who.subresource, applied=True)


def _parse(body: bytes) -> tuple[dict[str, Any], list[str]]:
    duplicates: list[str] = []
    try:
        if body.lstrip()[:1] == b"{":
            try:
                value = schema.parse(body)
                duplicates = schema.duplicates(body, value)
                return value, duplicates
            except ValueError:
                pass  # YAML in braces, or a mistake that YAML's reader tells of
        from skerry.api import yaml  # most clients send JSON

        value = yaml.load(body, duplicates)
    except ValueError as error:
        raise status.bad_request(f"error decoding patch: {error}") from None
    if not isinstance(value, dict):
        raise status.bad_request("error decoding patch: the patch is not an object")
    return value, duplicates


def _is_kind(target: Target, config: dict[str, Any]) -> None:
    """ApiError 400 if the patch is of another kind."""
    row = target.resource
    version, kind = config.get("apiVersion"), config.get("kind")
    if (version, kind) != (row.api_version, row.kind):
        group, slash, text = str(version or "").rpartition("/")
        raise status.bad_request(f"invalid object type: {group if slash else ''}/{text}, Kind={kind or ''}")


async def apply(server: Server, target: Target, request: Request) -> Response:
    wanted = read(server, request, target.subresource)
    _is_kind(target, wanted.config)
    record, code, warnings = await into(server, target, request, wanted)
    return verbs.answer(server, target, request, record, code, *wanted.warnings, *warnings)


async def into(
    server: Server, target: Target, request: Request, wanted: Wanted, view: View | None = None
) -> tuple[Record, int, list[str]]:
    """Applies to the object of a URL, which is made if it is not there; the record, the HTTP status, warnings.

    `view`: see verbs.change.
    """
    row, dry = target.resource, verbs.dry(request)
    key = row.key(target.namespace, target.name)

    def make(old: Any) -> Any:
        made = _combined(target, request, wanted, old)
        metadata.place(made.metadata, row, target.namespace)
        return made

    for attempt in range(_ATTEMPTS):
        if target.subresource or await server.store.get(key) is not None:
            try:
                record, warnings = await verbs.change(
                    server, target, make, dry=dry, request=request, who=wanted.who,
                    as_subresource="" if target.subresource == "scale" else None, view=view,
                )  # fmt: skip
                return record, 200, warnings
            except status.ApiError as error:
                if not status.is_not_found(error) or target.subresource or attempt == _ATTEMPTS - 1:
                    raise
                continue
        await admission.may_create(server.access, target, request)
        obj = _combined(target, request, wanted, None)
        found = obj.metadata
        if found.uid:
            why = f"uid mismatch: the provided object specified uid {found.uid}, and no existing object was found"
            raise status.conflict(row.group, row.plural, target.name, why)
        metadata.place(found, row, target.namespace)
        found.name = found.name or target.name
        if found.name != target.name:
            raise status.bad_request(
                f"the name of the object ({found.name}) does not match the name on the URL ({target.name})"
            )
        found.generate_name = ""
        try:
            record, warnings = await verbs.insert(server, target, obj, dry=dry, request=request, who=wanted.who)
        except status.ApiError as error:
            if not status.is_already_exists(error) or attempt == _ATTEMPTS - 1:
                raise
            continue
        return record, 201, warnings
    raise AssertionError


def _combined(target: Target, request: Request, wanted: Wanted, old: Any | None) -> Any:
    """The object with what is wanted applied, its managedFields worked out. ApiError 400 or 409."""
    row = target.resource

    def typed(value: Any) -> Any:
        value = {**copied(value), "kind": row.kind, "apiVersion": row.api_version}
        return bodies.of_row(row, value, request, []).object

    live, entries = None, {}
    if old is not None:
        kept = msgspec.structs.replace(old.metadata, managed_fields=UNMANAGED)
        live = codec.plain(codec.replace(old, metadata=kept))
        entries = managed.load(bytes(old.metadata.managed_fields))
    applier = applying.Applier(tracking.type_of(row), tracking.empty(row), lambda value: codec.plain(typed(value)))
    try:
        done = applying.apply(
            applier, live, wanted.config, entries, tracking.writer(row, wanted.who), force=wanted.force
        )
    except Unfit as error:
        where = f"{target.namespace}/{target.name}; {row.group}/{row.version}, Kind={row.kind}"
        raise status.bad_request(f"failed to create typed patch object ({where}): {error}") from None
    except applying.Conflicts as error:
        raise status.ApiError(409, str(error), details={"causes": error.causes()}) from None
    made = typed(done.value)
    tracking.put(made, done.managed)
    return made
