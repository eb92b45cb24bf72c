"""Upstream's strategic merge patch: a merge patch that knows from the table of types how lists are merged.

A list whose row says `merge,KEY` is merged element by element by that key; `merge` alone is a set of scalars; every
other list is replaced. Directives inside the patch:

    $patch: replace | delete          in an object, or in an element of a merged list
    $deleteFromPrimitiveList/FIELD    elements to take out of a set of scalars
    $setElementOrder/FIELD            the order of a merged list (by key, or of the scalars)
    $retainKeys                       the fields of an object that may stay
"""

from __future__ import annotations

import functools
from typing import Any

from skerry.api.patch.base import PatchError, copied, shown
from skerry.api.types import _build

_PATCH, _RETAIN = "$patch", "$retainKeys"
_DELETE, _ORDER = "$deleteFromPrimitiveList", "$setElementOrder"

_STRATEGIES = ("merge", "replace", "retainKeys")
_BAD_PRIMITIVES = "invalid patch format of primitive list"
_BAD_RETAIN = "invalid patch format of retainKeys"
_BAD_ORDER = "invalid patch format of setElementOrder list"

# Where in the table a value is: the type of an object's fields, of a map's values, or nothing (free-form).
_Entry = str


def strategic(module: str, name: str, document: dict[str, Any], patch: Any) -> dict[str, Any]:
    """The object of the struct `name` of `module` with the patch merged in. PatchError if the patch is malformed."""
    if not isinstance(patch, dict):
        raise PatchError("invalid JSON document")
    return _merge_map(copied(document), copied(patch), f"{module}.{name}")


@functools.cache
def _rows(module: str, name: str) -> dict[str, tuple[_Entry, bool, str, bool]]:
    """Of each field by its JSON name: its type, whether it is merged, its merge key, whether it is replaced whole."""
    out = {}
    for one in _build.fields(module, name):
        words = one.patch.split(",") if one.patch else []
        keys = [word for word in words if word not in _STRATEGIES]
        out[one.json] = (one.type, "merge" in words, keys[0] if keys else "", "replace" in words)
    return out


def _row(entry: _Entry, key: str) -> tuple[_Entry, bool, str, bool]:
    if entry.startswith("map:"):
        return entry[4:], False, "", False
    if "." in entry:
        return _rows(*entry.split(".", 1)).get(key, ("", False, "", False))
    return "", False, "", False


def _merge_map(old: dict[str, Any], patch: dict[str, Any], entry: _Entry) -> dict[str, Any]:
    """`old` with `patch` merged in; both are ours to change."""
    if _PATCH in patch:
        return _whole(patch)
    _retain(old, patch)
    _ordered_lists(old, patch, entry)
    for name, value in patch.items():
        deleting = name.startswith(_DELETE)
        key = _after(name, _DELETE, _BAD_PRIMITIVES) if deleting else name
        if value is None:
            old.pop(key, None)
        elif deleting:
            _take_out(old, key, value)
        elif key in old:
            _merge_field(old, key, value, entry)
        else:
            _take_over(old, key, value)
    return old


def _whole(patch: dict[str, Any]) -> dict[str, Any]:
    directive = patch.pop(_PATCH)
    if directive == "replace":
        return patch
    if directive == "delete":
        return {}
    raise PatchError(f"unknown patch type: {shown(directive)} in map: {shown({_PATCH: directive, **patch})}")


def _retain(old: dict[str, Any], patch: dict[str, Any]) -> None:
    if _RETAIN not in patch:
        return
    kept = patch.pop(_RETAIN)
    if not isinstance(kept, list):
        raise PatchError(_BAD_RETAIN)
    for key, value in patch.items():
        if value is not None and not key.startswith((_DELETE, _ORDER)) and key not in kept:
            raise PatchError(_BAD_RETAIN)
    for key in [key for key in old if key not in kept]:
        del old[key]


def _after(name: str, prefix: str, error: str) -> str:
    """The field that a directive such as $setElementOrder/FIELD speaks of."""
    head, slash, field = name.partition("/")
    if head != prefix or not slash:
        raise PatchError(error)
    return field


def _take_out(old: dict[str, Any], key: str, values: Any) -> None:
    if not isinstance(values, list):
        raise PatchError(_BAD_PRIMITIVES)
    if isinstance(old.get(key), list):
        gone = set(map(_identity, values))
        old[key] = [one for one in old[key] if _identity(one) not in gone]


def _take_over(old: dict[str, Any], key: str, value: Any) -> None:
    """A value that the old object has no counterpart for: without nulls and directives."""
    if isinstance(value, dict) and _PATCH in value:
        old.pop(key, None)
    else:
        old[key] = _clean(value)


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _clean(one)
            for key, one in value.items()
            if one is not None
            and not (isinstance(one, dict) and _PATCH in one)
            and not key.startswith((_DELETE, _ORDER, _RETAIN))
        }
    if isinstance(value, list):
        return [_clean(one) for one in value if not (isinstance(one, dict) and _PATCH in one)]
    return value


