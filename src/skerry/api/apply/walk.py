"""The walks over plain values that server-side apply is made of: sets of fields and comparison. Pure.

Values are those of JSON; ABSENT is no value at all, which is not the same as null. Nothing given is changed; results
share parts with what was given.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from skerry.api.apply import fields
from skerry.api.apply.fields import Fields
from skerry.api.apply.types import DEDUCED, Type
from skerry.api.patch.base import same


class Unfit(ValueError):
    """A value that its type cannot hold; the text says where and why, as upstream's."""


class _Absent:
    pass


ABSENT: Any = _Absent()


def form(kind: Type, value: Any) -> str:
    """How a value is walked: leaf, map, list or set."""
    match kind.kind:
        case "struct" | "map":
            return "map" if isinstance(value, dict) else "leaf"
        case "list" | "set":
            return kind.kind if isinstance(value, list) else "leaf"
        case "deduced":
            return "map" if isinstance(value, dict) else "leaf"
    return "leaf"


def element(kind: Type, one: Any) -> str:
    """The path element of a list's element. Unfit if it has none."""
    if kind.kind == "set":
        if one is None:
            raise Unfit("associative list without keys has an element that's an explicit null")
        if isinstance(one, dict):
            raise Unfit("associative list without keys has an element that's a map type")
        if isinstance(one, list):
            raise Unfit("not supported: associative list with lists as elements")
        return fields.value(one)
    if one is None:
        raise Unfit("associative list with keys may not have a null element")
    if not isinstance(one, dict):
        raise Unfit("associative list with keys may not have non-map elements")
    names = tuple(key for key in kind.keys if key in one or key in kind.defaults)
    if not names:
        listed = " ".join(f'"{key}"' for key in kind.keys)
        raise Unfit(
            f"associative list with keys has an element that omits all key fields [{listed}] "
            "(and doesn't have default values for any key fields)"
        )
    try:
        return fields.key(names, tuple(one[key] if key in one else kind.defaults[key] for key in names))
    except TypeError:
        raise Unfit("the keys of an element have to be scalars") from None


# Sets.


def owned(kind: Type, value: Any) -> Fields:
    """The set of all fields that a value speaks of: its leaves, elements of lists and keys of maps."""
    return _owned(kind, value) or {}


def _owned(kind: Type, value: Any) -> Fields | None:
    """None where nothing is owned, {} for a leaf."""
    match form(kind, value):
        case "map":
            out: Fields = {}
            for name, one in value.items():
                inner = kind.at(name)
                if inner is None:
                    continue
                below = _owned(inner, one)
                named = name in kind.fields
                if not named or one is None or one == {}:
                    out[f"f:{name}"] = {".": {}, **below} if below else {}
                elif below is not None:
                    out[f"f:{name}"] = below
            return out or None
        case "list" | "set":
            return _owned_elements(kind, value) or None
    if value is None and kind.kind in ("struct", "map", "list", "set", "deduced"):
        return None
    return {}


def _owned_elements(kind: Type, value: list[Any]) -> Fields:
    assert kind.inner is not None
    out: Fields = {}
    twice: set[str] = set()
    for one in value:
        name = element(kind, one)
        if name in out:
            twice.add(name)
        below = _owned(kind.inner, one)
        out[name] = {".": {}, **below} if below else {}
    return out | {name: {} for name in twice}


def named(kind: Type, node: Fields) -> Fields:
    """The set with all fields of structs that lead to members as members too."""
    out: Fields = {}
    for name, one in node.items():
        if not one:
            out[name] = one
            continue
        below: Type = DEDUCED
        is_field = False
        if name[0] == "f" and kind.kind in ("struct", "map", "deduced"):
            is_field = name[2:] in kind.fields
            below = kind.at(name[2:]) or DEDUCED
        elif name[0] == "k" and kind.kind == "list":
            assert kind.inner is not None
            below = kind.inner
        made = named(below, one)
        out[name] = {".": {}, **made} if is_field and "." not in made else made
    return out


