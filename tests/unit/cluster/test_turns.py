"""Who holds what there is only one of, and how soon a node that ended is started again."""

from __future__ import annotations

from skerry.cluster.nodekeeper import Pace
from skerry.cluster.sockets import Turns


def test_who_asked_first_holds_it_until_it_leaves() -> None:
    turns, granted = Turns(), list[str]()
    assert turns.holder("ports") == ""
    for node in ("a", "b", "c"):
        turns.ask("ports", node, lambda node=node: granted.append(node))  # type: ignore[misc]
    assert granted == ["a"]
    turns.leave("b")  # it only waited
    assert granted == ["a"]
    turns.leave("a")
    assert granted == ["a", "c"]
    assert turns.holder("ports") == "c"
    turns.ask("ports", "a", lambda: granted.append("a again"))  # back, and last in the line
    turns.leave("c")
    assert granted == ["a", "c", "a again"]
    turns.leave("a")
    assert turns.holder("ports") == ""
    turns.leave("nobody")


def test_different_things_are_held_apart() -> None:
    turns, granted = Turns(), list[str]()
    turns.ask("ports", "a", lambda: granted.append("ports"))
    turns.ask("other", "b", lambda: granted.append("other"))
    assert granted == ["ports", "other"]


def test_a_node_is_started_again_at_once_and_then_more_and_more_slowly() -> None:
    pace, pauses, now = Pace(), list[float](), 0.0
    for _ in range(9):
        pace.began(now)
        pauses.append(pace.ended(now + 1))
        now += 1
    assert pauses == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    pace.began(now)
    assert pace.ended(now + 60) == 0  # it lived well
    assert Pace().ended(5) == 0
