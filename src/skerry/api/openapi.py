"""What the API serves, as OpenAPI: made from the rows of resources.py and the table of types when first asked for.

Called by the API server for /openapi/v3 and /openapi/v2. What kubectl does with it (seen with 1.32 to 1.37):

- `create -f`, `apply`, `edit`: the PATCH operation of the object's kind must have a query parameter `fieldValidation`,
  else kubectl checks the fields itself; that asks for /openapi/v3 and then the group's document, both as JSON.
- `apply`, `diff`: the PATCH operation must take `application/strategic-merge-patch+json`; merge keys and strategies
  come from the schemas. A field with a struct is an `allOf` with one reference, as upstream writes it.
- `explain`: finds the kind by the GET of its paths, the schema by its group, version and kind, and walks references.
- A body of kind `List` is always checked against /openapi/v2, read as protobuf only (openapi_v2pb.py).

Texts that describe fields are left out: they are upstream's, and nobody but `explain` shows them.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry import KUBERNETES
from skerry.api import codec, openapi_custom
from skerry.api.custom import CustomResource, kept
from skerry.api.resources import RESOURCES, Resource
from skerry.api.types import _build

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_PATCH = f"{_META}.Patch"
_TEXT = {"type": "string"}
_SCALARS: dict[str, dict[str, Any]] = {
    "str": _TEXT,
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
}
# Scalars that have a name of their own: the name, its schema in version 3, and in version 2, which has no oneOf.
_DATE = {"type": "string", "format": "date-time"}
_NAMED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "Time": (f"{_META}.Time", _DATE, _DATE),
    "MicroTime": (f"{_META}.MicroTime", _DATE, _DATE),
    "Duration": (f"{_META}.Duration", _TEXT, _TEXT),
    "Quantity": (
        "io.k8s.apimachinery.pkg.api.resource.Quantity",
        {"oneOf": [{"type": "string"}, {"type": "number"}]},
        _TEXT,
    ),
    "IntOrString": (
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
        {"type": "string", "format": "int-or-string"},
    ),
    "Raw": ("io.k8s.apimachinery.pkg.runtime.RawExtension", {"type": "object"}, {"type": "object"}),
    "FieldsV1": (f"{_META}.FieldsV1", {"type": "object"}, {"type": "object"}),
    "Patch": (_PATCH, {"type": "object"}, {"type": "object"}),
    # Refers to itself: see openapi_custom.document.
    "JSONSchemaProps": (openapi_custom.PROPS, openapi_custom.props("#/components/schemas/"), openapi_custom.props("")),
}


Rows = tuple[CustomResource, ...]


@kept
def v3_index(served: Rows = ()) -> bytes:
    """The body of /openapi/v3: where each group's document is. The hash changes when any of them may have."""
    paths = {}
    for row in (*RESOURCES, *served):
        path = f"apis/{row.group}/{row.version}" if row.group else f"api/{row.version}"
        there = [one for one in served if (one.group, one.version) == (row.group, row.version)]
        # A hash of a document that has custom kinds must not come back when a definition changes.
        mark = hashlib.sha256("".join(_revision(one) for one in there).encode()).hexdigest().upper() if there else ""
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={mark or _hash()}"}
    return codec.encode({"paths": paths})


def _revision(row: CustomResource) -> str:
    found = row.definition.metadata
    return f"{found.uid} {found.generation} {row.definition.status.accepted_names} {row.version}"


@kept
def v3_group(group: str, version: str, served: Rows = ()) -> bytes | None:
    """The document of one group and version; None if it is not served."""
    rows = [row for row in (*RESOURCES, *served) if (row.group, row.version) == (group, version)]
    if not rows:
        return None
    writer = _Writer("#/components/schemas/")
    paths = _paths(rows, writer)
    return codec.encode(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": KUBERNETES},
            "paths": paths,
            "components": {"schemas": writer.schemas()},
        }
    )


