"""Small helpers for writing checks: complaints to FieldErrors, sets of allowed values, unchanged fields."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from skerry.api import codec
from skerry.api.status import FieldError, field_invalid, field_not_supported, field_required
from skerry.api.validation.names import Check, path_segment

IMMUTABLE = "field is immutable"
NEGATIVE = "must be greater than or equal to 0"


_MEMORABLE = 64


def invalids(path: str, value: Any, complaints: Iterable[str]) -> list[FieldError]:
    """One FieldValueInvalid a complaint."""
    return [field_invalid(path, value, one) for one in complaints]


def checked(path: str, value: str, check: Check) -> list[FieldError]:
    """What `check` says of a value."""
    complaints = remembered(check, value)
    return invalids(path, value, complaints) if complaints else []


def remembered(check: Check, value: str) -> list[str]:
    """As `check`. The same few names come again and again: of labels, nodes, conditions, variables."""
    return _remembered(check, value) if len(value) <= _MEMORABLE else check(value)


@functools.lru_cache(4096)
def _remembered(check: Check, value: str) -> list[str]:
    return check(value)


_GOOD = 4096
_good: defaultdict[Check, set[str]] = defaultdict(set)
"""What each check had nothing to say about; checks are functions of names.py, none made on the way."""


def all_good(check: Check, values: Iterable[str]) -> bool:
    """Whether `check` says nothing of any of the values: in most objects, those of the object before."""
    known = _good[check]
    for one in values:
        if one not in known:
            if len(one) > _MEMORABLE or check(one):
                return False
            if len(known) >= _GOOD:
                known.clear()
            known.add(one)
    return True


def required(path: str, value: str, check: Check, detail: str = "") -> list[FieldError]:
    """Required if empty, else what `check` says of it."""
    return checked(path, value, check) if value else [field_required(path, detail)]


def reference(path: str, kind: str, name: str) -> list[FieldError]:
    """The kind and the name of another object: each is there, and could be one."""
    return required(f"{path}.kind", kind, path_segment) + required(f"{path}.name", name, path_segment)


def one_of(path: str, value: str, allowed: Collection[str]) -> list[FieldError]:
    """Not supported unless among `allowed`."""
    return [] if value in allowed else [field_not_supported(path, value, allowed)]


def not_negative(path: str, value: int | None) -> list[FieldError]:
    """At least zero, if set."""
    return [field_invalid(path, value, NEGATIVE)] if value is not None and value < 0 else []


def unchanged(path: str, new: Any, old: Any) -> list[FieldError]:
    """Immutable unless equal."""
    return [] if new == old else [field_invalid(path, shown(new), IMMUTABLE)]


def shown(value: Any) -> Any:
    """A value as an error shows it: a Struct or a map as JSON would have it, maps in the order of their keys."""
    plain = codec.plain(value)
    return json.loads(json.dumps(plain, sort_keys=True)) if isinstance(plain, dict | list) else plain


def not_found(path: str, value: Any) -> FieldError:
    """A reference to something of the same object that is not there."""
    return FieldError("FieldValueNotFound", path, "", value)
