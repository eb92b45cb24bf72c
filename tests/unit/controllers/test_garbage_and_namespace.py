"""What follows from who owns whom (A7), and what a terminating namespace says."""

from __future__ import annotations

import pytest

from skerry.api import resources
from skerry.api.types import core, meta
from skerry.controllers import namespace
from skerry.controllers.garbage import graph


def ref(uid: str, *, block: bool = True) -> meta.OwnerReference:
    return meta.OwnerReference(api_version="v1", kind="Pod", name=uid, uid=uid, block_owner_deletion=block)


@pytest.mark.parametrize(
    ("solid", "absent", "waiting", "finalizers", "dependents", "verdict"),
    [
        ("", "", "", [], False, graph.Verdict()),
        ("a", "", "", [], False, graph.Verdict()),
        ("a", "b", "", [], False, graph.Verdict(drop=("b",))),
        ("a", "b", "c", [], True, graph.Verdict(drop=("b", "c"))),
        ("", "b", "", [], False, graph.Verdict(delete="Background")),
        ("", "b", "", [graph.ORPHAN], False, graph.Verdict(delete="Orphan")),
        ("", "b", "", [graph.FOREGROUND], False, graph.Verdict(delete="Foreground")),
        ("", "", "c", [], False, graph.Verdict(delete="Background")),
        ("", "", "c", [], True, graph.Verdict(delete="Foreground")),
        ("", "b", "c", [], True, graph.Verdict(delete="Foreground")),
    ],
)
def test_verdicts(
    solid: str, absent: str, waiting: str, finalizers: list[str], dependents: bool, verdict: graph.Verdict
) -> None:
    refs = [[ref(one) for one in group] for group in (solid, absent, waiting)]
    assert graph.judge(finalizers, *refs, has_dependents=dependents) == verdict


def item(uid: str, *owners: str, deleting: bool = False, finalizers: tuple[str, ...] = ()) -> graph.Item:
    metadata = meta.ObjectMeta(
        name=uid,
        namespace="default",
        uid=uid,
        owner_references=[ref(one, block=one != "lax") for one in owners],
        finalizers=list(finalizers),
        deletion_timestamp="2026-01-01T00:00:00Z" if deleting else None,
    )
    return graph.Item.of(resources.of(core.Pod), core.Pod(metadata=metadata))


def test_the_graph_knows_dependents_of_owners_it_has_not_seen() -> None:
    known = graph.Graph()
    known.put(item("child", "parent"))
    assert [one.uid for one in known.dependents("parent")] == ["child"]
    known.put(item("parent"))
    known.remove("parent")
    assert [one.uid for one in known.dependents("parent")] == ["child"]
    known.put(item("child", "other"))
    assert known.dependents("parent") == []
    known.remove("child")
    assert known.remove("child") is None and not known._dependents


def test_who_waits_and_who_blocks() -> None:
    assert item("a", deleting=True, finalizers=(graph.FOREGROUND,)).waits_for_dependents
    assert not item("a", finalizers=(graph.FOREGROUND,)).waits_for_dependents
    assert item("a", deleting=True, finalizers=(graph.ORPHAN,)).orphans_dependents
    assert item("c", "p").is_blocking("p")
    assert not item("c", "lax").is_blocking("lax")


def test_conditions_of_a_terminating_namespace() -> None:
    left = namespace.Remains()
    left.resources["pods."] = 2
    left.resources["replicasets.apps"] = 1
    left.finalizers["example.com/hold"] = 1
    made = namespace.conditions([], left, 0.0)
    told = {one.type: (one.status, one.reason, one.message) for one in made}
    assert told["NamespaceContentRemaining"] == (
        "True",
        "SomeResourcesRemain",
        "Some resources are remaining: pods. has 2 resource instances, replicasets.apps has 1 resource instances",
    )
    assert told["NamespaceFinalizersRemaining"] == (
        "True",
        "SomeFinalizersRemain",
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
    )
    assert told["NamespaceDeletionContentFailure"][:2] == ("False", "ContentDeleted")
    later = namespace.conditions(made, namespace.Remains(), 60.0)
    since = {one.type: one.last_transition_time for one in later}
    assert since["NamespaceContentRemaining"] == "1970-01-01T00:01:00Z"
    assert since["NamespaceDeletionContentFailure"] == "1970-01-01T00:00:00Z"
    assert {one.status for one in later} == {"False"}
