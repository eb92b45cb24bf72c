"""Request bodies: JSON, YAML or protobuf to a typed object, with upstream's field validation. Called by verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec.structs import replace

from skerry.api import codec, schema, status
from skerry.api.custom import CustomResource
from skerry.api.types import _build
from skerry.api.types.meta import ObjectMeta
from skerry.apiserver import templates

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.api.resources import Resource
    from skerry.api.wire import Request
    from skerry.apiserver.surroundings import Place

_JSON, _YAML, _PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"


class Body(NamedTuple):
    """A typed object and the warnings that reading it gave; what is known of its content, if it may come again."""

    object: Any
    warnings: tuple[str, ...]
    content: templates.Content = templates.UNKNOWN


def content_type(request: Request) -> str:
    """The media type without parameters; JSON if none is given. ApiError 415 for a body that is packed."""
    packed = request.headers.get("content-encoding", "identity").strip().lower()
    if packed not in ("identity", ""):
        raise status.ApiError(415, f"the body of the request must not be packed (Content-Encoding: {packed})")
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() or _JSON


def read(request: Request) -> tuple[str, str, Any, list[str]]:
    """apiVersion, kind, plain value and the duplicate keys of a body. ApiError 400 or 415."""
    kind = content_type(request)
    if kind == _PROTOBUF:
        from skerry.api import protobuf  # only some clients speak it

        try:
            version, named, value = protobuf.decode(request.body)
        except ValueError as error:
            raise status.bad_request(f"the body cannot be decoded as protobuf: {error}") from None
        return version, named, value, []
    duplicates: list[str] = []
    if kind in (_JSON, "text/json"):
        value = json_of(request.body)
        if request.query.get("fieldValidation", "Warn") != "Ignore":
            duplicates = schema.duplicates(request.body, value)
    elif kind in (_YAML, "application/x-yaml", "text/yaml"):
        from skerry.api import yaml

        try:
            value = yaml.load(request.body, duplicates)
        except ValueError as error:
            raise status.bad_request(f"error converting YAML to JSON: {error}") from None
    else:
        raise status.ApiError(
            415,
            "the body of the request was in an unknown format - accepted media types include: "
            f"{_JSON}, {_YAML}, {_PROTOBUF}",
        )
    if not isinstance(value, dict):
        raise status.bad_request("the body of the request is not an object")
    return str(value.get("apiVersion") or ""), str(value.get("kind") or ""), value, duplicates


def json_of(data: bytes) -> Any:
    """JSON as plain values. ApiError 400 if it is none."""
    try:
        return schema.parse(data)
    except ValueError as error:
        raise status.bad_request(f"the body cannot be decoded as JSON: {error}") from None


def typed(
    module: str,
    name: str,
    value: Any,
    request: Request,
    duplicates: list[str],
    refuse: Callable[[str], status.ApiError] | None = None,
) -> Body:
    """The object that a plain value says, unknown and duplicate fields refused, told or ignored as the client asked.

    `refuse` makes the error for a value that does not fit; without it that is upstream's 400 for a body.
    """
    try:
        checked = schema.check(module, name, value)
    except schema.TypeMismatch as error:
        raise refuse(str(error)) if refuse else _unfit(name, value, error) from None
    warnings = _strangers(request, duplicates, checked.unknown, refuse or (lambda text: _unfit(name, value, text)))
    return Body(convert(module, name, checked.value), warnings)


def of_row(
    row: Resource,
    value: Any,
    request: Request,
    duplicates: list[str],
    refuse: Callable[[str], status.ApiError] | None = None,
) -> Body:
    """As `typed`, of a kind that may be a custom one. Its value is taken over, and changed."""
    if not isinstance(row, CustomResource):
        return typed(row.module, row.kind, value, request, duplicates, refuse)
    refuse = refuse or (lambda text: _unfit(row.kind, value, text))
    content = {key: one for key, one in value.items() if key not in ("kind", "apiVersion", "metadata")}
    try:
        checked = schema.check("meta", "ObjectMeta", value.get("metadata") or {})
    except schema.TypeMismatch as error:
        raise refuse(str(error)) from None
    unknown = [f"metadata.{one}" for one in checked.unknown] + row.schema.clean(content)
    warnings = _strangers(request, duplicates, unknown, refuse)
    return Body(row.type(convert("meta", "ObjectMeta", checked.value), content), warnings)


def _strangers(
    request: Request, duplicates: list[str], unknown: list[str], refuse: Callable[[str], status.ApiError]
) -> tuple[str, ...]:
    """The warnings for fields that nobody knows or that are there twice, if they are not refused."""
    found = duplicates + [f'unknown field "{path}"' for path in unknown]
    mode = request.query.get("fieldValidation") or "Warn"
    if found and mode == "Strict":
        raise refuse(f"strict decoding error: {', '.join(found)}")
    if mode not in ("Strict", "Warn", "Ignore"):
        wrong = status.field_not_supported("fieldValidation", mode, ["Ignore", "Strict", "Warn"])
        raise status.invalid("meta.k8s.io", "PatchOptions", "", [wrong])
    return tuple(found) if mode == "Warn" else ()


def convert(module: str, name: str, value: Any) -> Any:
    """A checked plain value as a Struct."""
    try:
        return codec.convert(_build.build(module, name), value)
    except msgspec.ValidationError as error:
        raise _unfit(name, value, error) from None


def _unfit(name: str, value: Any, error: Exception | str) -> status.ApiError:
    return status.bad_request(f"{name} in version {_version(value)} cannot be handled as a {name}: {error}")


def _version(value: Any) -> str:
    version = value.get("apiVersion") if isinstance(value, dict) else ""
    return f'"{str(version or "").rpartition("/")[2]}"'


_PLAIN = frozenset({"Endpoints", "EndpointSlice"})
"""Large, written often, and without amounts or times to bring into their usual form: an object of them is good."""


def object_of(request: Request, resource: Resource, place: Place | None = None) -> Body:
    """The object of the resource's kind in the body; ApiError 400 if it is another.

    `place` of a new one: with it, its content may be `complete`.
    """
    if request.object is not None:
        if resource.kind in _PLAIN and resource.module:
            given = request.object
            return Body(replace(given, metadata=replace(given.metadata)), ())
        request.body = codec.encode(request.object)
    # What is ignored of a body is nothing to learn; a typed object has nothing that could be.
    if (
        request.method == "POST"
        and content_type(request) == _JSON
        and (request.object is not None or request.query.get("fieldValidation", "") in ("", "Warn", "Strict"))
    ):
        cut = templates.cut(resource, request.body)
        if cut is not None:
            return _from_template(request, resource, place, *cut)
    return _whole(request, resource)


def _from_template(
    request: Request, resource: Resource, place: Place | None, key: templates.Key, metadata: bytes
) -> Body:
    """As `_whole`, of an object whose content may be known already."""
    found = templates.find(key, request.body, metadata)
    if found is None:
        body = _whole(request, resource)
        if body.warnings:
            return body
        return body._replace(content=templates.Content(templates.learn(key, body.object), place))
    said = _good(metadata)
    if said is None:
        return _whole(request, resource)  # says what is wrong, and where
    # Whose fields they are can't be seen of a complete one; of what we make ourselves nobody keeps account.
    made = found.completed(place, said) if found.owned is not None or request.shares else None
    if made is not None:
        return Body(made, (), templates.Content(found, place, complete=True))
    made = codec.decode(resource.type, found.clean)
    made.metadata = said
    return Body(made, (), templates.Content(found, place))


_UNTIMED = b'"creationTimestamp":null'
"""What Go's clients say of each new object."""


