"""PATCH: JSON patches, merge patches and strategic ones; what applies goes to applying.py. Called by app.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from skerry.api import codec, schema, status
from skerry.api import patch as patches
from skerry.api.custom import CustomResource
from skerry.api.unstructured import Unstructured
from skerry.apiserver import applying, bodies, verbs

if TYPE_CHECKING:
    from collections.abc import Collection

    from skerry.api.wire import Request, Response
    from skerry.apiserver.routes import Target
    from skerry.apiserver.verbs import Server

PATCHES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
}
APPLY = "application/apply-patch+yaml"


async def patch(server: Server, target: Target, request: Request) -> Response:
    row = target.resource
    media = bodies.content_type(request)
    if media == APPLY:
        return await applying.apply(server, target, request)
    kind = PATCHES.get(media)
    custom = isinstance(row, CustomResource)
    if kind is None or (custom and kind == "strategic"):
        known_types = [one for one, name in PATCHES.items() if not (custom and name == "strategic")]
        raise status.ApiError(
            415,
            "the body of the request was in an unknown format - accepted media types include: "
            + ", ".join((*known_types, APPLY)),
        )
    if "force" in request.query:
        wrong = status.field_forbidden("force", "may not be specified for non-apply patch")
        raise status.invalid("meta.k8s.io", "PatchOptions", "", [wrong])
    document = bodies.json_of(request.body)
    ignored = request.query.get("fieldValidation") == "Ignore"
    duplicates = [] if ignored else schema.duplicates(request.body, document)
    told: list[str] = []

    def apply(old: Any) -> Any:
        # What a merge does not speak of need be neither read nor checked.
        names = _spoken_of(document, old) if kind != "json" else None
        before = codec.plain(old) if names is None else _part(old, names)
        after = patched(row.module, row.kind, before, kind, document)
        after["kind"], after["apiVersion"] = row.kind, row.api_version

        def refuse(text: str) -> status.ApiError:
            return _unfit(kind, document, after if names is None else {**codec.plain(old), **after}, text)

        made = bodies.of_row(row, after, request, duplicates, refuse)
        told[:] = made.warnings
        if names is not None:
            _keep(made.object, old, names.values(), shared=target.subresource == "status")
        return made.object

    who = verbs.writer(server, request, target.subresource)
    record, warnings = await verbs.change(
        server, target, apply, dry=verbs.dry(request), unconditional=False, request=request, who=who
    )
    return verbs.answer(server, target, request, record, 200, *told, *warnings)


def _spoken_of(document: Any, old: Any) -> dict[str, str] | None:
    """JSON name -> attribute of the object's fields in a merge patch; None if it has directives for the whole."""
    whole = isinstance(old, Unstructured)
    if whole or not isinstance(document, dict) or any(name.startswith("$") for name in document):
        return None
    fields = zip(old.__struct_encode_fields__, old.__struct_fields__, strict=True)
    return {name: attribute for name, attribute in fields if name in document}


def _part(old: Any, names: dict[str, str]) -> dict[str, Any]:
    """Some fields of an object as plain values, those left out that its JSON would leave out."""
    part = type(old)(**{attribute: getattr(old, attribute) for attribute in names.values()})
    return {name: value for name, value in codec.plain(part).items() if name in names}


def _keep(new: Any, old: Any, changed: Collection[str], *, shared: bool) -> None:
    """Gives `new` all of `old` but the attributes that were changed; `shared`: the rest will not be touched."""
    source = old if shared else codec.copy(old)
    for name in new.__struct_fields__:
        if name not in changed:
            kept = getattr(source, name)
            setattr(new, name, replace(kept) if name == "metadata" else kept)


def patched(module: str, name: str, before: Any, kind: str, document: Any) -> Any:
    """A plain value with a patch applied. ApiError 400 or 422 if it cannot be."""
    try:
        if kind == "json":
            after = patches.json_patch(before, document)
        elif not isinstance(document, dict):
            raise status.bad_request("the patch is not an object")
        elif kind == "merge":
            after = patches.merge(before, document)
        else:
            after = patches.strategic(module, name, before, document)
    except patches.PatchError as error:
        if error.code != 422:
            raise status.ApiError(error.code, str(error)) from None
        raise _refused(str(error)) from None
    if not isinstance(after, dict):
        raise _refused("the patch leaves no object")
    return after


def _refused(why: str) -> status.ApiError:
    """A patch that does not apply: upstream's message, which does not say why, and why."""
    return status.ApiError(422, f"the server rejected our request due to an error in our request: {why}")


def _unfit(kind: str, document: Any, after: Any, text: str) -> status.ApiError:
    """A patch after which the object has unknown fields or wrong types."""
    shown = patches.shown(document) if kind == "strategic" else codec.encode(after).decode()
    return status.invalid("", "", "", [status.field_invalid("patch", shown, text)])
