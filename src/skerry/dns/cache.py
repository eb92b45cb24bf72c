"""What upstream servers answered, for as long as they said that it holds. Pure; called by `resolver`.

Never of the cluster's own zone, which is not asked upstream: so a cluster's names are never older than its objects.
Positive answers are kept for the shortest time to live in them; that a name or a type does not exist, for what the
zone's SOA says (RFC 2308), or not at all without one. Failures and truncated answers are not kept.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from skerry.dns import wire

POSITIVE_MOST, NEGATIVE_MOST = 3600, 300
"""Seconds after which we ask again, whatever a server said."""
ENTRIES = 10_000
_SOA, _OPT = 6, 41
_NOERROR, _NXDOMAIN = 0, 3


class _Entry(NamedTuple):
    packet: bytes
    ttls: tuple[int, ...]  # where they are in the packet
    kept: float
    expires: float
    negative: bool


class UpstreamCache:
    """Replies by question. Times are a monotonic clock's seconds."""

    def __init__(self, limit: int = ENTRIES) -> None:
        self._entries: dict[bytes, _Entry] = {}
        self._limit = limit
        self.hits = {"success": 0, "denial": 0}
        self.misses = self.evictions = 0

    @staticmethod
    def key(packet: bytes) -> bytes | None:
        """What makes two questions one: flags, name without case, type, class, EDNS. None: not to be kept."""
        section = wire.question_section(packet)
        if section is None:
            return None
        return packet[2:4] + section + packet[wire.HEADER + len(section) :]

    def get(self, packet: bytes, now: float) -> bytes | None:
        """The reply to this question as its asker wrote it, with what is left of the times to live."""
        key = self.key(packet)
        entry = self._entries.get(key) if key is not None else None
        if entry is None or entry.expires <= now:
            self.misses += 1
            return None
        self.hits["denial" if entry.negative else "success"] += 1
        reply = bytearray(entry.packet)
        end = wire.section_end(packet)
        reply[:2], reply[wire.HEADER : end] = packet[:2], packet[wire.HEADER : end]
        age = int(now - entry.kept)
        for at in entry.ttls:
            left = max(0, struct.unpack_from("!I", reply, at)[0] - age)
            struct.pack_into("!I", reply, at, left)
        return bytes(reply)

    def put(self, asked: bytes, reply: bytes, now: float) -> None:
        """Keeps a reply, if its kind may be kept."""
        key = self.key(asked)
        if key is None or reply[2] & 0x02 or wire.question_section(reply) != wire.question_section(asked):
            return
        try:
            records = wire.records_of(reply)
            seconds, negative = _holds(reply, records)
        except (ValueError, IndexError, struct.error):
            return
        if seconds <= 0:
            return
        if key not in self._entries and len(self._entries) >= self._limit:
            del self._entries[next(iter(self._entries))]
            self.evictions += 1
        ttls = tuple(one.ttl for one in records if one.type != _OPT)
        self._entries[key] = _Entry(reply, ttls, now, now + seconds, negative)

    def clear(self) -> None:
        """Forgets all: other servers are asked from now on."""
        self._entries.clear()

    def sizes(self) -> dict[str, int]:
        """How many of each kind are kept, the expired among them."""
        denials = sum(one.negative for one in self._entries.values())
        return {"success": len(self._entries) - denials, "denial": denials}


def _holds(packet: bytes, records: list[wire.Found]) -> tuple[int, bool]:
    """For how many seconds a reply holds, and whether it says that something does not exist."""
    code = packet[3] & 15
    answers = [one for one in records if one.section == 0]
    asked = struct.unpack_from("!H", packet, wire.section_end(packet) - 4)[0]
    if code == _NOERROR and any(one.type == asked or asked == 255 for one in answers):
        shown = [one for one in records if one.type != _OPT]
        return min(POSITIVE_MOST, *(_ttl(packet, one) for one in shown)), False
    if code not in (_NOERROR, _NXDOMAIN):
        return 0, False
    soa = next((one for one in records if one.section == 1 and one.type == _SOA), None)
    if soa is None or soa.end - soa.data < 22:
        return 0, True
    least = struct.unpack_from("!I", packet, soa.end - 4)[0]
    return min(NEGATIVE_MOST, least, _ttl(packet, soa), *(_ttl(packet, one) for one in answers)), True


def _ttl(packet: bytes, one: wire.Found) -> int:
    found: int = struct.unpack_from("!I", packet, one.ttl)[0]
    return found if found < 1 << 31 else 0  # RFC 2181: the highest bit makes it nought
