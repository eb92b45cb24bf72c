"""What weights mean, on a pod and on a slice."""

from __future__ import annotations

import pytest

from skerry.api import weights


@pytest.mark.parametrize(("said", "weight"), [("0", 0), ("1", 1), ("50", 50), ("100", 100), ("007", 7)])
def test_a_weight(said, weight):
    assert weights.parse(said) == weight


@pytest.mark.parametrize("said", ["", "101", "-1", "+1", "1.5", "10%", "ten", " 5", "1e2", "٣", "9" * 30])
def test_no_weight(said):
    assert weights.parse(said) is None


@pytest.mark.parametrize(
    ("of_pods", "said"),
    [
        ({}, ""),
        ({"10.244.1.5": 100, "10.244.1.6": 100}, ""),
        ({"10.244.1.6": 0, "10.244.1.5": 20, "10.244.1.7": 100}, '{"10.244.1.5":20,"10.244.1.6":0}'),
        ({"fd00::5": 1}, '{"fd00::5":1}'),
    ],
)
def test_only_what_is_unusual_is_said_and_always_alike(of_pods, said):
    assert weights.encode(of_pods) == said
    assert weights.decode(said) == {address: weight for address, weight in of_pods.items() if weight != 100}


@pytest.mark.parametrize("said", ["{", "[1]", '"text"', "null", "3"])
def test_what_is_not_understood_is_as_usual(said):
    assert weights.decode(said) == {}


def test_of_what_is_understood_in_part_that_part_counts():
    assert weights.decode('{"a": 5, "b": "5", "c": 101, "d": -1, "e": true, "f": null}') == {"a": 5}
