"""One column of a printed table, and the small texts that many cells share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from skerry.api import labels
from skerry.api.types import core, meta

NONE = "<none>"
UNSET = "<unset>"


class Column(NamedTuple):
    """A columnDefinition; a priority above 0 shows with `-o wide` only (T1)."""

    name: str
    type: str
    format: str
    description: str
    priority: int


def column(
    name: str,
    description: str,
    *,
    type: str = "string",  # noqa: A002  (the API's word)
    format: str = "",  # noqa: A002  (the same)
    wide: bool = False,
) -> Column:
    """A column; text unless `type` says otherwise."""
    return Column(name, type, format, description, 1 if wide else 0)


NAME = column("Name", "The object's name, unique in its namespace.", format="name")
AGE = column("Age", "Time since the object was created.")


def pairs(values: Mapping[str, str]) -> str:
    """Labels as `a=b,c=d`, sorted; `<none>` for none (T4)."""
    return ",".join(f"{key}={values[key]}" for key in sorted(values)) or NONE


def selector(value: meta.LabelSelector | None) -> str:
    """A structured selector as its text; `<none>` for one that selects everything or nothing."""
    try:
        return labels.text(labels.from_selector(value)) or NONE if value is not None else NONE
    except ValueError:
        return "<error>"


def first(values: Sequence[str], limit: int = 3) -> str:
    """At most `limit` of them, joined; ` + N more...` for the rest."""
    if len(values) > limit:
        return f"{','.join(values[:limit])} + {len(values) - limit} more..."
    return ",".join(values)


def containers(spec: core.PodSpec) -> tuple[str, str]:
    """The names and the images of a pod spec's containers."""
    return ",".join(one.name for one in spec.containers), ",".join(one.image for one in spec.containers)


def joined(values: Iterable[str]) -> str:
    """Joined with commas; `<none>` for none (T4)."""
    return ",".join(values) or NONE