def _merge_field(old: dict[str, Any], key: str, value: Any, entry: _Entry) -> None:
    inner, merges, merge_key, replaces = _row(entry, key)
    before = old[key]
    if isinstance(before, dict) and isinstance(value, dict):
        old[key] = value if replaces else _merge_map(before, value, inner)
    elif isinstance(before, list) and isinstance(value, list):
        old[key] = _merge_list(before, value, inner[2:], merge_key) if merges else value
    else:
        _take_over(old, key, value)


# Lists.


def _identity(value: Any) -> Any:
    """A hashable stand-in for a scalar, in which true is not 1."""
    if isinstance(value, dict | list):
        raise PatchError("list element types are not identical")
    return isinstance(value, bool), value


def _key(one: Any, merge_key: str) -> Any:
    """What tells an element from the others: the value of its merge key, or the scalar itself."""
    if not merge_key:
        return _identity(one)
    if not isinstance(one, dict):
        raise PatchError(f"expected a map[string]interface {{}}, but received a {shown(one)}")
    if merge_key not in one:
        raise PatchError(f"map: {shown(one)} does not contain declared merge key: {merge_key}")
    return _identity(one[merge_key])


def _merge_list(old: list[Any], patch: list[Any], entry: _Entry, merge_key: str) -> list[Any]:
    """Two merged lists as one, in the order of the patch where it speaks of an element, else in the old order."""
    if not merge_key:
        merged = list({_key(one, ""): one for one in old + patch}.values())
        return _ordered(merged, patch, old, "")
    if any(isinstance(one, list) for one in old + patch):
        raise PatchError("lists of lists are not supported", 422)
    old, patch = _directed(old, patch, merge_key)
    merged = list(old)
    places = _places(old, merge_key)
    for one in patch:
        at = places.setdefault(_key(one, merge_key), len(merged))
        if at == len(merged):
            merged.append(one)
        else:
            merged[at] = _merge_map(merged[at], one, entry)
    return _ordered(merged, patch, old, merge_key)


def _directed(old: list[Any], patch: list[Any], merge_key: str) -> tuple[list[Any], list[Any]]:
    """The two lists after the `$patch` elements of the patch have done their work."""
    rest, replaces = [], False
    for one in patch:
        directive = one.get(_PATCH) if isinstance(one, dict) else None
        if directive is None:
            rest.append(one)
        elif directive == "delete":
            gone = _key(one, merge_key)
            old = [had for had in old if merge_key not in had or _key(had, merge_key) != gone]
        elif directive == "replace":
            replaces = True
        elif directive == "merge":
            raise PatchError("merging lists cannot yet be specified in the patch")
        else:
            raise PatchError(f"unknown patch type: {shown(directive)} in map: {shown(one)}")
    return (rest, []) if replaces else (old, rest)


def _ordered(merged: list[Any], wanted: list[Any], before: list[Any], merge_key: str) -> list[Any]:
    """The elements that `wanted` names in its order, the others in the order of `before`, interleaved as they were."""
    want = _places(wanted, merge_key)
    had = _places(before, merge_key)
    keyed = [(_key(one, merge_key), one) for one in merged]
    ours = sorted((pair for pair in keyed if pair[0] in want), key=lambda pair: want[pair[0]])
    theirs = sorted((pair for pair in keyed if pair[0] not in want), key=lambda pair: had.get(pair[0], len(had)))
    out, at = [], 0
    for key, one in ours:
        while at < len(theirs) and key in had and had.get(theirs[at][0], len(had)) < had[key]:
            out.append(theirs[at][1])
            at += 1
        out.append(one)
    return out + [one for _, one in theirs[at:]]


def _places(order: list[Any], merge_key: str) -> dict[Any, int]:
    places: dict[Any, int] = {}
    for at, one in enumerate(order):
        places.setdefault(_key(one, merge_key), at)
    return places


def _ordered_lists(old: dict[str, Any], patch: dict[str, Any], entry: _Entry) -> None:
    """Merges the lists that a $setElementOrder speaks of, and takes both out of the patch."""
    for name in [name for name in patch if name.startswith(_ORDER)]:
        order = patch.pop(name)
        key = _after(name, _ORDER, _BAD_ORDER)
        before, change = old.get(key), patch.get(key)
        for one in (order, before, change):
            if not isinstance(one, list | None):
                raise PatchError(_BAD_ORDER)
        inner, merges, merge_key, _ = _row(entry, key)
        _fits(change or [], order, merge_key)
        if before is None and change is None:
            continue
        if change is None:
            merged = before
        elif before is None:
            merged = _clean(change)
        else:
            merged = _merge_list(before, change, inner[2:], merge_key) if merges else change
        old[key] = _ordered(merged or [], order or [], before or [], merge_key)
        patch.pop(key, None)


def _fits(change: list[Any], order: Any, merge_key: str) -> None:
    """PatchError unless the patch's elements are among those of its order list, in the same order."""
    if not isinstance(order, list):
        raise PatchError(_BAD_ORDER)
    if not order or not change:
        return
    wanted = iter([_key(one, merge_key) for one in order])
    for one in change:
        if isinstance(one, dict) and _PATCH in one:
            continue
        if _key(one, merge_key) not in wanted:
            raise PatchError(
                f"The order in patch list:\n{shown(change)}\n doesn't match {_ORDER} list:\n{shown(order)}\n"
            )
