"""The strategy of CustomResourceDefinitions; what they serve is settled after the write (custom/definitions.py)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skerry.api import codec
from skerry.api.custom import FINALIZER
from skerry.api.structural import formats
from skerry.apiserver.strategies.base import Context, Strategy

_INNER = ("items", "additionalProperties", "not")


class DefinitionStrategy(Strategy):
    """Remembers which versions objects may be stored in, and goes only after its objects."""

    def prepare_create(self, obj: Any, ctx: Context) -> None:
        super().prepare_create(obj, ctx)
        obj.status.stored_versions = [one.name for one in obj.spec.versions if one.storage][:1]
        if FINALIZER not in obj.metadata.finalizers:
            obj.metadata.finalizers.append(FINALIZER)

    def prepare_update(self, new: Any, old: Any, subresource: str, ctx: Context) -> None:
        super().prepare_update(new, old, subresource, ctx)
        if subresource == "status":
            # Conditions and names are the server's to say; what others may change is that nothing is stored any more,
            # and how an ending goes.
            ours = ("NamesAccepted", "Established")
            kept = [one for one in old.status.conditions if one.type in ours]
            new.status.conditions = kept + [one for one in new.status.conditions if one.type not in ours]
            new.status.accepted_names = codec.copy(old.status.accepted_names)
            return
        for one in new.spec.versions:
            if one.storage and one.name not in new.status.stored_versions:
                new.status.stored_versions.append(one.name)

    def warnings(self, new: Any, old: Any | None) -> list[str]:
        before = list(_warnings(old)) if old is not None else []
        return [one for one in _warnings(new) if one not in before]


def _warnings(obj: Any) -> Iterator[str]:
    rules = 0
    seen: set[str] = set()
    for version in obj.spec.versions:
        for one in _walk((version.schema and version.schema.open_apiv3_schema) or {}):
            rules += len(one.get("x-kubernetes-validations", ()))
            form, kind = one.get("format"), one.get("type", "")
            text = f'unrecognized format "{form}"'
            if form and kind in ("", "string", "integer", "number") and not formats.known(form, kind):
                if text not in seen:
                    yield text
                seen.add(text)
    if rules:
        yield f"{rules} x-kubernetes-validations rules are kept but not enforced: Skerry does not evaluate CEL"


def _walk(one: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema and all below it."""
    yield one
    for inner in one.get("properties", {}).values():
        yield from _walk(inner)
    for name in _INNER:
        if isinstance(one.get(name), dict):
            yield from _walk(one[name])
    for name in ("allOf", "anyOf", "oneOf"):
        for inner in one.get(name, ()):
            yield from _walk(inner)