@kept
def v2_document(served: Rows = ()) -> dict[str, Any]:
    """The one document of OpenAPI version 2."""
    writer = _Writer("#/definitions/")
    paths = _paths((*RESOURCES, *served), writer)
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": KUBERNETES},
        "paths": paths,
        "definitions": writer.schemas(),
    }


@kept
def v2(served: Rows = ()) -> bytes:
    """The body of /openapi/v2 as JSON."""
    return codec.encode(v2_document(served))


@kept
def v2_protobuf(served: Rows = ()) -> bytes:
    """The body of /openapi/v2 as `application/com.github.proto-openapi.spec.v2@v1.0+protobuf`."""
    from skerry.api import openapi_v2pb

    return openapi_v2pb.document(v2_document(served))


@functools.cache
def _hash() -> str:
    from skerry import __version__

    facts = (Path(_build.__file__).parent / "table.json").read_bytes() + repr((RESOURCES, __version__)).encode()
    return hashlib.sha256(facts).hexdigest().upper()


# Schemas.


class _Writer:
    """Schemas of the structs that are asked for, and of all that those refer to."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.v3 = prefix.startswith("#/components")
        self._wanted: dict[str, tuple[str, str]] = {}  # by full name, the module and struct ("" and the scalar's key)
        self._lists: dict[str, Resource] = {}
        self._customs: dict[str, CustomResource] = {}

    def reference(self, module: str, name: str) -> dict[str, Any]:
        """A reference to a struct, whose schema will be among schemas()."""
        full = f"{_build.table()[module].definitions}.{name}"
        self._wanted[full] = (module, name)
        return {"$ref": self.prefix + full}

    def scalar(self, key: str) -> dict[str, Any]:
        """A reference to a scalar that has a name."""
        full = _NAMED[key][0]
        self._wanted[full] = ("", key)
        return {"$ref": self.prefix + full}

    def kind(self, row: Resource) -> dict[str, Any]:
        """A reference to a kind, built-in or custom."""
        if not isinstance(row, CustomResource):
            return self.reference(row.module, row.kind)
        full = openapi_custom.name(row, row.kind)
        self._customs[full] = row
        return {"$ref": self.prefix + full}

    def list_of(self, row: Resource) -> dict[str, Any]:
        """A reference to the list of a kind."""
        if isinstance(row, CustomResource):
            full = openapi_custom.name(row, row.list_kind)
        else:
            full = f"{_build.table()[row.module].definitions}.{row.kind}List"
        self._lists[full] = row
        return {"$ref": self.prefix + full}

    def schemas(self) -> dict[str, Any]:
        """Everything referred to so far, by full name."""
        out: dict[str, Any] = {full: self._list(row) for full, row in self._lists.items()}
        for full, row in self._customs.items():
            out[full] = openapi_custom.schema(row, self._inner("meta.ObjectMeta"), v3=self.v3)
            out[full][_GVK] = [_gvk(row, row.kind)]
        while missing := [full for full in self._wanted if full not in out]:
            for full in missing:
                module, name = self._wanted[full]
                out[full] = self._struct(module, name) if module else _NAMED[name][1 if self.v3 else 2]
        return dict(sorted(out.items()))

    def _list(self, row: Resource) -> dict[str, Any]:
        items = self.kind(row)
        made: dict[str, Any] = {
            "apiVersion": _TEXT,
            "items": {"type": "array", "items": {"allOf": [items]} if self.v3 else items},
            "kind": _TEXT,
            "metadata": self._inner("meta.ListMeta"),
        }
        return {"type": "object", "required": ["items"], "properties": made, _GVK: [_gvk(row, row.list_kind)]}

    def _struct(self, module: str, name: str) -> dict[str, Any]:
        content = _build.table()[module]
        rows = _build.fields(module, name)
        fields = {one.json: self._field(one) for one in rows}
        is_kind = name in content.kinds
        if is_kind:
            fields["apiVersion"] = fields["kind"] = _TEXT
        out: dict[str, Any] = {"type": "object"}
        if fields:
            out["properties"] = dict(sorted(fields.items()))
        if required := [one.json for one in rows if "r" in one.flags]:
            out["required"] = required
        if name in content.atomic:
            out["x-kubernetes-map-type"] = "atomic"
        if is_kind:
            out[_GVK] = [{"group": content.group, "kind": name, "version": content.version}]
        return out

    def _field(self, one: _build.Field) -> dict[str, Any]:
        out = self._type("FieldsV1" if one.json == "fieldsV1" else one.type)
        if one.keys == ["set"]:
            out["x-kubernetes-list-type"] = "set"
        elif one.keys:
            out |= {"x-kubernetes-list-map-keys": one.keys, "x-kubernetes-list-type": "map"}
        elif "a" in one.flags:
            out[f"x-kubernetes-{'list' if one.type.startswith('[]') else 'map'}-type"] = "atomic"
        elif "g" in one.flags:
            out["x-kubernetes-map-type"] = "granular"
        words = one.patch.split(",") if one.patch else []
        if strategies := [word for word in words if word in ("merge", "replace", "retainKeys")]:
            out["x-kubernetes-patch-strategy"] = ",".join(strategies)
        if keys := [word for word in words if word not in ("merge", "replace", "retainKeys")]:
            out["x-kubernetes-patch-merge-key"] = keys[0]
        return out

    def _type(self, entry: str) -> dict[str, Any]:
        if entry.startswith("items:"):
            return self._type(entry[6:])
        if entry.startswith("[]"):
            return {"type": "array", "items": self._type(entry[2:])}
        if entry.startswith("map:"):
            return {"type": "object", "additionalProperties": self._type(entry[4:])}
        if entry in _SCALARS:
            return dict(_SCALARS[entry])
        return self._inner(entry)

    def _inner(self, entry: str) -> dict[str, Any]:
        """A reference where a field or an element has it: version 3 allows nothing beside a bare one."""
        to = self.reference(*entry.split(".", 1)) if "." in entry else self.scalar(entry)
        return {"allOf": [to]} if self.v3 else to


# Paths.

_GVK = "x-kubernetes-group-version-kind"
_PATCHES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_WRITING = (("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"))
_LISTING = (
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
)
_DELETING = (("dryRun", "string"), ("gracePeriodSeconds", "integer"), ("propagationPolicy", "string"))
_SELECTING = tuple(one for one in _LISTING if one[0] not in ("allowWatchBookmarks", "watch"))
# x-kubernetes-action: the HTTP method, the operation's first word, its query parameters
_ACTIONS: dict[str, tuple[str, str, tuple[tuple[str, str], ...]]] = {
    "get": ("get", "read", ()),
    "list": ("get", "list", _LISTING),
    "post": ("post", "create", _WRITING),
    "put": ("put", "replace", _WRITING),
    "patch": ("patch", "patch", (*_WRITING, ("force", "boolean"))),
    "delete": ("delete", "delete", _DELETING),
    "deletecollection": ("delete", "delete", (*_SELECTING, *_DELETING)),
}
_VERBS = {"create": "post", "update": "put"}  # where a verb of the API has another name as an action
# The parts of a kind: what each takes and returns (module, kind; the kind itself if empty) and its actions.
_PARTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "status": ("", "", ("get", "put", "patch")),
    "finalize": ("", "", ("put",)),
    "scale": ("autoscaling", "Scale", ("get", "put", "patch")),
    "binding": ("core", "Binding", ("post",)),
    "eviction": ("policy", "Eviction", ("post",)),
    "ephemeralcontainers": ("", "", ("get", "put", "patch")),
}


@dataclass(frozen=True)
class _Spot:
    """One path: of all objects everywhere, of a namespace, of one object, of a part of one object."""

    path: str
    actions: tuple[str, ...]
    row: Resource
    part: str = ""


def _spots(row: Resource) -> Iterator[_Spot]:
    actions = [_VERBS.get(verb, verb) for verb in row.verbs if verb != "watch"]
    many = tuple(one for one in actions if one in ("list", "post", "deletecollection"))
    single = tuple(one for one in actions if one not in many)
    if row.namespaced and "list" in many:
        yield _Spot(row.path(), ("list",), row)
    namespace = "{namespace}" if row.namespaced else ""
    yield _Spot(row.path(namespace), many, row)
    yield _Spot(row.path(namespace, "{name}"), single, row)
    for part in row.subresources:
        if part in _PARTS:
            yield _Spot(row.path(namespace, "{name}", part), _PARTS[part][2], row, part)


def _paths(rows: Iterable[Resource], writer: _Writer) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for row in rows:
        for spot in _spots(row):
            made: dict[str, Any] = {_ACTIONS[one][0]: _operation(spot, one, writer) for one in spot.actions}
            named = [one for one in ("namespace", "name") if f"{{{one}}}" in spot.path]
            if named:
                made["parameters"] = [_parameter("path", one, "string", writer) | {"required": True} for one in named]
            out[spot.path] = made
    return out


def _parameter(where: str, name: str, kind: str, writer: _Writer) -> dict[str, Any]:
    schema = {"type": kind, "uniqueItems": True}
    return {"in": where, "name": name, **({"schema": schema} if writer.v3 else schema)}


def _gvk(row: Resource, kind: str) -> dict[str, str]:
    return {"group": row.group, "kind": kind, "version": row.version}


def _operation(spot: _Spot, action: str, writer: _Writer) -> dict[str, Any]:
    row = spot.row
    _, _, query = _ACTIONS[action]
    module, kind, _ = _PARTS.get(spot.part, ("", "", ()))
    own = not module
    returned = writer.kind(row) if own else writer.reference(module, kind)
    gvk = _gvk(row, row.kind)
    if not own:
        content = _build.table()[module]
        gvk = {"group": content.group, "kind": kind, "version": content.version}
    if action == "list":
        returned = writer.list_of(row)
    elif action == "deletecollection" or (action == "delete" and not row.returns_deleted):
        returned = writer.reference("meta", "Status")
    out: dict[str, Any] = {
        "tags": [f"{_group_word(row).lower()}_{row.version}"],
        "operationId": _operation_id(spot, action),
        "parameters": [_parameter("query", name, type_, writer) for name, type_ in query],
        "x-kubernetes-action": action,
        _GVK: gvk,
    }
    body: dict[str, Any] | None = None
    consumes: tuple[str, ...] = ("*/*",)
    if action == "patch":
        body, consumes = writer.scalar("Patch"), _PATCHES[: 2 if isinstance(row, CustomResource) else None]
    elif action in ("delete", "deletecollection"):
        body = writer.reference("meta", "DeleteOptions")
    elif action in ("post", "put"):
        body = returned
    if writer.v3:
        if body is not None:
            out["requestBody"] = {"content": {one: {"schema": body} for one in consumes}}
        out["responses"] = {"200": {"description": "OK", "content": {"application/json": {"schema": returned}}}}
    else:
        out |= {"consumes": list(consumes), "produces": ["application/json"]}
        if body is not None:
            required = action in ("post", "put", "patch")
            out["parameters"].append({"in": "body", "name": "body", "required": required, "schema": body})
        out["responses"] = {"200": {"description": "OK", "schema": returned}}
    return out


def _group_word(row: Resource) -> str:
    return (row.group or "core").split(".")[0].capitalize()


def _operation_id(spot: _Spot, action: str) -> str:
    """As upstream's generated clients know it: listCoreV1NamespacedPod, replaceAppsV1NamespacedDeploymentScale."""
    row = spot.row
    collection = "Collection" if action == "deletecollection" else ""
    scope = "Namespaced" if "{namespace}" in spot.path else ""
    everywhere = "ForAllNamespaces" if action == "list" and row.namespaced and not scope else ""
    start = f"{_ACTIONS[action][1]}{_group_word(row)}{row.version.capitalize()}"
    return f"{start}{collection}{scope}{row.kind}{spot.part.capitalize()}{everywhere}"
