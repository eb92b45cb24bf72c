"""CRI's log lines."""

from __future__ import annotations

from skerry.node.logs.format import LONGEST, Line, Lines, parse, stamp

T0 = 1_767_225_600.5
AT = b"2026-01-01T00:00:00.500000000Z"


def test_stamps_have_one_length_and_sort():
    assert stamp(T0) == AT
    assert stamp(0) < stamp(T0) and len(stamp(0)) == len(AT)


def test_lines_wait_for_their_end():
    lines = Lines("stdout")
    assert lines.feed(b"one\ntw", T0) == AT + b" stdout F one\n"
    assert lines.feed(b"o\n\n", T0) == AT + b" stdout F two\n" + AT + b" stdout F \n"
    assert lines.feed(b"rest", T0) == b""
    assert lines.end(T0) == AT + b" stdout P rest\n"
    assert lines.end(T0) == b""


def test_long_lines_come_in_pieces():
    text = bytes(range(32, 127)) * 400
    out = Lines("stderr").feed(text + b"\n", T0)
    parsed = [parse(one) for one in out[:-1].split(b"\n")]
    assert [one.partial for one in parsed] == [True, True, False]
    assert b"".join(one.text for one in parsed) == text
    assert len(parsed[0].text) == LONGEST
    endless = Lines("stderr")
    assert endless.feed(b"x" * LONGEST, T0) == AT + b" stderr P " + b"x" * LONGEST + b"\n"


def test_parsing():
    assert parse(AT + b" stdout F a b  c") == Line(AT, b"stdout", False, b"a b  c")
    assert parse(AT + b" stdout F ") == Line(AT, b"stdout", False, b"")
    assert parse(b"half a li") is None
