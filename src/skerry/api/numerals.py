"""Whole numbers in texts that somebody else wrote: queries, annotations, selectors.

`str.isdigit` is true of digits that int() does not read (²) or that Go does not (٣), and int() refuses thousands of
them.
"""

from __future__ import annotations

_MOST = 18
"""Digits that are an int64 whatever they are."""


def whole(text: str) -> int | None:
    """The number, 0 or more, that a text of ASCII digits says; None for any other text."""
    return int(text) if len(text) <= _MOST and text.isascii() and text.isdigit() else None
