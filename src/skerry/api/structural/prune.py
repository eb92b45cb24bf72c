"""Takes out of an object what its schema does not know, and puts in what the schema gives. Called by schema.py.

Both work in place, on values that nobody else has.
"""

from __future__ import annotations

from typing import Any

from skerry.api import schema as bodies
from skerry.api.patch.base import copied
from skerry.api.structural.node import MISSING, Node

META = frozenset({"apiVersion", "kind", "metadata"})


def prune(value: Any, node: Node | None, at: str, unknown: list[str]) -> None:
    """Fields without a schema go, unless it preserves them; their paths are added to `unknown`."""
    if isinstance(value, list):
        inner = node.items if node is not None else None
        if node is not None and node.preserve:
            _skip(value, node, at, unknown)
            return
        for index, one in enumerate(value):
            if isinstance(one, dict | list):
                prune(one, inner, f"{at}[{index}]", unknown)
    elif isinstance(value, dict):
        if node is not None and node.preserve:
            _skip(value, node, at, unknown)
        else:
            _map(value, node, at, unknown)


def _map(value: dict[str, Any], node: Node | None, at: str, unknown: list[str]) -> None:
    prefix = f"{at}." if at else ""
    gone = []
    for key, one in value.items():
        if node is not None:
            if node.embedded and key in META:
                if key == "metadata":
                    _metadata(value, at, unknown)
                continue
            known = node.properties.get(key)
            if known is not None:
                if isinstance(one, dict | list):
                    prune(one, known, prefix + key, unknown)
                continue
            if node.additional is not None:
                if isinstance(one, dict | list):
                    prune(one, node.map_values, prefix + key, unknown)
                continue
        unknown.append(prefix + key)
        gone.append(key)
    for key in gone:
        del value[key]


def _skip(value: Any, node: Node, at: str, unknown: list[str]) -> None:
    """Where unknown fields are preserved, those of known fields still are not."""
    if isinstance(value, list):
        if node.items is not None:
            for index, one in enumerate(value):
                if isinstance(one, dict | list):
                    _skip(one, node.items, f"{at}[{index}]", unknown)
        return
    prefix = f"{at}." if at else ""
    for key, one in value.items():
        if node.embedded and key in META:
            if key == "metadata":
                _metadata(value, at, unknown)
            continue
        if isinstance(one, dict | list):
            if key in node.properties:
                prune(one, node.properties[key], prefix + key, unknown)
            elif node.additional is not None:
                prune(one, node.map_values, prefix + key, unknown)


def _metadata(value: dict[str, Any], at: str, unknown: list[str]) -> None:
    """The metadata of an object inside an object. What does not fit at all is left for validation to refuse."""
    try:
        checked = bodies.check("meta", "ObjectMeta", value["metadata"])
    except bodies.TypeMismatch:
        return
    value["metadata"] = checked.value
    prefix = f"{at}.metadata" if at else "metadata"
    unknown.extend(f"{prefix}.{one}" for one in checked.unknown)


def drop_nulls(value: Any, node: Node | None) -> None:
    """Nulls that their schema does not allow and has no default for."""
    if node is None:
        return
    if isinstance(value, dict):
        gone = []
        for key, one in value.items():
            inner = node.properties.get(key) or node.map_values
            if inner is None:
                continue
            if one is None:
                if not inner.nullable and inner.default is MISSING:
                    gone.append(key)
            elif isinstance(one, dict | list):
                drop_nulls(one, inner)
        for key in gone:
            del value[key]
    elif isinstance(value, list) and node.items is not None:
        for one in value:
            if isinstance(one, dict | list):
                drop_nulls(one, node.items)


def default(value: Any, node: Node | None) -> None:
    """Fills in defaults: of fields that are not there, and of nulls that may be none."""
    if node is None or not node.has_defaults:
        return
    if isinstance(value, dict):
        for key, inner in node.properties.items():
            if inner.default is not MISSING and _wants(value.get(key, MISSING), inner):
                value[key] = copied(inner.default)
        for key, one in value.items():
            known = node.properties.get(key) or node.map_values
            if known is not None:
                if _null(one, known):
                    value[key] = copied(known.default)
                elif isinstance(one, dict | list):
                    default(one, known)
    elif isinstance(value, list) and node.items is not None:
        for index, one in enumerate(value):
            if _null(one, node.items):
                value[index] = copied(node.items.default)
            elif isinstance(one, dict | list):
                default(one, node.items)


def _wants(value: Any, node: Node) -> bool:
    return value is MISSING or _null(value, node)


def _null(value: Any, node: Node) -> bool:
    return value is None and not node.nullable and node.default is not MISSING
