"""Signs of life, conditions, taints, zones and tolerations: every decision about a silent node as a table (R13)."""

from __future__ import annotations

import pytest

from skerry.api.types import coordination, core, meta
from skerry.clock import rfc3339
from skerry.controllers.nodelifecycle import health, taints, zones
from skerry.controllers.tolerations import seconds_to_stay, tolerates

NOW = 1_767_225_600.0


def node(ready: str | None = "True", *, name: str = "n", beat: float = NOW, **more: object) -> core.Node:
    conditions = [core.NodeCondition(type="MemoryPressure", status="False", last_heartbeat_time=rfc3339(beat))]
    if ready is not None:
        conditions.append(core.NodeCondition(type="Ready", status=ready, last_heartbeat_time=rfc3339(beat)))
    labels = more.pop("labels", {})
    return core.Node(
        metadata=meta.ObjectMeta(name=name, creation_timestamp=rfc3339(NOW - 1000), labels=labels),  # type: ignore[arg-type]
        spec=core.NodeSpec(**more),  # type: ignore[arg-type]
        status=core.NodeStatus(conditions=conditions),
    )


def lease(renewed: float) -> coordination.Lease:
    return coordination.Lease(spec=coordination.LeaseSpec(renew_time=rfc3339(renewed)))


def test_a_first_look_counts_as_a_sign_of_life_unless_the_node_never_said_anything() -> None:
    assert health.observe(None, node(), lease(NOW - 500), 5.0, NOW).seen == 5.0
    assert health.observe(None, node(None), None, 5.0, NOW).seen == 5.0 - 1000


@pytest.mark.parametrize(
    ("found", "renewed", "seen"),
    [
        (node(), NOW, NOW),  # nothing new
        (node(), NOW + 10, NOW + 30),
        (node(beat=NOW + 1), NOW, NOW + 30),
        (node("Unknown"), NOW, NOW),  # our own verdict is no sign
        (node(), None, NOW),  # a Lease that is gone is none either
    ],
)
def test_a_sign_counts_from_when_it_was_seen(found: core.Node, renewed: float | None, seen: float) -> None:
    known = health.observe(None, node(), lease(NOW), NOW, NOW)
    renewal = None if renewed is None else lease(renewed)
    assert health.observe(known, found, renewal, NOW + 30, 0.0).seen == seen


def test_grace_is_50_seconds_and_60_for_one_that_never_spoke() -> None:
    assert health.deadline(node(), health.observe(None, node(), None, NOW, NOW)) == NOW + 50
    assert health.deadline(node(None), health.observe(None, node(None), None, NOW, NOW)) == NOW - 1000 + 60


def test_a_silent_node_has_four_unknown_conditions_with_their_last_heartbeats() -> None:
    found = health.silent(node(), NOW + 50)
    assert found is not None
    shown = {one.type: (one.status, one.reason, one.message, one.last_heartbeat_time) for one in found}
    stopped = ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.", rfc3339(NOW))
    never = ("Unknown", "NodeStatusNeverUpdated", "Kubelet never posted node status.", rfc3339(NOW - 1000))
    assert shown == {"Ready": stopped, "MemoryPressure": stopped, "DiskPressure": never, "PIDPressure": never}
    assert {one.last_transition_time for one in found} == {rfc3339(NOW + 50)}
    known = node()
    known.status.conditions = found
    assert health.silent(known, NOW + 99) is None


def taint(key: str, effect: str = "NoSchedule", value: str = "") -> core.Taint:
    return core.Taint(key=f"node.kubernetes.io/{key}" if "/" not in key else key, effect=effect, value=value)


OTHERS = [taint("a/b"), taint("a/b", "NoExecute")]


@pytest.mark.parametrize(
    ("found", "lost", "added"),
    [
        (node(), False, []),
        (node("False"), False, [taint("not-ready")]),
        (node("Unknown"), True, [taint("unreachable")]),
        (node("Unknown"), False, []),  # the cluster was opened a moment ago
        (node("Unknown", taints=[taint("unreachable")]), False, [taint("unreachable")]),
        (node("Unknown", taints=[taint("not-ready")]), True, [taint("unreachable")]),
        (node(taints=[taint("not-ready"), taint("unreachable")]), False, []),
        (node(unschedulable=True), False, [taint("unschedulable")]),
        (node("False", unschedulable=True), False, [taint("not-ready"), taint("unschedulable")]),
        (node(taints=[taint("unschedulable"), taint("disk-pressure")]), False, []),
    ],
)
def test_conditions_and_cordon_make_no_schedule_taints(found: core.Node, lost: bool, added: list[core.Taint]) -> None:
    found.spec.taints = OTHERS + found.spec.taints
    assert taints.no_schedule(found, lost) == OTHERS + added


def test_pressure_makes_taints() -> None:
    found = node()
    found.status.conditions[0].status = "True"
    assert taints.no_schedule(found, False) == [taint("memory-pressure")]


