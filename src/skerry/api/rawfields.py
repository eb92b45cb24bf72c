"""metadata.managedFields stay bytes in typed objects: they are long, and nobody but server-side apply reads them.

Called by whoever makes typed objects (api.types, api.codec, api.unstructured).
"""

from __future__ import annotations

from typing import Any

import msgspec

UNMANAGED = msgspec.Raw()
"""The managedFields of an object that has none; only this very value is left out of its JSON."""


def packed(value: Any) -> Any:
    """An object's plain values with its managedFields as bytes, if it has any; the argument is not changed."""
    if isinstance(value, dict) and "managedFields" in value:
        return packed_metadata(value)  # metadata itself
    meta = value.get("metadata") if isinstance(value, dict) else None
    if not isinstance(meta, dict) or "managedFields" not in meta:
        return value
    return {**value, "metadata": packed_metadata(meta)}


def packed_metadata(meta: Any) -> Any:
    """As `packed`, of the metadata alone."""
    if not isinstance(meta, dict) or "managedFields" not in meta:
        return meta
    found = meta["managedFields"]
    kept = UNMANAGED if found is None else msgspec.Raw(msgspec.json.encode(found))
    return {**meta, "managedFields": kept}
