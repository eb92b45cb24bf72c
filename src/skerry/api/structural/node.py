"""The structure of a schema: what pruning, defaulting and lists need to know of it. Called by the files beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""No value, where None is one."""


@dataclass(slots=True)
class Node:
    """One schema. `additional` is that of a map's values, True if they are free, None if there may be none.

    `source` is what it was made of; value validations (allOf and the like) are only there.
    """

    source: dict[str, Any]
    type: str = ""
    properties: dict[str, Node] = field(default_factory=dict)
    additional: Node | bool | None = None
    items: Node | None = None
    preserve: bool = False
    embedded: bool = False
    nullable: bool = False
    default: Any = MISSING
    list_type: str = "atomic"
    list_keys: tuple[str, ...] = ()
    has_defaults: bool = False
    """Here or below, outside of lists and maps too."""
    has_lists: bool = False
    """Sets or maps written as lists, here or below."""
    has_embedded: bool = False

    @property
    def map_values(self) -> Node | None:
        return self.additional if isinstance(self.additional, Node) else None

    def children(self) -> Iterator[Node]:
        yield from self.properties.values()
        if isinstance(self.additional, Node):
            yield self.additional
        if self.items is not None:
            yield self.items


def parse(source: dict[str, Any]) -> Node:
    """The structure of a schema that schemaprops.check has let through."""
    extra, items = source.get("additionalProperties"), source.get("items")
    made = Node(
        source,
        type=source.get("type", ""),
        properties={name: parse(one) for name, one in source.get("properties", {}).items()},
        additional=parse(extra) if isinstance(extra, dict) else (extra or None),
        items=parse(items) if isinstance(items, dict) else None,
        preserve=bool(source.get("x-kubernetes-preserve-unknown-fields")),
        embedded=bool(source.get("x-kubernetes-embedded-resource")),
        nullable=bool(source.get("nullable")),
        default=source.get("default", MISSING),
        list_type=source.get("x-kubernetes-list-type", "atomic"),
        list_keys=tuple(source.get("x-kubernetes-list-map-keys", ())),
    )
    below = list(made.children())
    made.has_defaults = made.default is not MISSING or any(one.has_defaults for one in below)
    made.has_lists = made.list_type in ("set", "map") or any(one.has_lists for one in below)
    made.has_embedded = made.embedded or any(one.has_embedded for one in below)
    return made
