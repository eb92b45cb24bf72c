"""JSON merge patch (RFC 7396)."""

from __future__ import annotations

from typing import Any

from skerry.api.patch.base import PatchError, copied


def merge(document: dict[str, Any], patch: Any) -> dict[str, Any]:
    """The document with the patch's fields in place and its nulls taken out. PatchError if the patch is no object."""
    if not isinstance(patch, dict):
        raise PatchError("Invalid JSON Patch")
    merged = _merge(document, patch)
    assert isinstance(merged, dict)
    return merged


def _merge(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copied(patch)
    out = {key: copied(one) for key, one in old.items() if key not in patch} if isinstance(old, dict) else {}
    known = old if isinstance(old, dict) else {}
    for key, one in patch.items():
        if one is not None:
            out[key] = _merge(known.get(key), one)
    return out
