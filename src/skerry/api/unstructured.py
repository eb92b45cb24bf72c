"""Objects of kinds that no table knows: custom resources. Metadata has its type, the rest are plain values.

An Unstructured goes wherever a Struct of a kind goes: codec encodes and decodes it, the client takes its class for a
kind (`of(row)` makes one). Like them it is shared once it is stored, so nobody changes what is in `content` in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import msgspec

from skerry.api.rawfields import packed_metadata

if TYPE_CHECKING:
    from skerry.api.resources import Resource
    from skerry.api.types import meta


class Unstructured:
    """`content` are the fields beside apiVersion, kind and metadata. Classes of it have a kind's `row`."""

    __slots__ = ("__weakref__", "api_version", "content", "kind", "metadata")
    row: ClassVar[Resource]

    def __init__(self, metadata: meta.ObjectMeta | None = None, content: dict[str, Any] | None = None) -> None:
        from skerry.api.types import meta

        self.kind, self.api_version = self.row.kind, self.row.api_version
        self.metadata: meta.ObjectMeta = metadata if metadata is not None else meta.ObjectMeta()
        self.content: dict[str, Any] = content if content is not None else {}

    @classmethod
    def of(cls, value: Any) -> Self:
        """Of plain values; the caller gives them away. msgspec.ValidationError if metadata does not fit."""
        from skerry.api.types import _build, meta

        if not isinstance(value, dict):
            raise msgspec.ValidationError("Expected `object`")
        content = dict(value)
        said = packed_metadata(content.pop("metadata", None) or {})
        metadata = msgspec.convert(said, _build.understood(meta.ObjectMeta))
        content.pop("kind", None)
        content.pop("apiVersion", None)
        return cls(metadata, content)

    def fields(self) -> dict[str, Any]:
        """As its JSON has it, metadata still typed and first, which the store counts on."""
        return {"kind": self.kind, "apiVersion": self.api_version, "metadata": self.metadata, **self.content}

    def same(self, other: Unstructured) -> bool:
        """Whether it says the same, whatever the order of the fields; the resourceVersion does not count."""
        version = other.metadata.resource_version
        return self.content == other.content and (
            msgspec.structs.replace(self.metadata, resource_version=version) == other.metadata
        )

    def __repr__(self) -> str:
        return f"<{self.kind} {self.metadata.namespace}/{self.metadata.name}>"


def of(row: Resource) -> type[Unstructured]:
    """A class for the objects of a kind. Its name has the group, so that it is no built-in kind's."""
    return type(f"{row.kind}.{row.group}", (Unstructured,), {"row": row, "__slots__": ()})
