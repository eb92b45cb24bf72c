"""What the server does to an object of a kind beyond checking it; every kind's Strategy is made of these hooks.

Called by the server's verbs, without I/O, in this order (`context.begin()` comes first, and what it returned is
committed after the store took the object or rolled back if anything failed):

    create: defaults -> prepare_create -> canonicalize -> validation.create -> warnings -> store
    update: defaults -> prepare_update -> canonicalize -> changes_generation -> validation.update -> warnings -> store
    delete: default_delete_grace -> store -> after_delete
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from skerry.api import codec
from skerry.api.resources import Resource
from skerry.api.types._build import snake
from skerry.apiserver.strategies.allocator import ServiceAllocator


class Transaction:
    """What one request took from the allocators, and what it will give back."""

    def __init__(self) -> None:
        self._on_success: list[Callable[[], None]] = []
        self._on_failure: list[Callable[[], None]] = []

    def on_success(self, call: Callable[[], None]) -> None:
        """To be called once the object is stored (releases)."""
        self._on_success.append(call)

    def on_failure(self, call: Callable[[], None]) -> None:
        """To be called if the object is not stored (frees what was allocated)."""
        self._on_failure.append(call)

    def commit(self) -> None:
        """The object is stored. Does nothing after a rollback."""
        self._finish(self._on_success)

    def rollback(self) -> None:
        """The object is not stored (or this was a dry run). Does nothing after a commit."""
        self._finish(self._on_failure[::-1])

    def _finish(self, calls: list[Callable[[], None]]) -> None:
        self._on_success, self._on_failure = [], []
        for call in calls:
            call()


@dataclass
class Context:
    """What hooks may look at: the time in seconds since 1970 and the allocators.

    One Context serves all requests: hooks run without awaiting anything, right after `begin`.
    """

    ranges: ServiceAllocator = field(default_factory=ServiceAllocator)
    now: float = 0.0
    transaction: Transaction = field(default_factory=Transaction)

    def begin(self) -> Transaction:
        """A new transaction for the hooks that are called next."""
        self.transaction = Transaction()
        return self.transaction


class Strategy:
    """The behaviour that kinds share; kinds that need more override hooks."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource

    def prepare_create(self, obj: Any, ctx: Context) -> None:  # noqa: ARG002  (kinds that allocate need it)
        """Drops what clients may not set, fills in what the server decides. ApiError if it cannot."""
        if "status" in self.resource.subresources:
            obj.status = type(obj.status)()

    def prepare_update(self, new: Any, old: Any, subresource: str, ctx: Context) -> None:  # noqa: ARG002
        """Keeps what this write may not touch (S27). ApiError if what it needs cannot be had."""
        if subresource == "status":
            self.keep_all_but_status(new, old)
        elif "status" in self.resource.subresources:
            new.status = codec.copy(old.status)

    def keep_all_but_status(self, new: Any, old: Any) -> None:
        """A write of status keeps what is wanted as it was; labels and annotations may change with it (S27)."""
        for name in wanted_fields(new):
            setattr(new, name, getattr(old, name))
        new.metadata.owner_references = old.metadata.owner_references

    def after_delete(self, obj: Any, ctx: Context) -> None:
        """Once the object is gone from the store: gives back what it held."""

    def canonicalize(self, obj: Any) -> None:
        """Brings an object into its usual form."""

    def warnings(self, new: Any, old: Any | None) -> list[str]:  # noqa: ARG002  (kinds that warn look at them)
        """Sentences for the HTTP Warning header; `old` is None on create."""
        return []

    def standing_warnings(self) -> list[str]:
        """Sentences that go with every request on this kind, reads too (E53)."""
        return []

    def default_delete_grace(self, obj: Any) -> int:  # noqa: ARG002  (kinds that linger look at it)
        """Seconds between a delete request and the end of the object; 0: it goes at once."""
        return 0

    def default_propagation(self) -> str:
        """What a deletion does with dependents when it does not say; "": the garbage collector removes them."""
        return ""

    def fields(self, obj: Any) -> dict[str, str]:
        """What a field selector can see of the object."""
        out = {"metadata.name": obj.metadata.name}
        if self.resource.namespaced:
            out["metadata.namespace"] = obj.metadata.namespace
        for path in self.resource.fields:
            out[path] = self.field(obj, path)
        return out

    def field(self, obj: Any, path: str) -> str:
        """One selectable field: by default the value at that path of the object's JSON."""
        value: Any = _attribute(path)(obj)
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else str(value)

    def changes_generation(self, new: Any, old: Any) -> bool:
        """Whether the change is one of what is wanted (everything but metadata and status)."""
        return any(getattr(new, name) != getattr(old, name) for name in wanted_fields(new))


@functools.cache
def _attribute(path: str) -> operator.attrgetter[Any]:
    return operator.attrgetter(".".join(map(snake, path.split("."))))


def wanted_fields(obj: Any) -> list[str]:
    """The attributes that hold what a client wants: all but metadata and status."""
    return [name for name in obj.__struct_fields__ if name not in ("kind", "api_version", "metadata", "status")]
