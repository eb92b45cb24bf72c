"""What the server does to custom objects beside checking them. Called through strategies.of."""

from __future__ import annotations

from typing import Any

from skerry.api import codec
from skerry.api.custom import CustomResource
from skerry.api.structural.paths import Path
from skerry.api.validation import names
from skerry.apiserver.strategies.base import Context, Strategy

_STANDARD = ("orphan", "foregroundDeletion", "kubernetes")


class CustomStrategy(Strategy):
    """Status and the rest are written apart if the definition says so; everything but metadata counts as wanted."""

    resource: CustomResource

    def __init__(self, resource: CustomResource) -> None:
        super().__init__(resource)
        self._paths = [(path, Path(f".{path}")) for path in resource.fields]

    def prepare_create(self, obj: Any, ctx: Context) -> None:  # noqa: ARG002  (the interface)
        if "status" in self.resource.subresources:
            obj.content.pop("status", None)

    def prepare_update(self, new: Any, old: Any, subresource: str, ctx: Context) -> None:  # noqa: ARG002
        if "status" not in self.resource.subresources:
            return
        if subresource == "status":
            status = {"status": new.content["status"]} if "status" in new.content else {}
            rest = {key: one for key, one in old.content.items() if key != "status"}
            new.content = rest | status
            kept = new.metadata.managed_fields
            new.metadata = codec.replace(old.metadata, resource_version="", managed_fields=kept)
        elif "status" in old.content:
            new.content["status"] = old.content["status"]
        else:
            new.content.pop("status", None)

    def changes_generation(self, new: Any, old: Any) -> bool:
        return bool(new.content != old.content)

    def fields(self, obj: Any) -> dict[str, str]:
        out = {"metadata.name": obj.metadata.name}
        if self.resource.namespaced:
            out["metadata.namespace"] = obj.metadata.namespace
        for name, path in self._paths:
            found = path.first(obj.content)
            if isinstance(found, bool):
                found = "true" if found else "false"
            out[name] = "" if found is None else str(found)
        return out

    def warnings(self, new: Any, old: Any | None) -> list[str]:
        """Finalizers that may be somebody else's too."""
        before = old.metadata.finalizers if old is not None else ()
        out: list[str] = []
        for one in sorted(set(new.metadata.finalizers) - set(before)):
            out += [f'metadata.finalizers: "{one}": {why}' for why in names.qualified_name(one)]
            if "/" not in one and one not in _STANDARD:
                including = " including a path (/)" if "." in one else ""
                out.append(
                    f'metadata.finalizers: "{one}": prefer a domain-qualified finalizer name{including} to avoid '
                    "accidental conflicts with other finalizer writers"
                )
        return out

    def standing_warnings(self) -> list[str]:
        return [self.resource.warning] if self.resource.warning else []
