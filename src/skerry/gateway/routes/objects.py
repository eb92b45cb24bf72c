"""The Gateway API's objects as far as they are used here, read from untyped custom objects. Pure.

Called by desired.py. The definitions are installed by users, in any version: fields that are not here are ignored, and
defaults are filled in again. What does not fit these types is an Unreadable, of which only its own object suffers.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from skerry.api import resources, unstructured
from skerry.api.types import meta
from skerry.api.unstructured import Unstructured

GROUP = "gateway.networking.k8s.io"
CONTROLLER = "skerry.dev/gateway"
"""What a GatewayClass of ours has as spec.controllerName."""


def _kind(kind: str, plural: str, version: str = "v1", *, namespaced: bool = True) -> type[Unstructured]:
    row = resources.Resource(kind, plural, kind.lower(), "", GROUP, version, namespaced=namespaced)
    return unstructured.of(row)


GATEWAY_CLASS = _kind("GatewayClass", "gatewayclasses", namespaced=False)
GATEWAY = _kind("Gateway", "gateways")
HTTP_ROUTE = _kind("HTTPRoute", "httproutes")
REFERENCE_GRANT = _kind("ReferenceGrant", "referencegrants", "v1beta1")


class _Struct(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Immutable, with the names of the JSON."""


class ClassSpec(_Struct, frozen=True, kw_only=True):
    controller_name: str = ""
    parameters_ref: dict[str, Any] | None = None


class RouteNamespaces(_Struct, frozen=True, kw_only=True):
    from_: str = msgspec.field(default="Same", name="from")
    selector: meta.LabelSelector | None = None


class RouteKind(_Struct, frozen=True, kw_only=True):
    group: str = GROUP
    kind: str = ""


class AllowedRoutes(_Struct, frozen=True, kw_only=True):
    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: tuple[RouteKind, ...] = ()


class Reference(_Struct, frozen=True, kw_only=True):
    """To a Secret (certificateRefs) or, with port and weight, to a Service (backendRefs)."""

    group: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    port: int | None = None


class Tls(_Struct, frozen=True, kw_only=True):
    mode: str = "Terminate"
    certificate_refs: tuple[Reference, ...] = ()


class Listener(_Struct, frozen=True, kw_only=True):
    name: str
    port: int
    protocol: str
    hostname: str = ""
    tls: Tls | None = None
    allowed_routes: AllowedRoutes = AllowedRoutes()


class GatewaySpec(_Struct, frozen=True, kw_only=True):
    gateway_class_name: str = ""
    listeners: tuple[Listener, ...] = ()
    addresses: tuple[dict[str, Any], ...] = ()


class ParentRef(_Struct, frozen=True, kw_only=True):
    group: str = GROUP
    kind: str = "Gateway"
    namespace: str = ""
    name: str = ""
    section_name: str = ""
    port: int | None = None


class Matched(_Struct, frozen=True, kw_only=True):
    """What a header, query parameter or path has to be."""

    type: str = ""
    name: str = ""
    value: str = ""


class Match(_Struct, frozen=True, kw_only=True):
    path: Matched = Matched(type="PathPrefix", value="/")
    headers: tuple[Matched, ...] = ()
    query_params: tuple[Matched, ...] = ()
    method: str = ""


class Header(_Struct, frozen=True, kw_only=True):
    name: str
    value: str


class HeaderFilter(_Struct, frozen=True, kw_only=True):
    set: tuple[Header, ...] = ()
    add: tuple[Header, ...] = ()
    remove: tuple[str, ...] = ()


class PathModifier(_Struct, frozen=True, kw_only=True):
    type: str
    replace_full_path: str = ""
    replace_prefix_match: str = ""


class Redirect(_Struct, frozen=True, kw_only=True):
    scheme: str = ""
    hostname: str = ""
    path: PathModifier | None = None
    port: int | None = None
    status_code: int = 302


class Rewrite(_Struct, frozen=True, kw_only=True):
    hostname: str = ""
    path: PathModifier | None = None


class Fraction(_Struct, frozen=True, kw_only=True):
    numerator: int
    denominator: int = 100


class Mirror(_Struct, frozen=True, kw_only=True):
    backend_ref: Reference
    percent: int | None = None
    fraction: Fraction | None = None


class Filter(_Struct, frozen=True, kw_only=True):
    type: str
    request_header_modifier: HeaderFilter | None = None
    response_header_modifier: HeaderFilter | None = None
    request_redirect: Redirect | None = None
    url_rewrite: Rewrite | None = None
    request_mirror: Mirror | None = None


class BackendRef(Reference, frozen=True, kw_only=True):
    weight: int = 1
    filters: tuple[Filter, ...] = ()


class Timeouts(_Struct, frozen=True, kw_only=True):
    request: str = ""
    backend_request: str = ""


class Rule(_Struct, frozen=True, kw_only=True):
    matches: tuple[Match, ...] = (Match(),)
    filters: tuple[Filter, ...] = ()
    backend_refs: tuple[BackendRef, ...] = ()
    timeouts: Timeouts = Timeouts()


class RouteSpec(_Struct, frozen=True, kw_only=True):
    parent_refs: tuple[ParentRef, ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = (Rule(),)


class GrantFrom(_Struct, frozen=True, kw_only=True):
    group: str = ""
    kind: str = ""
    namespace: str = ""


class GrantTo(_Struct, frozen=True, kw_only=True):
    group: str = ""
    kind: str = ""
    name: str = ""


class GrantSpec(_Struct, frozen=True, kw_only=True):
    from_: tuple[GrantFrom, ...] = msgspec.field(default=(), name="from")
    to: tuple[GrantTo, ...] = ()


T = TypeVar("T")


def spec(kind: type[T], one: Unstructured) -> T:
    """The spec of an object. Unreadable says what does not fit; it is the end of a sentence."""
    try:
        return msgspec.convert(_without_none(one.content.get("spec") or {}), kind)
    except msgspec.ValidationError as error:
        raise Unreadable(f"cannot be read: {error}") from None


class Unreadable(ValueError):
    """Why an object is not understood."""


def _without_none(value: Any) -> Any:
    """A null is the same as nothing."""
    if isinstance(value, dict):
        return {key: _without_none(one) for key, one in value.items() if one is not None}
    return [_without_none(one) for one in value] if isinstance(value, list) else value
