"""Quantities of resources: `500m`, `1.5Gi`, `2e3`.

Called by api.schema (which stores them as upstream shows them), defaults, validation, QoS, tables and the scheduler.

Values are exact (Fraction); what is finer than a billionth is rounded away from zero, as the API does.
"""

from __future__ import annotations

import functools
import math
import re
from fractions import Fraction

_FORM = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+|)", re.ASCII)
_LIMIT = 100  # characters; longer ones are no amount of anything, only work
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
SAYS = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


def _split(text: str) -> tuple[Fraction, str]:
    match = _FORM.fullmatch(text.strip())
    if not match or len(text) > _LIMIT:
        raise ValueError(SAYS)
    sign, digits, suffix = match.groups()
    value = Fraction(digits if digits[-1] != "." else digits[:-1])
    if suffix in _BINARY:
        value *= 1024 ** _BINARY[suffix]
    elif suffix in _DECIMAL:
        value *= Fraction(10) ** _DECIMAL[suffix]
    else:
        exponent = int(suffix[1:])
        if abs(exponent) > 40:
            raise ValueError("unable to parse quantity's suffix")
        value *= Fraction(10) ** exponent
    value = Fraction(math.ceil(value * 10**9), 10**9)
    if suffix in _BINARY:
        value = min(value, Fraction(2**63 - 1))
    return (-value if sign == "-" else value), suffix


def parse(text: str) -> Fraction:
    """The exact value. ValueError if `text` is no quantity."""
    return _split(text)[0]


def valid(text: str) -> bool:
    """Whether `text` is a quantity."""
    try:
        parse(text)
    except ValueError:
        return False
    return True


def whole(text: str) -> int:
    """The value rounded up to a whole number (bytes). ValueError if it is no quantity."""
    return math.ceil(parse(text))


def milli(text: str) -> int:
    """The value in thousandths, rounded up (millicores). ValueError if it is no quantity."""
    return math.ceil(parse(text) * 1000)


def _kept(text: str, suffix: str) -> bool:
    """Whether upstream shows a text as it was given: 1.500 stays, 1.50 becomes 1500m."""
    whole, _, fraction = text.lstrip("+-0").removesuffix(suffix).partition(".")
    digits = (whole or "0") + fraction
    if suffix in _BINARY:
        return "." not in text and len(digits) + _BINARY[suffix] * 3 < 15 and int(digits) % 8 != 0
    scale = (_DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])) - len(fraction)
    fits = len(digits) <= 18 and scale >= -9
    return fits and scale % 3 == 0 and not digits.endswith("000") and digits[0] != "0"


@functools.lru_cache(4096)
def canonical(text: str) -> str:
    """The form the API answers with: no fraction, the largest suffix that keeps it whole. ValueError if it is none."""
    value, suffix = _split(text)
    if value and _kept(text.strip(), suffix):
        return text.strip()
    if suffix in _BINARY and abs(value) >= 1024 and value.denominator == 1:
        number, power = int(value), 0
        while number % 1024 == 0 and power < 6:
            number, power = number // 1024, power + 1
        return f"{number}{['', *_BINARY][power]}"
    exponent, number = -9, int(value * 10**9)
    if number == 0:
        return "0"
    limit = 18 if suffix[:1] not in ("e", "E") or suffix == "E" else 40
    while number % 1000 == 0 and exponent < limit:
        number, exponent = number // 1000, exponent + 3
    if limit == 40:
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{next(key for key, power in _DECIMAL.items() if power == exponent)}"
