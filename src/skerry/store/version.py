"""Which format a store's file has, told without opening it: SQLite would write to it, and to its log, just by that.

Called by log.py and, before anything of a cluster is touched, by cluster/. Imports nothing heavy.
"""

from __future__ import annotations

import os

FORMAT = 1
"""The newest that this program knows; SQLite keeps it as `user_version`."""

_HEADER, _FRAME, _USER_VERSION = 32, 24, 60
"""Bytes of a write-ahead log before its frames, of a frame before its page; where in page 1 the number is."""


def version(path: str) -> int:
    """The file's format, 0 for none yet, no file, or what is no SQLite file. The newest that any of its pages says."""
    found = 0
    try:
        with open(path, "rb") as file:
            head = file.read(100)
        if head.startswith(b"SQLite format 3\0"):
            found = _number(head, _USER_VERSION)
        with open(path + "-wal", "rb") as log:
            return max(found, _in_log(log.fileno()))
    except FileNotFoundError:
        return found


def newer(path: str) -> str:
    """What is to be said of a file that a newer program has written, "" if this one can read it."""
    found = version(path)
    if found <= FORMAT:
        return ""
    return f"{path} was written by a newer Skerry (format {found}; this one knows {FORMAT}): upgrade Skerry"


def _in_log(log: int) -> int:
    """From every copy of page 1 that lies in the log, also from those behind its end: they were true once."""
    header = os.pread(log, _HEADER, 0)
    page = _number(header, 8) if len(header) == _HEADER else 0
    found, at = 0, _HEADER
    while page >= 512 and len(frame := os.pread(log, _FRAME + 100, at)) == _FRAME + 100:
        if _number(frame, 0) == 1:
            found = max(found, _number(frame, _FRAME + _USER_VERSION))
        at += _FRAME + page
    return found


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")
