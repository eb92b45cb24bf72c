"""Pods' weights, as slices pass them on to every proxy."""

from __future__ import annotations

import pytest
from tests.unit.controllers.endpoints import build
from tests.unit.controllers.endpoints.test_slices import plan, settle, writes

from skerry.api import weights
from skerry.controllers.endpoints import members, placement, select


def pod(name, address, weight=None, **more):
    made = build.pod(name, address, **more)
    if weight is not None:
        made.metadata.annotations = {weights.WEIGHT: weight}
    return made


def said(one):
    return one.metadata.annotations.get(weights.WEIGHTS)


@pytest.mark.parametrize(
    ("weight", "expected"), [(None, 100), ("0", 0), ("30", 30), ("100", 100), ("101", 100), ("many", 100), ("", 100)]
)
def test_a_pods_weight(weight, expected):
    assert members.weight(pod("a", "10.0.0.1", weight)) == expected


def test_a_slice_says_only_what_is_unusual():
    service = build.service()
    [made] = plan(service, [pod("a", "10.0.0.1", "10"), pod("b", "10.0.0.2"), pod("c", "10.0.0.3", "x")]).create
    assert said(made) == '{"10.0.0.1":10}'
    [made] = plan(service, [pod("a", "10.0.0.1", "100"), pod("b", "10.0.0.2")]).create
    assert said(made) is None


def test_a_change_of_weight_is_one_write_of_its_slice():
    service, store = build.service(), build.Store()
    pods = {name: pod(name, f"10.0.0.{number}") for number, name in enumerate("abc", 1)}
    book = placement.Placement(service, 2)
    for one in pods.values():
        book.put(one, build.any_node(""))
    store.apply(book.plan([]))
    assert not book.plan(store.slices.values())
    for weight, expected in (("20", '{"10.0.0.3":20}'), ("0", '{"10.0.0.3":0}'), (None, None)):
        book.put(pod("c", "10.0.0.3", weight), build.any_node(""))
        change = book.plan(store.slices.values())
        assert writes(change) == (0, 1, 0)
        assert said(change.update[0]) == expected
        change.update[0].metadata.resource_version += "1"  # as the API server does it
        store.apply(change)
        assert not book.plan(store.slices.values())


def test_a_weight_that_somebody_took_away_or_added_is_put_right():
    service, pods = build.service(), [pod("a", "10.0.0.1", "10")]
    store = build.Store()
    store.apply(plan(service, pods))
    [made] = store.slices.values()
    for wrong in (None, '{"10.0.0.1":90}', "rubbish"):
        made.metadata.annotations.pop(weights.WEIGHTS, None)
        if wrong is not None:
            made.metadata.annotations[weights.WEIGHTS] = wrong
        [update] = plan(service, pods, made).update
        assert said(update) == '{"10.0.0.1":10}'
    [update] = plan(service, [pod("a", "10.0.0.1")], made).update
    assert said(update) is None


def test_the_last_unusual_pod_leaves_nothing_behind():
    service, store = build.service(), build.Store()
    store.apply(plan(service, [pod("a", "10.0.0.1", "10"), pod("b", "10.0.0.2")]))
    [update] = plan(service, [pod("b", "10.0.0.2")], *store.slices.values()).update
    assert said(update) is None
    assert settle(service, [pod("b", "10.0.0.2")], update) == [1]


def test_a_weight_is_news_and_other_annotations_are_not():
    before = pod("a", "10.0.0.1", version="1")
    after = pod("a", "10.0.0.1", "10", version="2")
    assert select.pod_changed(before, after)
    other = pod("a", "10.0.0.1", version="3")
    other.metadata.annotations = {"example.com/note": "x"}
    assert not select.pod_changed(before, other)
