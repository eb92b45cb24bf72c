"""nf_tables over netlink: tables, chains, rules, and the socket that carries out transactions and dumps.

Called by proxy/nftables and node/network. A transaction is a list of `Request`s that the kernel does wholly or not at
all; rules are made of nft_expr's expressions, sets are nft_set's. Numbers are those of linux/netfilter/nf_tables.h, and
notes (`udata`) are kept as the nft program keeps them, so that `nft list ruleset` prints everything.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from skerry.netlink import wire
from skerry.netlink.wire import ACK, APPEND, CREATE, REQUEST, NetlinkError, attribute, be32, nested, string

NEW_TABLE, GET_TABLE, DELETE_TABLE = 0, 1, 2
NEW_CHAIN, GET_CHAIN, DELETE_CHAIN = 3, 4, 5
NEW_RULE, GET_RULE, DELETE_RULE = 6, 7, 8
NEW_SET, GET_SET, DELETE_SET = 9, 10, 11
NEW_ELEMENT, GET_ELEMENT, DELETE_ELEMENT = 12, 13, 14
GET_GENERATION = 16

IPV4, IPV6 = 2, 10
BATCH_MAX = 256 * 1024
"""Bytes of one transaction: an ordinary user's socket buffer holds no more."""

_SUBSYSTEM = 10 << 8
_BEGIN, _END = 0x10, 0x11
_OVERHEAD = 64


class Hook(IntEnum):
    PREROUTING = 0
    INPUT = 1
    FORWARD = 2
    OUTPUT = 3
    POSTROUTING = 4


@dataclass(frozen=True, slots=True)
class Request:
    """One message of a transaction: `payload` is its attributes, `what` names it in errors."""

    type: int
    flags: int
    payload: bytes
    what: str

    @property
    def size(self) -> int:
        """Bytes that it takes in a batch."""
        return 20 + len(self.payload)


class NftError(NetlinkError):
    """The kernel refused a transaction because of the message `what`, the index-th (-1: the transaction as a whole)."""

    def __init__(self, code: int, index: int, what: str) -> None:
        super().__init__(code, index, f"{os.strerror(code)} ({what})")
        self.index, self.what = index, what


def udata(kind: int, value: bytes) -> bytes:
    """A note for the nft program."""
    return struct.pack("BB", kind, len(value)) + value


def comment_note(text: str) -> bytes:
    """A comment, as tables, chains and rules keep it."""
    return udata(0, text.encode()[:127] + b"\0")


def add_table(name: str, comment: str = "", *, dormant: bool = False) -> Request:
    """Makes a table; nothing happens if there is one. The chains of a dormant one are never called."""
    notes = attribute(6, comment_note(comment)) if comment else b""
    return Request(NEW_TABLE, CREATE, string(1, name) + be32(2, int(dormant)) + notes, f"table {name}")


def delete_table(name: str) -> Request:
    """Deletes a table with all that is in it; the transaction fails if there is none."""
    return Request(DELETE_TABLE, 0, string(1, name), f"delete table {name}")


def add_chain(table: str, name: str) -> Request:
    return Request(NEW_CHAIN, CREATE, string(1, table) + string(3, name), f"chain {name}")


def add_base_chain(table: str, name: str, kind: str, hook: Hook, priority: int) -> Request:
    """A chain that the kernel calls; `kind` is filter, nat or route. What it does not decide is accepted."""
    where = nested(4, be32(1, hook), attribute(2, struct.pack("!i", priority)))
    parts = string(1, table) + string(3, name) + where + be32(5, 1) + string(7, kind)
    return Request(NEW_CHAIN, CREATE, parts, f"base chain {name}")


def delete_chain(table: str, name: str) -> Request:
    return Request(DELETE_CHAIN, 0, string(1, table) + string(3, name), f"delete chain {name}")


def add_rule(table: str, chain: str, *expressions: bytes, comment: str = "") -> Request:
    """Appends a rule."""
    notes = attribute(7, comment_note(comment)) if comment else b""
    parts = string(1, table) + string(2, chain) + nested(4, *expressions) + notes
    return Request(NEW_RULE, CREATE | APPEND, parts, f"rule in {chain}")


def flush_chain(table: str, chain: str) -> Request:
    """Deletes all rules of a chain."""
    return Request(DELETE_RULE, 0, string(1, table) + string(2, chain), f"flush chain {chain}")


