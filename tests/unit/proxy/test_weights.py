"""How weights become places in the lists that connections choose from."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.proxy.build import NODE, endpoint, port, service, slice_of, terminating
from tests.unit.proxy.test_brain import CLUSTER_IP, NODE_PORT, brain_of

from skerry.api.weights import encode
from skerry.proxy.endpoints import Candidate
from skerry.proxy.nftables.plan import arrange
from skerry.proxy.table import Backend
from skerry.proxy.weights import PLACES_MOST, places

_NONE: frozenset[str] = frozenset()


def candidates(*weights):
    return [
        Candidate(Backend(f"10.244.{number // 250}.{number % 250 + 1}", 80), True, True, False, False, False, _NONE,
                  _NONE, weight)
        for number, weight in enumerate(weights)
    ]  # fmt: skip


def counts(*weights):
    chosen = candidates(*weights)
    found = Counter(places(chosen))
    return [found[one.backend] for one in chosen]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((), []),
        ((100,), [1]),
        ((0,), [1]),
        ((100, 100, 100), [1, 1, 1]),
        ((7, 7), [1, 1]),
        ((0, 0), [1, 1]),
        ((100, 10), [10, 1]),
        ((100, 100, 50), [2, 2, 1]),
        ((75, 25), [3, 1]),
        ((100, 99), [100, 99]),
        ((100, 0), [1, 0]),
        ((100, 0, 20), [5, 0, 1]),
    ],
)
def test_places(weights, expected):
    assert counts(*weights) == expected


@given(st.lists(st.integers(0, 100), min_size=1, max_size=60))
def test_shares_are_as_the_weights_say(weights):
    found = counts(*weights)
    total = sum(weights)
    assert sum(found) <= PLACES_MOST + len(weights)
    for weight, count in zip(weights, found, strict=True):
        if total:
            assert (count > 0) == (weight > 0)
            assert abs(count / sum(found) - weight / total) < 2.5 / PLACES_MOST + len(weights) / PLACES_MOST / 10
        else:
            assert count == 1


def test_many_backends_have_a_bounded_number_of_places():
    found = counts(*[100] * 400, 7)
    assert sum(found) <= 1001 and min(found) == 1 and set(found[:400]) == {2}
    found = counts(*[100] * 2000, 1)
    assert found == [1] * 2001


def shares(found):
    return {backend.address[-1]: count for backend, count in Counter(found).items()}


def weighed(*endpoints, **weights):
    made = slice_of(*endpoints)
    said = encode({f"10.244.1.{name[1:]}": weight for name, weight in weights.items()})
    made.metadata.annotations = {"skerry.dev/weights": said} if said else {}
    return made


def test_a_slice_says_what_its_endpoints_weigh():
    one, two = endpoint("10.244.1.1"), endpoint("10.244.1.2")
    brain = brain_of(service(), weighed(one, two, _2=25))
    assert shares(brain.table.backends(CLUSTER_IP)) == {"1": 4, "2": 1}
    change = brain.apply_slice("default/web-1", weighed(one, two, _2=50))
    assert change.lists and shares(brain.table.backends(CLUSTER_IP)) == {"1": 2, "2": 1}
    brain.apply_slice("default/web-1", weighed(one, two))
    assert shares(brain.table.backends(CLUSTER_IP)) == {"1": 1, "2": 1}


def test_nothing_comes_to_weight_0_while_another_weighs():
    one, two = endpoint("10.244.1.1"), endpoint("10.244.1.2")
    brain = brain_of(service(), weighed(one, two, _1=0))
    assert shares(brain.table.backends(CLUSTER_IP)) == {"2": 1}
    brain.apply_slice("default/web-1", weighed(one, terminating("10.244.1.2"), _1=0))  # ready goes before weight
    assert shares(brain.table.backends(CLUSTER_IP)) == {"1": 1}
    brain.apply_slice("default/web-1", weighed(one, two, _1=0, _2=0))
    assert shares(brain.table.backends(CLUSTER_IP)) == {"1": 1, "2": 1}
    brain.apply_slice("default/web-1", weighed(terminating("10.244.1.1"), terminating("10.244.1.2"), _1=0))
    assert shares(brain.table.backends(CLUSTER_IP)) == {"2": 1}


def test_a_zone_whose_endpoints_weigh_nothing_is_no_reason_to_go_there():
    here, there = endpoint("10.244.1.1", zones=["east"]), endpoint("10.244.1.2", zones=["west"])
    assert NODE.zone == "east"
    assert shares(brain_of(service(), weighed(here, there)).table.backends(CLUSTER_IP)) == {"1": 1}
    assert shares(brain_of(service(), weighed(here, there, _1=0)).table.backends(CLUSTER_IP)) == {"2": 1}


def test_a_node_that_may_not_send_elsewhere_keeps_to_its_own():
    made = service("web", "10.96.0.9", port(node_port=30080), type="NodePort", external_traffic_policy="Local")
    one, two = endpoint("10.244.1.1", node="a"), endpoint("10.244.1.2", node="b")
    brain = brain_of(made, weighed(one, two, _1=0))
    assert shares(brain.table.backends(NODE_PORT)) == {"1": 1}
    assert shares(brain.table.backends(CLUSTER_IP)) == {"2": 1}


def test_a_new_weight_moves_few_places():
    before = places(candidates(100, 100, 100, 10))
    after = places(candidates(100, 100, 100, 20))
    moved = arrange(before, after)
    assert Counter(moved) == Counter(after)
    assert sum(old != new for old, new in zip(before, moved, strict=False)) <= len(after)


def test_choosing_a_place_is_choosing_by_weight():
    """What the kernel does with `numgen random`, by chi-square (3 degrees of freedom, 99.9 %)."""
    chosen = candidates(100, 50, 10, 0, 40)
    found = places(chosen)
    chance, tries = random.Random(5), 100_000
    seen = Counter(found[chance.randrange(len(found))] for _ in range(tries))
    assert seen[chosen[3].backend] == 0
    expected = {one.backend: tries * one.weight / 200 for one in chosen if one.weight}
    assert sum((seen[one] - share) ** 2 / share for one, share in expected.items()) < 16.27
