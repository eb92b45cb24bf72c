"""Which records a list or a watch wants. Called by reading.py and watching.py.

What a selector looks at is worked out of a record once and kept with it, so that many watchers cost one look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from skerry.api import codec, labels, status
from skerry.apiserver import strategies

if TYPE_CHECKING:
    from skerry.api.resources import Resource
    from skerry.store.base import Record


class _Meta(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}


class _Head(msgspec.Struct):
    metadata: _Meta


_heads = msgspec.json.Decoder(_Head)


class Memo:
    """What is known of a record besides its bytes."""

    __slots__ = ("fields", "head")

    def __init__(self, record: Record) -> None:
        self.head = _heads.decode(record.value).metadata
        self.fields: dict[str, str] | None = None


def memo(record: Record) -> Memo:
    if record.memo is None:
        record.memo = Memo(record)
    found: Memo = record.memo
    return found


class Selection:
    """A request's labelSelector and fieldSelector; ApiError 400 if they cannot be read or are not supported."""

    def __init__(self, resource: Resource, query: dict[str, str]) -> None:
        self._resource = resource
        try:
            self.labels = labels.parse(query.get("labelSelector", ""))
            self.fields = labels.parse_fields(query.get("fieldSelector", ""))
        except ValueError as error:
            raise status.bad_request(str(error)) from None
        known = {"metadata.name", "metadata.namespace", *resource.fields}
        for one in self.fields:
            if one.path not in known:
                raise status.bad_request(_unknown(resource, one.path))
        self.everything = not self.labels and not self.fields
        self.simple = all(one.path.startswith("metadata.") for one in self.fields)

    def name(self) -> str:
        """The one name that is asked for, or empty."""
        return next((one.value for one in self.fields if one.path == "metadata.name" and one.equal), "")

    def matches(self, record: Record) -> bool:
        if self.everything:
            return True
        known = memo(record)
        if self.labels and not self.labels.matches(known.head.labels):
            return False
        if not self.fields:
            return True
        if self.simple:
            found = {"metadata.name": known.head.name, "metadata.namespace": known.head.namespace}
            return labels.fields_match(self.fields, found)
        if known.fields is None:
            obj: Any = codec.decode(self._resource.type, record.value)
            known.fields = strategies.of(self._resource).fields(obj)
        return labels.fields_match(self.fields, known.fields)


def _unknown(resource: Resource, path: str) -> str:
    """Upstream has one sentence for kinds with fields of their own and one for the others."""
    if resource.fields:
        return f"field label not supported: {path}"
    return f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'
