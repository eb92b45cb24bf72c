"""Which records a list or a watch wants. Called by reading.py and watching.py.

What a selector looks at is kept with the record (known.py), so that many watchers cost one look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import codec, labels, status
from skerry.apiserver import known

if TYPE_CHECKING:
    from skerry.api.resources import Resource
    from skerry.store.base import Record


class Selection:
    """A request's labelSelector and fieldSelector; ApiError 400 if they cannot be read or are not supported."""

    def __init__(self, resource: Resource, query: dict[str, str]) -> None:
        self._resource = resource
        try:
            self.labels = labels.parse(query.get("labelSelector", ""))
            self.fields = labels.parse_fields(query.get("fieldSelector", ""))
        except ValueError as error:
            raise status.bad_request(str(error)) from None
        selectable = {"metadata.name", "metadata.namespace", *resource.fields}
        for one in self.fields:
            if one.path not in selectable:
                raise status.bad_request(_unknown(resource, one.path))
        self._marks = [  # metadata is the same in all versions of a kind
            codec.encode({one.key: value})[1:-1]
            for one in self.labels.requirements
            if one.operator == "in" and len(one.values) == 1
            for value in one.values
        ]
        """What the bytes of whatever is selected must contain: most records need not be decoded to be left out."""
        self.everything = not self.labels and not self.fields
        self.simple = all(one.path.startswith("metadata.") for one in self.fields)

    def likely(self, records: list[Record]) -> list[Record]:
        """Those of many that may match, in their order: the quick look, for lists."""
        for mark in self._marks:
            records = [one for one in records if mark in one.value]
        return records

    def name(self) -> str:
        """The one name that is asked for, or empty."""
        return next((one.value for one in self.fields if one.path == "metadata.name" and one.equal), "")

    def matches(self, record: Record) -> bool:
        if self.everything:
            return True
        for one in self._marks:
            if one not in record.value:
                return False
        if self.labels and not self.labels.matches(known.head(record).labels):
            return False
        if not self.fields:
            return True
        if self.simple:
            head = known.head(record)
            return labels.fields_match(self.fields, {"metadata.name": head.name, "metadata.namespace": head.namespace})
        return labels.fields_match(self.fields, known.fields(self._resource, record))


def _unknown(resource: Resource, path: str) -> str:
    """Upstream has one sentence for kinds with fields of their own and one for the others."""
    if resource.fields:
        return f"field label not supported: {path}"
    return f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'
