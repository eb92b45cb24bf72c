"""Netlink messages, attributes and the socket that carries them.

Called by route.py and nft.py. Everything here is about bytes: what a message means is known only by its caller.
Numbers are those of the kernel's uapi headers (linux/netlink.h).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

ROUTE, SOCK_DIAG, NETFILTER, GENERIC = 0, 4, 12, 16

REQUEST, MULTI, ACK, DUMP_INTR = 0x1, 0x2, 0x4, 0x10
ROOT, MATCH, REPLACE, EXCL, CREATE, APPEND = 0x100, 0x200, 0x100, 0x200, 0x400, 0x800
DUMP = ROOT | MATCH

_NOOP, _ERROR, _DONE, _OVERRUN = 1, 2, 3, 4
_NESTED, _TYPE_MASK = 0x8000, 0x3FFF
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")

_SOL_NETLINK, _EXT_ACK, _CAP_ACK = 270, 11, 10
_RECEIVE = 1 << 20


class NetlinkError(OSError):
    """The kernel refused a message; `errno` says why, `sequence` which message of a batch it was."""

    def __init__(self, code: int, sequence: int, text: str = "") -> None:
        super().__init__(code, text or os.strerror(code))
        self.sequence = sequence


@dataclass(frozen=True, slots=True)
class Message:
    """One netlink message. As a reply, `payload` is what follows the 16 byte header."""

    type: int
    flags: int
    payload: bytes
    sequence: int = 0


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | _NESTED, b"".join(parts))


def string(kind: int, text: str) -> bytes:
    """A zero-terminated string attribute."""
    return attribute(kind, text.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=B", value))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def be32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value))


def be64(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!Q", value))


def attributes(data: bytes | memoryview) -> Iterator[tuple[int, memoryview]]:
    """The (kind, payload) pairs of a run of attributes; the nesting flag is taken off."""
    view = memoryview(data)
    at = 0
    while at + 4 <= len(view):
        length, kind = _ATTRIBUTE.unpack_from(view, at)
        if length < 4:
            return
        yield kind & _TYPE_MASK, view[at + 4 : at + length]
        at += (length + 3) & ~3


def table(data: bytes | memoryview) -> dict[int, memoryview]:
    """The same as a dict; of repeated kinds the last one stays."""
    return dict(attributes(data))


def pack(message: Message, sequence: int) -> bytes:
    """A message as bytes, with its header."""
    return (
        _HEADER.pack(16 + len(message.payload), message.type, message.flags, sequence, 0)
        + message.payload
        + b"\0" * (-len(message.payload) % 4)
    )


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram."""
    at = 0
    while at + 16 <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        if length < 16:
            return
        yield Message(kind, flags, data[at + 16 : at + length], sequence)
        at += (length + 3) & ~3


def error_of(message: Message) -> int | None:
    """The errno that an acknowledgement carries (0: done), or None if the message is none."""
    if message.type != _ERROR:
        return None
    code: int = struct.unpack_from("=i", message.payload)[0]
    return -code


class Socket:
    """A blocking netlink socket of the network namespace in which it was made.

    Kernel answers come in microseconds, so callers use it straight from the event loop's thread.
    """

    def __init__(self, family: int, *, buffer: int = 1 << 21) -> None:
        self.raw = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.raw.setsockopt(socket.SOL_SOCKET, option, buffer)
        self.raw.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self.raw.bind((0, 0))
        self._sequence = 0
        self._buffer = memoryview(bytearray(_RECEIVE))

    def close(self) -> None:
        self.raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def next_sequence(self) -> int:
        self._sequence = self._sequence % 0x7FFFFFFF + 1
        return self._sequence

    def request(self, message: Message) -> list[Message]:
        """Sends one message, waits for its acknowledgement; what came before it. NetlinkError if refused."""
        sequence = self.next_sequence()
        flags = message.flags | REQUEST | ACK
        self.raw.send(pack(Message(message.type, flags, message.payload), sequence))
        return list(self._answers(sequence))

    def dump(self, message: Message) -> list[Message]:
        """All messages that a dump request yields; asked again when the kernel says that it was interrupted."""
        for _ in range(10):
            sequence = self.next_sequence()
            self.raw.send(pack(Message(message.type, message.flags | REQUEST | DUMP, message.payload), sequence))
            found = list(self._answers(sequence))
            if not any(one.flags & DUMP_INTR for one in found):
                return found
        raise NetlinkError(errno.EINTR, sequence, "the kernel's table kept changing while it was read")

    def send_all(self, parts: Iterable[bytes]) -> None:
        """Sends one datagram made of packed messages."""
        self.raw.send(b"".join(parts))

    def receive(self) -> list[Message]:
        """The messages of the next datagram."""
        return list(messages(self.datagram()))

    def datagram(self, flags: int = 0) -> bytes:
        """The next datagram as it is; by way of a buffer, since one of its own for each costs more than the call."""
        return bytes(self._buffer[: self.raw.recv_into(self._buffer, 0, flags)])

    def replies(self, message: Message) -> list[bytes]:
        """The same as `request`, for thousands of short answers: each message's payload, unread but for its header."""
        sequence = self.next_sequence()
        self.raw.send(pack(Message(message.type, message.flags | REQUEST | ACK, message.payload), sequence))
        found: list[bytes] = []
        while True:
            data = self.datagram()
            length, kind, _, number, _ = _HEADER.unpack_from(data)
            if kind != _ERROR and number == sequence and length == len(data):
                found.append(data[16:])
                continue
            for one in messages(data):
                if one.sequence != sequence:
                    continue
                code = error_of(one)
                if code:
                    raise NetlinkError(code, sequence)
                if code == 0:
                    return found
                found.append(one.payload)

    def _answers(self, sequence: int) -> Iterator[Message]:
        while True:
            for message in self.receive():
                if message.sequence != sequence:
                    continue
                if message.type == _DONE:
                    return
                code = error_of(message)
                if code:
                    raise NetlinkError(code, sequence)
                if code == 0:
                    return
                if message.type not in (_NOOP, _OVERRUN):
                    yield message
