"""Indexes of Jobs as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api import indexes


@given(st.sets(st.integers(0, 60)))
def test_text_and_back(found: set[int]) -> None:
    said = indexes.text(found)
    assert indexes.numbers(said, 61) == found
    ranges = indexes.parse(said, 61)
    assert {one for first, last in ranges for one in range(first, last + 1)} == found


def test_ranges() -> None:
    assert indexes.text([5, 1, 2, 3, 9]) == "1-3,5,9" and indexes.text([]) == ""
    assert indexes.numbers("1-3,5,9", 4) == {1, 2, 3} and indexes.numbers(None, 4) == set()


@pytest.mark.parametrize("said", ["a", "1,", "3-1", "2,2", "1-9", "1--2", "-1"])
def test_what_is_no_text_of_indexes(said: str) -> None:
    with pytest.raises(ValueError):
        indexes.parse(said, 9)
