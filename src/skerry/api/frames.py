"""What the API server and a node agent say to each other about one exec, attach or forwarded connection. Pure.

The API server asks the node's HTTP server for an upgrade to `skerry-stream`; from then on both sides send frames, each
a byte for the channel, four bytes for the length (big endian) and the data:

    0 STDIN    to the node     bytes for the process, or for the pod's port
    1 STDOUT   from the node   bytes of the process, or of the pod's port
    2 STDERR   from the node
    3 STATUS   from the node   how it ended, the last frame: a Status as JSON; for a forwarded connection the text of
                               what went wrong, empty if nothing did
    4 RESIZE   to the node     {"Width": columns, "Height": rows} of the terminal
    255 CLOSE  both ways       one byte, the channel on which nothing more comes

Closing the connection before STATUS means: nobody listens any more, end the process. Flow control is the socket's.
Called by apiserver/streams and node/streams, which may not import each other.
"""

from __future__ import annotations

import struct

STDIN, STDOUT, STDERR, STATUS, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
PROTOCOL = "skerry-stream"
LONGEST = 1 << 20
"""Bytes in one frame."""

_HEAD = struct.Struct(">BI")
Frame = tuple[int, bytes]


class FrameError(Exception):
    """The other side does not speak this protocol."""


def encode(channel: int, data: bytes) -> bytes:
    """One frame, or several if `data` is longer than LONGEST."""
    if len(data) <= LONGEST:
        return _HEAD.pack(channel, len(data)) + data
    pieces = (data[start : start + LONGEST] for start in range(0, len(data), LONGEST))
    return b"".join(_HEAD.pack(channel, len(piece)) + piece for piece in pieces)


class Decoder:
    """Bytes in, frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole now. FrameError for one that is too long."""
        self._buffer += data
        found: list[Frame] = []
        at = 0
        while len(self._buffer) - at >= _HEAD.size:
            channel, length = _HEAD.unpack_from(self._buffer, at)
            if length > LONGEST:
                raise FrameError(f"a frame of {length} bytes")
            end = at + _HEAD.size + length
            if len(self._buffer) < end:
                break
            found.append((channel, bytes(self._buffer[at + _HEAD.size : end])))
            at = end
        del self._buffer[:at]
        return found
