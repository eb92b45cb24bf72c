"""CRI's log lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

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


@given(st.lists(st.binary(max_size=40)), st.binary(max_size=20))
def test_any_output_in_any_pieces_is_kept(pieces, end):
    lines = Lines("stdout")
    out = b"".join(lines.feed(one, T0) for one in pieces if one) + lines.feed(end, T0) + lines.end(T0)
    parsed = [parse(one) for one in out.split(b"\n")[:-1]]
    assert b"".join(one.text + (b"" if one.partial else b"\n") for one in parsed) == b"".join(pieces) + end


@given(st.integers(1, 3 * LONGEST), st.integers(1, 3 * LONGEST))
def test_long_lines_are_kept_however_they_come(length, at):
    text = b"x" * length + b"\ny\n"
    lines = Lines("stdout")
    parsed = [parse(one) for one in (lines.feed(text[:at], T0) + lines.feed(text[at:], T0)).split(b"\n")[:-1]]
    assert b"".join(one.text + (b"" if one.partial else b"\n") for one in parsed) == text
    assert max(len(one.text) for one in parsed) <= LONGEST
