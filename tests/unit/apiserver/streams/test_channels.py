"""What a request asks for, the channel protocols, frames to the node, and pairs of streams. Without a socket."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api import frames, status
from skerry.api.wire import Request
from skerry.apiserver.streams import channels, negotiate
from skerry.apiserver.streams.portforward import Pairs

WEBSOCKET = {"connection": "Upgrade", "upgrade": "websocket"}
SPDY = {"connection": "keep-alive, Upgrade", "upgrade": "SPDY/3.1"}


def request(headers: dict[str, str]) -> Request:
    return Request("GET", "/x", headers=headers)


def test_websocket_takes_the_clients_first_known_protocol() -> None:
    offered = "v9.channel.k8s.io, v5.channel.k8s.io,v4.channel.k8s.io"
    agreed = negotiate.remote_command(request({**WEBSOCKET, "sec-websocket-protocol": offered}))
    assert (agreed.transport, agreed.protocol) == ("websocket", "v5.channel.k8s.io")
    assert agreed.headers() == {"Upgrade": "websocket", "Sec-WebSocket-Protocol": "v5.channel.k8s.io"}


def test_spdy_says_its_protocol_in_a_header() -> None:
    offered = "v5.channel.k8s.io, v4.channel.k8s.io, v3.channel.k8s.io"
    agreed = negotiate.remote_command(request({**SPDY, "x-stream-protocol-version": offered}))
    assert agreed.headers()["X-Stream-Protocol-Version"] == "v4.channel.k8s.io"


def test_port_forward_is_tunnelled_or_by_channels() -> None:
    for protocol, transport in (("SPDY/3.1+portforward.k8s.io", "tunnel"), ("v4.channel.k8s.io", "websocket")):
        agreed = negotiate.port_forward(request({**WEBSOCKET, "sec-websocket-protocol": protocol}))
        assert (agreed.transport, agreed.protocol) == (transport, protocol)
    unnamed = negotiate.port_forward(request(WEBSOCKET))  # as kr8s asks
    assert unnamed.transport == "websocket" and "Sec-WebSocket-Protocol" not in unnamed.headers()


def test_no_upgrade_is_400_and_no_common_protocol_403() -> None:
    with pytest.raises(status.ApiError, match="Upgrade request required") as plain:
        negotiate.remote_command(request({}))
    assert plain.value.code == 400
    with pytest.raises(status.ApiError, match="unable to negotiate protocol") as strange:
        negotiate.remote_command(request({**SPDY, "x-stream-protocol-version": "v1"}))
    assert strange.value.code == 403


def test_only_v5_can_end_stdin() -> None:
    ended = bytes([255, 0])
    assert channels.incoming(ended, negotiate.V5) == (frames.CLOSE, b"\0")
    assert channels.incoming(ended, negotiate.V4) is None
    assert channels.incoming(b"\0text", negotiate.V4) == (frames.STDIN, b"text")
    assert channels.incoming(b"\4{}", negotiate.V4) == (frames.RESIZE, b"{}")
    assert channels.incoming(b"\1forged", negotiate.V5) is None
    assert channels.incoming(b"\0", negotiate.V5) is None


def test_a_forwarded_port_is_greeted_in_little_endian() -> None:
    assert channels.port_greeting(1, 8080) == [b"\x02\x90\x1f", b"\x03\x90\x1f"]


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=2000))), st.integers(1, 5000))
def test_frames_come_through_however_they_are_cut(sent: list[tuple[int, bytes]], size: int) -> None:
    data = b"".join(frames.encode(*one) for one in sent)
    decoder = frames.Decoder()
    found = []
    for start in range(0, len(data), size):
        found += decoder.feed(data[start : start + size])
    assert found == sent


def test_a_long_piece_becomes_several_frames_and_a_too_long_frame_is_refused() -> None:
    content = b"z" * (frames.LONGEST + 5)
    found = frames.Decoder().feed(frames.encode(frames.STDOUT, content))
    assert [len(data) for _, data in found] == [frames.LONGEST, 5]
    with pytest.raises(frames.FrameError):
        frames.Decoder().feed(b"\1\xff\xff\xff\xff")


def stream(kind: str, number: str, port: str = "80") -> Any:
    return SimpleNamespace(headers={"streamtype": kind, "requestid": number, "port": port})


def test_streams_of_one_request_become_a_pair_in_any_order() -> None:
    pairs = Pairs()
    error, data = stream("error", "0"), stream("data", "0")
    other = stream("data", "1")
    assert pairs.add(error) is None
    assert pairs.add(other) is None
    assert pairs.add(data) == (error, data)
    late = stream("error", "1")
    assert pairs.add(late) == (late, other)
    assert not pairs.forget(other)


@pytest.mark.parametrize(
    "wrong", [stream("both", "0"), stream("data", ""), stream("data", "0", "0"), stream("data", "0", "http")]
)
def test_a_stream_with_wrong_headers_is_refused(wrong: Any) -> None:
    with pytest.raises((ValueError, status.ApiError)):
        Pairs().add(wrong)


def test_two_streams_of_one_kind_are_no_pair() -> None:
    pairs = Pairs()
    pairs.add(stream("data", "0"))
    with pytest.raises(ValueError, match="two streams"):
        pairs.add(stream("data", "0"))
