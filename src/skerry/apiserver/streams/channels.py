"""The channel protocols over WebSocket (v4 and v5.channel.k8s.io): the first byte of a message says whose it is. Pure.

In v5, message 255 N ends channel N: that is how the client ends stdin. Called by remotecommand.py and portforward.py.
"""

from __future__ import annotations

import struct

from skerry.api import frames
from skerry.apiserver.streams.negotiate import V5


def incoming(message: bytes, protocol: str) -> frames.Frame | None:
    """What a client's message of exec or attach means for the node; None: nothing."""
    channel, data = message[0], message[1:]
    if channel in (frames.STDIN, frames.RESIZE) and data:
        return channel, data
    if channel == frames.CLOSE and protocol == V5 and data == bytes([frames.STDIN]):
        return frames.CLOSE, data
    return None


def outgoing(channel: int, data: bytes) -> bytes:
    """The message for a client: channels have the numbers that they have in `frames`."""
    return bytes([channel]) + data


def port_greeting(index: int, port: int) -> list[bytes]:
    """What the client of a v4 port-forward gets first on the data and the error channel of its port number `index`."""
    number = struct.pack("<H", port)
    return [bytes([2 * index]) + number, bytes([2 * index + 1]) + number]
