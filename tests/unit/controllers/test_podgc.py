"""Which pods nobody else will remove."""

from __future__ import annotations

import pytest

from skerry.api.types import core, meta
from skerry.controllers.podgc import decide
from skerry.controllers.podgc.decide import Why

OUT = core.Taint(key="node.kubernetes.io/out-of-service", value="nodeshutdown", effect="NoExecute")


def node(ready: str = "True", *taints: core.Taint) -> core.Node:
    condition = core.NodeCondition(type="Ready", status=ready)
    return core.Node(spec=core.NodeSpec(taints=list(taints)), status=core.NodeStatus(conditions=[condition]))


def pod(where: str = "n", *, going: bool = False, name: str = "p", created: str = "") -> core.Pod:
    time = "2026-01-01T00:00:00Z" if going else None
    return core.Pod(
        metadata=meta.ObjectMeta(name=name, deletion_timestamp=time, creation_timestamp=created),
        spec=core.PodSpec(node_name=where),
    )


@pytest.mark.parametrize(
    ("one", "on", "missing", "why"),
    [
        (pod(), node(), 0.0, None),
        (pod(going=True), node("False"), 0.0, None),  # its node may still be busy with it
        (pod(""), None, 0.0, None),
        (pod("", going=True), None, 0.0, Why.NEVER_SCHEDULED),
        (pod(), None, 39.9, None),
        (pod(), None, 40.0, Why.NODE_GONE),
        (pod(going=True), None, 40.0, Why.NODE_GONE),
        (pod(going=True), node("Unknown", OUT), 0.0, Why.OUT_OF_SERVICE),
        (pod(going=True), node("True", OUT), 0.0, None),
        (pod(), node("Unknown", OUT), 0.0, None),
    ],
)
def test_who_is_removed(one: core.Pod, on: core.Node | None, missing: float, why: Why | None) -> None:
    assert decide.verdict(one, on, missing) is why


def test_of_too_many_that_have_ended_the_oldest_go() -> None:
    ended = [pod(name=f"p{day}", created=f"2026-01-0{day}T00:00:00Z") for day in (3, 1, 4, 2)]
    assert [one.metadata.name for one in decide.surplus(ended, 2)] == ["p1", "p2"]
    assert decide.surplus(ended, 4) == []
