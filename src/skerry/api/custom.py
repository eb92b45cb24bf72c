"""From a CustomResourceDefinition to rows: what it serves, as api.resources has it of built-in kinds. Pure.

Called by the API server, which serves them, and by controllers that follow every kind.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from skerry.api import unstructured
from skerry.api.resources import Resource
from skerry.api.structural import Schema
from skerry.api.types import apiextensions

F = TypeVar("F", bound=Callable[..., Any])


def kept(make: F) -> F:
    """Remembers what a function makes for as long as its last argument, the custom rows that are served, is the same.

    None is not remembered: it is the answer for names that anybody may think of.
    """
    known: dict[Any, Any] = {}
    last: Any = ()

    @functools.wraps(make)
    def ask(*arguments: Any) -> Any:
        nonlocal last
        served = arguments[-1] if arguments and isinstance(arguments[-1], tuple) else ()
        if served is not last:
            known.clear()
            last = served
        found = known.get(arguments)
        if found is None:
            found = make(*arguments)
            if found is not None:
                known[arguments] = found
        return found

    return cast("F", ask)


def with_row(make: F) -> F:
    """Remembers what a function makes of a row (and of more arguments) with the row itself: it goes when that goes."""
    name = f"{make.__module__}.{make.__qualname__}"

    @functools.wraps(make)
    def ask(row: Resource, *more: Any) -> Any:
        known = vars(row).get(name)
        if known is None:
            known = vars(row)[name] = {}
        if more not in known:
            known[more] = make(row, *more)
        return known[more]

    return cast("F", ask)


FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


@dataclass(frozen=True, eq=False)
class CustomResource(Resource):
    """One served version of a definition, as it is in one state of it: a new state makes new rows."""

    definition: apiextensions.CustomResourceDefinition = None  # type: ignore[assignment]
    of_version: apiextensions.CustomResourceDefinitionVersion = None  # type: ignore[assignment]

    @property
    def list_kind(self) -> str:
        return self.definition.status.accepted_names.list_kind

    @functools.cached_property
    def type(self) -> type[Any]:
        return unstructured.of(self)

    @functools.cached_property
    def stored_version(self) -> str:
        """The apiVersion that objects are written with."""
        version = next((one.name for one in self.definition.spec.versions if one.storage), self.version)
        return f"{self.group}/{version}"

    @functools.cached_property
    def schema(self) -> Schema:
        found = self.of_version.schema
        return Schema((found.open_apiv3_schema if found is not None else None) or {"type": "object"})

    @property
    def scale(self) -> apiextensions.CustomResourceSubresourceScale | None:
        parts = self.of_version.subresources
        return parts.scale if parts is not None else None

    @property
    def terminating(self) -> bool:
        """Whether nothing new may be made of it."""
        return self.definition.metadata.deletion_timestamp is not None

    @property
    def warning(self) -> str:
        """What every request is told of a version that is not to be used any more."""
        found = self.of_version
        if not found.deprecated:
            return ""
        return found.deprecation_warning or f"{self.api_version} {self.kind} is deprecated"


def established(definition: apiextensions.CustomResourceDefinition) -> bool:
    return any(one.type == "Established" and one.status == "True" for one in definition.status.conditions)


def rows(definition: apiextensions.CustomResourceDefinition) -> list[CustomResource]:
    """The versions that are served, the most stable first, under the names that were accepted."""
    names, group = definition.status.accepted_names, definition.spec.group
    found = [one for one in definition.spec.versions if one.served]
    return [
        CustomResource(
            names.kind,
            names.plural,
            names.singular,
            "",
            group,
            one.name,
            namespaced=definition.spec.scope == "Namespaced",
            short_names=tuple(names.short_names),
            categories=tuple(names.categories),
            subresources=_parts(one),
            fields=tuple(field.json_path.removeprefix(".") for field in one.selectable_fields),
            generation=True,
            definition=definition,
            of_version=one,
        )
        for one in sorted(found, key=lambda one: priority(one.name))
    ]


def _parts(version: apiextensions.CustomResourceDefinitionVersion) -> tuple[str, ...]:
    found = version.subresources
    if found is None:
        return ()
    status = ("status",) if found.status is not None else ()
    return (*status, "scale") if found.scale is not None else status


_VERSION = re.compile(r"v([1-9]\d*)(?:(alpha|beta)([1-9]\d*))?")


def priority(version: str) -> tuple[Any, ...]:
    """For sorting: v2, v1, v1beta2, v1beta1, v1alpha1, then others by name."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return (1, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[found[2]]
    return (0, stage, -int(found[1]), -int(found[3] or 0))
