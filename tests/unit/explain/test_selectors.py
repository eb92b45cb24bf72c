"""What comes near to a selector, and how it is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.explain.selectors import edits, is_slip, miss, nearest_name, sentence

Labels = dict[str, str]


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("web", "wep", 1),
        ("web", "wbe", 1),
        ("web", "web-1", 2),
        ("", "web", 3),
        ("kitten", "sitting", 3),
        ("web", "web", 0),
    ],
)
def test_edits(one: str, other: str, wanted: int) -> None:
    assert edits(one, other) == wanted


@given(st.text("abc-1", max_size=8), st.text("abc-1", max_size=8))
def test_edits_are_a_distance(one: str, other: str) -> None:
    found = edits(one, other)
    assert found == edits(other, one)
    assert (found == 0) == (one == other)
    assert abs(len(one) - len(other)) <= found <= max(len(one), len(other))


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("web", "wep", True),
        ("web", "Web", True),
        ("frontend", "front-end", True),
        ("db-0", "db-1", False),
        ("web", "web2", False),
        ("web", "redis", False),
        ("db", "dc", False),
        ("web", "", False),
        ("web", "web", False),
    ],
)
def test_slips(one: str, other: str, wanted: bool) -> None:
    assert is_slip(one, other) == wanted


@pytest.mark.parametrize(
    ("selector", "labels", "said"),
    [
        ({"app": "web"}, {"app": "wep"}, "Pod p has app=wep; the selector wants app=web."),
        ({"app": "web"}, {"app": "web", "x": "y"}, None),
        ({"app": "web"}, {"app": "redis"}, None),
        ({"app": "web"}, {}, None),
        ({"app": "web"}, {"k8s-app": "web"}, "Pod p has k8s-app=web; the selector wants app=web."),
        ({"app": "web", "tier": "a"}, {"app": "web", "tier": "b"}, "Pod p has tier=b; the selector wants tier=a."),
        ({"app": "web", "tier": "a"}, {"app": "web"}, "Pod p has no label tier; the selector wants tier=a."),
        ({"app": "web", "tier": "a"}, {"app": "wep"},
         "Pod p has app=wep and has no label tier; the selector wants app=web and tier=a."),
        ({"a": "1", "b": "2", "c": "3"}, {"a": "1"}, None),
    ],
)  # fmt: skip
def test_near_misses(selector: Labels, labels: Labels, said: str | None) -> None:
    found = miss(selector, labels)
    assert (sentence("p", found) if found is not None else None) == said


def test_the_nearest_sorts_first() -> None:
    wanted = {"app": "web", "tier": "front"}
    one = miss(wanted, {"app": "web", "tier": "fornt"})
    two = miss(wanted, {"app": "web", "tier": "backend"})
    three = miss(wanted, {"app": "wep", "tier": "fornt"})
    assert one is not None and two is not None and three is not None
    assert one < two < three


def test_the_nearest_name() -> None:
    assert nearest_name("htpp", ["https", "http", "metrics"]) == "http"
    assert nearest_name("grpc", ["http", "metrics"]) == ""
