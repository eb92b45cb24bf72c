"""Sets of fields as they are written into managedFields (FieldsV1), and their algebra. Pure; used by all of api/apply.

A set is a dict of path elements to what is below them: {"f:spec": {"f:replicas": {}}}. An element with an empty dict
belongs to the set; one with something below it belongs only if "." is among that. Elements are texts:

    f:NAME       a field of a struct or a key of a map
    k:{...}      the element of a list with these keys
    v:VALUE      an element of a set of scalars
    i:INDEX      an element by its place (nobody writes it today)

No function changes its arguments, and results share parts with them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

Fields = dict[str, Any]

_HTML = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_ESCAPES = str.maketrans(_HTML)
_ORDER = {"f": 0, "k": 1, "v": 2, "i": 3}


def _json(value: Any) -> str:
    """A scalar as Go writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)


@functools.lru_cache(1024)
def _key(names: tuple[str, ...], values: tuple[Any, ...], _kinds: tuple[Any, ...]) -> str:
    pairs = sorted(zip(names, values, strict=True))
    return f"k:{{{','.join(f'{json.dumps(name)}:{_json(value)}' for name, value in pairs)}}}"


def key(names: tuple[str, ...], values: tuple[Any, ...]) -> str:
    """The path element of a list's element with these keys. TypeError for values that are no scalars."""
    kinds: tuple[Any, ...] = tuple(map(type, values))
    return _key(names, values, kinds)


@functools.lru_cache(1024)
def _value(one: Any, _kind: Any) -> str:
    return f"v:{_json(one)}"


def value(one: Any) -> str:
    """The path element of a scalar in a set. TypeError for anything else."""
    kind: Any = type(one)
    return _value(one, kind)


def has(node: Fields) -> bool:
    """Whether the element that leads to `node` belongs to the set itself."""
    return not node or "." in node


def _node(member: bool, children: Fields) -> Fields | None:
    if not children:
        return {} if member else None
    return {".": {}, **children} if member else children


def union(left: Fields, right: Fields) -> Fields:
    """What is in either."""
    if not right or left is right:
        return left
    if not left:
        return right
    out = dict(left)
    for name, one in right.items():
        if name == ".":
            continue
        known = out.get(name)
        if known is None:
            out[name] = one
        elif known is not one:
            out[name] = _union(known, one)
    return out


def _union(left: Fields, right: Fields) -> Fields:
    member = has(left) or has(right)
    children = union(_below(left), _below(right))
    found = _node(member, children)
    assert found is not None
    return found


def _below(node: Fields) -> Fields:
    return {name: one for name, one in node.items() if name != "."} if "." in node else node


def difference(left: Fields, right: Fields) -> Fields:
    """What is in `left` and not in `right`."""
    return _difference(left, right, recursive=False)


def without(left: Fields, right: Fields) -> Fields:
    """What is in `left` and neither in `right` nor below any of its members."""
    return _difference(left, right, recursive=True)


def _difference(left: Fields, right: Fields, *, recursive: bool) -> Fields:
    if not right or not left:
        return left
    out = {}
    changed = False
    for name, one in left.items():
        other = right.get(name)
        if other is None or name == ".":
            out[name] = one
            continue
        gone = has(other)
        if recursive and gone:
            changed = True
            continue
        children = _difference(_below(one), _below(other), recursive=recursive)
        found = _node(has(one) and not gone, children)
        if found is None:
            changed = True
            continue
        changed = changed or found != one
        out[name] = found
    return out if changed else left


def intersection(left: Fields, right: Fields) -> Fields:
    """What is in both."""
    out = {}
    for name, one in left.items():
        other = right.get(name)
        if other is None or name == ".":
            continue
        found = _node(has(one) and has(other), intersection(_below(one), _below(other)))
        if found is not None:
            out[name] = found
    return out


def paths(fields: Fields, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """All members, each as its path elements, in the order in which upstream lists them."""
    members = sorted(fields, key=rank)
    for name in members:
        if name != "." and has(fields[name]):
            yield (*prefix, name)
    for name in members:
        if name != "." and fields[name]:
            yield from paths(fields[name], (*prefix, name))


def of_path(*path: str) -> Fields:
    """The set of one field, by the names of structs' fields that lead to it."""
    out: Fields = {}
    for name in reversed(path):
        out = {f"f:{name}": out}
    return out


def contains(fields: Fields, path: tuple[str, ...]) -> bool:
    """Whether a path is a member."""
    node: Fields | None = fields
    for name in path:
        node = node.get(name) if node is not None else None
    return node is not None and has(node)


def shown(path: tuple[str, ...]) -> str:
    """A path as upstream writes it: .spec.containers[name="web"].image."""
    return "".join(map(_shown, path))


def _shown(element: str) -> str:
    kind, text = element[0], element[2:]
    if kind == "f":
        return f".{text}"
    if kind == "k":
        return "[" + ",".join(f"{name}={_text(one)}" for name, one in sorted(json.loads(text).items())) + "]"
    if kind == "v":
        return f"[={_text(json.loads(text))}]"
    return f"[{text}]"


def _text(one: Any) -> str:
    return json.dumps(one, ensure_ascii=False)


def rank(element: str) -> tuple[int, Any]:
    """Sorts path elements as upstream does; "." comes first."""
    if element == ".":
        return (-1, "")
    return (_ORDER.get(element[0], 4), element[2:])


def in_order(fields: Fields) -> Fields:
    """The same set with its elements sorted as upstream writes them."""
    if len(fields) < 2:
        return {name: in_order(one) if one else one for name, one in fields.items()}
    return {name: in_order(fields[name]) if fields[name] else {} for name in sorted(fields, key=rank)}


def read(value: Any) -> Fields:
    """A set from FieldsV1 as plain values, its elements in the form in which this module writes them. ValueError."""
    if not isinstance(value, dict):
        raise ValueError("a set of fields is an object")  # noqa: TRY004 - what was given, not how it was called
    out: Fields = {}
    for name, one in value.items():
        if name == ".":
            if one != {}:
                raise ValueError('"." has nothing below it')
            out["."] = {}
            continue
        out[_canonical(name)] = read(one)
    return out


@functools.lru_cache(4096)
def _canonical(element: str) -> str:
    kind, colon, text = element[:1], element[1:2], element[2:]
    if colon != ":" or kind not in _ORDER:
        raise ValueError(f"missing colon: {element}" if colon != ":" else "unknown path element type")
    try:
        if kind == "k":
            found = json.loads(text)
            if not isinstance(found, dict):
                raise ValueError("the keys of an element are an object")
            return key(tuple(found), tuple(found.values()))
        if kind == "v":
            return value(json.loads(text))
        if kind == "i":
            return f"i:{int(text)}"
    except TypeError as error:
        raise ValueError(str(error)) from None
    return element
