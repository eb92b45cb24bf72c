"""The managedFields of an object that is new, written at once as JSON. Pure; called by apiserver/tracking.py.

What `managed.update` makes of an object that says nothing and a new one is made here in one walk without sets in
between: creating is what the server does most often, and the time of this walk is felt (bench/api.py).
"""

from __future__ import annotations

import functools
import json
from typing import Any

from skerry.api.apply import fields, walk
from skerry.api.apply.fields import Fields
from skerry.api.apply.managed import UPDATE, Writer
from skerry.api.apply.types import Type

_APART = ("apiVersion", "kind", "metadata")
_SERVERS = frozenset(
    {
        *("name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName"),
        *("generation", "managedFields", "resourceVersion"),
    }
)
_LEAVES = frozenset({"scalar", "atomic"})
_LONG = 1024
"""Characters of names above which nothing is remembered: they were not checked yet, and can be of any length."""


def _quoted(text: str) -> str:
    return _short(text) if len(text) <= _LONG else json.dumps(text, ensure_ascii=False)


@functools.lru_cache(8192)
def _short(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _name(element: str) -> str:
    """A path element as the key of a JSON object, its colon with it."""
    return _quoted(element) + ":"


def content(kind: Type, empty: dict[str, Any], value: dict[str, Any], ignored: Fields) -> dict[str, str]:
    """The nodes of an object's parts that their creator owns, by their names, as JSON; without metadata.

    `empty` is an object of the kind that says nothing. walk.Unfit if elements of a list cannot be told apart.
    """
    found = {}
    for name, one in value.items():
        inner = kind.at(name)
        if inner is None or name in _APART or f"f:{name}" in ignored:
            continue
        if text := _added(inner, empty.get(name, walk.ABSENT), one):
            found[name] = text
    return found


def entries(
    kind: Type, empty: dict[str, Any], metadata: dict[str, Any], owned: dict[str, str], writer: Writer
) -> bytes:
    """The JSON of an object's managedFields, all its fields being its creator's; empty if it owns none.

    `owned` is what `content` gave. walk.Unfit as there.
    """
    inner = kind.at("metadata")
    assert inner is not None
    said = {name: one for name, one in metadata.items() if name not in _SERVERS}
    nothing = empty.get("metadata", walk.ABSENT)
    names = [name for one in said.values() if type(one) is dict for name in one]
    if nothing != {} or list in map(type, said.values()) or sum(map(len, names)) > _LONG:
        text = _added(inner, nothing, said)
    else:
        text = _maps(inner, tuple([(name, tuple(one) if type(one) is dict else ()) for name, one in said.items()]))
    found = {**owned, "metadata": text} if text else owned
    if not found:
        return b""
    pieces = [_quoted("f:" + name) + ":" + found[name] for name in sorted(found)]
    manager = writer.identity(UPDATE)[0]
    time = f'"time":"{writer.time}",' if writer.time else ""
    part = f',"subresource":"{writer.subresource}"' if writer.subresource else ""
    whole = (
        f'[{{"manager":{_quoted(manager)},"operation":"Update",'
        f'"apiVersion":"{writer.api_version}",{time}"fieldsType":"FieldsV1","fieldsV1":{{{",".join(pieces)}}}{part}}}]'
    )
    return whole.encode()


@functools.lru_cache(4096)
def _maps(kind: Type, shape: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    """The node of metadata without lists: it says which labels and annotations are there, not what they say."""
    return _added(kind, {}, {name: dict.fromkeys(keys, "") if keys else "" for name, keys in shape})


def _added(kind: Type, empty: Any, value: Any) -> str:
    """The node of what `value` has beyond `empty`; "" if that is nothing."""
    if empty is walk.ABSENT:
        return _whole(kind, value)
    if value == empty:
        return ""
    if kind.kind not in _LEAVES:
        if isinstance(value, dict) and isinstance(empty, dict):
            pieces = []
            for name in sorted(value):
                inner = kind.at(name)
                if inner is not None and (text := _added(inner, empty.get(name, walk.ABSENT), value[name])):
                    pieces.append(_name("f:" + name) + text)
            return f"{{{','.join(pieces)}}}" if pieces else ""
        if isinstance(value, list) and empty == [] and kind.kind in ("list", "set"):
            return f"{{{_elements(kind, value)}}}"
    return "{}"


def _whole(kind: Type, value: Any) -> str:
    """The node of a value with everything in it a member."""
    if not value or kind.kind in _LEAVES:
        return "{}"
    if isinstance(value, dict) and kind.kind not in ("list", "set"):
        shape = _shape if sum(map(len, value)) <= _LONG else _shape.__wrapped__
        holes, last = shape(kind, tuple(value))
        if not holes:
            return last
        return "".join([text + _whole(inner, value[name]) for text, name, inner in holes]) + last
    if isinstance(value, list) and kind.kind in ("list", "set"):
        return f'{{".":{{}},{_elements(kind, value)}}}'
    return "{}"


@functools.lru_cache(4096)
def _shape(kind: Type, names: tuple[str, ...]) -> tuple[tuple[tuple[str, str, Type], ...], str]:
    """The node of an object with these names: text, the name of the value whose node follows, its type; the last text.

    Objects of one kind have few shapes, and most of what they hold are leaves, which are text already.
    """
    holes: list[tuple[str, str, Type]] = []
    text = '{".":{}'
    for name in sorted(names):
        inner = kind.at(name)
        if inner is None:
            continue
        text += "," + _name("f:" + name)
        if inner.kind in _LEAVES:
            text += "{}"
        else:
            holes.append((text, name, inner))
            text = ""
    return tuple(holes), text + "}"


@functools.lru_cache(8192)
def _keyed(kind: Type, values: tuple[Any, ...], _kinds: tuple[type, ...]) -> tuple[str, tuple[int, Any], str]:
    """Of a list's element with these keys: its path element, the rank of that, and its name as JSON."""
    name = fields.key(kind.keys, values)
    return name, fields.rank(name), _name(name)


def _element(kind: Type, one: Any) -> tuple[str, tuple[int, Any], str]:
    if kind.kind == "list" and type(one) is dict:
        try:
            values = tuple([one[key] for key in kind.keys])
            return _keyed(kind, values, tuple(map(type, values)))
        except (KeyError, TypeError):
            pass  # it says not all of them, or not what it may say
    name = walk.element(kind, one)
    return name, fields.rank(name), _name(name)


def _elements(kind: Type, value: list[Any]) -> str:
    assert kind.inner is not None
    out: dict[str, tuple[tuple[int, Any], str]] = {}
    for one in value:
        name, rank, text = _element(kind, one)
        out[name] = (rank, text + ("{}" if name in out else _whole(kind.inner, one)))
    return ",".join([text for _, text in sorted(out.values())])
