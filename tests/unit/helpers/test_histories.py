"""The checker of histories itself: it finds what is wrong in histories known to be bad, and nothing in good ones."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.histories import Op, Seen, Session, linearizable, revisions, watched

INF = math.inf


def create(value: int, begin: float, end: float, answer: str = "ok") -> Op:
    return Op("create", "k", begin, value, None, answer, end)  # type: ignore[arg-type]


def update(expected: int, value: int, begin: float, end: float, answer: str = "ok") -> Op:
    return Op("update", "k", begin, value, expected, answer, end)  # type: ignore[arg-type]


def delete(expected: int, begin: float, end: float, answer: str = "ok") -> Op:
    return Op("delete", "k", begin, None, expected, answer, end)  # type: ignore[arg-type]


def read(value: int | None, begin: float, end: float) -> Op:
    return Op("read", "k", begin, value, None, "ok", end)


GOOD = {
    "one after the other": [create(1, 0, 1), update(1, 2, 2, 3), read(2, 4, 5), delete(2, 6, 7), read(None, 8, 9)],
    "a read beside a write sees old or new": [create(1, 0, 1), update(1, 2, 2, 9), read(1, 3, 4), read(2, 5, 6)],
    "one of two updates wins": [create(1, 0, 1), update(1, 2, 2, 5), update(1, 3, 2, 5, "refused"), read(2, 6, 7)],
    "an unknown write that happened": [create(1, 0, 1), update(1, 2, 2, INF, "unknown"), read(2, 5, 6)],
    "an unknown write that did not": [create(1, 0, 1), update(1, 2, 2, INF, "unknown"), read(1, 5, 6)],
    "an unknown write that happened late": [
        create(1, 0, 1), update(1, 2, 2, INF, "unknown"), read(1, 5, 6), read(2, 7, 8),
    ],
    "refused as it was there": [create(1, 0, 1), create(2, 2, 3, "refused"), read(1, 4, 5)],
    "an unknown deletion explains a creation": [create(1, 0, 1), delete(1, 2, INF, "unknown"), create(2, 5, 6)],
}  # fmt: skip
BAD = {
    "a lost write": [create(1, 0, 1), update(1, 2, 2, 3), read(1, 4, 5)],
    "a stale read": [create(1, 0, 1), update(1, 2, 2, 9), read(2, 3, 4), read(1, 5, 6)],
    "both of two updates win": [create(1, 0, 1), update(1, 2, 2, 5), update(1, 3, 2, 5)],
    "a read of what nobody wrote": [create(1, 0, 1), read(7, 2, 3)],
    "a read of what was refused": [create(1, 0, 1), update(9, 2, 2, 3, "refused"), read(2, 4, 5)],
    "created twice": [create(1, 0, 1), create(2, 2, 3)],
    "refused, though nothing else was there": [create(1, 0, 1, "refused")],
    "refused without a reason": [create(1, 0, 1), update(1, 2, 2, 3, "refused")],
    "a deletion undone": [create(1, 0, 1), delete(1, 2, 3), read(1, 4, 5)],
    "a write forgotten after it was read": [
        create(1, 0, 1), update(1, 2, 2, INF, "unknown"), read(2, 5, 6), read(1, 7, 8),
    ],
    "an unknown write before its beginning": [create(1, 0, 1), read(2, 2, 3), update(1, 2, 4, INF, "unknown")],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good_histories(name: str) -> None:
    assert linearizable(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_bad_histories(name: str) -> None:
    assert not linearizable(BAD[name])


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_register_that_is_one_is_taken_for_one(chance: object) -> None:
    """Calls that take effect at a moment between beginning and end; some of the answers are lost."""
    import random

    assert isinstance(chance, random.Random)
    state: int | None = None
    ops = []
    for serial in range(1, 40):
        at = float(serial)
        begin, end = at - chance.random() * 3, at + chance.random() * 3
        verb = chance.choice(["read", "create", "update", "update", "delete"])
        guess = state if chance.random() < 0.7 else 1000
        op = Op(verb, "k", begin, serial, guess, "ok", end)  # type: ignore[arg-type]
        if verb == "read":
            op.value = state
        elif verb == "create":
            op.answer = "ok" if state is None else "refused"
            state = serial if state is None else state
        else:
            fits = guess is not None and guess == state
            op.answer = "ok" if fits else "refused"
            if fits:
                state = serial if verb == "update" else None
        if verb == "delete":
            op.value = None
        if chance.random() < 0.1:
            op.answer, op.end = "unknown", INF
        ops.append(op)
    assert linearizable(ops)


def test_revisions_go_up() -> None:
    first, second = create(1, 0, 1), update(1, 2, 2, 3)
    first.revision, second.revision = 5, 6
    assert revisions([first, second]) == []
    second.revision = 5
    assert len(revisions([first, second])) == 2
    second.revision = 4
    assert len(revisions([first, second])) == 1
    second.begin = 0.5  # beside the first: either may be first
    assert revisions([first, second]) == []


def test_watches() -> None:
    added, changed, gone = Seen("ADDED", "k", 1, 5), Seen("MODIFIED", "k", 2, 6), Seen("DELETED", "k", 2, 9)
    writes = [create(1, 0, 1), update(1, 2, 2, 3)]
    writes[0].revision, writes[1].revision = 5, 6
    assert watched([Session(1, {}, [added, changed, gone]), Session(5, {"k": 1}, [changed, gone])], writes) == []
    assert watched([Session(1, {}, [added, gone])], writes)  # a change is not shown
    assert watched([Session(1, {}, [changed, added])], writes)  # out of order
    assert watched(
        [Session(1, {}, [added, changed, gone]), Session(5, {"k": 1}, [changed, Seen("ADDED", "j", 4, 10)])], []
    )
    assert watched([Session(5, {"k": 1}, [Seen("MODIFIED", "k", 7, 6)])], writes)  # another state than was written
    assert watched([Session(1, {}, [added, changed, added])], [])  # again
    assert Session(1, {}, [added, changed, gone]).replayed() == ({}, [])
