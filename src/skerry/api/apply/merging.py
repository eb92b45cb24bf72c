"""What a value becomes when another is applied to it, or members of a set are taken out of it. Called by applying.py.

Pure. Values are those of JSON, as in walk.py; nothing given is changed, results share parts with what was given.
"""

from __future__ import annotations

from typing import Any

from skerry.api.apply import fields, walk
from skerry.api.apply.fields import Fields
from skerry.api.apply.types import DEDUCED, Type


def merge(kind: Type, old: Any, new: Any) -> Any:
    """`old` with all that `new` says; nothing is removed. Lists keep their order, or take that of `new`."""
    if new is walk.ABSENT:
        return old
    if old is walk.ABSENT or old is None:
        return new
    form, before = walk.form(kind, new), walk.form(kind, old)
    if new is None and kind.kind in ("struct", "map", "list", "set"):
        return old if old else None
    if form != before or form == "leaf" or (not old and not new):
        return new
    if form == "map":
        out = dict(old)
        for name, one in new.items():
            inner = kind.at(name) or DEDUCED
            out[name] = merge(inner, old.get(name, walk.ABSENT), one)
        return out
    return _merge_lists(kind, old, new)


def _merge_lists(kind: Type, old: list[Any], new: list[Any]) -> list[Any]:
    assert kind.inner is not None
    ours = [walk.element(kind, one) for one in old]
    theirs = [walk.element(kind, one) for one in new]
    wanted = dict(zip(theirs, new, strict=True))
    known: dict[str, Any] = {}
    for name, one in zip(ours, old, strict=True):
        known[name] = walk.ABSENT if name in known else one  # what is there twice is not merged, but replaced
    shared = [name for name in theirs if name in known]
    out: list[Any] = []
    done: set[str] = set()

    def put(name: str) -> None:
        assert kind.inner is not None
        out.append(merge(kind.inner, known.get(name, walk.ABSENT), wanted[name]))
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


def remove(kind: Type, value: Any, items: Fields) -> Any:
    """The value without the members of a set; what lost everything is null."""
    form = walk.form(kind, value)
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
            node = items.get(walk.element(kind, one))
            if node is None:
                left.append(one)
            elif not fields.has(node):
                left.append(remove(kind.inner, one, node))
        return left or None
    return None if isinstance(value, dict | list) else value
