"""Who wrote which field: metadata.managedFields of ordinary writes. Called by verbs, which checks and stores them.

As upstream, an object is tracked from its creation on, or from the first time that somebody applies it, and not at all
if neither was so. Objects that the controllers of this process create, and those that are written all the time, begin
untracked; once an object has managedFields, every write to it through the API is tracked, whoever does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from skerry.api import codec, status
from skerry.api.apply import fresh, managed, types
from skerry.api.apply.walk import Unfit
from skerry.api.custom import CustomResource, with_row
from skerry.api.rawfields import UNMANAGED
from skerry.api.unstructured import Unstructured
from skerry.clock import rfc3339

if TYPE_CHECKING:
    from skerry.api.apply.fields import Fields
    from skerry.api.apply.types import Type
    from skerry.api.resources import Resource
    from skerry.api.wire import Request
    from skerry.apiserver.templates import Template

MAX_MANAGER = 128
_RESTLESS = frozenset({"leases", "acknowledgements", "events"})
_SKIPPED = ("kind", "api_version", "metadata")


@dataclass(frozen=True, slots=True)
class Who:
    """Who makes a request. `begins`: an object that it creates is tracked; `shares`: it is part of this process.

    `applied`: the object comes with its managedFields worked out.
    """

    manager: str
    time: str
    subresource: str = ""
    begins: bool = True
    shares: bool = False
    applied: bool = False


def who(request: Request, now: float, subresource: str = "") -> Who:
    """The manager that a request names, or the program that makes it. ApiError 422 for a name that is none."""
    return Who(manager(request), rfc3339(now), subresource, begins=not request.shares, shares=request.shares)


_OPTIONS = {"POST": "CreateOptions", "PUT": "UpdateOptions"}


def manager(request: Request) -> str:
    """The field manager's name."""
    said = request.query.get("fieldManager", "")
    if not said:
        agent = request.headers.get("user-agent", "").partition("/")[0]
        return (agent if agent.isprintable() else "".join(filter(str.isprintable, agent)))[:MAX_MANAGER]
    if len(said.encode()) > MAX_MANAGER:
        wrong = status.field_too_long("fieldManager", MAX_MANAGER)
    elif not said.isprintable():
        wrong = status.field_invalid("fieldManager", said, "should only contain printable characters")
    else:
        return said
    raise status.invalid("meta.k8s.io", _OPTIONS.get(request.method, "PatchOptions"), "", [wrong])


def type_of(row: Resource) -> Type:
    """How a kind's values are merged and owned."""
    return _custom(row) if isinstance(row, CustomResource) else types.of(row.module, row.kind)


@with_row
def _custom(row: CustomResource) -> Type:
    found = row.of_version.schema
    return types.custom(found.open_apiv3_schema if found is not None else None)


@with_row
def empty(row: Resource) -> dict[str, Any]:
    """An object of the kind that says nothing, as plain values; not to be changed."""
    made: dict[str, Any] = codec.plain(row.type())
    return made


@with_row
def ignored(row: Resource, subresource: str) -> Fields:
    """The fields that a write to this part of an object cannot touch."""
    if "status" not in row.subresources or subresource == "scale":
        return {}
    if subresource != "status":
        return {"f:status": {}}
    if issubclass(row.type, Unstructured):
        return {"f:spec": {}}
    out: Fields = {
        f"f:{name}": {} for name in row.type.__struct_encode_fields__ if name not in ("kind", "apiVersion", "metadata")
    }
    out.pop("f:status", None)
    return out | {"f:metadata": {"f:ownerReferences": {}, "f:deletionTimestamp": {}}}


def writer(row: Resource, found: Who) -> managed.Writer:
    """Who writes, for the sets of fields."""
    skipped = ignored(row, found.subresource)
    return managed.Writer(found.manager, row.api_version, found.subresource, found.time, skipped)


def created(row: Resource, obj: Any, found: Who | None, template: Template | None = None) -> None:
    """Gives a new object, with its defaults, its managedFields."""
    meta = obj.metadata
    if found is not None and found.applied:
        return
    said, meta.managed_fields = bytes(meta.managed_fields), UNMANAGED
    if found is None or not found.begins or row.plural in _RESTLESS:
        return
    entries = managed.given(said) if said else None
    try:
        if not entries:
            data = _first(row, obj, writer(row, found), template)
            meta.managed_fields = msgspec.Raw(data) if data else UNMANAGED
            return
        entries = managed.update(type_of(row), entries, empty(row), codec.plain(obj), writer(row, found))
    except Unfit:  # a list with keys has an element without them: it is refused later, or nobody needs to own it
        return
    put(obj, entries)


def _first(row: Resource, obj: Any, who: managed.Writer, template: Template | None) -> bytes:
    kind, nothing = type_of(row), empty(row)
    owned = template.owned if template is not None else None
    if owned is None:
        owned = fresh.content(kind, nothing, codec.plain(obj), who.ignored)
        if template is not None:
            template.owned = owned
    return fresh.entries(kind, nothing, codec.plain(obj.metadata), owned, who)


def changed(row: Resource, new: Any, old: Any, found: Who | None) -> None:
    """Gives an object that takes the place of `old` its managedFields."""
    before: msgspec.Raw = old.metadata.managed_fields
    if found is not None and found.applied:
        return
    said, new.metadata.managed_fields = new.metadata.managed_fields, before.copy() if before else UNMANAGED
    if found is None:
        return
    entries = None
    if said and said != before and not (found.subresource or found.shares):
        data = bytes(said)
        if managed.resets(data):
            new.metadata.managed_fields = UNMANAGED
            return
        entries = managed.given(data) or None
        if entries is not None:
            put(new, entries)
    if entries is None:
        if not before:
            return
        entries = managed.load(bytes(before))
    try:
        left, right = _differing(old, new)
        after = managed.update(type_of(row), entries, left, right, writer(row, found))
    except Unfit:
        return
    if after is not entries:
        put(new, after)


def put(obj: Any, entries: managed.Managed) -> None:
    """Writes entries into an object."""
    data = managed.dump(entries)
    obj.metadata.managed_fields = msgspec.Raw(data) if data else UNMANAGED


def _differing(old: Any, new: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields that differ of two objects, as plain values."""
    left: dict[str, Any] = {"metadata": _metadata(old)}
    right: dict[str, Any] = {"metadata": _metadata(new)}
    if isinstance(new, Unstructured):
        return {**old.content, **left}, {**new.content, **right}
    for name, attribute in zip(new.__struct_encode_fields__, new.__struct_fields__, strict=True):
        if attribute in _SKIPPED:
            continue
        one, other = getattr(old, attribute), getattr(new, attribute)
        if one is other or one == other:
            continue
        for value, out in ((one, left), (other, right)):
            plain = codec.plain(value)
            if plain is not None:
                out[name] = plain
    return left, right


def _metadata(obj: Any) -> dict[str, Any]:
    kept = msgspec.structs.replace(obj.metadata, managed_fields=UNMANAGED, resource_version="", generation=0)
    made: dict[str, Any] = codec.plain(kept)
    return made


def same_but_times(new: msgspec.Raw, old: msgspec.Raw) -> bool:
    """Whether two objects' managedFields differ in nothing but the times of the entries."""
    if new == old:
        return True
    left, right = (managed.load(bytes(one)) for one in (new, old))
    if left.keys() != right.keys():
        return False
    return all(
        one.fields == right[name].fields and one.api_version == right[name].api_version for name, one in left.items()
    )
