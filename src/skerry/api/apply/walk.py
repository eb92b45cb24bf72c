"""The walks over plain values that server-side apply is made of: sets of fields, comparison, merge, removal. Pure.

Values are those of JSON; ABSENT is no value at all, which is not the same as null. Nothing given is changed; results
share parts with what was given.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from skerry.api.apply import fields
from skerry.api.apply.fields import Fields
from skerry.api.apply.types import BOOLEAN, DEDUCED, NUMERIC, STRING, Type
from skerry.api.patch.base import same


class Unfit(ValueError):
    """A value that its type cannot hold; the text says where and why, as upstream's."""


class _Absent:
    pass


ABSENT: Any = _Absent()


def _form(kind: Type, value: Any) -> str:
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


# Checking.


def check(kind: Type, value: Any) -> None:
    """Unfit with all that is wrong with a value that is to be applied: unknown fields, types, keys."""
    found: list[str] = []
    _check(kind, value, (), found)
    if found:
        raise Unfit(found[0] if len(found) == 1 else "\n".join(["errors:", *(f"  {one}" for one in found)]))


def _check(kind: Type, value: Any, at: tuple[str, ...], found: list[str]) -> None:
    def wrong(text: str, *below: str) -> None:
        where = fields.shown((*at, *below))
        found.append(f"{where}: {text}" if where else text)

    if value is None or kind is DEDUCED:
        return
    match kind.kind:
        case "scalar":
            if text := _misfit(kind, value):
                wrong(text)
        case "atomic":
            if not isinstance(value, list if kind.accepts == "list" else dict):
                wrong(f"expected {kind.accepts}, got {_go(value)}")
        case "struct" | "map":
            if not isinstance(value, dict):
                wrong(f"expected map, got {_go(value)}")
                return
            for name, one in value.items():
                inner = kind.at(name)
                if inner is None:
                    wrong("field not declared in schema", f"f:{name}")
                else:
                    _check(inner, one, (*at, f"f:{name}"), found)
        case "list" | "set":
            if not isinstance(value, list):
                wrong(f"expected list, got {_go(value)}")
                return
            _check_list(kind, value, at, found)


def _check_list(kind: Type, value: list[Any], at: tuple[str, ...], found: list[str]) -> None:
    seen: set[str] = set()
    where = fields.shown(at)
    assert kind.inner is not None
    for index, one in enumerate(value):
        try:
            name = element(kind, one)
        except Unfit as error:
            found.append(f"{where}: element {index}: {error}")
            return
        if name in seen:
            found.append(f"{where}: duplicate entries for key {fields.shown((name,))}")
        seen.add(name)
        _check(kind.inner, one, (*at, name), found)


def _misfit(kind: Type, value: Any) -> str:
    if kind is STRING and not isinstance(value, str):
        return f"expected string, got &value.valueUnstructured{{Value:{_go(value)}}}"
    if kind is NUMERIC and (isinstance(value, bool) or not isinstance(value, int | float)):
        return f"expected numeric (int or float), got {_go_type(value)}"
    if kind is BOOLEAN and not isinstance(value, bool):
        return f"expected boolean, got &{{{_go(value)}}}"
    if isinstance(value, dict | list):
        return f"expected any scalar, got &{{{_go(value)}}}"
    return ""


def _go(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _go_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    return "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"


# Sets.


def owned(kind: Type, value: Any) -> Fields:
    """The set of all fields that a value speaks of: its leaves, elements of lists and keys of maps."""
    return _owned(kind, value) or {}


def _owned(kind: Type, value: Any) -> Fields | None:
    """None where nothing is owned, {} for a leaf."""
    match _form(kind, value):
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
    form, before = _form(kind, new), _form(kind, old)
    if not old and not new:
        form = before = "leaf"
    elif old is None or new is None:
        form = before = before if new is None else form
        old = old if old is not None else ({} if form == "map" else [])
        new = new if new is not None else ({} if form == "map" else [])
    if form != before or form == "leaf":
        out.modified[name] = {}
        return
    found = _Found()
    if form == "map":
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
    match _form(kind, value):
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


# Merging.


def merge(kind: Type, old: Any, new: Any) -> Any:
    """`old` with all that `new` says; nothing is removed. Lists keep their order, or take that of `new`."""
    if new is ABSENT:
        return old
    if old is ABSENT or old is None:
        return new
    form, before = _form(kind, new), _form(kind, old)
    if new is None and kind.kind in ("struct", "map", "list", "set"):
        return old if old else None
    if form != before or form == "leaf" or (not old and not new):
        return new
    if form == "map":
        out = dict(old)
        for name, one in new.items():
            inner = kind.at(name) or DEDUCED
            out[name] = merge(inner, old.get(name, ABSENT), one)
        return out
    return _merge_lists(kind, old, new)


def _merge_lists(kind: Type, old: list[Any], new: list[Any]) -> list[Any]:
    assert kind.inner is not None
    ours = [element(kind, one) for one in old]
    theirs = [element(kind, one) for one in new]
    wanted = dict(zip(theirs, new, strict=True))
    known: dict[str, Any] = {}
    for name, one in zip(ours, old, strict=True):
        known[name] = ABSENT if name in known else one  # what is there twice is not merged, but replaced
    shared = [name for name in theirs if name in known]
    out: list[Any] = []
    done: set[str] = set()

    def put(name: str) -> None:
        assert kind.inner is not None
        out.append(merge(kind.inner, known.get(name, ABSENT), wanted[name]))
        done.add(name)
        if shared and shared[0] == name:
            shared.pop(0)

    left = right = 0
    while left < len(ours) or right < len(theirs):
        if left < len(ours):
            name = ours[left]
            if right < len(theirs):
                if name == theirs[right]:
                    put(name)
                    left, right = left + 1, right + 1
                    continue
                if name in wanted and shared and shared[0] != name:
                    left += 1  # comes when it is its turn in the new order
                    continue
            if name not in wanted:
                out.append(old[left])
                left += 1
                continue
            if name in done:
                left += 1
        if right < len(theirs):
            put(theirs[right])
            right += 1
    return out


# Removal.


def remove(kind: Type, value: Any, items: Fields) -> Any:
    """The value without the members of a set; what lost everything is null."""
    form = _form(kind, value)
    if form == "map":
        out = {}
        for name, one in value.items():
            node = items.get(f"f:{name}")
            if node is None:
                out[name] = one
            elif not fields.has(node):
                out[name] = remove(kind.at(name) or DEDUCED, one, node)
        return out or None
    if form in ("list", "set"):
        assert kind.inner is not None
        left = []
        for one in value:
            node = items.get(element(kind, one))
            if node is None:
                left.append(one)
            elif not fields.has(node):
                left.append(remove(kind.inner, one, node))
        return left or None
    return None if isinstance(value, dict | list) else value
