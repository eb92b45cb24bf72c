"""Whether a value that is to be applied fits its type: unknown fields, types, keys. Called by applying.py; pure."""

from __future__ import annotations

from typing import Any

from skerry.api.apply import fields, walk
from skerry.api.apply.types import BOOLEAN, DEDUCED, NUMERIC, STRING, Type


def check(kind: Type, value: Any) -> None:
    """walk.Unfit with all that is wrong with a value that is to be applied: unknown fields, types, keys."""
    found: list[str] = []
    _check(kind, value, (), found)
    if found:
        raise walk.Unfit(found[0] if len(found) == 1 else "\n".join(["errors:", *(f"  {one}" for one in found)]))


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
            name = walk.element(kind, one)
        except walk.Unfit as error:
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
