"""SPDY/3.1 from bytes."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.apiserver.streams import spdy


def fed(codec: spdy.Codec, data: bytes, sizes: list[int] | None = None) -> list[spdy.Event]:
    found: list[spdy.Event] = []
    for size in sizes or []:
        found += codec.feed(data[:size])
        data = data[size:]
    return found + codec.feed(data)


def test_the_dictionary_is_the_one_that_every_spdy_3_speaker_has() -> None:
    assert (len(spdy.DICTIONARY), zlib.adler32(spdy.DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_syn_stream_by_its_bytes() -> None:
    plain = struct.pack(">I", 1) + struct.pack(">I", 10) + b"StreamType" + struct.pack(">I", 5) + b"stdin"
    deflate = zlib.compressobj(zdict=spdy.DICTIONARY)
    block = deflate.compress(plain) + deflate.flush(zlib.Z_SYNC_FLUSH)
    body = struct.pack(">IIH", 1, 0, 0) + block
    frame = bytes.fromhex("8003 0001 00") + len(body).to_bytes(3, "big") + body
    assert spdy.Codec().feed(frame) == [spdy.Opened(1, {"streamtype": "stdin"}, fin=False)]


def test_answers_by_their_bytes() -> None:
    assert spdy.data(3, b"abc", fin=True) == bytes.fromhex("00000003 01000003 616263")
    assert spdy.data(3, b"", fin=True) == bytes.fromhex("00000003 01000000")
    assert spdy.pong(7) == bytes.fromhex("80030006 00000004 00000007")
    assert spdy.reset(5, spdy.CANCEL) == bytes.fromhex("80030003 00000008 00000005 00000005")
    assert spdy.Codec().reply(9)[:12] == bytes.fromhex("80030002") + spdy.Codec().reply(9)[4:8] + b"\0\0\0\x09"


def test_headers_are_compressed_with_what_came_before() -> None:
    here, there = spdy.Codec(), spdy.Codec()
    headers = {"streamtype": "data", "port": "8080", "requestid": "0"}
    first, second = there.open(1, headers), there.open(3, headers)
    assert len(second) < len(first)
    assert here.feed(first + second) == [spdy.Opened(1, headers, fin=False), spdy.Opened(3, headers, fin=False)]


@given(st.binary(max_size=70_000), st.booleans(), st.lists(st.integers(1, 40_000), max_size=8))
def test_data_comes_through_however_it_is_cut(content: bytes, fin: bool, sizes: list[int]) -> None:
    there, here = spdy.Codec(), spdy.Codec()
    sent = there.open(1, {"a": "b"}) + spdy.data(1, content, fin=fin) + spdy.pong(1)
    events = fed(here, sent, sizes)
    assert events[0] == spdy.Opened(1, {"a": "b"}, fin=False)
    assert events[-1] == spdy.Ping(1)
    pieces = [one for one in events if isinstance(one, spdy.Data)]
    assert b"".join(one.data for one in pieces) == content
    assert [one.fin for one in pieces] == [False] * (len(pieces) - 1) + [fin]


@pytest.mark.parametrize("length", [100_000, 0xFFFFFF])
def test_a_long_data_frame_is_passed_on_before_it_is_whole(length: int) -> None:
    codec = spdy.Codec()
    events = codec.feed(struct.pack(">II", 1, length | 1 << 24) + b"x" * 90_000)
    assert events == [spdy.Data(1, b"x" * 90_000, fin=False)]
    if length == 100_000:
        assert codec.feed(b"y" * 10_000) == [spdy.Data(1, b"y" * 10_000, fin=True)]


@given(st.binary(max_size=300))
def test_nonsense_is_refused_or_waited_for_but_never_breaks(nonsense: bytes) -> None:
    codec = spdy.Codec()
    try:
        codec.feed(nonsense)
    except spdy.SpdyError:
        return


@given(st.binary(max_size=200))
def test_a_broken_header_block_is_refused(block: bytes) -> None:
    body = struct.pack(">IIH", 1, 0, 0) + block
    frame = bytes.fromhex("8003 0001 00") + len(body).to_bytes(3, "big") + body
    with pytest.raises(spdy.SpdyError):
        spdy.Codec().feed(frame)


def test_headers_that_unpack_to_too_much_are_refused() -> None:
    deflate = zlib.compressobj(zdict=spdy.DICTIONARY)
    block = deflate.compress(b"\0" * 10_000_000) + deflate.flush(zlib.Z_SYNC_FLUSH)
    body = struct.pack(">IIH", 1, 0, 0) + block
    with pytest.raises(spdy.SpdyError, match="too long"):
        spdy.Codec().feed(bytes.fromhex("8003 0001 00") + len(body).to_bytes(3, "big") + body)


def test_another_version_and_short_frames_are_refused() -> None:
    for frame in ("80020006 00000004 00000007", "80030001 00000004 00000001", "80030006 00000000"):
        with pytest.raises(spdy.SpdyError):
            spdy.Codec().feed(bytes.fromhex(frame))