def _good(metadata: bytes) -> ObjectMeta | None:
    """The metadata of a new object; None if a longer look is needed.

    What reads and writes as itself holds nothing unknown, nothing twice, no null and nothing of another type: it has as
    many colons then as before.
    """
    try:
        said = codec.decode(ObjectMeta, metadata)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if said.creation_timestamp or said.deletion_timestamp or said.managed_fields:
        return None
    if said.generation or said.deletion_grace_period_seconds is not None:
        return None
    if not all(one.api_version and one.kind and one.name and one.uid for one in said.owner_references):
        return None  # these are written even when they are empty
    untimed = metadata.partition(b'"ownerReferences"')[0].count(_UNTIMED)
    return said if untimed < 2 and codec.encode(said).count(b":") + untimed == metadata.count(b":") else None


def _whole(request: Request, resource: Resource) -> Body:
    version, kind, value, duplicates = read(request)
    if kind != resource.kind or version != resource.api_version:
        if not kind and not version:
            value = {**value, "kind": resource.kind, "apiVersion": resource.api_version}
        elif version != resource.api_version and version:
            raise status.bad_request(
                f"the API version in the data ({version}) does not match the expected API version "
                f"({resource.api_version})"
            )
        else:
            raise _another(kind, value, resource.kind)
    value["kind"], value["apiVersion"] = resource.kind, resource.api_version
    return of_row(resource, value, request, duplicates)


def part(request: Request, module: str, name: str) -> Body:
    """The object that a subresource takes; ApiError 400 if it is another. Generated clients leave out what it is."""
    version, kind, value, duplicates = read(request)
    if kind != name and (kind or version):
        raise _another(kind, value, name)
    return typed(module, name, value, request, duplicates)


def _another(kind: str, value: Any, wanted: str) -> status.ApiError:
    return status.bad_request(f"{kind or 'the data'} in version {_version(value)} cannot be handled as a {wanted}")