# Comparison.


class Comparison(NamedTuple):
    """What changed from one value to another; no field is in two of the three."""

    removed: Fields
    modified: Fields
    added: Fields

    def __bool__(self) -> bool:
        return bool(self.removed or self.modified or self.added)


class _Found:
    """Three nodes of sets, filled on the way."""

    __slots__ = ("added", "modified", "removed")

    def __init__(self) -> None:
        self.removed: Fields = {}
        self.modified: Fields = {}
        self.added: Fields = {}


def compare(kind: Type, old: Any, new: Any) -> Comparison:
    """What of a value is new, changed or gone. Unfit if elements of a list cannot be told apart."""
    found = _Found()
    _compare_maps(kind, old, new, found)
    return Comparison(found.removed, found.modified, found.added)


def _compare(kind: Type, name: str, old: Any, new: Any, out: _Found) -> None:
    """Two values that are both there."""
    if old is new or (old == new and (kind is not DEDUCED or same(old, new))):
        return
    shape, before = form(kind, new), form(kind, old)
    if not old and not new:
        shape = before = "leaf"
    elif old is None or new is None:
        shape = before = before if new is None else shape
        old = old if old is not None else ({} if shape == "map" else [])
        new = new if new is not None else ({} if shape == "map" else [])
    if shape != before or shape == "leaf":
        out.modified[name] = {}
        return
    found = _Found()
    if shape == "map":
        _compare_maps(kind, old, new, found)
    else:
        _compare_lists(kind, old, new, found)
    if found.removed:
        out.removed[name] = found.removed
    if found.modified:
        out.modified[name] = found.modified
    if found.added:
        out.added[name] = found.added


def _compare_maps(kind: Type, old: dict[str, Any], new: dict[str, Any], out: _Found) -> None:
    for name, one in new.items():
        inner = kind.at(name)
        if inner is None:
            continue
        if name in old:
            _compare(inner, f"f:{name}", old[name], one, out)
        else:
            out.added[f"f:{name}"] = whole(inner, one)
    for name, one in old.items():
        if name not in new:
            inner = kind.at(name)
            if inner is not None:
                out.removed[f"f:{name}"] = whole(inner, one)


def _compare_lists(kind: Type, old: list[Any], new: list[Any], out: _Found) -> None:
    assert kind.inner is not None
    before, after = _elements(kind, old), _elements(kind, new)
    for name in before | after:
        left, right = before.get(name, []), after.get(name, [])
        if len(left) <= 1 and len(right) <= 1:
            if left and right:
                _compare(kind.inner, name, left[0], right[0], out)
            elif right:
                out.added[name] = whole(kind.inner, right[0])
            else:
                out.removed[name] = whole(kind.inner, left[0])
        elif len(left) > 1 and len(right) > 1:
            if not same(left, right):
                out.modified[name] = {}
        elif len(left) > 1:
            out.removed[name] = {}
            if right:
                out.added[name] = whole(kind.inner, right[0])
        else:
            if left:
                out.removed[name] = whole(kind.inner, left[0])
            out.added[name] = {}


def _elements(kind: Type, value: list[Any]) -> dict[str, list[Any]]:
    out: dict[str, list[Any]] = {}
    for one in value:
        out.setdefault(element(kind, one), []).append(one)
    return out


def whole(kind: Type, value: Any) -> Fields:
    """The node of a value with everything in it a member, structs too."""
    match form(kind, value):
        case "map" if value:
            out: Fields = {".": {}}
            for name, one in value.items():
                inner = kind.at(name)
                if inner is not None:
                    out[f"f:{name}"] = whole(inner, one)
            return out
        case "list" | "set" if value:
            assert kind.inner is not None
            out = {".": {}}
            for one in value:
                name = element(kind, one)
                out[name] = {} if name in out else whole(kind.inner, one)
            return out
    return {}
