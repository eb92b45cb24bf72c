"""What goes over Envoy's stream: only what it asks for, only what changed, and what it said of that."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from skerry.api import protowire
from skerry.api.protowire import sized
from skerry.gateway.model import Endpoint
from skerry.gateway.xds import stream
from skerry.gateway.xds.stream import Book, Resource, Stream
from skerry.gateway.xds.wire import ENDPOINTS, SECRET

A = stream.endpoints("a", [Endpoint("10.0.0.1", 80)])
A2 = stream.endpoints("a", [Endpoint("10.0.0.2", 80)])
B = stream.endpoints("b", [])


def asked(
    kind: str = ENDPOINTS,
    *names: str,
    gone: tuple[str, ...] = (),
    nonce: str = "",
    error: str = "",
    have: Mapping[str, str] = {},
) -> bytes:
    parts = [sized(2, kind.encode())]
    parts += [sized(3, one.encode()) for one in names]
    parts += [sized(4, one.encode()) for one in gone]
    parts += [sized(5, sized(1, name.encode()) + sized(2, version.encode())) for name, version in have.items()]
    if nonce:
        parts.append(sized(6, nonce.encode()))
    if error:
        parts.append(sized(7, sized(2, error.encode())))
    return b"".join(parts)


def told(messages: list[bytes]) -> dict[str, bytes]:
    """The resources of a response by name, as encoded messages."""
    found = {}
    for message in messages:
        for number, value in protowire.pairs(memoryview(message)):
            if number == 2:
                parts = dict(protowire.pairs(value))
                found[bytes(parts[3]).decode()] = bytes(dict(protowire.pairs(parts[2]))[2])
    return found


class World:
    def __init__(self, **resources: Resource) -> None:
        self.book, self.refused = Book(), []  # type: ignore[var-annotated]
        for name, one in resources.items():
            self.book.put(ENDPOINTS, name, one)
        self.stream = Stream(self.book, lambda kind, names, why: self.refused.append((names, why)))


def test_it_gets_what_it_asks_for_and_then_what_changes() -> None:
    world = World(a=A, b=B)
    assert told(world.stream.receive(asked(ENDPOINTS, "a"))) == {"a": A.content}
    assert not world.stream.changed(ENDPOINTS, ["b"]), "it has not asked for this"
    assert world.book.put(ENDPOINTS, "a", A2)
    assert not world.book.put(ENDPOINTS, "a", A2)
    assert told(world.stream.changed(ENDPOINTS, ["a", "b"])) == {"a": A2.content}
    assert not world.stream.receive(asked(ENDPOINTS, gone=("a",)))
    assert not world.stream.changed(ENDPOINTS, ["a"])


def test_what_it_asks_for_too_early_comes_when_it_is_there() -> None:
    world = World()
    assert not world.stream.receive(asked(ENDPOINTS, "a"))
    world.book.put(ENDPOINTS, "a", A)
    assert told(world.stream.changed(ENDPOINTS, ["a"])) == {"a": A.content}


def test_applied_is_what_it_has_acknowledged() -> None:
    world = World(a=A)
    one = world.stream
    one.receive(asked(ENDPOINTS, "a"))
    assert (one.sent, one.applied) == (1, 0)
    one.changed(ENDPOINTS, ["a"])
    one.receive(asked(ENDPOINTS, nonce="1"))
    assert (one.sent, one.applied) == (2, 1)
    one.receive(asked(ENDPOINTS, nonce="2", error="no such thing"))
    assert one.applied == 2, "nobody waits for ever for what was refused"
    assert world.refused == [(["a"], "no such thing")]
    one.receive(asked(ENDPOINTS, nonce="7"))
    assert one.applied == 2


def test_after_a_break_only_what_it_does_not_have_is_sent() -> None:
    world = World(a=A2, b=B)
    found = world.stream.receive(asked(ENDPOINTS, "a", "b", have={"a": A.version, "b": B.version}))
    assert told(found) == {"a": A2.content}


def test_kinds_are_apart_and_others_get_nothing() -> None:
    world = World(a=A)
    assert not world.stream.receive(asked(SECRET, "a"))
    assert not world.stream.receive(asked("type.googleapis.com/envoy.other", "a"))


@pytest.mark.parametrize("hostile", [b"\xff", b"\x12\xff", b"\x10\x01", b"\x12\x02\xff\xfe"])
def test_what_is_no_request_is_refused(hostile: bytes) -> None:
    with pytest.raises(ValueError):
        stream.read(hostile)
