"""Where two plain values differ, one line a place; put into messages about changes that are not allowed."""

from __future__ import annotations

import json
from typing import Any

_LIMIT = 20


def difference(old: Any, new: Any, path: str, ignored: Any = None) -> str:
    """`-` lines are the old values, `+` lines the new ones. What equals `ignored` at its place is no difference."""
    lines: list[str] = []
    _walk(old, new, ignored, path, lines)
    if len(lines) > _LIMIT:
        lines[_LIMIT:] = ["  ..."]
    return "\n".join(lines)


_ABSENT = object()


def _walk(old: Any, new: Any, ignored: Any, path: str, lines: list[str]) -> None:
    if new in (old, ignored):
        return
    if isinstance(old, dict) and isinstance(new, dict):
        known = ignored if isinstance(ignored, dict) else {}
        for key in sorted(old.keys() | new.keys()):
            _walk(old.get(key, _ABSENT), new.get(key, _ABSENT), known.get(key, _ABSENT), f"{path}.{key}", lines)
        return
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        known_items = ignored if isinstance(ignored, list) and len(ignored) == len(new) else [_ABSENT] * len(new)
        for i, (one, other) in enumerate(zip(old, new, strict=True)):
            _walk(one, other, known_items[i], f"{path}[{i}]", lines)
        return
    if old is not _ABSENT:
        lines.append(f"- {path}: {json.dumps(old, ensure_ascii=False)}")
    if new is not _ABSENT:
        lines.append(f"+ {path}: {json.dumps(new, ensure_ascii=False)}")
