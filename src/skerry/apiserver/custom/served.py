"""The kinds that a server serves beside the built-in ones; they come and go. Called by app.py and definitions.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import custom, resources

if TYPE_CHECKING:
    from skerry.api.custom import CustomResource
    from skerry.api.resources import Resource
    from skerry.api.types import apiextensions
    from skerry.store.base import Watcher


class Served:
    """`rows` is a new tuple after every change, so that whatever is made of it can be kept with it."""

    def __init__(self) -> None:
        self.rows: tuple[CustomResource, ...] = ()
        self._by_name: dict[str, list[CustomResource]] = {}
        self._by_path: dict[tuple[str, str, str], CustomResource] = {}
        self._watchers: dict[Resource, set[Watcher]] = {}

    def by_path(self, group: str, version: str, plural: str) -> Resource | None:
        """The row of a URL, built-in or custom."""
        return resources.by_path(group, version, plural) or self._by_path.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> Resource | None:
        """The row of a kind, built-in or custom."""
        found = (one for one in self.rows if (one.api_version, one.kind) == (api_version, kind))
        return resources.by_kind(api_version, kind) or next(found, None)

    def put(self, definition: apiextensions.CustomResourceDefinition) -> None:
        """Serves a definition in this state; watches on what it was end, as clients are used to."""
        self._replace(definition.metadata.name, custom.rows(definition) if custom.established(definition) else [])

    def remove(self, name: str) -> None:
        """Serves a definition no more; its watches end."""
        self._replace(name, [])

    def serves(self, definition: apiextensions.CustomResourceDefinition) -> bool:
        """Whether it is served just so already."""
        found = self._by_name.get(definition.metadata.name, [])
        if not found:
            return not custom.established(definition)
        known = found[0].definition
        return (
            known.spec == definition.spec
            and known.status.accepted_names == definition.status.accepted_names
            and known.metadata.uid == definition.metadata.uid
            and known.metadata.deletion_timestamp == definition.metadata.deletion_timestamp
        )

    def names(self) -> list[str]:
        return list(self._by_name)

    def _replace(self, name: str, rows: list[CustomResource]) -> None:
        gone = self._by_name.pop(name, [])
        for row in gone:
            self._by_path.pop((row.group, row.version, row.plural), None)
        if rows:
            self._by_name[name] = rows
            self._by_path |= {(row.group, row.version, row.plural): row for row in rows}
        self.rows = tuple(row for _, found in sorted(self._by_name.items()) for row in found)
        for row in gone:
            for watcher in self._watchers.pop(row, ()):
                watcher.wake()

    # Watches.

    def current(self, row: Resource) -> bool:
        """Whether a row is still what is served; a built-in one always is."""
        return self.by_path(row.group, row.version, row.plural) is row

    def watches(self, row: Resource, watcher: Watcher) -> None:
        """To be woken when the row goes."""
        self._watchers.setdefault(row, set()).add(watcher)

    def unwatches(self, row: Resource, watcher: Watcher) -> None:
        found = self._watchers.get(row)
        if found is not None:
            found.discard(watcher)
            if not found:
                del self._watchers[row]
