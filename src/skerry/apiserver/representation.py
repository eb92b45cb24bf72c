"""In which form a client wants objects: whole, as Table rows, or metadata only. Called by reading and watching."""

from __future__ import annotations

import enum
import functools
from typing import TYPE_CHECKING, Any

import msgspec

from skerry.api import codec, tables
from skerry.apiserver import known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skerry.api.resources import Resource
    from skerry.store.base import Record


class Form(enum.Enum):
    """What the Accept header asks for."""

    OBJECT = "object"
    TABLE = "table"
    METADATA = "metadata"


class _Partial(msgspec.Struct):
    metadata: msgspec.Raw


@functools.lru_cache(64)
def wanted(accept: str) -> Form:
    """The first form in an Accept header that is known; plain objects otherwise."""
    for part in accept.split(","):
        media, *parameters = [piece.strip() for piece in part.split(";")]
        if media not in ("application/json", "*/*", "application/*"):
            continue
        named = dict(piece.split("=", 1) for piece in parameters if "=" in piece)
        match named.get("as"):
            case "Table":
                return Form.TABLE
            case "PartialObjectMetadata" | "PartialObjectMetadataList":
                return Form.METADATA
            case None:
                return Form.OBJECT
    return Form.OBJECT


def partial(record: bytes) -> bytes:
    """PartialObjectMetadata of an object."""
    meta = bytes(codec.decode(_Partial, record).metadata)
    return b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":' + meta + b"}"


def table(resource: Resource, records: Sequence[Record], now: float, include: str, revision: int, extra: str) -> bytes:
    """A Table of the records; `extra` is more list metadata as JSON, beginning with a comma, or empty."""
    made = rows(resource, records, now, include)
    made["metadata"] = codec.parse(f'{{"resourceVersion":"{revision}"{extra}}}')
    return codec.encode(made)


def rows(resource: Resource, records: Sequence[Record], now: float, include: str) -> dict[str, Any]:
    objects = [codec.decode(resource.type, known.value(resource, one)) for one in records]
    made: dict[str, Any] = tables.table(resource, objects, now, include or "Metadata")
    return made


def one(form: Form, resource: Resource, record: Record, now: float, include: str) -> bytes:
    """One object in the wanted form."""
    if form is Form.TABLE:
        return table(resource, [record], now, include, record.revision, "")
    value = known.value(resource, record)
    return partial(value) if form is Form.METADATA else value
