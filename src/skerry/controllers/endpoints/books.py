"""What is kept of each Service between two syncs: its pods as endpoints, and what their consumers have been told.

Called by the controller's shell, which keeps one Books of Rosters (for Endpoints) and one of Placements (for slices).
Events only note which pods changed; a sync brings the book of its Service up to date with those. A book is never
trusted beyond that: a Service that wants something else gets a new one, made of all its pods. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from skerry.api.types import core
from skerry.controllers.endpoints import members
from skerry.controllers.endpoints.select import PodIndex
from skerry.controllers.endpoints.trigger import Causes


class _Forgets(Protocol):
    def remove(self, key: str) -> None: ...


T = TypeVar("T", bound=_Forgets)
_SHARE = 2.0  # of the time that a sync takes, how long its Service is left alone afterwards
_LONGEST = 0.1
_TICK = 0.0001  # less than this is over: clocks round


@dataclass
class Book(Generic[T]):
    """`endpoints` is the Roster or Placement of `service`; `rests_until` is a monotonic time in seconds."""

    service: core.Service
    endpoints: T
    causes: Causes = field(default_factory=Causes)
    rests_until: float = 0.0

    def rests(self, now: float) -> float:
        """For how many seconds it is still left alone; 0 if not."""
        left = self.rests_until - now
        return left if left > _TICK else 0.0

    def rest(self, begun: float, ended: float) -> None:
        """After a sync that wrote: what arrives in the next moment is collected.

        The pause is twice what the sync took (at most 0.1 s), so that a burst is written in few pieces however large
        the Service, and a Service that was quiet is written at once.
        """
        self.rests_until = ended + min(_SHARE * (ended - begun), _LONGEST)


class Books(Generic[T]):
    """`make` starts an empty Roster or Placement, `put` takes a pod into one."""

    def __init__(self, pods: PodIndex, make: Callable[[core.Service], T], put: Callable[[T, core.Pod], None]) -> None:
        self._pods, self._make, self._put = pods, make, put
        self._books: dict[str, Book[T]] = {}
        self._changed: dict[str, dict[str, None]] = {}  # Service -> pods

    def changed(self, service: str, pod: str) -> None:
        """Notes that a pod may have become, ceased to be or changed as an endpoint of a Service."""
        if service in self._books:
            self._changed.setdefault(service, {})[pod] = None

    def get(self, key: str) -> Book[T] | None:
        return self._books.get(key)

    def drop(self, key: str) -> bool:
        """Forgets a Service; whether it was known."""
        self._changed.pop(key, None)
        return self._books.pop(key, None) is not None

    def open(self, service: core.Service) -> Book[T]:
        """The Service's book, up to date with its pods."""
        key = members.key(service)
        changed = self._changed.pop(key, ())
        book = self._books.get(key)
        if book is None or not wants_the_same(book.service, service):
            book = self._books[key] = self._begin(service, book)
            return book
        wanted = service.spec.selector.items()
        for name in changed:
            pod = self._pods.get(name)
            if pod is None or not wanted <= pod.metadata.labels.items():
                book.endpoints.remove(name)
                book.causes.remove(name)
            else:
                self._put(book.endpoints, pod)
                book.causes.put(pod)
        return book

    def _begin(self, service: core.Service, former: Book[T] | None) -> Book[T]:
        book = Book(service, self._make(service))
        if former is not None:
            book.causes, book.rests_until = former.causes, former.rests_until
        names: set[str] = set()
        for pod in self._pods.matching(service.metadata.namespace, service.spec.selector):
            self._put(book.endpoints, pod)
            book.causes.put(pod)
            names.add(members.key(pod))
        book.causes.keep_only(names)
        return book


def wants_the_same(one: core.Service, other: core.Service) -> bool:
    """Whether nothing differs that endpoints depend on: a Service's status does not count, nor who wrote what."""
    return (
        one.spec == other.spec
        and one.metadata.uid == other.metadata.uid
        and one.metadata.labels == other.metadata.labels
        and one.metadata.annotations == other.metadata.annotations
        and one.metadata.deletion_timestamp == other.metadata.deletion_timestamp
        and one.metadata.creation_timestamp == other.metadata.creation_timestamp
    )
