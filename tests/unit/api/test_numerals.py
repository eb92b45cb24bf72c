"""Digits that others wrote: only those that int() and Go both read, and not more than an int64 has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.numerals import whole


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.5", " 1", "1_0", "²", "٣", "9" * 19, "9" * 5000, "0x1"])
def test_what_is_no_whole_number(text: str) -> None:
    assert whole(text) is None


@given(st.integers(0, 10**18 - 1))
def test_there_and_back(number: int) -> None:
    assert whole(str(number)) == number