def split(requests: Sequence[Request], most: int = BATCH_MAX) -> Iterator[list[Request]]:
    """Cuts a long list of requests, in order, into transactions that fit. ValueError if one alone is too long."""
    batch: list[Request] = []
    size = _OVERHEAD
    for one in requests:
        need = (one.size + 3) & ~3
        if need + _OVERHEAD > most:
            raise ValueError(f"{one.what} alone takes {need} bytes, a transaction holds {most}")
        if size + need > most:
            yield batch
            batch, size = [], _OVERHEAD
        batch.append(one)
        size += need
    if batch:
        yield batch


class _Line:
    """The socket of one or several families, and how many transactions went over it."""

    def __init__(self) -> None:
        self.socket = wire.Socket(wire.NETFILTER)
        self.commits = 0


class Nft:
    """One family of nf_tables, in the network namespace where this was made. Calls return when the kernel is done."""

    def __init__(self, family: int = IPV4, *, beside: Nft | None = None) -> None:
        """`beside`: another one (of another family) whose socket and count of commits this shares."""
        self.family = family
        self._line: _Line = _Line() if beside is None else beside._line  # noqa: SLF001  (one of ours)
        self._socket = self._line.socket

    @property
    def commits(self) -> int:
        """How many transactions of ours the kernel has carried out."""
        return self._line.commits

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Nft:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def commit(self, requests: Sequence[Request]) -> None:
        """Carries out a transaction: all or nothing. NftError names the first message that was refused."""
        if not requests:
            return
        begin = self._socket.next_sequence()
        edge = struct.pack("!BBH", 0, 0, _SUBSYSTEM >> 8)
        head = struct.pack("!BBH", self.family, 0, 0)
        parts = [wire.pack(wire.Message(_BEGIN, REQUEST, edge), begin)]
        sequences: dict[int, int] = {}
        last = len(requests) - 1
        for index, one in enumerate(requests):
            sequence = self._socket.next_sequence()
            sequences[sequence] = index
            flags = one.flags | REQUEST | (ACK if index == last else 0)
            parts.append(wire.pack(wire.Message(_SUBSYSTEM | one.type, flags, head + one.payload), sequence))
        parts.append(wire.pack(wire.Message(_END, REQUEST, edge), self._socket.next_sequence()))
        self._socket.send_all(parts)
        self._check(requests, begin, sequences)

    def _check(self, requests: Sequence[Request], begin: int, sequences: dict[int, int]) -> None:
        """Reads the answers, which are all there when send returns."""
        refused: list[tuple[int, int]] = []
        done = False
        for message in self._waiting():
            code = wire.error_of(message)
            if code is None or (message.sequence != begin and message.sequence not in sequences):
                continue
            if code:
                refused.append((sequences.get(message.sequence, -1), code))
            elif sequences.get(message.sequence) == len(requests) - 1:
                done = True
        if refused:
            index, code = min(refused, key=lambda one: (one[0] < 0, one[0]))
            raise NftError(code, index, requests[index].what if index >= 0 else "the transaction as a whole")
        if not done:
            raise NftError(errno.EPROTO, -1, "no answer to the transaction")
        self._line.commits += 1

    def _waiting(self) -> Iterator[wire.Message]:
        while True:
            try:
                data = self._socket.datagram(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            yield from wire.messages(data)

    def ask(self, kind: int, attributes: bytes) -> list[memoryview]:
        """The attributes of the objects that are named. NetlinkError if one is not there."""
        head = struct.pack("!BBH", self.family, 0, 0)
        found = self._socket.request(wire.Message(_SUBSYSTEM | kind, 0, head + attributes))
        return [memoryview(one.payload)[4:] for one in found]

    def ask_many(self, kind: int, attributes: bytes) -> list[bytes]:
        """The same, for answers that come by hundreds."""
        head = struct.pack("!BBH", self.family, 0, 0)
        return [one[4:] for one in self._socket.replies(wire.Message(_SUBSYSTEM | kind, 0, head + attributes))]

    def dump(self, kind: int, attributes: bytes = b"") -> list[memoryview]:
        """The attributes of all objects of a kind (GET_TABLE, GET_CHAIN, ...), narrowed down by `attributes`."""
        head = struct.pack("!BBH", self.family, 0, 0)
        found = self._socket.dump(wire.Message(_SUBSYSTEM | kind, 0, head + attributes))
        return [memoryview(one.payload)[4:] for one in found]

    def tables(self) -> dict[str, str]:
        """The names of the tables, with their comments."""
        found = {}
        for one in self.dump(GET_TABLE):
            parts = wire.table(one)
            found[text(parts[1])] = _comment(parts.get(6))
        return found

    def dormant(self, table: str) -> bool:
        """Does the kernel call none of its chains? NetlinkError if there is no such table."""
        (found,) = self.ask(GET_TABLE, string(1, table))
        return bool(int.from_bytes(wire.table(found)[2], "big") & 1)

    def chains(self, table: str) -> list[str]:
        parts = [wire.table(one) for one in self.dump(GET_CHAIN)]
        return [text(one[3]) for one in parts if text(one[1]) == table]

    def sets(self, table: str) -> list[str]:
        """The names of a table's sets and maps. A missing table has none."""
        try:
            return [text(wire.table(one)[2]) for one in self.dump(GET_SET, string(1, table))]
        except NetlinkError as error:
            if error.errno == errno.ENOENT:
                return []
            raise

    def sizes(self, table: str) -> dict[str, int | None]:
        """How many elements each set of a table has; None where the kernel does not tell (before 6.16)."""
        parts = [wire.table(one) for one in self.dump(GET_SET, string(1, table))]
        return {text(one[2]): int.from_bytes(one[20], "big") if 20 in one else None for one in parts}

    def rules(self, table: str) -> Iterator[tuple[str, list[memoryview]]]:
        """The rules of a table in order: each one's chain and expressions."""
        for one in self.dump(GET_RULE, string(1, table)):
            parts = wire.table(one)
            if text(parts[1]) == table:
                yield text(parts[2]), [each for _, each in wire.attributes(parts.get(4, memoryview(b"")))]

    def rule_counters(self, table: str) -> dict[str, int]:
        """Packets that the rules of each chain have counted; chains without a counter are left out."""
        found: dict[str, int] = {}
        for chain, expressions in self.rules(table):
            for expression in expressions:
                name, packets = counter_of(expression)
                if name == "counter":
                    found[chain] = found.get(chain, 0) + packets
        return found

    def shape(self, table: str) -> dict[tuple[str, str], object]:
        """All of a table but its elements and numbers of packets: equal for tables that were made alike."""
        found: dict[tuple[str, str], object] = {}
        for one in self.dump(GET_CHAIN):
            parts = wire.table(one)
            if text(parts[1]) == table:
                found["chain", text(parts[3])] = [bytes(parts.get(kind, b"")) for kind in (4, 5, 7)]
        for one in self.dump(GET_SET, string(1, table)):
            parts = wire.table(one)
            found["set", text(parts[2])] = [bytes(parts.get(kind, b"")) for kind in (3, 4, 5, 6, 7)]
        for chain, expressions in self.rules(table):
            rule = [b"" if counter_of(each)[0] == "counter" else bytes(each) for each in expressions]
            rules = found.setdefault(("rules", chain), [])
            assert isinstance(rules, list)
            rules.append(rule)
        return found

    def generation(self) -> int:
        """A number that every transaction of anybody in this network namespace raises by one (32 bits)."""
        head = struct.pack("!BBH", 0, 0, 0)
        (answer,) = self._socket.request(wire.Message(_SUBSYSTEM | GET_GENERATION, 0, head))
        return int.from_bytes(wire.table(memoryview(answer.payload)[4:])[1], "big")


def counter_of(expression: memoryview) -> tuple[str, int]:
    """An expression's name and, where it is a counter, the packets it has seen."""
    parts = wire.table(expression)
    name = text(parts[1])
    if name != "counter":
        return name, 0
    return name, int.from_bytes(wire.table(parts[2])[2], "big")


def text(data: memoryview) -> str:
    """A zero-terminated string attribute."""
    return bytes(data).rstrip(b"\0").decode()


def _comment(notes: memoryview | None) -> str:
    at = 0
    while notes is not None and at + 2 <= len(notes):
        kind, length = notes[at], notes[at + 1]
        if kind == 0:
            return text(notes[at + 2 : at + 2 + length])
        at += 2 + length
    return ""
