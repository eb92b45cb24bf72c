"""The custom kinds of the cluster, as they come and go, with a cache each. For controllers that follow every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skerry.api import custom, resources
from skerry.api.custom import CustomResource
from skerry.api.resources import Resource
from skerry.api.types import apiextensions
from skerry.client.informer import Informer, Informers

Change = Callable[[CustomResource, Informer[Any]], None]


class Kinds:
    """One row a definition: that of its most stable version, which shows all objects."""

    def __init__(self, informers: Informers) -> None:
        self._informers = informers
        self._known: dict[str, tuple[CustomResource, Informer[Any]]] = {}
        self._subscribers: list[tuple[Change, Change]] = []
        self.definitions = informers.of(apiextensions.CustomResourceDefinition)
        self.definitions.subscribe(self._definition)

    def subscribe(self, added: Change, removed: Change) -> None:
        """Both are called with the row and its cache; `added` at once for those that are there."""
        self._subscribers.append((added, removed))
        for row, informer in self._known.values():
            added(row, informer)

    def by_kind(self, api_version: str, kind: str) -> Resource | None:
        """The row of a kind, built-in or custom, whichever version is asked for."""
        found = resources.by_kind(api_version, kind)
        group = api_version.rpartition("/")[0]
        known = (row for row, _ in self._known.values() if (row.group, row.kind) == (group, kind))
        return found or next(known, None)

    def of(self, definition: str) -> tuple[CustomResource, Informer[Any]] | None:
        """The row and the cache of a definition by its name."""
        return self._known.get(definition)

    def _definition(
        self,
        old: apiextensions.CustomResourceDefinition | None,
        new: apiextensions.CustomResourceDefinition | None,
    ) -> None:
        item = new if new is not None else old
        assert item is not None
        name = item.metadata.name
        rows = custom.rows(new) if new is not None and custom.established(new) else []
        known = self._known.get(name)
        if known is not None and known[0].definition.metadata.uid == item.metadata.uid:
            same = any(row.version == known[0].version for row in rows)
            if same:
                return
        if known is not None:
            del self._known[name]
            for _, removed in self._subscribers:
                removed(*known)
            self._informers.forget(known[0].type)
        if rows:
            made = self._known[name] = (rows[0], self._informers.of(rows[0].type))
            for added, _ in self._subscribers:
                added(*made)
