"""Answers kept as the bytes of their packets, until something changes that they were made of. Pure; one a server.

An answer costs dnslib about 80 microseconds to read and to write, and a lookup here less than one. What was asked is
the key as it came, all but its id; what an answer depends on is told by the records, and so is what has changed.
Addresses keep coming in changing order (D13): a packet whose last answers are addresses of one name is turned around.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING

from skerry.dns import wire
from skerry.dns.records import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRIES = 32768
"""How many answers are kept: about 1 KB each with their keys."""
_A, _AAAA = 1, 28

Key = tuple[int, bytes]
"""Whose search path is walked (0: nobody's), and the packet without its id."""


class Packed:
    """One answer. `hits`: how often it went out; `about` is its maker's, for counting them."""

    __slots__ = ("_at", "_count", "_end", "_size", "_tail", "_turn", "about", "depends", "hits", "length")

    def __init__(self, packet: bytes, depends: frozenset[Hashable], about: Hashable) -> None:
        self._tail, self.depends, self.about = packet[2:], depends, about
        self.hits, self.length, self._turn = 0, len(packet), 0
        self._at, self._size, self._count = _addresses(packet)
        self._end = self._at + self._size * self._count

    def reply(self, ident: bytes) -> bytes:
        """The packet with this id (two bytes), its addresses in another order than the last time."""
        self.hits += 1
        if self._count < 2:
            return ident + self._tail
        self._turn = turn = (self._turn + 1) % self._count
        tail, middle = self._tail, self._at + turn * self._size
        return b"".join((ident, tail[: self._at], tail[middle : self._end], tail[self._at : middle], tail[self._end :]))


def _addresses(packet: bytes) -> tuple[int, int, int]:
    """Where in packet[2:] the addresses that end the answers begin, how long each record is, how many there are.

    They can change places when each names its owner by the same bytes, and nothing else can refer to them.
    """
    answers = [one for one in wire.records_of(packet) if one.section == 0]
    run: list[wire.Found] = []
    for one in reversed(answers):
        if one.type not in (_A, _AAAA) or (run and one.type != run[0].type):
            break
        if run and packet[one.name : one.ttl] != packet[run[0].name : run[0].ttl]:
            break
        run.append(one)
    if len(run) < 2:
        return 0, 0, 0
    first = run[-1]
    return first.name - 2, first.end - first.name, len(run)


class Answers:
    """The kept answers. `on_leave` gets each one that goes, for the count of its hits."""

    def __init__(self, on_leave: Callable[[Packed], None] = lambda _: None, limit: int = ENTRIES) -> None:
        self.kept: dict[Key, Packed] = {}
        self._by: dict[Hashable, set[Key]] = {}
        self._on_leave, self._limit = on_leave, limit
        self.evictions = 0

    def put(self, key: Key, one: Packed) -> None:
        """Keeps an answer; the oldest makes room."""
        if len(self.kept) >= self._limit:
            self._drop(next(iter(self.kept)))
            self.evictions += 1
        self.kept[key] = one
        for each in one.depends:
            self._by.setdefault(each, set()).add(key)

    def changed(self, what: Hashable) -> None:
        """What was made of this must be made anew."""
        if what == EVERYTHING:
            self._drop_all(list(self.kept))
        elif what in self._by:
            self._drop_all(list(self._by[what]))

    def __iter__(self) -> Iterator[Packed]:
        return iter(self.kept.values())

    def _drop_all(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        one = self.kept.pop(key)
        for each in one.depends:
            mine = self._by[each]
            mine.discard(key)
            if not mine:
                del self._by[each]
        self._on_leave(one)
