"""Messages with file descriptors, short and long."""

from __future__ import annotations

import os

from skerry import packets


def test_a_message_brings_its_file_descriptors() -> None:
    here, there = packets.pair()
    reader, writer = os.pipe()
    packets.send(here, {"a": [1, "ü"]}, [writer])
    received = packets.receive(there)
    assert received is not None and received[0] == {"a": [1, "ü"]}
    os.write(received[1][0], b"through")
    assert os.read(reader, 10) == b"through"
    assert not os.get_inheritable(received[1][0])
    for fd in (reader, writer, *received[1]):
        os.close(fd)


def test_a_long_message_travels_in_a_file() -> None:
    here, there = packets.pair()
    null = os.open(os.devnull, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    message = {"text": "x" * 2_000_000}
    packets.send(here, message, [null])
    received = packets.receive(there)
    assert received is not None and received[0] == message and len(received[1]) == 1
    os.close(received[1][0])
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(null)


def test_the_end_is_none() -> None:
    here, there = packets.pair()
    packets.send(here, {})
    here.close()
    assert packets.receive(there) == ({}, [])
    assert packets.receive(there) is None
