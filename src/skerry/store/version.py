"""Which format a store's file has, told without opening it: SQLite would write to it, and to its log, just by that.

Called by log.py and, before anything of a cluster is touched, by cluster/. Imports nothing heavy. What is read of the
log is checked as SQLite does it, since behind its end may lie anything; but only if a page in it claims a newer format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

FORMAT = 1
"""The newest that this program knows; SQLite keeps it as `user_version`."""

_HEADER, _FRAME, _USER_VERSION = 32, 24, 60
"""Bytes of a write-ahead log before its frames, of a frame before its page; where in page 1 the number is."""
_LITTLE, _BIG = 0x377F0682, 0x377F0683
"""How a log begins, by the order of bytes in which its checksums are made."""


def version(path: str) -> int:
    """The file's format as of its last transaction, 0 for none yet, no file, or what is no SQLite file."""
    found = 0
    try:
        with open(path, "rb") as file:
            head = file.read(100)
        if head.startswith(b"SQLite format 3\0"):
            found = _number(head, _USER_VERSION)
        with open(path + "-wal", "rb") as file:
            log = file.read()
    except FileNotFoundError:
        return found
    if not any(_claims(frame) > FORMAT for frame in _frames(log)):
        return found
    pending = found
    for frame in _valid(log):
        pending = _claims(frame) or pending
        if frame.commits:
            found = pending
    return found


def newer(path: str) -> str:
    """What is to be said of a file that a newer program has written, "" if this one can read it."""
    found = version(path)
    if found <= FORMAT:
        return ""
    return f"{path} was written by a newer Skerry (format {found}; this one knows {FORMAT}): upgrade Skerry"


class _Frame(NamedTuple):
    """A page in the log."""

    page: int
    commits: bool
    head: bytes
    data: bytes


def _frames(log: bytes) -> Iterator[_Frame]:
    """Everything in the log that has the size of a frame."""
    size = _number(log, 8) if len(log) >= _HEADER else 0
    if size < 512:
        return
    for at in range(_HEADER, len(log) - _FRAME - size + 1, _FRAME + size):
        head, data = log[at : at + _FRAME], log[at + _FRAME : at + _FRAME + size]
        yield _Frame(_number(head, 0), _number(head, 4) != 0, head, data)


def _claims(frame: _Frame) -> int:
    """The format that a page 1 says, 0 of other pages."""
    return _number(frame.data, _USER_VERSION) if frame.page == 1 else 0


def _valid(log: bytes) -> Iterator[_Frame]:
    """The frames of the log's newest run, up to the first that is not as it was written."""
    magic = _number(log, 0)
    if magic not in (_LITTLE, _BIG):
        return
    order = "<" if magic == _LITTLE else ">"
    total = _sum(order, log[:24], (0, 0))
    if total != struct.unpack_from(">II", log, 24):
        return
    for frame in _frames(log):
        total = _sum(order, frame.head[:8] + frame.data, total)
        if frame.head[8:16] != log[16:24] or total != struct.unpack_from(">II", frame.head, 16):
            return
        yield frame


def _sum(order: str, data: bytes, total: tuple[int, int]) -> tuple[int, int]:
    """SQLite's running checksum over `data`, of an even number of words."""
    first, second = total
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")
