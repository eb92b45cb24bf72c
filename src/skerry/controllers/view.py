"""A cache that is never older than what this process wrote itself. Called by controllers that write what they watch.

Between a write and the event that brings it back, a plain cache shows the past, and a controller that decides on the
past undoes or repeats its own work. A View lays over the cache what the server answered to each write until the cache
has caught up, and hides what was asked to be deleted. When the server refuses a write because somebody else was
faster, the View says so until the cache has seen that other write, so that nobody has to poll.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from skerry.client.informer import Informer, key_of

T = TypeVar("T")
_REMEMBERED = 4096


class View(Generic[T]):
    """`caught_up(key)` is called when a write that was refused can be decided again.

    `overtaken(item)` is called for what was written here and was changed or gone before the cache ever saw it: no event
    tells what it was.
    """

    def __init__(
        self,
        informer: Informer[T],
        caught_up: Callable[[str], None] | None = None,
        overtaken: Callable[[T], None] | None = None,
    ) -> None:
        self.informer = informer
        self._caught_up, self._overtaken = caught_up, overtaken
        self._own: dict[str, Any] = {}  # newer than the cache
        self._own_by: dict[tuple[str, str], dict[str, None]] = {}  # (index, value) -> keys of those
        self._versions: dict[str, str] = {}  # the resourceVersion last written, by key
        self._hidden: dict[str, str] = {}  # uid -> key of what was asked to be deleted
        self._refused: dict[str, int] = {}  # key -> the version that the server no longer had
        self._gone: dict[str, None] = {}  # uids seen to go, the last few thousand
        self._asked: dict[str, None] = {}  # uids whose deletion was asked for here, the last few thousand
        self._indexes: dict[str, Callable[[T], Iterable[str]]] = {}
        informer.subscribe(self._event)
        informer.on_list(self._listed)

    def add_index(self, name: str, values: Callable[[T], Iterable[str]]) -> None:
        """As the informer's, but with this process's own writes."""
        self._indexes[name] = values
        self.informer.add_index(name, values)

    def get(self, key: str) -> T | None:
        """The newest known state, None if there is none or its deletion was asked for."""
        item: Any = self._own.get(key) or self.informer.get(key)
        return None if item is None or item.metadata.uid in self._hidden else item

    def by_index(self, name: str, value: str) -> list[T]:
        """The newest known states with this value."""
        items: list[Any] = self.informer.by_index(name, value)
        if not self._own and not self._hidden:
            return items
        found = [one for one in items if key_of(one) not in self._own]
        found += [self._own[key] for key in self._own_by.get((name, value), ())]
        return [one for one in found if one.metadata.uid not in self._hidden]

    def wrote(self, obj: T) -> None:
        """Remembers the server's answer to a create or update."""
        made: Any = obj
        key = key_of(made)
        if made.metadata.uid in self._gone:
            return
        self._versions[key] = made.metadata.resource_version
        self._drop(key)
        cached = self.informer.get(key)
        if not _reached(cached, made):
            self._own[key] = made
            for place in self._places(made):
                self._own_by.setdefault(place, {})[key] = None
        else:
            self._compare(cached, made)

    def _compare(self, cached: Any, written: Any) -> None:
        """The cache has reached what was written here, or jumped over it."""
        if cached.metadata.resource_version != written.metadata.resource_version and self._overtaken is not None:
            self._overtaken(written)

    def _places(self, item: Any) -> list[tuple[str, str]]:
        return [(name, value) for name, values in self._indexes.items() for value in values(item)]

    def _drop(self, key: str) -> None:
        """The cache knows better than what was written here."""
        known = self._own.pop(key, None)
        if known is not None:
            for place in self._places(known):
                del self._own_by[place][key]
                if not self._own_by[place]:
                    del self._own_by[place]

    def _listed(self) -> None:
        """A list is the whole truth of its revision: what was written before and is not in it is gone."""
        revision = int(self.informer.resource_version)
        for key, own in list(self._own.items()):
            if int(own.metadata.resource_version) <= revision and self.informer.get(key) is None:
                self.gone(own)
                if self._overtaken is not None:
                    self._overtaken(own)

    def gone(self, obj: T) -> None:
        """Remembers that the server does not have the object any more, whatever was written here."""
        known: Any = obj
        key = key_of(known)
        own = self._own.get(key)
        if own is not None and own.metadata.uid == known.metadata.uid:
            self._drop(key)
            self._versions.pop(key, None)
            _remember(self._gone, known.metadata.uid)

    def deleted(self, obj: T) -> None:
        """Remembers that the object's deletion was asked for; it is hidden until the cache knows."""
        asked: Any = obj
        key = key_of(asked)
        _remember(self._asked, asked.metadata.uid)
        known: Any = self.informer.get(key) or self._own.get(key)
        if known is not None and known.metadata.uid == asked.metadata.uid and not known.metadata.deletion_timestamp:
            self._hidden[asked.metadata.uid] = key

    def refused(self, obj: T) -> None:
        """Notes that the server no longer had `obj` as it was; or, for one to be created, that it had it already."""
        asked: Any = obj
        key, version = key_of(asked), int(asked.metadata.resource_version or 0)
        cached: Any = self.informer.get(key)
        knows_better = cached is not None and int(cached.metadata.resource_version) > version
        if not knows_better and asked.metadata.uid not in self._gone:
            self._refused[key] = version

    def is_behind(self, key: str) -> bool:
        """Whether a write was refused and the cache has not yet seen why."""
        return key in self._refused

    def wait_no_longer(self, key: str) -> None:
        """For when the news that would explain a refusal do not come: it can be decided again."""
        if self._refused.pop(key, None) is not None and self._caught_up is not None:
            self._caught_up(key)

    def is_own(self, obj: T) -> bool:
        """Whether this state is what this process wrote last, or older and so was known when that was decided."""
        item: Any = obj
        written = self._versions.get(key_of(item))
        return written is not None and int(item.metadata.resource_version) <= int(written)

    def is_own_deletion(self, obj: T) -> bool:
        """Whether it was this process that asked for the deletion of this very object."""
        item: Any = obj
        return item.metadata.uid in self._asked

    def _event(self, old: T | None, new: T | None) -> None:
        item: Any = new if new is not None else old
        key, uid = key_of(item), item.metadata.uid
        own = self._own.get(key)
        if new is None:
            _remember(self._gone, uid)
            self._hidden.pop(uid, None)
            if own is None or own.metadata.uid == uid:
                self._drop(key)
                self._versions.pop(key, None)
        else:
            if own is not None and _reached(item, own):
                self._drop(key)
                self._compare(item, own)
            if item.metadata.deletion_timestamp:
                self._hidden.pop(uid, None)
        version = self._refused.get(key)
        if version is not None and (new is None or int(item.metadata.resource_version) > version):
            del self._refused[key]
            if self._caught_up is not None:
                self._caught_up(key)


def _reached(cached: Any, written: Any) -> bool:
    """Whether the cache shows this write or a later one; resourceVersions are the store's revisions."""
    if cached is None:
        return False
    return int(cached.metadata.resource_version) >= int(written.metadata.resource_version)


def _remember(seen: dict[str, None], uid: str) -> None:
    seen[uid] = None
    if len(seen) > _REMEMBERED:
        del seen[next(iter(seen))]
