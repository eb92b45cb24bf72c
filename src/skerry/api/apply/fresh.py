"""The managedFields of an object that is new, written at once as JSON. Pure; called by apiserver/tracking.py.

What `managed.update` makes of an object that says nothing and a new one is made here in one walk without sets in
between: creating is what the server does most often, and the time of this walk is felt (bench/api.py).
"""

from __future__ import annotations

import functools
import json
from typing import Any

from skerry.api.apply import fields, walk
from skerry.api.apply.managed import UPDATE, Writer
from skerry.api.apply.types import Type

_KINDS = ("apiVersion", "kind")
_SERVERS = frozenset(
    {
        *("name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName"),
        *("generation", "managedFields", "resourceVersion"),
    }
)
_LEAVES = frozenset({"scalar", "atomic"})


@functools.lru_cache(8192)
def _name(element: str) -> str:
    """A path element as the key of a JSON object, its colon with it."""
    return json.dumps(element, ensure_ascii=False) + ":"


@functools.lru_cache(8192)
def _leaf(name: str) -> str:
    return _name(f"f:{name}") + "{}"


def entries(kind: Type, empty: dict[str, Any], value: dict[str, Any], writer: Writer) -> bytes:
    """The JSON of an object's managedFields, all its fields being its creator's; empty if it owns none.

    `empty` is an object of the kind that says nothing. walk.Unfit if elements of a list cannot be told apart.
    """
    pieces = []
    for name in sorted(value):
        if name in _KINDS or f"f:{name}" in writer.ignored:
            continue
        inner = kind.at(name)
        one = value[name]
        if inner is None:
            continue
        if name == "metadata":
            one = {key: inside for key, inside in one.items() if key not in _SERVERS}
        if text := _added(inner, empty.get(name, walk.ABSENT), one):
            pieces.append(f"{_name('f:' + name)}{text}")
    if not pieces:
        return b""
    head = writer.entry(UPDATE, {})
    time = f'"time":"{head.time}",' if head.time else ""
    part = f',"subresource":"{head.subresource}"' if head.subresource else ""
    text = (
        f'[{{"manager":{json.dumps(head.manager, ensure_ascii=False)},"operation":"Update",'
        f'"apiVersion":"{head.api_version}",{time}"fieldsType":"FieldsV1","fieldsV1":{{{",".join(pieces)}}}{part}}}]'
    )
    return text.encode()


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
        known, other = kind.fields, kind.inner
        pieces = ['{".":{}']
        for name in sorted(value):
            inner = known.get(name, other)
            if inner is None:
                continue
            if inner.kind in _LEAVES:
                pieces.append(_leaf(name))
            else:
                pieces.append(_name("f:" + name) + _whole(inner, value[name]))
        return ",".join(pieces) + "}"
    if isinstance(value, list) and kind.kind in ("list", "set"):
        return f'{{".":{{}},{_elements(kind, value)}}}'
    return "{}"


def _elements(kind: Type, value: list[Any]) -> str:
    assert kind.inner is not None
    if len(value) == 1:
        return _name(walk.element(kind, value[0])) + _whole(kind.inner, value[0])
    out: dict[str, str] = {}
    for one in value:
        name = walk.element(kind, one)
        out[name] = "{}" if name in out else _whole(kind.inner, one)
    return ",".join(_name(name) + out[name] for name in sorted(out, key=fields.rank))
