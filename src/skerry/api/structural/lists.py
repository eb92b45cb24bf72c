"""Lists that are sets or maps: nothing in them twice. Called by schema.py."""

from __future__ import annotations

from typing import Any

from skerry.api import codec
from skerry.api.status import FieldError, field_duplicate, field_invalid
from skerry.api.structural.node import Node


def check(value: Any, node: Node | None, at: str) -> list[FieldError]:
    """What is twice in a set, or has the keys of another in a map."""
    if node is None or not node.has_lists:
        return []
    out: list[FieldError] = []
    if isinstance(value, dict):
        prefix = f"{at}." if at else ""
        for key, one in value.items():
            known = node.properties.get(key)
            if known is not None:
                out += check(one, known, prefix + key)
            elif node.map_values is not None:
                out += check(one, node.map_values, f"{at}[{key}]")
    elif isinstance(value, list):
        if node.list_type == "set":
            out += [field_duplicate(f"{at}[{index}]", value[index]) for index in _twice(value)]
        elif node.list_type == "map":
            out += _map(value, node.list_keys, at)
        for index, one in enumerate(value):
            out += check(one, node.items, f"{at}[{index}]")
    return out


def _map(value: list[Any], keys: tuple[str, ...], at: str) -> list[FieldError]:
    for index, one in enumerate(value):
        if one is not None and not isinstance(one, dict):
            return [field_invalid(f"{at}[{index}]", one, "must be an object for an array of list-type map")]
    found = [{key: one[key] for key in keys if key in one} if one else {} for one in value]
    return [field_duplicate(f"{at}[{index}]", found[index]) for index in _twice(found)]


def _twice(values: list[Any]) -> list[int]:
    """Where each value that is there more than once is for the second time."""
    seen: dict[bytes, int] = {}
    out = []
    for index, one in enumerate(values):
        key = codec.encode(one)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] == 2:
            out.append(index)
    return out
