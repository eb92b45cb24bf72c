"""Histories of what concurrent clients asked and were told, and what must be true of them. Called by tests; pure.

One key is a register that is compared and set: its state is the serial number of the write that made it, None while it
is not there. Serials are never used twice, so a state says which write it comes from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

State = int | None
Answer = Literal["ok", "refused", "unknown"]


@dataclass
class Op:
    """One call. `expected`: the state that an update or a deletion named; `value`: what was written or read.

    An unknown one has no end: it may have happened at any time after its beginning, or never.
    """

    verb: Literal["read", "create", "update", "delete"]
    key: str
    begin: float
    value: State = None
    expected: State = None
    answer: Answer = "unknown"
    end: float = math.inf
    revision: int = 0


def _after(state: State, op: Op) -> tuple[bool, State]:
    """Whether the register can answer so in this state, and its state then. Unknown ones count as done."""
    refused = op.answer == "refused"
    if op.verb == "read":
        return state == op.value, state
    if op.verb == "create":
        return (state is None) != refused, state if refused else op.value
    fits = state == op.expected and state is not None
    if op.verb == "update":
        return fits != refused, state if refused else op.value
    return fits != refused, state if refused else None


def linearizable(ops: Iterable[Op], state: State = None) -> bool:
    """Whether the calls of one key could have happened one at a time, each between its beginning and its end.

    Wing and Gong's search with Lowe's memory of what was tried: the next one is any that began before all that are left
    had ended. A place in it is how many of the answered calls are done, which of the next ones are too, which of the
    unknown ones happened, and the state; so it costs what is concurrent, not how long the history is.
    """
    useful = sorted((op for op in ops if op.verb != "read" or op.answer == "ok"), key=lambda op: op.begin)
    known = [op for op in useful if op.answer != "unknown"]
    lost = [op for op in useful if op.answer == "unknown"]
    start: tuple[int, int, int, State] = (0, 0, 0, state)
    stack, tried = [start], {start}
    while stack:
        low, done, happened, now = stack.pop()
        if low == len(known):
            return True
        first, at = math.inf, low
        candidates: list[int] = []
        while at < len(known) and known[at].begin <= first:
            if not done >> (at - low) & 1:
                candidates.append(at)
                first = min(first, known[at].end)
            at += 1
        places: list[tuple[int, int, int, State]] = []
        for at in candidates:
            if known[at].begin <= first:
                fits, then = _after(now, known[at])
                if fits:
                    places.append((*_skipped(low, done | 1 << (at - low)), happened, then))
        for at, op in enumerate(lost):
            if op.begin <= first and not happened >> at & 1:
                fits, then = _after(now, op)
                if fits:
                    places.append((low, done, happened | 1 << at, then))
        for place in places:
            if place not in tried:
                tried.add(place)
                stack.append(place)
    return False


def _skipped(low: int, done: int) -> tuple[int, int]:
    while done & 1:
        low, done = low + 1, done >> 1
    return low, done


def revisions(ops: Iterable[Op]) -> list[str]:
    """What is wrong with the revisions of acknowledged writes: each once, and a later write has a greater one."""
    wrong = []
    written = sorted(
        (op for op in ops if op.answer == "ok" and op.revision and op.verb != "read"), key=lambda op: op.end
    )
    seen: dict[int, Op] = {}
    for op in written:
        if op.revision in seen:
            wrong.append(f"revision {op.revision} was given to {seen[op.revision]} and {op}")
        seen[op.revision] = op
    by_begin = sorted(written, key=lambda op: op.begin)
    at = highest = 0
    for op in by_begin:
        while at < len(written) and written[at].end < op.begin:
            highest = max(highest, written[at].revision)
            at += 1
        if op.revision <= highest:
            wrong.append(f"{op} was begun after revision {highest} had been acknowledged")
    return wrong


@dataclass(frozen=True)
class Seen:
    """An event of a watch."""

    type: str
    key: str
    value: int
    revision: int


@dataclass
class Session:
    """What one watch said after a list: `state` at `revision`, then events. `upto`: all until here must be in it."""

    revision: int
    state: dict[str, int]
    events: list[Seen] = field(default_factory=list)

    @property
    def upto(self) -> int:
        return self.events[-1].revision if self.events else self.revision

    def replayed(self) -> tuple[dict[str, int], list[str]]:
        """The state after all events, and what was out of order or impossible."""
        state, wrong, last = dict(self.state), [], self.revision
        for one in self.events:
            if one.revision <= last:
                wrong.append(f"{one} came after revision {last}")
            last = max(last, one.revision)
            there = one.key in state
            if there != (one.type != "ADDED"):
                wrong.append(f"{one}, but the object was {'' if there else 'not '}there")
            if one.type == "DELETED":
                if there and state[one.key] != one.value:
                    wrong.append(f"{one}, but {state[one.key]} was the last state seen")
                state.pop(one.key, None)
            else:
                state[one.key] = one.value
        return state, wrong


def watched(sessions: Sequence[Session], ops: Iterable[Op]) -> list[str]:
    """What watches did not show or showed otherwise: order, every acknowledged write, the same events for everyone."""
    wrong = []
    everything: dict[int, Seen] = {}
    for session in sessions:
        wrong += session.replayed()[1]
        for one in session.events:
            if everything.setdefault(one.revision, one) != one:
                wrong.append(f"revision {one.revision} was {everything[one.revision]} and {one}")
    for op in ops:
        if op.answer == "ok" and op.revision and op.verb in ("create", "update") and op.value is not None:
            found = everything.setdefault(op.revision, Seen(_TYPES[op.verb], op.key, op.value, op.revision))
            if (found.key, found.value) != (op.key, op.value):
                wrong.append(f"{op}, but a watch saw {found}")
    for session in sessions:
        shown = {one.revision for one in session.events}
        missing = [one for at, one in everything.items() if session.revision < at <= session.upto and at not in shown]
        wrong += [f"a watch from {session.revision} to {session.upto} did not show {one}" for one in missing]
    return wrong


_TYPES: Mapping[str, str] = {"create": "ADDED", "update": "MODIFIED"}
