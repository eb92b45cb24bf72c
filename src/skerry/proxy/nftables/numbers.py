"""Numbers that lists and their backends have in the kernel's maps. Pure.

Called by plan.py. A list's number, a word that packets carry as their mark, has three parts:

    | slot: 10 bits | service port: 21 bits | scope: 1 bit |

The slot stands for an affinity time-out in use, 0 for none; the lists of one service port differ in the last bit alone,
so a client's record is kept under the number without it. A *place* numbers a backend of a service port; it is never
given to another one while a client may remember it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from skerry.proxy.table import Backend, ListKey, Scope

SLOT_SHIFT = 22
SLOTS = 0xFFFFFFFF ^ (1 << SLOT_SHIFT) - 1
"""The bits of a slot; a list of a service with affinity has some of them."""
SERVICE_PORT = 0xFFFFFFFE
"""All bits but the scope."""

FIRST_LIST = 0x10000
"""Lists are numbered from here, above any count."""
_MOST_PLACES = 0xFFFFFFFF
_MOST_SLOTS = (1 << 32 - SLOT_SHIFT) - 1

Keeper = tuple[int, int]
"""A slot and its time-out in seconds."""


class Numbers:
    """Gives out numbers, each to one list or backend at a time, and takes none again that was just given back."""

    def __init__(self) -> None:
        self._lists: dict[ListKey, int] = {}
        self._ports: dict[tuple[str, str, str, int], int] = {}
        self._taken: set[int] = set()
        self._next_port = FIRST_LIST
        self._last_slot = 0
        self._slots: dict[int, int] = {}
        self._seconds: dict[int, int] = {}
        self._uses: Counter[int] = Counter()
        self._places: dict[tuple[int, Backend], int] = {}
        self._holders: Counter[tuple[int, Backend]] = Counter()
        self._next_place = 1

    def get(self, key: ListKey) -> int | None:
        return self._lists.get(key)

    def ports(self) -> dict[int, tuple[str, str, str]]:
        """The service ports (service, port name, protocol) by the numbers that their lists have but for the scope."""
        return {number: (service, port, protocol) for (service, port, protocol, _), number in self._ports.items()}

    def assign(self, key: ListKey) -> int:
        """A new list's number."""
        port = (key.service, key.port, key.protocol, key.affinity)
        number = self._ports.get(port)
        if number is None:
            while self._next_port in self._taken:
                self._next_port = self._after(self._next_port)
            number = self._ports[port] = self._next_port | self._slot(key.affinity) << SLOT_SHIFT
            self._taken.add(self._next_port)
            self._next_port = self._after(self._next_port)
        number |= _bit(key)
        self._lists[key] = number
        self._uses[number >> SLOT_SHIFT] += 1
        return number

    @staticmethod
    def _after(number: int) -> int:
        return number + 2 if number + 2 < 1 << SLOT_SHIFT else FIRST_LIST

    def _slot(self, seconds: int) -> int:
        """The slot of a time-out. Of more time-outs than slots at once, the last ones get the nearest that has one."""
        if not seconds:
            return 0
        if seconds not in self._slots:
            # In turn, so that a slot whose chain still lingers is not taken again.
            turn = [(self._last_slot + one) % _MOST_SLOTS + 1 for one in range(_MOST_SLOTS)]
            free = next((one for one in turn if not self._uses[one]), None)
            if free is None:
                return self._slots[min(self._slots, key=lambda one: abs(one - seconds))]
            self._last_slot = free
            self._slots.pop(self._seconds.get(free, 0), None)
            self._slots[seconds], self._seconds[free] = free, seconds
        return self._slots[seconds]

    def keeper(self, number: int) -> Keeper | None:
        """The slot and time-out of a list, None if it has no affinity."""
        slot = number >> SLOT_SHIFT
        return (slot, self._seconds[slot]) if slot else None

    def in_use(self, keeper: Keeper) -> bool:
        """Is there a list with this slot and time-out?"""
        return self._uses[keeper[0]] > 0 and self._seconds.get(keeper[0]) == keeper[1]

    def release(self, key: ListKey) -> int | None:
        """A list is no more: the number it had."""
        number = self._lists.pop(key, None)
        if number is None:
            return None
        self._uses[number >> SLOT_SHIFT] -= 1
        if not any(key._replace(scope=scope) in self._lists for scope in Scope):
            del self._ports[key.service, key.port, key.protocol, key.affinity]
            self._taken.discard(number & SERVICE_PORT & ~SLOTS)
        return number

    def keepers(self, found: Iterable[Keeper]) -> None:
        """Slots that the kernel has. Of several with one time-out (which we never write) one counts."""
        for slot, seconds in found:
            if slot not in self._seconds and seconds not in self._slots:
                self._slots[seconds], self._seconds[slot] = slot, seconds
            self._last_slot = max(self._last_slot, slot)

    def adopt(self, key: ListKey, number: int) -> bool:
        """A list may have the number that the kernel knows it by; False if it cannot be its."""
        if key in self._lists:
            return self._lists[key] == number
        slot, bare = number >> SLOT_SHIFT, number & SERVICE_PORT & ~SLOTS
        port = (key.service, key.port, key.protocol, key.affinity)
        seconds = self._seconds.get(slot) if slot else 0
        fits = bare >= FIRST_LIST and number & 1 == _bit(key) and seconds == key.affinity
        whole = number & SERVICE_PORT
        if not fits or self._ports.get(port, whole) != whole or (port not in self._ports and bare in self._taken):
            return False
        self._ports[port] = whole
        self._taken.add(bare)
        self._lists[key] = number
        self._uses[slot] += 1
        return True

    def lists_above(self, number: int) -> None:
        """The next list gets a number above this one's, as if that had just been given out."""
        self._next_port = max(self._next_port, self._after(number & SERVICE_PORT & ~SLOTS))

    def adopt_place(self, number: int, backend: Backend, place: int) -> bool:
        """A backend keeps the place by which clients remember it; False if the other list has it elsewhere."""
        name = (number & SERVICE_PORT, backend)
        if self._places.setdefault(name, place) != place:
            return False
        self._holders[name] += 1
        return True

    def places_from(self, place: int) -> None:
        """The next place to give out."""
        self._next_place = place if place <= _MOST_PLACES else 1

    def place(self, number: int, backend: Backend) -> int:
        """A backend comes into a list: its place, which is the same in the other list of the service port."""
        name = (number & SERVICE_PORT, backend)
        self._holders[name] += 1
        if name not in self._places:
            self._places[name] = self._next_place
            self._next_place = self._next_place % _MOST_PLACES + 1
        return self._places[name]

    def leave(self, number: int, backend: Backend) -> None:
        """It leaves the list."""
        name = (number & SERVICE_PORT, backend)
        self._holders[name] -= 1
        if not self._holders[name]:
            del self._holders[name], self._places[name]


def _bit(key: ListKey) -> int:
    return int(key.scope is Scope.LOCAL)