def test_no_execute_taints_are_swapped_and_taken_away() -> None:
    unreachable, not_ready = taint("unreachable", "NoExecute"), taint("not-ready", "NoExecute")
    assert taints.no_execute([*OTHERS, not_ready], [taints.UNREACHABLE]) == [*OTHERS, unreachable]
    assert taints.no_execute([*OTHERS, not_ready, unreachable], []) == OTHERS
    assert taints.no_execute([taint("unreachable")], []) == [taint("unreachable")]


def test_only_new_taints_are_stamped_with_the_time() -> None:
    old = taint("unreachable")
    made = taints.stamped([old, taint("unreachable", "NoExecute")], [old], "now")
    assert [one.time_added for one in made] == [None, "now"]


def toleration(key: str = "k", seconds: int | None = None, **more: str) -> core.Toleration:
    return core.Toleration(key=key, toleration_seconds=seconds, **more)


@pytest.mark.parametrize(
    ("one", "yes"),
    [
        (toleration(operator="Exists"), True),
        (toleration("", operator="Exists"), True),
        (toleration("other", operator="Exists"), False),
        (toleration(value="v"), True),
        (toleration(value="w"), False),
        (toleration(value="v", operator="Equal", effect="NoExecute"), True),
        (toleration(value="v", effect="NoSchedule"), False),
    ],
)
def test_what_a_toleration_covers(one: core.Toleration, yes: bool) -> None:
    assert tolerates(one, core.Taint(key="k", value="v", effect="NoExecute")) is yes


@pytest.mark.parametrize(
    ("tolerations", "stays"),
    [
        ([], 0),
        ([toleration(operator="Exists")], 0),  # the second taint is not tolerated
        ([toleration("", operator="Exists")], None),
        ([toleration("", 300, operator="Exists")], 300),
        ([toleration("k", 30, operator="Exists"), toleration("l", 20, operator="Exists")], 20),
        ([toleration("k", 30, operator="Exists"), toleration("l", operator="Exists")], 30),
        ([toleration("k", -5, operator="Exists"), toleration("l", operator="Exists")], 0),
    ],
)
def test_a_pod_stays_as_long_as_it_tolerates_every_taint(
    tolerations: list[core.Toleration], stays: float | None
) -> None:
    found = [core.Taint(key="k", effect="NoExecute"), core.Taint(key="l", effect="NoExecute")]
    assert seconds_to_stay(tolerations, found) == stays


def test_without_taints_a_pod_stays_for_ever() -> None:
    assert seconds_to_stay([], []) is None


@pytest.mark.parametrize(
    ("ready", "lost", "mode"),
    [
        (3, 0, zones.Mode.NORMAL),
        (2, 1, zones.Mode.NORMAL),
        (0, 1, zones.Mode.FULL),
        (0, 0, zones.Mode.NORMAL),
        (1, 2, zones.Mode.NORMAL),  # two are too few to speak of a disruption
        (2, 3, zones.Mode.PARTIAL),
        (3, 3, zones.Mode.NORMAL),
    ],
)
def test_the_mode_of_a_zone(ready: int, lost: int, mode: zones.Mode) -> None:
    assert zones.mode(ready, lost) is mode


def test_zones_are_what_labels_say() -> None:
    assert zones.zone_of(node()) == ""
    labels = {"topology.kubernetes.io/region": "r", "topology.kubernetes.io/zone": "z"}
    assert zones.zone_of(node(labels=labels)) == "r:\0:z"


def test_a_zone_is_emptied_node_by_node_ten_seconds_apart() -> None:
    found = zones.Zones()
    for index in range(6):
        found.put(node(name=f"n{index}"), ready=index > 1)
    assert found.permit(node(), NOW) == 0
    assert found.permit(node(), NOW) == pytest.approx(10)
    assert found.permit(node(), NOW + 4) == pytest.approx(6)
    assert found.permit(node(), NOW + 10) == 0
    assert found.permit(node(), NOW + 100) == 0
    assert found.permit(node(), NOW + 100) > 0  # permissions are not saved up


def test_a_small_zone_that_is_largely_gone_is_left_alone_and_a_large_one_goes_slowly() -> None:
    small, large = zones.Zones(), zones.Zones()
    for index in range(10):
        small.put(node(name=f"n{index}"), ready=index > 5)
    for index in range(100):
        large.put(node(name=f"n{index}"), ready=index > 60)
    assert small.permit(node(), NOW) == 10
    assert small.permit(node(), NOW + 1000) == 10
    assert large.permit(node(), NOW) == 0
    assert large.permit(node(), NOW) == pytest.approx(100)


def test_all_nodes_are_lost_only_if_there_are_some() -> None:
    found = zones.Zones()
    said = [found.all_lost]
    for change in (
        lambda: found.put(node(), ready=False),
        lambda: found.put(node(name="m"), ready=True),
        lambda: found.remove("m"),
        lambda: found.put(node(), ready=True),
    ):
        change()
        said.append(found.all_lost)
    assert said == [False, True, False, True, False]
