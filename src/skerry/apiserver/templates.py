"""What was worked out for a pod's content, kept for the next pod that says the same. Called by bodies and verbs.

Pods are made from templates, by the hundred: all that differs between those of one template is their metadata. So what
a body says besides it, byte for byte as it was sent, is the name under which its clean form is kept, the fields that
belong to whoever creates it, and what became of it in the end, with all that the server gave it. That last one is
good only where and while the server would give the same (surroundings.py). Only what could be read without a complaint
is kept, and only what came last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from skerry.api import codec, limitranges, resources
from skerry.api.recent import Recent
from skerry.api.types.meta import ObjectMeta

if TYPE_CHECKING:
    from skerry.api.resources import Resource
    from skerry.apiserver.surroundings import Place

PODS = resources.by_path("", "v1", "pods")
_SIZE = 1 << 14
"""Bytes of a body above which nothing is kept of it."""

_parts = msgspec.json.Decoder(dict[str, msgspec.Raw])
Key = tuple[Any, ...]


class Template:
    """A content: its clean JSON, as an object whose metadata says nothing.

    `colons`: in its parts as they were sent, and behind their names.
    `owned`: the sets of fields of whoever creates it (fresh.content), once they are known.
    `complete`: where it was last to be stored, and as what. It belongs to all pods that are made of it, as all objects
    do that were written (known.py).
    """

    __slots__ = ("clean", "colons", "complete", "owned")

    def __init__(self, clean: bytes, colons: int) -> None:
        self.clean, self.colons = clean, colons
        self.owned: dict[str, str] | None = None
        self.complete: tuple[Place, Any] | None = None

    def completed(self, place: Place | None, metadata: ObjectMeta) -> Any | None:
        """What would be stored there of another pod; None if that is not known."""
        if self.complete is None or self.complete[0] != place:
            return None
        return codec.replace(self.complete[1], metadata=metadata)


@dataclass(slots=True)
class Content:
    """Of a new object: its template and its place, if they are known.

    `complete`: it has been given already what the server gives to a new one, and is good.
    """

    template: Template | None = None
    place: Place | None = None
    complete: bool = False
    _metadata: bytes = b""

    def begin(self, obj: Any) -> None:
        """`obj` is about to be given what the server gives to such a pod."""
        if self.place is not None:
            self._metadata = codec.encode(obj.metadata)

    def keep(self, obj: Any) -> None:
        """`obj` has been given that, and is good. It is not kept where some of it went into metadata."""
        if self.template is None or self.place is None or self.complete:
            return
        if limitranges.ANNOTATION in obj.metadata.annotations or self._metadata != codec.encode(obj.metadata):
            return
        self.template.complete = self.place, codec.replace(obj, metadata=ObjectMeta())


UNKNOWN = Content()
known: Recent[Key, Template] = Recent(256)


def cut(row: Resource, body: bytes) -> tuple[Key, bytes] | None:
    """The name of a body's content, and its metadata. None if there may be something odd about it."""
    if row is not PODS or len(body) > _SIZE or b"\\u00" in body:
        return None
    try:
        parts = _parts.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    metadata = bytes(parts.pop("metadata", b""))
    if not metadata.startswith(b"{"):
        return None
    return tuple([one for name, part in parts.items() for one in (name, bytes(part))]), metadata


def find(key: Key, body: bytes, metadata: bytes) -> Template | None:
    """The template of a content; None for one that is new, or if the body may have a name twice."""
    found = known.get(key)
    # Each name has a colon behind it: of names that are there twice, the first's is in no part.
    if found is None or body.count(b":") != found.colons + metadata.count(b":"):
        return None
    return found


def learn(key: Key, obj: Any) -> Template:
    """Keeps a content that was found good, of which `obj` was made."""
    colons = 1 + sum(1 + part.count(b":") for part in key[1::2])
    return known.put(key, Template(codec.encode(codec.replace(obj, metadata=ObjectMeta())), colons))
