"""Lines of a container's log as CRI has them: `<time> stdout F <text>`. Pure. Called by writer.py and reader.py.

P instead of F marks a piece of a line that was too long to wait for its end.
"""

from __future__ import annotations

import time
from typing import NamedTuple

LONGEST = 16 << 10
"""Bytes of a line that are kept together."""


class Line(NamedTuple):
    """`stamp`: RFC 3339 with nanoseconds, UTC, of fixed length, so that it sorts as text."""

    stamp: bytes
    stream: bytes
    partial: bool
    text: bytes


def stamp(seconds: float) -> bytes:
    """Seconds since 1970 as log lines have them."""
    whole, nanos = divmod(int(seconds * 1e9), 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)).encode() + b".%09dZ" % nanos


def parse(line: bytes) -> Line | None:
    """A line without its end; None if it is damaged (the node died while writing it)."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or not parts[0].endswith(b"Z"):
        return None
    return Line(parts[0], parts[1], parts[2] == b"P", parts[3])


class Lines:
    """Makes lines out of what comes from one stream (`name`: stdout or stderr)."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._rest = b""

    def feed(self, data: bytes, seconds: float) -> bytes:
        """The lines that `data`, read at `seconds`, completes."""
        start = b"%s %s F " % (stamp(seconds), self._name)
        if self._rest:
            data = self._rest + data
        first, last = data.find(b"\n"), data.rfind(b"\n")
        if last < 0 or first > LONGEST or len(data) - first > LONGEST:
            return self._feed_long(data, start)
        # Nothing in here is too long for a line: one replace does them all, however many there are.
        self._rest = data[last + 1 :]
        return start + data[:last].replace(b"\n", b"\n" + start) + b"\n"

    def _feed_long(self, data: bytes, start: bytes) -> bytes:
        *whole, rest = data.split(b"\n")
        more = start[:-2] + b"P "
        out = []
        for line in whole:
            while len(line) > LONGEST:
                out.append(b"%s%s\n" % (more, line[:LONGEST]))
                line = line[LONGEST:]
            out.append(b"%s%s\n" % (start, line))
        while len(rest) >= LONGEST:
            out.append(b"%s%s\n" % (more, rest[:LONGEST]))
            rest = rest[LONGEST:]
        self._rest = rest
        return b"".join(out)

    def end(self, seconds: float) -> bytes:
        """The line that had no end, if there is one. As a piece: its newline was never printed."""
        rest, self._rest = self._rest, b""
        return b"%s %s P %s\n" % (stamp(seconds), self._name, rest) if rest else b""
