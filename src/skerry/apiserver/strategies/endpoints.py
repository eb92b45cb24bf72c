"""Endpoints and EndpointSlice."""

from __future__ import annotations

from typing import Any

from skerry.api import subsets
from skerry.apiserver.strategies.addresses import ip_warnings
from skerry.apiserver.strategies.base import Strategy

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
SLICE_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_CONTROLLERS = ("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")
DEPRECATED = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"


class EndpointsStrategy(Strategy):
    """Packed on every write (E33); deprecated (E53)."""

    def canonicalize(self, obj: Any) -> None:
        obj.subsets = subsets.repack(obj.subsets)

    def standing_warnings(self) -> list[str]:
        return [DEPRECATED]

    def warnings(self, new: Any, old: Any | None) -> list[str]:
        """E54: unusual addresses, unless the controller wrote them."""
        if new.metadata.labels.get(MANAGED_BY) == "endpoint-controller":
            return []
        known = {one.ip for subset in old.subsets for one in _addresses(subset)} if old is not None else set()
        out: list[str] = []
        for i, subset in enumerate(new.subsets):
            for name, group in (("addresses", subset.addresses), ("notReadyAddresses", subset.not_ready_addresses)):
                for j, one in enumerate(group):
                    if one.ip not in known:
                        out += ip_warnings(f"subsets[{i}].{name}[{j}].ip", one.ip)
        return out


def _addresses(subset: Any) -> list[Any]:
    return [*subset.addresses, *subset.not_ready_addresses]


class EndpointSliceStrategy(Strategy):
    """A change of labels counts as a new generation (L6)."""

    def prepare_create(self, obj: Any, ctx: Any) -> None:
        super().prepare_create(obj, ctx)
        _drop_read_only(obj)

    def prepare_update(self, new: Any, old: Any, subresource: str, ctx: Any) -> None:
        super().prepare_update(new, old, subresource, ctx)
        _drop_read_only(new)

    def changes_generation(self, new: Any, old: Any) -> bool:
        return super().changes_generation(new, old) or new.metadata.labels != old.metadata.labels

    def warnings(self, new: Any, old: Any | None) -> list[str]:
        if new.metadata.labels.get(SLICE_MANAGED_BY) in _CONTROLLERS:
            return []
        known = {text for one in old.endpoints for text in one.addresses} if old is not None else set()
        out = ["addressType: FQDN endpoints are deprecated"] if new.address_type == "FQDN" and old is None else []
        for i, one in enumerate(new.endpoints):
            for j, text in enumerate(one.addresses):
                if text not in known and new.address_type != "FQDN":
                    out += ip_warnings(f"endpoints[{i}].addresses[{j}]", text)
        return out


def _drop_read_only(obj: Any) -> None:
    """L2: deprecatedTopology cannot be written in v1."""
    for one in obj.endpoints:
        one.deprecated_topology = {}
